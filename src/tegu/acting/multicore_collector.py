"""Collecting steps in environments written in JAX, with their groups dealt out to the cores."""

import time
from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tegu.acting.episodes import Episodes
from tegu.acting.jax_collector import CollectorState, JaxCollector
from tegu.algorithms.base import Algorithm, Learner
from tegu.core.runtime import cores
from tegu.core.schedule import Clock
from tegu.core.seeds import Program
from tegu.core.step import Step
from tegu.core.trees import ENVIRONMENTS, from_arrays, to_arrays
from tegu.environments.base import Environment

Arrays = Mapping[str, np.ndarray]


class MulticoreCollector:
    """A ``JaxCollector`` whose groups act on all cores at once. What they collect is the same, to the bit."""

    all_cores = True

    def __init__(self, algorithm: Algorithm, learner: Learner, environment: Environment, n_envs: int):
        """``learner`` gives the shapes of those that will act."""
        self.algorithm = algorithm
        self.one = JaxCollector(algorithm, environment, n_envs)
        self.seconds = {"acting": 0.0}
        self._collect: dict[int, Program] = {}  # by the number of steps
        self._split: Any = jax.jit(self._split_traced)
        self._join: Any = jax.jit(self._join_traced)
        self._start: Any = jax.jit(self.one.start)
        self.state: Any = jax.eval_shape(self.one.start, algorithm, learner, jax.random.key(0))

    def start(self, learner: Learner, key: jax.Array) -> None:
        self.state = self._start(self.algorithm, learner, key)

    def restart(self, learner: Learner, key: jax.Array) -> None:
        self.start(learner, key)

    def collect(self, learner: Learner, clock: Clock, key: jax.Array, n_steps: int) -> tuple[Step, Episodes]:
        began = time.perf_counter()
        if n_steps not in self._collect:
            self._collect[n_steps] = Program(jax.jit(partial(self._collect_traced, n_steps)), n_shared=3)
        groups = self._split(self.state, key)
        collected = self._collect[n_steps](groups, self.algorithm, learner, clock)
        self.state, steps, episodes = self._join(collected)
        jax.block_until_ready(steps)
        self.seconds["acting"] += time.perf_counter() - began
        return steps, episodes

    def shapes(self, learner: Learner, n_steps: int) -> Step:
        key, clock = jax.random.key(0), Clock.of(0, 1)

        def collected(learner: Learner, state: CollectorState) -> Step:
            return self.one.collect(self.algorithm.at(clock), learner, state, key, n_steps)[1]

        return jax.eval_shape(collected, learner, self.state)

    def dump(self) -> tuple[dict[str, Arrays], dict[str, Any]]:
        return {"environments": to_arrays(self.state)}, {}

    def restore(self, blobs: Mapping[str, Arrays], data: Any) -> np.ndarray:
        self.state = from_arrays(self.state, blobs.get("environments", {}), "the checkpoint", ENVIRONMENTS)
        return np.zeros(self.one.n_envs, bool)

    def close(self) -> None:
        """There is nothing to let go of."""

    def _split_traced(self, state: CollectorState, key: jax.Array) -> list[tuple[CollectorState, jax.Array]]:
        groups = self.one.split(state, key)
        return [jax.tree.map(lambda leaf, i=i: leaf[i], groups) for i in range(self.one.n_groups)]

    def _collect_traced(
        self, n_steps: int, group: Any, algorithm: Algorithm, learner: Learner, clock: Clock
    ) -> tuple[CollectorState, Step, Episodes]:
        return self.one.collect_group(algorithm.at(clock), learner, group, n_steps)

    def _join_traced(
        self, collected: list[tuple[CollectorState, Step, Episodes]]
    ) -> tuple[CollectorState, Step, Episodes]:
        return self.one.join(jax.tree.map(lambda *leaves: jnp.stack(leaves), *collected))

    @staticmethod
    def pays(collector: JaxCollector) -> bool:
        """Whether there is anything to act side by side, and anything to do it with."""
        return jax.default_backend() == "cpu" and collector.n_groups > 1 and cores() > 1
