"""The loop for environments written in JAX: collecting and learning in one compiled program."""

import time
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tegu.acting.episodes import Episodes
from tegu.acting.jax_collector import CollectorState, JaxCollector
from tegu.algorithms.base import Algorithm, Learner, Metrics
from tegu.core.schedule import Clock, StepCount
from tegu.core.seeds import Layout, first_key, stacked
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import PyTree, Step
from tegu.core.trees import ENVIRONMENTS, from_arrays, to_arrays
from tegu.environments.base import Environment
from tegu.training.learning import Iteration, cut_episodes, diagnose, empty_buffer, replay, revises_rows, take
from tegu.training.memory import check_memory
from tegu.training.saving import Arrays, Blobs, buffer_from_blobs, buffer_to_blobs, counts
from tegu.training.tally import Tally


class FusedState(NamedTuple):
    """Everything one seed needs to go on as if it had never stopped."""

    learner: Learner
    buffer: Any  #: a ``ReplayBuffer``, or () for on-policy algorithms
    collector: CollectorState
    key: jax.Array


class Fused:
    """Train one algorithm on one JAX environment. All methods are pure; one seed, no leading axis."""

    def __init__(self, algorithm: Algorithm, environment: Environment, spec: EnvironmentSpec, phase: int = 0):
        self.spec, self.phase = spec, phase
        self.size = Iteration(algorithm, spec.n_envs)
        self.collector = JaxCollector(algorithm, environment, spec.n_envs)

    def init(self, seed: jax.Array, algorithm: Algorithm) -> FusedState:
        key, learner_key, collector_key = jax.random.split(first_key(seed, self.phase), 3)
        learner = algorithm.init(learner_key, self.spec)
        collector = self.collector.start(algorithm, learner, collector_key)
        _, steps, _ = jax.eval_shape(partial(self.collect, algorithm), learner, collector, key, Clock.of(0, 1))
        return FusedState(learner, empty_buffer(algorithm, learner, steps, self.spec), collector, key)

    def restart(self, state: FusedState, algorithm: Algorithm) -> FusedState:
        """Leave the running episodes where they are, and begin new ones in all environments."""
        key, start_key = jax.random.split(state.key)
        collector = self.collector.start(algorithm, state.learner, start_key)
        buffer = cut_episodes(state.buffer, jnp.ones(self.spec.n_envs, bool))
        return FusedState(state.learner, buffer, collector, key)

    def collect(
        self, algorithm: Algorithm, learner: Learner, collector: CollectorState, key: jax.Array, clock: Clock
    ) -> tuple[CollectorState, Step, Episodes]:
        fresh = not self.size.replays and self.size.experience.whole
        given = algorithm.at(clock), learner, collector, key, self.size.n_steps
        return self.collector.collect(*given, fresh=fresh)

    def iteration(
        self, state: FusedState, algorithm: Algorithm, before: Clock, after: Clock, *, learns: bool
    ) -> tuple[FusedState, PyTree, tuple[Step, Episodes, Metrics]]:
        """Collect and, unless it is warming up, learn.

        Also returns the rows that are still to be written to the replay buffer, and what a ``Tally`` takes in.
        """
        key, collect_key, update_key = jax.random.split(state.key, 3)
        collector, steps, episodes = self.collect(algorithm, state.learner, state.collector, collect_key, before)
        learner, buffer, block = state.learner, state.buffer, ()
        metrics: Metrics = {}
        if not self.size.replays:
            learner, metrics, _ = algorithm.at(after).update(learner, steps, update_key)
        else:
            if learns:
                learner, buffer, metrics = replay(algorithm, learner, buffer, update_key, after, self.spec)
            learner, buffer, block = take(algorithm, learner, buffer, steps, after, self.spec.n_envs)
        return FusedState(learner, buffer, collector, key), block, (steps, episodes, metrics)

    def diagnose(self, state: FusedState, algorithm: Algorithm, clock: Clock) -> Metrics:
        """See ``learning.diagnose``; of rollouts it looks at the one that comes next."""
        steps: Any = ()
        if not self.size.replays:
            collect_key = jax.random.split(state.key, 3)[1]
            _, steps, _ = self.collect(algorithm, state.learner, state.collector, collect_key, clock)
        return diagnose(algorithm, state.learner, state.buffer, steps, state.key, clock, self.spec)

    def chunk(
        self,
        state: FusedState,
        algorithm: Algorithm,
        iterations: jax.Array,
        start: StepCount,
        total: StepCount,
        *,
        learns: bool,
    ) -> tuple[FusedState, Tally]:
        """``iterations`` one after the other on the device, from the step ``start`` of ``total``.

        The rows of an iteration are written when the next one begins, before it draws: so the compiler sees that
        nobody reads the old ring any more, and writes in place instead of copying it.
        """

        def iterate(_: jax.Array, carry: Any) -> Any:
            state, block, count, tally = carry
            later = count.plus(self.size.steps)
            state, block, happened = self.iteration(
                self._written(state, block), algorithm, count.clock(total), later.clock(total), learns=learns
            )
            return state, block, later, tally.add(*happened)

        one = partial(self.iteration, learns=learns)
        _, _, (steps, _, metrics) = jax.eval_shape(one, state, algorithm, Clock.of(0, 1), Clock.of(0, 1))
        block = state.buffer.last(self.size.steps) if self.size.replays else ()
        start = jax.tree.map(jnp.asarray, start)
        carry = state, block, start, Tally.zero(steps.reward, metrics)
        state, block, _, tally = jax.lax.fori_loop(0, iterations, iterate, carry)
        return self._written(state, block), tally

    def _written(self, state: FusedState, block: PyTree) -> FusedState:
        return state._replace(buffer=state.buffer.write(block)) if self.size.replays else state


