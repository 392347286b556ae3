"""Models of Stable-Baselines3 and what they do: run it in an environment that has that package, not Tegu.

``python tests/agents/record_sb3_models.py`` writes into ``sb3_models``: ``NAME.zip``, as ``model.save`` does,
``actions.npz``, observations and the deterministic actions of each model there, ``tensors.pth``, as ``torch.save``
writes a dict, and the same as ``tensors.npz``.
"""

from pathlib import Path

import gymnasium
import numpy as np
import torch
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from torch import nn

FOLDER = Path(__file__).with_name("sb3_models")
MODELS = {
    "ppo": (PPO, "CartPole-v1", {"n_steps": 32, "batch_size": 16}, {"net_arch": {"pi": [5, 4], "vf": [6]}}),
    "ppo_box": (PPO, "Pendulum-v1", {"n_steps": 32, "clip_range": 0.25}, {"net_arch": [5], "activation_fn": nn.ELU}),
    "a2c": (A2C, "CartPole-v1", {"gamma": 0.9, "ent_coef": 0.01}, {"net_arch": [5, 4]}),
    "dqn": (DQN, "CartPole-v1", {"learning_rate": lambda x: 0.02 * x, "learning_starts": 20}, {"net_arch": [9, 8]}),
    "sac": (SAC, "Pendulum-v1", {"ent_coef": "auto_0.2"}, {"net_arch": [5, 4]}),
    "td3": (TD3, "Pendulum-v1", {"tau": 0.01}, {"net_arch": {"pi": [5], "qf": [6, 4]}}),
    "ddpg": (DDPG, "Pendulum-v1", {"learning_starts": 50}, {"net_arch": [5, 4]}),
}


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    found = {}
    for name, (make, environment, settings, policy_kwargs) in MODELS.items():
        model = make("MlpPolicy", environment, seed=3, policy_kwargs=policy_kwargs, **settings)
        model.learn(200)
        model.save(FOLDER / name)
        # the spaces of CartPole are unbounded, those of Pendulum are not: a normal distribution is of the right size
        shape = gymnasium.make(environment).observation_space.shape
        seen = np.random.default_rng(0).normal(size=(30, *shape)).astype(np.float32)
        found[f"{name}/observations"], found[f"{name}/actions"] = seen, model.predict(seen, deterministic=True)[0]
    np.savez_compressed(FOLDER / "actions.npz", **found)
    whole = torch.arange(24).reshape(2, 3, 4)
    tensors = {
        "transposed": whole.double().permute(2, 0, 1),
        "part": whole.float()[1, :, 1:3],
        "half": torch.tensor([0.1, -0.2], dtype=torch.half),
        "whole": whole[0],
        "int": torch.tensor([[7]], dtype=torch.int32),
        "bool": torch.tensor([True, False]),
        "scalar": torch.tensor(3.5),
        "empty": torch.zeros(0, 3),
        "parameter": nn.Parameter(torch.ones(2)),
    }
    torch.save(tensors, FOLDER / "tensors.pth")
    np.savez_compressed(FOLDER / "tensors.npz", **{name: value.detach().numpy() for name, value in tensors.items()})


if __name__ == "__main__":
    main()
