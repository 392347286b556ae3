"""Collecting steps in environments of the host: they step in Python, the policy acts in one compiled call for all."""

import time
import warnings
from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import numpy as np

from tegu.acting.episodes import Episodes
from tegu.acting.policy import Policy
from tegu.algorithms.base import Learner
from tegu.core.errors import TeguError
from tegu.core.schedule import Clock
from tegu.core.step import Decision, PyTree, Step, episode_ended
from tegu.core.trees import ENVIRONMENTS, from_arrays, to_arrays
from tegu.environments.adapters.base import HostEnvironments, HostStep
from tegu.spaces.bounds import to_bounds
from tegu.spaces.frames import broken_promise, has_frame_stacks

Arrays = Mapping[str, np.ndarray]

STEPS_CHECKED = 100  #: at the beginning of a training, in every environment: whether stacks of frames go on as promised


class HostCollector:
    """``B`` environments in the middle of their episodes, and the policy that acts in them."""

    all_cores = False

    def __init__(self, policy: Policy, environments: HostEnvironments):
        self.environments, self.policy = environments, policy
        self.n_envs = len(environments)
        self.broken = False  #: whether an error ended ``collect``, so that nobody knows where the episodes stand
        self.seconds = {"environment": 0.0, "acting": 0.0}
        self.unchecked = STEPS_CHECKED if has_frame_stacks(environments.observation_space) else 0
        self.observation: PyTree = None
        self.memory: PyTree = ()
        self.begins = np.ones(self.n_envs, bool)  #: whether what is learned from as an episode begins: a life may
        self.elapsed = np.zeros(self.n_envs, np.int32)
        nothing = np.zeros(self.n_envs, np.float32)
        self.total_reward: PyTree = dict.fromkeys(environments.agents, nothing) if environments.agents else nothing

    def start(self, learner: Learner, key: jax.Array) -> None:
        """Fresh episodes in all environments."""
        self.observation = self.environments.reset()
        if self.unchecked:
            self._require_frames(self.observation)
        self.memory = self.policy.memory(self.policy.leaves(learner), key, self.n_envs)
        self._forget(np.ones(self.n_envs, bool))

    def restart(self, learner: Learner, key: jax.Array) -> None:
        """Leave the running episodes where they are, and begin new ones in all environments."""
        self._begin_anew(np.ones(self.n_envs, bool))

    def collect(self, learner: Learner, clock: Clock, key: jax.Array, n_steps: int) -> tuple[Step, Episodes]:
        """``n_steps`` decisions in every environment: steps ``[T, B, ...]`` and the episodes that ended in them."""
        leaves = self.policy.leaves(learner)
        taken, ended = [], []
        self.broken = True  # unless all steps are taken: those before an error are in nobody's record
        for words in np.asarray(_words(key, n=n_steps)):
            step, episodes = self._step(self._decide(leaves, clock, words))
            taken.append(step)
            ended.append(episodes)
        self.broken = False
        steps = jax.tree.map(lambda *leaves: np.stack(leaves), *taken)
        sums = jax.tree.map(lambda *sums: sum(sums), *ended)
        total_reward = jax.tree.map(np.float32, sums.total_reward)
        return steps, Episodes(np.int32(sums.ended), total_reward, np.int32(sums.length))

    def shapes(self, learner: Learner, n_steps: int) -> Step:
        """The shapes of the steps that ``collect`` returns; call ``start`` first."""
        decision = self.policy.shapes(learner, self.observation, self.memory)
        flags = jax.tree.map(lambda reward: reward.astype(bool), self.total_reward)
        seen = self.observation
        step = Step(seen, decision.action, self.total_reward, seen, flags, flags, decision.extras)
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((n_steps, *leaf.shape), leaf.dtype), step)

    def dump(self) -> tuple[dict[str, Arrays], dict[str, Any]]:
        """Where the episodes stand, as blobs of named arrays and plain data."""
        if self.broken:
            return {"environments": to_arrays(self._standing())}, {"episodes": list(self.environments.episodes)}
        episodes, data = self.environments.snapshot()
        return {"environments": to_arrays(self._standing()), "episodes": episodes}, data

    def restore(self, blobs: Mapping[str, Arrays], data: Any) -> np.ndarray:
        """Bring the environments back to where ``dump`` found them; call ``start`` first.

        Those that do not come back to the same observation are not deterministic: it says so, and they begin anew.
        So do all where an error of an environment had ended the training. Returns where, ``[B]``.
        """
        for name in ("episodes", "taken") if "episodes" in blobs else ("episodes",):
            numbers = data.get(name) if isinstance(data, Mapping) else None
            fits = isinstance(numbers, list) and len(numbers) == self.n_envs
            if not fits or any(type(each) is not int or not 0 <= each < 2**31 for each in numbers or ()):
                raise TeguError(
                    f"the checkpoint is damaged: {name} is not a number for each of {self.n_envs} environments"
                )
        saved = from_arrays(self._standing(), blobs.get("environments", {}), "the checkpoint", ENVIRONMENTS)
        saved = jax.tree.map(np.array, saved)
        for name in ("memory", "begins", "elapsed", "total_reward"):
            setattr(self, name, saved[name])
        if "episodes" not in blobs:
            self.environments.episodes = list(data["episodes"])
            return self._begin_anew(np.ones(self.n_envs, bool))
        self.observation = self.environments.restore(blobs["episodes"], data, saved["observation"])
        there = np.equal(self.environments.taken, data["taken"])
        same = jax.tree.map(
            lambda now, then: (now == then).reshape((self.n_envs, -1)).all(axis=1),
            self.observation,
            saved["observation"],
        )
        lost = ~np.logical_and.reduce([there, *jax.tree.leaves(same)])
        if lost.any():
            warnings.warn(
                f"the environment is not deterministic: {lost.sum()} of {lost.size} episodes could not be replayed "
                "to their last state and start again",
                stacklevel=2,
            )
        return self._begin_anew(lost)

    def close(self) -> None:
        self.environments.close()

    def _decide(self, leaves: list[jax.Array], clock: Clock, words: np.ndarray) -> Decision:
        began = time.perf_counter()
        decision = self.policy.act(leaves, self.observation, self.memory, self.begins, words, clock, explore=True)
        self.seconds["acting"] += time.perf_counter() - began
        return decision

    def _step(self, decision: Decision) -> tuple[Step, Episodes]:
        """Act in all environments. Returns the ``Step`` ``[B, ...]`` and sums over the episodes it ended."""
        began = time.perf_counter()
        now = self.environments.step(to_bounds(self.environments.action_space, decision.action))
        self.seconds["environment"] += time.perf_counter() - began
        if self.unchecked:
            self._check_frames(now)
        learned = now.reward, now.next_observation, now.terminated, now.truncated
        step = Step(self.observation, decision.action, *learned, decision.extras)
        self.observation, self.memory = now.observation, decision.memory
        self.begins = episode_ended(now.terminated, now.truncated)
        self.elapsed, self.total_reward = self.elapsed + 1, jax.tree.map(np.add, self.total_reward, now.score)
        totals = jax.tree.map(lambda total: total[now.over].sum(), self.total_reward)
        episodes = Episodes(now.over.sum(), totals, self.elapsed[now.over].sum())
        self._forget(now.over)
        return step, episodes

    def _check_frames(self, now: HostStep) -> None:
        begins = episode_ended(now.terminated, now.truncated)
        self._require_frames(jax.tree.map(lambda leaf: leaf[begins], now.observation))
        self._require_frames(now.next_observation, self.observation)
        self.unchecked -= 1

    def _require_frames(self, observation: PyTree, before: PyTree = None) -> None:
        """Raise ``TeguError`` unless stacks of frames are what their space promises."""
        if broken := broken_promise(self.environments.observation_space, observation, before):
            name, expected = broken
            raise TeguError(f"the environment breaks what its FrameStack promises: {name} must be {expected}")

    def _begin_anew(self, where: np.ndarray) -> np.ndarray:
        """Leave the running episodes ``where`` ``[B]``, and begin new ones; returns ``where``."""
        self.observation = self.environments.begin_anew(where)
        self._forget(where)
        return where

    def _forget(self, ended: np.ndarray) -> None:
        """Begin an episode, and its sums, anew where one has ``ended``."""
        self.begins = self.begins | ended
        self.elapsed, self.total_reward = jax.tree.map(lambda total: total * ~ended, (self.elapsed, self.total_reward))

    def _standing(self) -> dict[str, PyTree]:
        return {name: getattr(self, name) for name in ("observation", "memory", "begins", "elapsed", "total_reward")}


@partial(jax.jit, static_argnames="n")
def _words(key: jax.Array, *, n: int) -> jax.Array:
    """The words ``[n, 2]`` of as many random keys: NumPy slices them faster than JAX does keys."""
    return jax.random.key_data(jax.random.split(key, n))
