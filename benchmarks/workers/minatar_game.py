"""A game of the package MinAtar for Stable-Baselines3, and the network of its paper (Young & Tian 2019) in PyTorch."""

from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from minatar import Environment
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor


class MinAtarGame(gymnasium.Env):
    """Observations are ``[channels, 10, 10]``, as PyTorch's convolutions want them."""

    def __init__(self, game: str):
        self.game = Environment(game)
        height, width, channels = self.game.state_shape()
        self.observation_space = spaces.Box(0.0, 1.0, (channels, height, width))
        self.action_space = spaces.Discrete(self.game.num_actions())

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        if seed is not None:
            self.game.seed(seed)
        self.game.reset()
        return self.seen(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        reward, terminated = self.game.act(int(action))
        return self.seen(), float(reward), bool(terminated), False, {}

    def seen(self) -> np.ndarray:
        return self.game.state().transpose(2, 0, 1).astype(np.float32)


class MinAtarCNN(BaseFeaturesExtractor):
    """16 convolutions of 3x3 pixels."""

    def __init__(self, observation_space: spaces.Box):
        super().__init__(observation_space, features_dim=16 * 8 * 8)
        layer = torch.nn.Conv2d(observation_space.shape[0], 16, kernel_size=3)
        self.layers = torch.nn.Sequential(layer, torch.nn.ReLU(), torch.nn.Flatten())

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        return self.layers(observations)