class FusedLoop:
    """``Fused`` for many seeds, compiled: what the trainer drives.

    Its state is a list of the ``Layout``'s parts, each with an axis of seeds.
    """

    def __init__(
        self,
        algorithms: Algorithm | Sequence[Algorithm],
        environment: Environment,
        spec: EnvironmentSpec,
        seeds: Sequence[int],
        phase: int = 0,
    ):
        """``algorithms``: one for all seeds, or one for each; they may differ in numbers, not in shapes.

        ``phase``: which one of a run it is; each draws other random numbers.
        """
        each = [algorithms] * len(seeds) if isinstance(algorithms, Algorithm) else list(algorithms)
        self.spec, self.seeds, self.layout = spec, tuple(seeds), Layout(len(seeds))
        self.one = Fused(each[0], environment, spec, phase)
        self.steps_per_iteration = self.one.size.steps
        self.seconds: dict[str, float] = {"compiled program": 0.0}
        self.stored = 0  #: rows that were ever written into each replay buffer
        self.cuts = 0  #: how often episodes were cut in them
        self._algorithms = self.layout.split(stacked(each))
        self._init = self.layout.program(self.one.init)
        if self.one.size.replays:
            check_memory(each[0], self._shapes().buffer, len(seeds), self.layout.n_devices)
        self._restart = self.layout.program(self.one.restart)
        self._diagnose = self.layout.program(self.one.diagnose, n_shared=1)
        self._chunk = {
            learns: self.layout.program(partial(self.one.chunk, learns=learns), n_shared=3, donate_argnums=0)
            for learns in (False, True)
        }

    def start(self) -> list[FusedState]:
        """The state of every seed before the first step."""
        return self._init(self.layout.split(np.asarray(self.seeds)), self._algorithms)

    def chunk(self, state: list[FusedState], iterations: int, start: int, total: int) -> tuple[list[FusedState], Tally]:
        """Run up to ``iterations`` from step ``start`` of ``total``: fewer where they end a warm-up.

        ``state`` is used up. The tally's leaves are NumPy arrays ``[S]``; it says how many iterations were run.
        """
        began = time.perf_counter()
        warm_up = self.one.size.warm_up(start, self.stored)
        learns = warm_up == 0
        counts = np.int32(iterations if learns else min(iterations, warm_up)), StepCount.of(start), StepCount.of(total)
        parts = self._chunk[learns](state, self._algorithms, *counts)
        tally = self.layout.join([tally for _, tally in parts])
        self.stored += int(counts[0]) * self.steps_per_iteration
        self.seconds["compiled program"] += time.perf_counter() - began
        return [state for state, _ in parts], tally

    def diagnose(self, state: list[FusedState], steps: int, total: int) -> Mapping[str, np.ndarray]:
        """What ``Algorithm.diagnose`` finds after so many ``steps`` of ``total``, for every seed ``[S]``."""
        if not self.one.size.diagnoses:
            return {}
        return self.layout.join(self._diagnose(state, self._algorithms, Clock.of(steps, total)))

    def salvage(self, state: list[FusedState]) -> tuple[list[FusedState], int]:
        """After ``chunk`` raised an error: its ``state``, though it may be used up, and no iteration."""
        return state, 0

    def compile(self, state: list[FusedState], start: int) -> None:
        """Compile what the first chunk runs now, so that it takes no longer than the others."""
        learns = self.one.size.warm_up(start, self.stored) == 0
        self._chunk[learns].compile(state, self._algorithms, np.int32(0), StepCount.of(0), StepCount.of(1))

    def learners(self, state: list[FusedState]) -> Learner:
        """What every seed has learned, ``[S, ...]``: copies, for the next chunk uses up ``state``."""
        return jax.tree.map(jnp.array, self.layout.join([each.learner for each in state]))

    def with_learners(self, state: list[FusedState], learners: Learner) -> list[FusedState]:
        """The state with other ``learners`` ``[S, ...]``."""
        parts = self.layout.split(jax.tree.map(jnp.array, learners))
        return [each._replace(learner=part) for each, part in zip(state, parts, strict=True)]

    def with_keys(self, state: list[FusedState], seeds: Sequence[int]) -> list[FusedState]:
        """The state with everything drawn from ``seeds`` from now on."""
        keys = self.layout.split(stacked([jax.random.key(seed) for seed in seeds]))
        return [each._replace(key=key) for each, key in zip(state, keys, strict=True)]

    def restart(self, state: list[FusedState]) -> list[FusedState]:
        """The state with new episodes in all environments; the running ones are cut."""
        self.cuts += 1
        return self._restart(state, self._algorithms)

    def dump(self, state: list[FusedState], members: Sequence[int]) -> tuple[Blobs, dict[str, Any]]:
        """The state of some seeds, by index, as blobs of named arrays and plain data, for a checkpoint."""
        learner, collector, key = (
            jax.tree.map(lambda leaf: leaf[members], self.layout.join([getattr(each, name) for each in state]))
            for name in ("learner", "collector", "key")
        )
        blobs: Blobs = {
            "learner": to_arrays(learner),
            "environments": to_arrays({"collector": collector, "key": key}),
        }
        if self.one.size.replays:
            for index, buffer in enumerate(self.layout.each([each.buffer for each in state])):
                if index in members:
                    name = f"replay-{self.seeds[index]}"
                    blobs |= buffer_to_blobs(name, buffer, self.stored, cuts=self.cuts, revised=self._revised)
        return blobs, {"stored": self.stored, "cuts": self.cuts}

    def restore(self, blobs: Mapping[str, Arrays], data: Mapping[str, Any]) -> list[FusedState]:
        """The state that ``dump`` was given."""
        one = self._shapes()
        all_seeds = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct((len(self.seeds), *leaf.shape), leaf.dtype), one._replace(buffer=())
        )
        learner = from_arrays(all_seeds.learner, blobs.get("learner", {}), "the checkpoint")
        shapes = {"collector": all_seeds.collector, "key": all_seeds.key}
        environments = from_arrays(shapes, blobs.get("environments", {}), "the checkpoint", ENVIRONMENTS)
        buffer: Any = ()
        if self.one.size.replays:
            buffers = [buffer_from_blobs(f"replay-{seed}", one.buffer, blobs) for seed in self.seeds]
            buffer = jax.tree.map(lambda *leaves: np.stack(leaves), *buffers)
        self.stored, self.cuts = counts(data)
        return self.layout.split(FusedState(learner, buffer, environments["collector"], environments["key"]))

    def close(self) -> None:
        """Nothing to let go of; other loops have environments."""

    def _shapes(self) -> FusedState:
        """Shapes of one seed's state."""
        of_part = self._init.shapes(self.layout.split(np.asarray(self.seeds)), self._algorithms)
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), of_part)

    @cached_property
    def _revised(self) -> bool:
        one, algorithm = self._shapes(), jax.tree.map(lambda leaf: leaf[0], self._algorithms[0])
        return revises_rows(algorithm, one.learner, one.buffer, self.spec)
