"""Stable-Baselines3 or SBX (the same interface), timed from the first rollout after the warm-up."""

import importlib
from typing import Any

import torch
from meter import Meter, report, settings
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_atari_env, make_vec_env
from stable_baselines3.common.utils import safe_mean
from stable_baselines3.common.vec_env import VecEnv, VecFrameStack


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


def environments(name: str, n_envs: int, seed: int) -> VecEnv:
    """``n_envs`` in one process; Atari's behind the library's wrappers, in stacks of four frames."""
    if name.startswith("ALE/"):
        import ale_py
        import gymnasium

        gymnasium.register_envs(ale_py)
        plain = {"frameskip": 1, "repeat_action_probability": 0.0}  # the wrapper repeats actions itself
        return VecFrameStack(make_atari_env(name, n_envs, seed=seed, env_kwargs=plain), 4)
    if name.startswith("MinAtar/"):
        from minatar_game import MinAtarGame

        game = name.removeprefix("MinAtar/").partition("-")[0].lower()
        return make_vec_env(lambda: MinAtarGame(game), n_envs, seed=seed)
    return make_vec_env(name, n_envs, seed=seed, env_kwargs={"disable_env_checker": True})


def policy(name: str, net_arch: Any) -> tuple[str, dict[str, Any]]:
    """The policy's name and arguments: the Nature CNN for Atari, the paper's for MinAtar, else a plain network."""
    if name.startswith("ALE/"):
        return "CnnPolicy", {}
    if name.startswith("MinAtar/"):
        from minatar_game import MinAtarCNN

        return "MlpPolicy", {"net_arch": net_arch, "features_extractor_class": MinAtarCNN}
    return "MlpPolicy", {"net_arch": net_arch}


def main() -> None:
    given, meter = settings(), Meter()
    torch.set_num_threads(given["threads"])
    algorithm = getattr(importlib.import_module(given["library"]), given["algorithm"].upper())
    kind, arguments = policy(given["environment"], given["net_arch"])
    model = algorithm(
        kind,
        environments(given["environment"], given["n_envs"], given["seed"]),
        seed=given["seed"],
        device="cpu",
        verbose=0,
        policy_kwargs=arguments,
        **given["hyper_parameters"],
    )
    warm_up = given["steps"] // 10
    model.learn(given["steps"] + warm_up, callback=Mark(meter, warm_up))
    reward = safe_mean([episode["r"] for episode in model.ep_info_buffer])
    report(meter.result(model.num_timesteps, episode_reward=float(reward)))


main()
