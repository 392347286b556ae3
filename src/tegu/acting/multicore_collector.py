"""Collecting steps in environments written in JAX, with their groups dealt out to the cores."""

import time
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from tegu.acting.episodes import Episodes
from tegu.acting.jax_collector import CollectorState, JaxCollector
from tegu.algorithms.base import Algorithm, Learner
from tegu.core.schedule import Clock
from tegu.core.seeds import on_host
from tegu.core.step import Step
from tegu.core.trees import from_arrays, to_arrays
from tegu.environments.base import Environment

Arrays = Mapping[str, np.ndarray]


class MulticoreCollector:
    """A ``JaxCollector`` whose groups act on all cores at once. What they collect is the same, to the bit.

    Steps go to the learner by way of the host, so that no core ever waits within a program for another.
    """

    all_cores = True

    def __init__(self, algorithm: Algorithm, learner: Learner, environment: Environment, n_envs: int):
        """``learner`` gives the shapes of those that will act."""
        self.algorithm = algorithm
        self.one = JaxCollector(algorithm, environment, n_envs)
        self.seconds = {"acting": 0.0}
        mesh = Mesh(np.array(jax.local_devices()[: cores_for(self.one)]), ("groups",))
        same, split = PartitionSpec(), PartitionSpec("groups")

        def collected(
            algorithm: Algorithm, learner: Learner, clock: Clock, groups: Any, empty: jax.Array
        ) -> tuple[CollectorState, Step, Episodes]:
            now = algorithm.at(clock)
            return jax.lax.map(lambda group: self.one.collect_group(now, learner, group, len(empty)), groups)

        dealt = jax.shard_map(
            collected, mesh=mesh, in_specs=(same, same, same, split, same), out_specs=split, check_vma=False
        )
        self._collect: Any = jax.jit(dealt)
        self._split: Any = jax.jit(self.one.split)
        self._join: Any = jax.jit(self.one.join)
        self._start: Any = jax.jit(self.one.start)
        self.state: Any = jax.eval_shape(self.one.start, algorithm, learner, jax.random.key(0))

    def start(self, learner: Learner, key: jax.Array) -> None:
        self.state = self._start(self.algorithm, learner, key)

    def restart(self, learner: Learner, key: jax.Array) -> None:
        self.start(learner, key)

    def collect(self, learner: Learner, clock: Clock, key: jax.Array, n_steps: int) -> tuple[Step, Episodes]:
        began = time.perf_counter()
        groups = self._split(self.state, key)
        # the number of steps travels as the length of an array of nothing
        collected = self._collect(self.algorithm, learner, clock, groups, np.zeros((n_steps, 0)))
        self.state, steps, episodes = self._join(jax.tree.map(on_host, collected))
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

    def restore(self, blobs: Mapping[str, Arrays], data: Mapping[str, Any]) -> np.ndarray:
        self.state = from_arrays(self.state, blobs["environments"], "the checkpoint")
        return np.zeros(self.one.n_envs, bool)

    def close(self) -> None:
        """There is nothing to let go of."""


def cores_for(collector: JaxCollector) -> int:
    """Over how many devices the groups can be dealt out evenly; 1 where that is of no use."""
    if jax.default_backend() != "cpu":
        return 1
    return max(n for n in range(1, jax.local_device_count() + 1) if collector.n_groups % n == 0)
