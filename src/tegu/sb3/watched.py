"""A wrapper by which a vectorised environment knows what happens to each of its environments."""

from dataclasses import dataclass
from typing import Any

import gymnasium

from tegu.sb3.monitor import wrappers


@dataclass
class Calls:
    """How often an environment was reset or stepped, through whichever vectorised environment."""

    number: int = 0


class Watched(gymnasium.Wrapper):
    """Keeps the infos of the last step and reset, and counts calls."""

    def __init__(self, env: gymnasium.Env):
        super().__init__(env)
        self.info: dict[str, Any] = {}
        self.reset_info: dict[str, Any] = {}
        self.options: dict[str, Any] | None = None  #: of the next reset
        self._calls: Calls = env.unwrapped.__dict__.setdefault("_tegu_calls", Calls())

    @property
    def standing(self) -> tuple[int, ...]:
        """Changes when anybody resets or steps the environment, so that training sees where its episode was left.

        Seen is what goes through any vectorised environment, or moves the count of a time limit.
        """
        return self._calls.number, *_elapsed(self)

    def reset(self, **arguments: Any) -> tuple[Any, dict[str, Any]]:
        self._calls.number += 1
        if self.options is not None:
            arguments, self.options = {**arguments, "options": self.options}, None
        observation, self.reset_info = self.env.reset(**arguments)
        return observation, self.reset_info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        self._calls.number += 1
        observation, reward, terminated, truncated, self.info = self.env.step(action)
        return observation, reward, terminated, truncated, self.info


def _elapsed(env: gymnasium.Env) -> list[int]:
    """The steps of the running episode, as every time limit counts them."""
    limits = (wrapper for wrapper in wrappers(env) if isinstance(wrapper, gymnasium.wrappers.TimeLimit))
    return [limit._elapsed_steps or 0 for limit in limits]
