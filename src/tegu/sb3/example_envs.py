"""Environments in the manner of Stable-Baselines3's for trying out observations in a Dict, and goals."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from tegu.sb3.errors import ArgumentError
from tegu.sb3.settings import at_least

_MOVES = np.array([[0, -1], [1, 0], [0, 1], [-1, 0]])  #: left, down, right, up, as rows and columns


class SimpleMultiObsEnv(gymnasium.Env):
    """A walk over a grid from its first cell (or any) to its last, seen as a vector and an image of the cell.

    What a cell looks like is random and stays. A step pays -0.1, the last cell 1, a step out of the grid -1; it is
    truncated after ``max_count`` steps.
    """

    def __init__(
        self,
        num_col: int = 4,
        num_row: int = 4,
        random_start: bool = True,
        discrete_actions: bool = True,
        channel_last: bool = True,
    ):
        """Without ``discrete_actions``, the largest of four numbers is the direction."""
        self.vector_size, self.img_size = 5, [64, 64, 1] if channel_last else [1, 64, 64]
        self.num_col, self.num_row, self.random_start = num_col, num_row, random_start
        self.discrete_actions = discrete_actions
        self.action_space: spaces.Space = spaces.Discrete(4) if discrete_actions else spaces.Box(0, 1, (4,))
        self.observation_space = spaces.Dict(
            {
                "vec": spaces.Box(0, 1, (self.vector_size,), np.float64),
                "img": spaces.Box(0, 255, self.img_size, np.uint8),
            }
        )
        rng, shape = np.random.default_rng(), (num_row, num_col)
        self._vectors = rng.random((*shape, self.vector_size))
        self._images = rng.integers(0, 256, (*shape, *self.img_size), np.uint8)
        self.max_count, self.count = 100, 0
        self._cell = np.zeros(2, int)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        cells = self.num_row * self.num_col
        start = int(self.np_random.integers(cells - 1)) if self.random_start else 0
        self._cell, self.count = np.array(divmod(start, self.num_col)), 0
        return self._seen(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.count += 1
        direction = int(action) if self.discrete_actions else int(np.argmax(action))
        last = np.array([self.num_row - 1, self.num_col - 1])
        moved = self._cell + _MOVES[direction]
        inside = bool((moved >= 0).all() and (moved <= last).all())
        if inside:
            self._cell = moved
        arrived = bool((self._cell == last).all())
        reward = 1.0 if arrived else -0.1 if inside else -1.0
        return self._seen(), reward, arrived, self.count >= self.max_count, {"got_to_end": arrived}

    def _seen(self) -> dict[str, np.ndarray]:
        cell = tuple(self._cell)
        return {"vec": self._vectors[cell].copy(), "img": self._images[cell].copy()}


class BitFlippingEnv(gymnasium.Env):
    """Bits, random at first, that shall all become 1 (Andrychowicz et al. 2017, section 3.1).

    An action flips one bit, or with ``continuous`` all whose number is positive. A step pays 0 if the goal is reached,
    which ends the episode, else -1. It is truncated after ``max_steps``, ``n_bits`` unless given.
    """

    def __init__(
        self,
        n_bits: int = 10,
        continuous: bool = False,
        max_steps: int | None = None,
        discrete_obs_space: bool = False,
        image_obs_space: bool = False,
        channel_first: bool = True,
        render_mode: str | None = None,
    ):
        """Bits are seen as such, as the number that they are in the dual system (``discrete_obs_space``), or as the
        first pixels of an image of 36x36 (``image_obs_space``)."""
        if discrete_obs_space and image_obs_space:
            raise ArgumentError("BitFlippingEnv: give discrete_obs_space or image_obs_space, not both")
        if render_mode not in (None, "human"):
            raise ArgumentError(f"BitFlippingEnv: render_mode must be None or human, got {render_mode!r}")
        self.n_bits, self.continuous = at_least(1, n_bits, "n_bits"), continuous
        self.max_steps = n_bits if max_steps is None else max_steps
        self.render_mode = render_mode
        self._discrete, self._image = discrete_obs_space, (1, 36, 36) if channel_first else (36, 36, 1)
        bits: spaces.Space = spaces.MultiBinary(n_bits)
        if discrete_obs_space:
            bits = spaces.Discrete(2**n_bits)
        elif image_obs_space:
            bits = spaces.Box(0, 255, self._image, np.uint8)
        self._as_image, self._shape = image_obs_space, bits.shape or ()
        self.observation_space = spaces.Dict(dict.fromkeys(("observation", "achieved_goal", "desired_goal"), bits))
        self.action_space: spaces.Space = (
            spaces.Box(-1, 1, (n_bits,), np.float32) if continuous else spaces.Discrete(n_bits)
        )
        self.state, self.current_step = np.zeros(n_bits, np.int8), 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.state, self.current_step = self.np_random.integers(0, 2, self.n_bits, np.int8), 0
        return self._seen(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        flipped = np.asarray(action) > 0 if self.continuous else np.arange(self.n_bits) == action
        self.state = np.where(flipped, 1 - self.state, self.state).astype(np.int8)
        self.current_step += 1
        reached = bool(self.state.all())
        reward = 0.0 if reached else -1.0
        return self._seen(), reward, reached, self.current_step >= self.max_steps, {"is_success": reached}

    def compute_reward(self, achieved_goal: Any, desired_goal: Any, info: Any) -> Any:
        """-1 where goals ``[..., *shape]`` differ, else 0: float32 ``[...]``."""
        return np.where(self.compute_terminated(achieved_goal, desired_goal, info), 0.0, -1.0).astype(np.float32)

    def compute_terminated(self, achieved_goal: Any, desired_goal: Any, info: Any) -> Any:
        """Whether goals ``[..., *shape]`` are the same: bool ``[...]``."""
        axes = tuple(range(-len(self._shape), 0))
        return np.all(np.equal(achieved_goal, desired_goal), axis=axes)

    def render(self) -> None:
        print(*self.state)

    def _seen(self) -> dict[str, Any]:
        now, goal = self._shown(self.state), self._shown(np.ones_like(self.state))
        return {"observation": now, "achieved_goal": now, "desired_goal": goal}

    def _shown(self, bits: np.ndarray) -> Any:
        if self._discrete:
            return int(bits.astype(np.int64) @ (1 << np.arange(self.n_bits)))
        if self._as_image:
            image = np.zeros(self._image, np.uint8)
            image.flat[: self.n_bits] = np.where(bits, 255, 0)
            return image
        return bits.copy()
