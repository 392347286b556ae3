"""Environments in the manner of Stable-Baselines3's, with which its examples try out observations in a Dict."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

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
