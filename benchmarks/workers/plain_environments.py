"""Environments without a preset, registered as ``plain_environments:NAME`` for Tegu and for its peers.

Some are small tasks of our own, one for each kind of space. The others are well known, under a name that no preset has.
"""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

MOVES = np.array([[0.2, 0.0], [-0.2, 0.0], [0.0, 0.2], [0.0, -0.2]], np.float32)
CORNERS = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]], np.float32)


class Corner(gymnasium.Env):
    """Walk to the corner that is named: a Dict of a position and a number is observed."""

    observation_space = spaces.Dict({"corner": spaces.Discrete(4), "position": spaces.Box(-1, 1, (2,), np.float32)})
    action_space = spaces.Discrete(4)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        self.position = self.np_random.uniform(-1, 1, 2).astype(np.float32)
        self.corner = int(self.np_random.integers(4))
        return self._observed(), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict]:
        self.position = np.clip(self.position + MOVES[action], -1, 1)
        there = bool(np.abs(self.position - CORNERS[self.corner]).max() < 0.1)
        return self._observed(), 1.0 if there else -0.05, there, False, {}

    def _observed(self) -> dict[str, Any]:
        return {"corner": self.corner, "position": self.position}


class Catch(gymnasium.Env):
    """Catch what falls: an image ``[36, 36, 1]`` of a 9x9 board is observed."""

    observation_space = spaces.Box(0, 255, (36, 36, 1), np.uint8)
    action_space = spaces.Discrete(3)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        self.row, self.column, self.hand = 0, int(self.np_random.integers(9)), int(self.np_random.integers(9))
        return self._observed(), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict]:
        self.row, self.hand = self.row + 1, min(max(self.hand + int(action) - 1, 0), 8)
        ended = self.row == 8
        reward = (1.0 if self.hand == self.column else -1.0) if ended else 0.0
        return self._observed(), reward, ended, False, {}

    def _observed(self) -> np.ndarray:
        board = np.zeros((9, 9), np.uint8)
        board[self.row, self.column] = board[8, self.hand] = 255
        return board.repeat(4, axis=0).repeat(4, axis=1)[..., None]


class Dials(gymnasium.Env):
    """Set two dials as two numbers say: actions are MultiDiscrete."""

    observation_space = spaces.Box(0, 1, (2,), np.float32)
    action_space = spaces.MultiDiscrete([5, 7])

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        self.steps, self.wanted = 0, self._drawn()
        return self.wanted, {}

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict]:
        right = np.asarray(action) == np.minimum(self.wanted * [5, 7], [4, 6]).astype(int)
        self.steps, self.wanted = self.steps + 1, self._drawn()
        return self.wanted, float(right.mean()), self.steps == 20, False, {}

    def _drawn(self) -> np.ndarray:
        return self.np_random.uniform(0, 1, 2).astype(np.float32)


class Reach(gymnasium.Env):
    """Steer a point to a goal that pays only there: goals are observed, and ``compute_reward`` says what they pay."""

    _place = spaces.Box(-1, 1, (2,), np.float32)
    observation_space = spaces.Dict({"observation": _place, "achieved_goal": _place, "desired_goal": _place})
    action_space = spaces.Box(-1, 1, (2,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        self.place, self.goal = self.np_random.uniform(-1, 1, (2, 2)).astype(np.float32)
        return self._observed(), {}

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict]:
        self.place = np.clip(self.place + 0.1 * np.clip(action, -1, 1), -1, 1).astype(np.float32)
        reward = float(self.compute_reward(self.place, self.goal, {}))
        return self._observed(), reward, False, False, {"is_success": reward == 0}

    def compute_reward(self, achieved_goal: np.ndarray, desired_goal: np.ndarray, info: Any) -> Any:
        return -(np.linalg.norm(achieved_goal - desired_goal, axis=-1) > 0.1).astype(np.float32)

    def _observed(self) -> dict[str, np.ndarray]:
        parts = {"observation": self.place, "achieved_goal": self.place, "desired_goal": self.goal}
        return {name: part.copy() for name, part in parts.items()}


def renamed(name: str, **options: Any) -> gymnasium.Env:
    """An environment of Gymnasium's without its time limit, which the new name has."""
    return gymnasium.make(name, **options, max_episode_steps=-1, disable_env_checker=True).unwrapped


def compact(name: str) -> gymnasium.Env:
    """A MiniGrid task that shows only its ``[7, 7, 3]`` numbers of objects, colours and states, which are no image."""
    import minigrid  # noqa: F401  registers the task
    from minigrid.wrappers import ImgObsWrapper

    return ImgObsWrapper(gymnasium.make(name, disable_env_checker=True))


gymnasium.register("Corner-v0", Corner, max_episode_steps=50)
gymnasium.register("Catch-v0", Catch)
gymnasium.register("Dials-v0", Dials)
gymnasium.register("Reach-v0", Reach, max_episode_steps=50)
gymnasium.register("PlainMountainCar-v0", renamed, max_episode_steps=200, kwargs={"name": "MountainCar-v0"})
gymnasium.register(
    "PlainMountainCarContinuous-v0", renamed, max_episode_steps=999, kwargs={"name": "MountainCarContinuous-v0"}
)
gymnasium.register("PlainWalker2d-v0", renamed, max_episode_steps=1000, kwargs={"name": "Walker2d-v5"})
gymnasium.register(
    "ContinuousLunarLander-v0", renamed, max_episode_steps=1000, kwargs={"name": "LunarLander-v3", "continuous": True}
)
gymnasium.register("CompactEmpty-v0", compact, kwargs={"name": "MiniGrid-Empty-5x5-v0"})
gymnasium.register("CompactDoorKey-v0", compact, kwargs={"name": "MiniGrid-DoorKey-5x5-v0"})
