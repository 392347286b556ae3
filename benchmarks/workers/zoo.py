"""An algorithm of Stable-Baselines3 with given settings (PPO unless told otherwise), and its greedy score."""

from collections.abc import Callable

import stable_baselines3
import torch
from meter import Meter, report, settings
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy

EVALUATION_SEED = 10_000  #: far from those of training


def scheduled(value: float | str) -> float | Callable[[float], float]:
    """``lin_`` and a number falls to 0 with the share of training that remains."""
    if not isinstance(value, str):
        return value
    initial = float(value.removeprefix("lin_"))
    return lambda remaining: remaining * initial


def main() -> None:
    given, meter = settings(), Meter()
    environment, n_envs, seed = (given.pop(name) for name in ("environment", "n_envs", "seed"))
    steps, episodes = given.pop("steps"), given.pop("episodes")
    torch.set_num_threads(given.pop("threads"))
    fast = {"disable_env_checker": True}
    kind = getattr(stable_baselines3, given.pop("algorithm", "PPO"))
    if given.pop("hindsight", False):
        given["replay_buffer_class"] = stable_baselines3.HerReplayBuffer
    model = kind(
        given.pop("policy", "MlpPolicy"),
        make_vec_env(environment, n_envs, seed=seed, env_kwargs=fast),
        seed=seed,
        device="cpu",
        verbose=0,
        **{name: scheduled(value) for name, value in given.items()},
    )
    model.learn(steps)
    trained = meter.result(model.num_timesteps)
    fresh = make_vec_env(environment, n_envs, seed=EVALUATION_SEED + seed, env_kwargs=fast)
    score, _ = evaluate_policy(model, fresh, n_eval_episodes=episodes, deterministic=True)
    report({"score": float(score), "steps": model.num_timesteps, "training_seconds": trained["seconds"]})


main()
