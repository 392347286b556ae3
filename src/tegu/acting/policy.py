"""A policy that acts outside compiled loops: in environments of the host, and for ``predict``."""

from functools import partial
from typing import Any

import jax
import numpy as np

from tegu.acting.jax_collector import memory_for
from tegu.algorithms.base import Algorithm, ExpectedReturn, Learner
from tegu.core.schedule import Clock
from tegu.core.step import Decision, PyTree


class Policy:
    """``Algorithm.act``, compiled once for each batch size.

    Learners go in as flat lists of leaves: a compiled function takes those much faster than nested modules.
    """

    def __init__(self, algorithm: Algorithm, learner: Learner):
        """``learner`` gives the structure; its shapes are enough."""
        self._numbers, self._algorithm_structure = jax.tree.flatten(algorithm)
        self._numbers = [np.asarray(number, jax.dtypes.canonicalize_dtype(type(number))) for number in self._numbers]
        self._learner_structure = jax.tree.structure(learner)
        self._act = jax.jit(self._act_compiled, static_argnames="explore")
        self._expected_return = jax.jit(self._expected_return_compiled)
        self._begin = jax.jit(self._begin_compiled, static_argnames="n")

    @staticmethod
    def leaves(learner: Learner) -> list[jax.Array]:
        return jax.tree.leaves(learner)

    def act(
        self,
        leaves: list[jax.Array],
        observation: PyTree,
        memory: PyTree,
        begins: np.ndarray,
        words: np.ndarray,
        clock: Clock,
        *,
        explore: bool,
    ) -> Decision:
        """Actions for observations ``[B, ...]`` as NumPy arrays; ``begins`` ``[B]`` says where an episode does.

        ``words`` are the two words of a random key.
        """
        decided = self._act(leaves, self._numbers, observation, memory, begins, words, clock, explore=explore)
        return Decision(*jax.tree.map(np.asarray, decided))

    def expected_return(
        self, leaves: list[jax.Array], observation: PyTree, memory: PyTree, begins: np.ndarray, clock: Clock
    ) -> ExpectedReturn | None:
        """``Algorithm.expected_return`` in NumPy; arguments as for ``act``."""
        return jax.device_get(self._expected_return(leaves, self._numbers, observation, memory, begins, clock))

    def memory(self, leaves: list[jax.Array], key: jax.Array, n: int) -> PyTree:
        """What the policy remembers before ``n`` episodes, as NumPy arrays."""
        return jax.device_get(self._begin(leaves, self._numbers, key, n=n))

    def shapes(self, learner: Learner, observation: PyTree, memory: PyTree) -> Decision:
        """The shapes of what is decided for observations ``[B, ...]``."""
        n = len(jax.tree.leaves(observation)[0])
        leaves, words = self.leaves(learner), np.zeros(2, np.uint32)
        given = leaves, self._numbers, observation, memory, np.zeros(n, bool), words, Clock.of(0, 1)
        return Decision(*jax.eval_shape(partial(self._act_compiled, explore=True), *given))

    def _act_compiled(
        self,
        leaves: list[jax.Array],
        numbers: list[Any],
        observation: PyTree,
        memory: PyTree,
        begins: jax.Array,
        words: jax.Array,
        clock: Clock,
        *,
        explore: bool,
    ) -> tuple[PyTree, PyTree, PyTree]:
        learner, algorithm = self._given(leaves, numbers)
        algorithm, key = algorithm.at(clock), jax.random.wrap_key_data(words)
        memory = memory_for(algorithm, learner, memory, begins, jax.random.fold_in(key, 0))
        return tuple(algorithm.act(learner, observation, memory, key, explore=explore))

    def _expected_return_compiled(
        self,
        leaves: list[jax.Array],
        numbers: list[Any],
        observation: PyTree,
        memory: PyTree,
        begins: jax.Array,
        clock: Clock,
    ) -> ExpectedReturn | None:
        learner, algorithm = self._given(leaves, numbers)
        algorithm = algorithm.at(clock)
        memory = memory_for(algorithm, learner, memory, begins, jax.random.key(0))
        return algorithm.expected_return(learner, observation, memory)

    def _begin_compiled(self, leaves: list[jax.Array], numbers: list[Any], key: jax.Array, *, n: int) -> PyTree:
        learner, algorithm = self._given(leaves, numbers)
        return algorithm.begin(learner, key, n)

    def _given(self, leaves: list[jax.Array], numbers: list[Any]) -> tuple[Learner, Algorithm]:
        algorithm = jax.tree.unflatten(self._algorithm_structure, numbers)
        return jax.tree.unflatten(self._learner_structure, leaves), algorithm
