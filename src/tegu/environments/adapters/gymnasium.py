"""Gymnasium environments for the host loop."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import gymnasium
import jax
import numpy as np

from tegu.errors import TeguError
from tegu.spaces import zeros
from tegu.step import PyTree


class HostStep(NamedTuple):
    """One step of ``n`` environments; every leaf is a fresh NumPy array ``[n, ...]``."""

    observation: PyTree  #: to act on next: after an ended episode, the first one of the new episode
    reward: np.ndarray  #: float32
    next_observation: PyTree  #: the true next observation
    terminated: np.ndarray
    truncated: np.ndarray


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
        self._zeros = zeros(self.observation_space)
        self.episodes = [0] * len(entropy)
        self.actions: list[list[Any]] = [[] for _ in entropy]
        self._last: list[PyTree] = []

    def reset(self) -> PyTree:
        """Begin an episode everywhere. Returns observations ``[n, ...]``."""
        self._last = [self._begin(i) for i in range(len(self.environments))]
        return self._stack(self._last)

    def step(self, actions: np.ndarray) -> HostStep:
        """Take ``actions`` ``[n, ...]``, which lie in the action space; ended episodes begin anew."""
        following, true_next = [], []
        n = len(self.environments)
        reward, terminated, truncated = np.empty(n, np.float32), np.empty(n, bool), np.empty(n, bool)
        for i, (environment, action) in enumerate(zip(self.environments, self._each(actions), strict=True)):
            observation, reward[i], terminated[i], truncated[i], _ = environment.step(action)
            self.actions[i].append(action)
            true_next.append(observation)
            if terminated[i] or truncated[i]:
                self.episodes[i] += 1
                observation = self._begin(i)
            following.append(observation)
        truncated &= ~terminated
        self._last = following
        return HostStep(self._stack(following), reward, self._stack(true_next), terminated, truncated)

    def snapshot(self) -> dict[str, Any]:
        """Where every environment stands, as plain data: the episode's number and the actions since its beginning."""
        actions = [[np.asarray(action).tolist() for action in taken] for taken in self.actions]
        return {"episodes": list(self.episodes), "actions": actions}

    def restore(self, snapshot: dict[str, Any]) -> PyTree:
        """Bring every environment back to where it stood. Returns the observations there ``[n, ...]``."""
        observations = []
        self.episodes = list(snapshot["episodes"])
        dtype = self.action_space.dtype
        for i, actions in enumerate(snapshot["actions"]):
            observation = self._begin(i)
            for plain in actions:
                action = plain if isinstance(plain, int) else np.asarray(plain, dtype)
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

    def _each(self, actions: np.ndarray) -> Any:
        return actions.tolist() if isinstance(self.action_space, gymnasium.spaces.Discrete) else actions

    def _stack(self, observations: list[PyTree]) -> PyTree:
        """``[n, ...]`` in the dtypes JAX holds; says so when an observation does not look as its space declares."""
        try:
            return jax.tree.map(lambda zero, *parts: _joined(zero, parts), self._zeros, *observations)
        except (ValueError, TypeError) as error:
            raise TeguError(
                f"the environment returned an observation that is not in its space {self.observation_space}: {error}"
            ) from error


def _joined(zero: np.ndarray, parts: Sequence[Any]) -> np.ndarray:
    out = np.empty((len(parts), *zero.shape), zero.dtype)
    for i, part in enumerate(parts):
        out[i] = part
    return out
