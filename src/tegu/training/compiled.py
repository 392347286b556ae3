"""What the split loop compiles, once for all seeds.

Learners and hyper-parameters come as flat lists of leaves: a compiled function takes those much faster than modules.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from tegu.acting.episodes import Episodes
from tegu.algorithms.base import Algorithm, Learner, Metrics
from tegu.core.schedule import Clock
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Step
from tegu.experience.buffer import ReplayBuffer
from tegu.training.learning import Iteration, diagnose, empty_buffer, replay, revises_rows, take
from tegu.training.tally import Tally

Leaves = list[Any]


class Programs:
    """An algorithm's ``init``, ``update`` and ``take`` with what a loop does around them, for one seed."""

    def __init__(self, algorithm: Algorithm, spec: EnvironmentSpec):
        self.algorithm, self.spec, self.size = algorithm, spec, Iteration(algorithm, spec.n_envs)
        numbers, self._algorithm_structure = jax.tree.flatten(algorithm)
        self.numbers = [jnp.asarray(number) for number in numbers]  # converted once, not at every call
        self._init = jax.jit(lambda key: algorithm.init(key, spec))
        self.shapes: Learner = jax.eval_shape(self._init, jax.random.key(0))  #: of a learner
        self._learner_structure = jax.tree.structure(self.shapes)
        self.keys: Any = jax.jit(lambda key: tuple(jax.random.split(key, 3)))
        # of leaves and what the traced functions below name after them; buffers are used up
        self.rollout: Any = partial(jax.jit(self._rollout_traced), self.numbers)
        self.replay: Any = partial(jax.jit(self._replay_traced, donate_argnums=2), self.numbers)
        self.diagnose: Any = partial(jax.jit(self._diagnose_traced), self.numbers)
        self.store: Any = partial(jax.jit(self._store_traced, donate_argnums=2), self.numbers)

    def init(self, key: jax.Array) -> Learner:
        return self._init(key)

    def learner(self, leaves: Leaves) -> Learner:
        return jax.tree.unflatten(self._learner_structure, leaves)

    def empty_buffer(self, steps: Step) -> Any:
        return empty_buffer(self.algorithm, self.shapes, steps, self.spec)

    def no_tally(self, steps: Step, buffer: Any, *, learns: bool) -> Tally:
        """The tally of no iterations at all; arguments give the shapes."""
        metrics: Metrics = {}
        leaves, when = jax.tree.leaves(self.shapes), (jax.random.key(0), Clock.of(0, 1))
        if learns and self.size.replays:
            metrics = jax.eval_shape(self.replay, leaves, buffer, *when)[2]
        elif learns:
            metrics = jax.eval_shape(self._update_traced, self.numbers, leaves, steps, *when)[1]
        return Tally.zero(steps.reward, metrics)

    def revises_rows(self, buffer: ReplayBuffer) -> bool:
        """Whether updates change rows that were stored; ``buffer`` gives the shapes."""
        return revises_rows(self.algorithm, self.shapes, buffer, self.spec)

    def _given(self, numbers: Leaves, leaves: Leaves) -> tuple[Algorithm, Learner]:
        return jax.tree.unflatten(self._algorithm_structure, numbers), self.learner(leaves)

    def _update_traced(self, numbers: Leaves, leaves: Leaves, steps: Step, key: jax.Array, clock: Clock) -> Any:
        algorithm, learner = self._given(numbers, leaves)
        return tuple(algorithm.at(clock).update(learner, steps, key))

    def _rollout_traced(
        self,
        numbers: Leaves,
        leaves: Leaves,
        tally: Tally,
        steps: Step,
        episodes: Episodes,
        key: jax.Array,
        clock: Clock,
    ) -> tuple[Leaves, Tally]:
        learner, metrics, _ = self._update_traced(numbers, leaves, steps, key, clock)
        return jax.tree.leaves(learner), tally.add(steps, episodes, metrics)

    def _replay_traced(
        self, numbers: Leaves, leaves: Leaves, buffer: ReplayBuffer, key: jax.Array, clock: Clock
    ) -> tuple[Leaves, ReplayBuffer, Metrics]:
        algorithm, learner = self._given(numbers, leaves)
        learner, buffer, metrics = replay(algorithm, learner, buffer, key, clock, self.spec)
        return jax.tree.leaves(learner), buffer, metrics

    def _diagnose_traced(
        self, numbers: Leaves, leaves: Leaves, buffer: Any, steps: Any, key: jax.Array, clock: Clock
    ) -> Metrics:
        algorithm, learner = self._given(numbers, leaves)
        return diagnose(algorithm, learner, buffer, steps, key, clock, self.spec)

    def _store_traced(
        self,
        numbers: Leaves,
        leaves: Leaves,
        buffer: ReplayBuffer,
        tally: Tally,
        steps: Step,
        episodes: Episodes,
        metrics: Metrics,
        clock: Clock,
    ) -> tuple[Leaves, ReplayBuffer, Tally]:
        algorithm, learner = self._given(numbers, leaves)
        learner, buffer, block = take(algorithm, learner, buffer, steps, clock, self.spec.n_envs)
        return jax.tree.leaves(learner), buffer.write(block), tally.add(steps, episodes, metrics)
