"""Stable-Baselines3's ``VecFrameStack``: the last observations as one."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces

from tegu.core.step import PyTree
from tegu.nn.encoder import channels_first
from tegu.sb3.errors import ArgumentError
from tegu.sb3.settings import at_least
from tegu.sb3.vec_env import VecEnv, VecEnvStep, VecEnvWrapper, last_observation
from tegu.sb3.vec_parts import each, is_image, mapped, parts


class VecFrameStack(VecEnvWrapper):
    """The last ``n_stack`` observations joined into one, along the channels of images, else along the last axis.

    ``channels_order``: "first" or "last" for all, or a dict of one for each entry of a Dict; None finds out. Before an
    episode there are zeros.
    """

    def __init__(self, venv: VecEnv, n_stack: int, channels_order: str | Mapping[str, str] | None = None):
        space = venv.observation_space
        odd = [part for part in parts(space).values() if not isinstance(part, spaces.Box)]
        if odd:
            raise ArgumentError(f"VecFrameStack needs a Box, or a Dict of them, got {odd[0]}")
        self.n_stack = at_least(1, n_stack, "n_stack")
        self._axes = {name: self._axis(name, part, channels_order) for name, part in parts(space).items()}
        super().__init__(venv, mapped(self._space, space))
        self._stacked: PyTree = each(
            lambda part: np.zeros((self.num_envs, *part.shape), part.dtype), parts(self.observation_space)
        )

    def reset(self) -> PyTree:
        observation = parts(self.venv.reset())
        for name, stack in self._stacked.items():
            stack[...] = 0
            self._put(name, stack, observation[name])
        return self._seen()

    def step_wait(self) -> VecEnvStep:
        observations, rewards, dones, infos = self.venv.step_wait()
        infos = list(infos)
        for i in map(int, np.flatnonzero(dones)):
            last = parts(last_observation(infos[i]))
            ended = {name: stack[i : i + 1].copy() for name, stack in self._stacked.items()}
            for name, stack in ended.items():
                self._shift(name, stack)
                self._put(name, stack, np.asarray(last[name])[None])
            whole = {name: stack[0] for name, stack in ended.items()}
            infos[i] = {**infos[i], "terminal_observation": whole if self._named else whole[""]}
        for name, stack in self._stacked.items():
            self._shift(name, stack)
            stack[np.asarray(dones, bool)] = 0
            self._put(name, stack, parts(observations)[name])
        return self._seen(), rewards, dones, infos

    @property
    def _named(self) -> bool:
        return isinstance(self.observation_space, spaces.Dict)

    def _seen(self) -> PyTree:
        copies = {name: stack.copy() for name, stack in self._stacked.items()}
        return copies if self._named else copies[""]

    def _axis(self, name: str, box: Any, order: str | Mapping[str, str] | None) -> int:
        """The axis of an observation along which frames are joined."""
        given = order.get(name) if isinstance(order, Mapping) else order
        if given not in ("first", "last", None):
            raise ArgumentError(f"VecFrameStack: channels_order must be first, last or None, got {given!r}")
        if given is None:
            given = "first" if len(box.shape) == 3 and is_image(box) and channels_first(box.shape) else "last"
        return 0 if given == "first" else -1

    def _space(self, name: str, box: Any) -> spaces.Box:
        low, high = (np.concatenate([bound] * self.n_stack, self._axes[name]) for bound in (box.low, box.high))
        return spaces.Box(low, high, dtype=box.dtype)

    def _newest(self, name: str, stack: np.ndarray) -> np.ndarray:
        """The place of the newest frame in ``stack`` ``[n, ...]``."""
        axis = self._axes[name] + 1 if self._axes[name] == 0 else self._axes[name]
        return np.moveaxis(stack, axis, 0)

    def _put(self, name: str, stack: np.ndarray, frame: np.ndarray) -> None:
        channels = self._newest(name, np.asarray(frame))
        self._newest(name, stack)[-len(channels) :] = channels

    def _shift(self, name: str, stack: np.ndarray) -> None:
        frames = self._newest(name, stack)
        size = len(frames) // self.n_stack
        frames[: len(frames) - size] = frames[size:].copy()
