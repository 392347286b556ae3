"""Environments of the host, those of Gymnasium and those adapted to its shape, for the host loop."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import gymnasium
import jax
import numpy as np

from tegu.core.errors import TeguError
from tegu.core.step import PyTree, over
from tegu.environments.adapters.pettingzoo import ParallelEnvironment
from tegu.spaces.features import zeros


class HostStep(NamedTuple):
    """One step of ``n`` environments; every leaf is a fresh NumPy array ``[n, ...]``."""

    observation: PyTree  #: to act on next: after an ended episode, the first one of the new episode
    reward: PyTree  #: float32; by agent where there are several, and so are the flags
    next_observation: PyTree  #: the true next observation
    terminated: PyTree
    truncated: PyTree


class GymnasiumEnvironments:
    """``n`` environments stepped one after the other, each episode begun from a seed of its own.

    The seed of an episode follows from ``entropy``, the environment's index and the episode's number, so that a
    deterministic environment can be brought back to the middle of an episode: same seed, same actions.
    """

    def __init__(self, make: Callable[[], gymnasium.Env], entropy: Sequence[Sequence[int]]):
        """``entropy``: for each environment, the integers that all its randomness follows from."""
        self.environments = [make() for _ in entropy]
        self.entropy = [list(numbers) for numbers in entropy]
        first = self.environments[0]
        self.observation_space, self.action_space = first.observation_space, first.action_space
        inner = first.unwrapped
        self.agents = tuple(inner.possible_agents) if isinstance(inner, ParallelEnvironment) else ()
        self._zeros = zeros(self.observation_space)
        self.episodes = [0] * len(entropy)
        self.actions: list[list[Any]] = [[] for _ in entropy]
        self._last: list[PyTree] = []

    def reset(self) -> PyTree:
        """Begin an episode everywhere. Returns observations ``[n, ...]``."""
        self._last = [self._begin(i) for i in range(len(self.environments))]
        return self._stack(self._last)

    def __len__(self) -> int:
        return len(self.environments)

    def step(self, actions: PyTree) -> HostStep:
        """Take ``actions`` ``[n, ...]``, which lie in the action space; ended episodes begin anew."""
        following, happened = [], []
        for i, (environment, action) in enumerate(zip(self.environments, self._each(actions), strict=True)):
            happened.append(environment.step(action)[:4])
            self.actions[i].append(action)
            observation, _, *flags = happened[-1]
            if over(*flags) if self.agents else any(flags):  # walking through trees takes microseconds
                self.episodes[i] += 1
                observation = self._begin(i)
            following.append(observation)
        self._last = following
        true_next, reward, terminated, truncated = zip(*happened, strict=True)
        ends = self._columns(terminated, bool)
        cut = jax.tree.map(lambda truncated, terminated: truncated & ~terminated, self._columns(truncated, bool), ends)
        return HostStep(self._stack(following), self._columns(reward, np.float32), self._stack(true_next), ends, cut)

    def snapshot(self) -> dict[str, Any]:
        """Where every environment stands, as plain data: the episode's number and the actions since its beginning."""
        actions = [[jax.tree.map(_listed, action) for action in taken] for taken in self.actions]
        return {"episodes": list(self.episodes), "actions": actions}

    def restore(self, snapshot: dict[str, Any]) -> PyTree:
        """Bring every environment back to where it stood. Returns the observations there ``[n, ...]``."""
        observations = []
        self.episodes = list(snapshot["episodes"])
        for i, actions in enumerate(snapshot["actions"]):
            observation = self._begin(i)
            for plain in actions:
                action = _unlisted(self.action_space, plain)
                observation, *_ = self.environments[i].step(action)
                self.actions[i].append(action)
            observations.append(observation)
        self._last = observations
        return self._stack(observations)

    def begin_anew(self, where: np.ndarray) -> PyTree:
        """Begin a new episode where the mask ``[n]`` says so. Returns the observations of all, ``[n, ...]``."""
        for i in map(int, np.flatnonzero(where)):
            self.episodes[i] += 1
            self._last[i] = self._begin(i)
        return self._stack(self._last)

    def close(self) -> None:
        for environment in self.environments:
            environment.close()

    def _begin(self, i: int) -> PyTree:
        seed = np.random.SeedSequence([*self.entropy[i], self.episodes[i]]).generate_state(1)[0]
        observation, _ = self.environments[i].reset(seed=int(seed))
        self.actions[i] = []
        return observation

    def _each(self, actions: PyTree) -> Any:
        """The actions of each environment, from those of all."""
        if isinstance(self.action_space, gymnasium.spaces.Dict):
            columns = [_rows(space, actions[name]) for name, space in self.action_space.items()]
            return [dict(zip(self.action_space, row, strict=True)) for row in zip(*columns, strict=True)]
        return _rows(self.action_space, actions)

    def _columns(self, values: Sequence[Any], dtype: type) -> PyTree:
        """What each environment gave as arrays ``[n]``, by agent where there are several."""
        if self.agents:
            return {agent: np.array([value[agent] for value in values], dtype) for agent in self.agents}
        return np.array(values, dtype)

    def _stack(self, observations: Sequence[PyTree]) -> PyTree:
        """``[n, ...]`` in the dtypes JAX holds; says so when an observation does not look as its space declares."""
        try:
            return jax.tree.map(lambda zero, *parts: _joined(zero, parts), self._zeros, *observations)
        except (ValueError, TypeError) as error:
            raise TeguError(
                f"the environment returned an observation that is not in its space {self.observation_space}: {error}"
            ) from error


def _rows(space: gymnasium.Space, actions: np.ndarray) -> Any:
    """Actions ``[n, ...]`` one by one; discrete ones as Python's integers, which some environments insist on."""
    return actions.tolist() if isinstance(space, gymnasium.spaces.Discrete) else actions


def _listed(action: Any) -> Any:
    return np.asarray(action).tolist()


def _unlisted(space: gymnasium.Space, plain: Any) -> Any:
    """Undo ``_listed``."""
    if isinstance(space, gymnasium.spaces.Dict):
        return {name: _unlisted(part, plain[name]) for name, part in space.items()}
    return plain if isinstance(plain, int) else np.asarray(plain, space.dtype)


def _joined(zero: np.ndarray, parts: Sequence[Any]) -> np.ndarray:
    out = np.empty((len(parts), *zero.shape), zero.dtype)
    for i, part in enumerate(parts):
        out[i] = part
    return out
