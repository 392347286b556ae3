"""What a model does with what it has learned."""

from collections.abc import Callable
from typing import Any

import jax

from tegu.agent import Agent
from tegu.algorithms.base import Learner
from tegu.step import PyTree


class Policy(Agent):
    """An agent that follows a learner while it goes on learning, without compiling anew."""

    _structure: Any = None  # of the learner that ``_compiled`` acts for

    def follow(self, learners: Learner, steps: int) -> None:
        """Act as ``learners`` ``[1, ...]`` have learned after ``steps``."""
        self.learners, self.steps = learners, steps
        # copies, because training goes on in the learners' own memory
        self._leaves, structure = jax.tree.flatten(self.learner())
        if self._structure is None or structure != self._structure:
            self._structure = structure
            self._compiled = {flag: self._compile(deterministic=flag) for flag in (False, True)}

    def predict(
        self,
        observation: PyTree,
        state: PyTree = None,
        episode_start: Any = None,
        deterministic: bool = False,
        *,
        index: int = 0,
    ) -> tuple[Any, PyTree]:
        """The action for an observation or a batch of them, and ``state``; sampled unless ``deterministic``."""
        return super().predict(observation, state, episode_start, deterministic, index=index)

    def reseed(self, seed: int) -> None:
        """Sample as ``seed`` says from now on."""
        self._key = jax.random.key(seed)

    def _acting(self, index: int, deterministic: bool) -> Callable[[PyTree, jax.Array], PyTree]:
        return lambda seen, key: self._compiled[deterministic](self._leaves, seen, key)

    def _compile(self, deterministic: bool) -> Callable[..., PyTree]:
        algorithm, structure = self.algorithm, self._structure

        def act(leaves: list[jax.Array], seen: PyTree, key: jax.Array) -> PyTree:
            learner = jax.tree.unflatten(structure, leaves)
            return algorithm.act(learner, seen, (), key, explore=not deterministic).action

        return jax.jit(act)
