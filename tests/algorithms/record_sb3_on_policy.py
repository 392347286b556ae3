"""Write ``sb3_on_policy.npz``: one update of Stable-Baselines3's A2C and PPO, in float64.

For each algorithm and kind of actions: the weights of a small network, a rollout that SB3 collected with it, and the
weights after ``train()``. To record anew: ``make .venv-bench/.installed`` and
``.venv-bench/bin/python tests/algorithms/record_sb3_on_policy.py``.
"""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import ConvertCallback
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnvWrapper

FILE = Path(__file__).with_name("sb3_on_policy.npz")
T, B = 6, 2
ACTIONS = {"discrete": spaces.Discrete(3), "box": spaces.Box(-1, 1, (2,))}
SHARED = {"n_steps": T, "learning_rate": 1e-2, "gamma": 0.9, "ent_coef": 0.05, "vf_coef": 0.7, "max_grad_norm": 0.3}
ALGORITHMS: dict[str, tuple[Any, dict[str, Any]]] = {
    "a2c": (A2C, SHARED | {"gae_lambda": 1.0}),
    "ppo": (PPO, SHARED | {"gae_lambda": 0.8, "batch_size": T * B, "n_epochs": 2, "normalize_advantage": False}),
}


class Noise(gymnasium.Env):
    """Random observations and rewards; episodes of two steps terminate and of three are truncated, in turn."""

    observation_space = spaces.Box(-9, 9, (3,))

    def __init__(self, action_space: spaces.Space, seed: int):
        self.action_space, self.random = action_space, np.random.default_rng(seed)
        self.seen: list[np.ndarray] = []  #: the true next observations
        self.episodes = self.elapsed = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        self.elapsed, self.episodes = 0, self.episodes + 1
        return self.observation(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.elapsed += 1
        self.seen.append(self.observation())
        odd = self.episodes % 2 == 1
        return self.seen[-1], float(self.random.normal(0, 3)), odd and self.elapsed == 2, self.elapsed == 3, {}

    def observation(self) -> np.ndarray:
        return self.random.normal(size=3).astype(np.float32)


class Exact(VecEnvWrapper):
    """Rewards in float64, and what there is to know of each step."""

    def __init__(self, venv: DummyVecEnv):
        super().__init__(venv)
        self.steps: list[tuple[np.ndarray, ...]] = []

    def reset(self) -> Any:
        return self.venv.reset()

    def step_wait(self) -> Any:
        observation, reward, done, infos = self.venv.step_wait()
        truncated = np.array([info["TimeLimit.truncated"] for info in infos])
        after = np.stack([environment.unwrapped.seen[-1] for environment in self.venv.envs])
        self.steps.append((reward.copy(), after, done & ~truncated, truncated))
        return observation, reward.astype(np.float64), done, infos


class ExactBuffer(RolloutBuffer):
    """SB3's in float64."""

    def reset(self) -> None:
        super().reset()
        for name in ("values", "log_probs", "advantages", "returns", "rewards", "actions"):
            setattr(self, name, getattr(self, name).astype(np.float64))


class ExactInputs(FlattenExtractor):
    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        return super().forward(observation).double()


def weights(model: Any) -> np.ndarray:
    """All in one vector, in the order of ``named_parameters``; matrices are ``[outputs, inputs]``."""
    return np.concatenate([value.detach().numpy().ravel() for _, value in model.policy.named_parameters()])


def record(name: str, kind: str) -> dict[str, np.ndarray]:
    make, settings = ALGORITHMS[name]
    env = Exact(DummyVecEnv([lambda seed=seed: Noise(ACTIONS[kind], seed) for seed in range(B)]))
    architecture = {"net_arch": [5], "features_extractor_class": ExactInputs}
    buffer = {"rollout_buffer_class": ExactBuffer}
    model = make("MlpPolicy", env, seed=0, policy_kwargs=architecture, device="cpu", **buffer, **settings)
    model.policy.double()
    with torch.no_grad():  # so large that every term matters: a fresh policy is almost uniform
        for parameter in model.policy.parameters():
            parameter.copy_(torch.randn(parameter.shape, dtype=torch.float64) / 2)
    print(name, kind, [(key, *value.shape) for key, value in model.policy.named_parameters()])
    before = weights(model)
    _, callback = model._setup_learn(T * B, ConvertCallback(lambda *_: True))
    model.collect_rollouts(model.env, callback, model.rollout_buffer, T)
    kept = model.rollout_buffer
    reward, after, terminated, truncated = (np.stack(part) for part in zip(*env.steps, strict=True))
    found = {
        "before": before,
        "observation": kept.observations.copy(),
        "action": kept.actions.astype(np.float32),
        "log_prob": kept.log_probs.copy(),
        "reward": reward,
        "next_observation": after,
        "terminated": terminated,
        "truncated": truncated,
    }
    model.train()
    return found | {"after": weights(model)}


def main() -> None:
    torch.manual_seed(0)
    found = {(name, kind): record(name, kind) for name in ALGORITHMS for kind in ACTIONS}
    np.savez_compressed(
        FILE, **{f"{name}/{kind}/{key}": value for (name, kind), of in found.items() for key, value in of.items()}
    )


if __name__ == "__main__":
    main()
