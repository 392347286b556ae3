"""Environments in the manner of Stable-Baselines3's in which the right answer is what is seen, and random images."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from tegu.sb3.errors import ArgumentError
from tegu.sb3.settings import at_least

Result = tuple[Any, float, bool, bool, dict[str, Any]]


class IdentityEnv(gymnasium.Env):
    """Shows a random element of a space and pays 1 for the action that is equal to it, else 0.

    Episodes are truncated after ``ep_length`` steps. ``space`` is that of observations and actions, ``Discrete(dim)``
    unless given.
    """

    def __init__(self, dim: int | None = None, space: spaces.Space | None = None, ep_length: int = 100):
        if dim is not None and space is not None:
            raise ArgumentError("IdentityEnv: give dim or space, not both")
        if space is None:
            space = spaces.Discrete(at_least(1, 1 if dim is None else dim, "dim"))
        self.observation_space = self.action_space = space
        self.ep_length, self.current_step = ep_length, 0
        self.state: Any = space.sample()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self.current_step, self.state = 0, self.observation_space.sample()
        return self.state, {}

    def step(self, action: Any) -> Result:
        reward = float(self.is_right(action))
        self.current_step, self.state = self.current_step + 1, self.observation_space.sample()
        return self.state, reward, False, self.current_step >= self.ep_length, {}

    def is_right(self, action: Any) -> bool:
        """Whether ``action`` is what was seen."""
        return bool(np.all(self.state == action))


class IdentityEnvBox(IdentityEnv):
    """``IdentityEnv`` of one number from ``low`` to ``high``, which the action must meet to within ``eps``."""

    def __init__(self, low: float = -1.0, high: float = 1.0, eps: float = 0.05, ep_length: int = 100):
        super().__init__(space=spaces.Box(low, high, (1,), np.float32), ep_length=ep_length)
        self.eps = eps

    def is_right(self, action: Any) -> bool:
        return bool(np.all(np.abs(self.state - action) <= self.eps))


class IdentityEnvMultiDiscrete(IdentityEnv):
    """``IdentityEnv`` of two numbers below ``dim``."""

    def __init__(self, dim: int = 1, ep_length: int = 100):
        super().__init__(space=spaces.MultiDiscrete([dim, dim]), ep_length=ep_length)


class IdentityEnvMultiBinary(IdentityEnv):
    """``IdentityEnv`` of ``dim`` bits."""

    def __init__(self, dim: int = 1, ep_length: int = 100):
        super().__init__(space=spaces.MultiBinary(dim), ep_length=ep_length)


class FakeImageEnv(gymnasium.Env):
    """Random images and no reward, in the shapes of an Atari game; episodes of 10 steps."""

    def __init__(
        self,
        action_dim: int = 6,
        screen_height: int = 84,
        screen_width: int = 84,
        n_channels: int = 1,
        discrete: bool = True,
        channel_first: bool = False,
    ):
        """Without ``discrete`` actions are five numbers. ``channel_first``: images are ``[C, H, W]``."""
        size = (screen_height, screen_width)
        self.observation_shape = (n_channels, *size) if channel_first else (*size, n_channels)
        self.observation_space = spaces.Box(0, 255, self.observation_shape, np.uint8)
        self.action_space: spaces.Space = spaces.Discrete(action_dim) if discrete else spaces.Box(-1, 1, (5,))
        self.ep_length, self.current_step = 10, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self.current_step = 0
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> Result:
        self.current_step += 1
        return self.observation_space.sample(), 0.0, False, self.current_step >= self.ep_length, {}
