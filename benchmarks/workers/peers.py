"""Stable-Baselines3 or SBX (the same interface) on CartPole-v1, timed from the first rollout after the warm-up."""

import importlib

import torch
from meter import Meter, report, settings
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.utils import safe_mean


class Mark(BaseCallback):
    """Marks where the warm-up ends, between two rollouts."""

    def __init__(self, meter: Meter, warm_up: int):
        super().__init__()
        self.meter, self.warm_up = meter, warm_up

    def _on_rollout_start(self) -> None:
        if not self.meter.steps and self.num_timesteps >= self.warm_up:
            self.meter.mark(self.num_timesteps)

    def _on_step(self) -> bool:
        return True


def main() -> None:
    given, meter = settings(), Meter()
    torch.set_num_threads(given["threads"])
    algorithm = getattr(importlib.import_module(given["library"]), given["algorithm"].upper())
    environments = make_vec_env(
        "CartPole-v1", given["n_envs"], seed=given["seed"], env_kwargs={"disable_env_checker": True}
    )
    model = algorithm(
        "MlpPolicy",
        environments,
        seed=given["seed"],
        device="cpu",
        verbose=0,
        policy_kwargs={"net_arch": given["net_arch"]},
        **given["hyper_parameters"],
    )
    warm_up = given["steps"] // 10
    model.learn(given["steps"] + warm_up, callback=Mark(meter, warm_up))
    reward = safe_mean([episode["r"] for episode in model.ep_info_buffer])
    report(meter.result(model.num_timesteps, episode_reward=float(reward)))


main()
