"""The fused loop for a single seed whose groups of environments are dealt out to the cores."""

import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from tegu.algorithms.base import Algorithm
from tegu.core.seeds import trim
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import PyTree
from tegu.environments.base import Environment
from tegu.training.fused import Fused, FusedLoop, FusedState
from tegu.training.tally import Tally


class DealtLoop(FusedLoop):
    """All cores play, each some of the groups; then one of them learns. To the bit the same as ``FusedLoop``.

    What was played goes to the learner by way of the host, so that no core ever waits within a program for another.
    """

    def __init__(self, algorithm: Algorithm, environment: Environment, spec: EnvironmentSpec, seeds: Sequence[int]):
        super().__init__(algorithm, environment, spec, seeds)
        mesh = Mesh(np.array(jax.local_devices()[: dealt_to(self.one)]), ("groups",))
        same, split = PartitionSpec(), PartitionSpec("groups")
        play = jax.shard_map(self.one.play, mesh=mesh, in_specs=(same, same, split), out_specs=split, check_vma=False)
        self._deal: Any = jax.jit(lambda state, total: self.one.deal(alone(state), total))
        self._play: Any = jax.jit(play)
        self._learn: Any = jax.jit(self._learned, donate_argnums=0)
        self._nothing = self.one.nothing(algorithm, jax.eval_shape(lambda: alone(self.start())))
        self.seconds = {"playing": 0.0, "learning": 0.0}

    def chunk(self, state: FusedState, iterations: int, total: int) -> tuple[FusedState, Tally]:
        """As ``FusedLoop.chunk``."""
        tally = self._nothing
        for _ in range(iterations):
            began = time.perf_counter()
            learner, groups, keys = self._deal(state, np.int32(total))
            played = trim(self._play(self.algorithm, learner, groups), self.one.n_groups)
            halfway = time.perf_counter()
            learned = self._learn(state, tally, self.algorithm, played, keys, np.int32(total))
            state, tally = jax.block_until_ready(learned)
            self.seconds["playing"] += halfway - began
            self.seconds["learning"] += time.perf_counter() - halfway
        return state, jax.tree.map(lambda leaf: np.asarray(leaf)[None], tally)

    def compile(self, state: FusedState) -> None:
        """As ``FusedLoop.compile``."""
        if not isinstance(self._deal, jax.stages.Wrapped):
            return
        total = np.int32(1)
        learner, groups, keys = jax.eval_shape(self._deal, state, total)
        played = jax.eval_shape(self._play, self.algorithm, learner, groups)
        self._deal = self._deal.lower(state, total).compile()
        self._play = self._play.lower(self.algorithm, learner, groups).compile()
        self._learn = self._learn.lower(state, self._nothing, self.algorithm, played, keys, total).compile()

    def _learned(
        self, state: FusedState, tally: Tally, algorithm: Algorithm, played: Any, keys: Any, total: jax.Array
    ) -> tuple[FusedState, Tally]:
        state, happened = self.one.learn(algorithm, alone(state), played, keys, total)
        return jax.tree.map(lambda leaf: leaf[None], state), tally.add(*happened)


def dealt_to(one: Fused) -> int:
    """How many devices the groups can be dealt out to evenly; 1 where that is of no use."""
    if jax.default_backend() != "cpu":
        return 1
    return max(n for n in range(1, jax.local_device_count() + 1) if one.n_groups % n == 0)


def alone(state: PyTree) -> PyTree:
    """Without the axis of seeds, of which there is one."""
    return jax.tree.map(lambda leaf: leaf[0], state)
