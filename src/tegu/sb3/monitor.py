"""Stable-Baselines3's ``Monitor``: the returns and lengths of episodes, and whether anybody else plays them."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gymnasium

from tegu.sb3.settings import refuse


@dataclass
class Calls:
    """How often an environment was reset or stepped, through whichever monitor around it."""

    number: int = 0


class Monitor(gymnasium.Wrapper):
    """Adds ``info["episode"]`` to every last step: return ``r``, length ``l``, its own age in seconds ``t``.

    Keeps the infos of the last step and reset. Around another monitor it keeps the inner one's ``info["episode"]``.
    """

    def __init__(self, env: gymnasium.Env, filename: str | None = None, allow_early_resets: bool = True):
        super().__init__(env)
        refuse("Monitor", filename=filename, no_early_resets=not allow_early_resets)
        self.info: dict[str, Any] = {}
        self.reset_info: dict[str, Any] = {}
        self._counts = not is_wrapped(env, Monitor)
        self._calls: Calls = env.unwrapped.__dict__.setdefault("_tegu_calls", Calls())
        self.episode_return, self.episode_length = 0.0, 0  #: of the running episode
        self._created = time.perf_counter()

    @property
    def standing(self) -> tuple[int, ...]:
        """Changes when anybody resets or steps the environment, so that training sees where its episode was left.

        Seen is what goes through any monitor around the environment, or moves the count of its time limits.
        """
        return self._calls.number, *_elapsed(self)

    def reset(self, **arguments: Any) -> tuple[Any, dict[str, Any]]:
        self._calls.number += 1
        observation, self.reset_info = self.env.reset(**arguments)
        self.episode_return, self.episode_length = 0.0, 0
        return observation, self.reset_info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        self._calls.number += 1
        observation, reward, terminated, truncated, info = self.env.step(action)
        self.episode_return += float(reward)
        self.episode_length += 1
        if self._counts and (terminated or truncated):
            seconds = time.perf_counter() - self._created
            info = {**info, "episode": {"r": self.episode_return, "l": self.episode_length, "t": seconds}}
        self.info = info
        return observation, reward, terminated, truncated, info


def is_wrapped(env: gymnasium.Env, wrapper_class: type[gymnasium.Wrapper]) -> bool:
    """Whether ``wrapper_class`` is among the wrappers of ``env``."""
    return any(isinstance(wrapper, wrapper_class) for wrapper in _wrappers(env))


def _wrappers(env: gymnasium.Env) -> Iterator[gymnasium.Wrapper]:
    """The wrappers around an environment, outside in."""
    while isinstance(env, gymnasium.Wrapper):
        yield env
        env = env.env


def _elapsed(env: gymnasium.Env) -> list[int]:
    """The steps of the running episode, as every time limit counts them."""
    limits = (wrapper for wrapper in _wrappers(env) if isinstance(wrapper, gymnasium.wrappers.TimeLimit))
    return [limit._elapsed_steps or 0 for limit in limits]
