"""What the host loop asks of environments that are stepped outside JAX, several side by side."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from tegu.core.step import PyTree


class HostStep(NamedTuple):
    """One step of ``n`` environments; every leaf is a NumPy array ``[n, ...]`` that nothing writes to any more."""

    observation: PyTree  #: to act on next: after an ended episode, the first one of the new episode
    reward: PyTree  #: float32; by agent where there are several, and so are the flags
    next_observation: PyTree  #: the true next observation
    terminated: PyTree
    truncated: PyTree
    score: PyTree  #: the environment's own reward, of which returns are reported; often the same as ``reward``
    over: np.ndarray  #: whether the episode is over whose return is reported, and another one has begun
    success: np.ndarray | None = None  #: whether a step reached the goal, if any environment says (``is_success``)


class HostEnvironments(Protocol):
    """``n`` environments, each of which begins a new episode at once where one has ended.

    All randomness follows from numbers given at the start, so that a deterministic environment can be brought back to
    the middle of an episode.
    """

    observation_space: Any  #: a ``gymnasium.Space``, of one environment
    action_space: Any
    agents: tuple[str, ...]  #: names by which rewards are paid where there are several agents
    goals: Any  #: ``EnvironmentSpec.goals``
    reward_function: Any  #: ``EnvironmentSpec.reward``
    time_limit: int | None  #: steps after which an episode is truncated, where that is known
    episodes: list[int]  #: how often each was seeded before it was the last time, mostly once an episode

    @property
    def taken(self) -> list[int]:
        """Steps since each was seeded, mostly those of the running episode."""
        ...

    def __len__(self) -> int: ...

    def reset(self) -> PyTree:
        """Begin an episode everywhere. Returns observations ``[n, ...]``."""
        ...

    def step(self, actions: PyTree) -> HostStep:
        """Take ``actions`` ``[n, ...]``, which lie in the action space."""
        ...

    def begin_anew(self, where: np.ndarray) -> PyTree:
        """Begin a new episode where the mask ``[n]`` says so. Returns the observations of all, ``[n, ...]``."""
        ...

    def snapshot(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Where every environment stands, as arrays and plain data."""
        ...

    def restore(self, arrays: Mapping[str, np.ndarray], data: Mapping[str, Any], observation: PyTree) -> PyTree:
        """Bring every environment back to where ``snapshot`` found it. Returns the observations there ``[n, ...]``.

        ``observation`` are those that were seen there. Where an episode ends earlier than it did, ``taken`` is then
        less than what ``data`` says.
        """
        ...

    def close(self) -> None: ...
