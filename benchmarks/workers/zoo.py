"""Stable-Baselines3's PPO with the settings RL Zoo tuned for CartPole-v1, and its greedy score."""

from collections.abc import Callable

import torch
from meter import Meter, report, settings
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy

EVALUATION_SEED = 10_000  #: far from those of training


def linear(initial: float) -> Callable[[float], float]:
    """Falls to 0 with the share of training that remains."""
    return lambda remaining: remaining * initial


def main() -> None:
    given, meter = settings(), Meter()
    torch.set_num_threads(given["threads"])
    fast = {"disable_env_checker": True}
    model = PPO(
        "MlpPolicy",
        make_vec_env("CartPole-v1", 8, seed=given["seed"], env_kwargs=fast),
        n_steps=32,
        batch_size=256,
        gae_lambda=0.8,
        gamma=0.98,
        n_epochs=20,
        ent_coef=0.0,
        learning_rate=linear(0.001),
        clip_range=linear(0.2),
        seed=given["seed"],
        device="cpu",
        verbose=0,
    )
    model.learn(given["steps"])
    trained = meter.result(model.num_timesteps)
    fresh = make_vec_env("CartPole-v1", 8, seed=EVALUATION_SEED + given["seed"], env_kwargs=fast)
    score, _ = evaluate_policy(model, fresh, n_eval_episodes=given["episodes"], deterministic=True)
    report({"score": float(score), "steps": model.num_timesteps, "training_seconds": trained["seconds"]})


main()
