"""The loop whose environments are apart from the learner: those of the host, or groups of JAX's on all cores."""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tegu.acting.collector import Collector
from tegu.algorithms.base import Learner, Metrics
from tegu.core.schedule import Clock
from tegu.core.seeds import first_key, stacked
from tegu.core.step import Step
from tegu.core.trees import from_arrays, to_arrays
from tegu.training.compiled import Programs
from tegu.training.learning import cut_episodes
from tegu.training.memory import check_memory
from tegu.training.saving import Arrays, Blobs, buffer_from_blobs, buffer_to_blobs, counts
from tegu.training.tally import Tally

THREAD_PAYS = 1e-3  #: seconds an update must take before handing it to another thread is worth the hand-over


class SplitState(NamedTuple):
    """What one seed has learned and stored. Where its environments stand is kept by the collector."""

    learner: list[jax.Array]  #: its leaves: compiled functions take a flat list much faster than nested modules
    buffer: Any  #: a ``ReplayBuffer``, or () for on-policy algorithms
    key: jax.Array


class Split:
    """One seed: a learner here, a collector there.

    A round of replay updates learns from what was stored before the iteration, so that it can run in another thread
    while the environments take all steps of that iteration. Everything follows from the seed; timing changes nothing.
    """

    def __init__(self, programs: Programs, seed: int, collector: Collector, phase: int = 0):
        self.programs, self.seed, self.collector, self.phase = programs, seed, collector, phase
        self.size = programs.size
        self.stored = 0  #: rows that were ever written into the replay buffer
        self.cuts = 0  #: how often episodes were cut in it
        self.seconds = {"learning": 0.0, "waiting": 0.0}  #: learning may be in another thread, waiting is for that
        self.rollout: Any = ()  #: the last one, of algorithms that learn from rollouts
        self.ahead = False  #: whether it has done an iteration in which another seed's environment raised an error
        self.left: SplitState | None = None  #: what an iteration of this seed that raised an error has left behind
        self._thread = ThreadPoolExecutor(1)
        self._replay_seconds = 0.0  # that the last round of updates took
        self._no_tally: dict[bool, Tally] = {}  # that of no iterations at all, by whether they learn

    def start(self, n_buffers: int = 1) -> SplitState:
        """The state before the first step; ``n_buffers``: how many seeds are still to begin, this one included."""
        key, learner_key, collector_key = jax.random.split(first_key(self.seed, self.phase), 3)
        learner = self.programs.init(learner_key)
        self.collector.start(learner, collector_key)
        steps = self._steps()
        if self.size.replays:
            shapes = jax.eval_shape(lambda: self.programs.empty_buffer(steps))
            check_memory(self.programs.algorithm, shapes, n_buffers)
        return SplitState(jax.tree.leaves(learner), self.programs.empty_buffer(steps), key)

    def warm_up(self, steps: int) -> int:
        """How many iterations go by before one learns, after ``steps``."""
        return self.size.warm_up(steps, self.stored - self.ahead * self.size.steps)

    def no_tally(self, state: SplitState, *, learns: bool) -> Tally:
        """The tally of no iterations at all."""
        if learns not in self._no_tally:  # shapes are found by tracing, which takes long where act searches
            self._no_tally[learns] = self.programs.no_tally(self._steps(), state.buffer, learns=learns)
        return self._no_tally[learns]

    def iteration(
        self, state: SplitState, tally: Tally, before: Clock, after: Clock, *, learns: bool
    ) -> tuple[SplitState, Tally]:
        """Take ``n_steps`` in every environment and learn as the algorithm's experience declares.

        If something raises an error, what is left of the ``state`` is in ``left``.
        """
        self.left = state
        key, collect_key, update_key = self.programs.keys(state.key)
        leaves, buffer = state.learner, state.buffer
        learner = self.programs.learner(leaves)
        if not self.size.replays:
            if self.size.experience.whole:
                collect_key, start_key = jax.random.split(collect_key)
                self.collector.restart(learner, start_key)
            steps, episodes = self.collector.collect(learner, before, collect_key, self.size.n_steps)
            self.rollout = steps
            of_rollout = leaves, tally, steps, episodes, update_key, after
            leaves, tally = self._timed("learning", self.programs.rollout, *of_rollout)
            return SplitState(leaves, buffer, key), tally

        replayed = self._in_background(leaves, buffer, update_key, after) if learns else _done((leaves, buffer, {}))
        try:
            steps, episodes = self.collector.collect(learner, before, collect_key, self.size.n_steps)
        finally:  # the updates have used up the buffer that the iteration began with
            leaves, buffer, metrics = self._timed("waiting", replayed.result)
            self.left = SplitState(leaves, buffer, key)
        given = leaves, buffer, tally, steps, episodes, metrics, after
        leaves, buffer, tally = self._timed("learning", self.programs.store, *given)
        self.stored += self.size.steps
        return SplitState(leaves, buffer, key), tally

    def diagnose(self, state: SplitState, clock: Clock) -> Metrics:
        """See ``learning.diagnose``; of rollouts it looks at the last one."""
        return self.programs.diagnose(state.learner, state.buffer, self.rollout, state.key, clock)

    def dump(self, state: SplitState) -> tuple[Blobs, dict[str, Any]]:
        """The state but for the learner, as blobs of named arrays and plain data, for a checkpoint."""
        collected, data = self.collector.dump()
        blobs: Blobs = {**collected, "key": to_arrays({"key": state.key})}
        if self.size.replays:
            revised = self.programs.revises_rows(state.buffer)
            blobs |= buffer_to_blobs("replay", state.buffer, self.stored, cuts=self.cuts, revised=revised)
        return blobs, {"stored": self.stored, "cuts": self.cuts, "ahead": self.ahead, "collector": data}

    def restore(self, learner: Learner, blobs: Mapping[str, Arrays], data: Mapping[str, Any]) -> SplitState:
        """The state that ``dump`` was given, the environments brought back to where they stood."""
        state = self.start()
        buffer = state.buffer
        if self.size.replays:
            buffer = buffer_from_blobs("replay", jax.eval_shape(lambda: state.buffer), blobs)
        self.stored, cuts = counts(data)
        self.ahead = data.get("ahead") is True
        lost = self.collector.restore(blobs, data.get("collector"))
        self.cuts = cuts + int(lost.any())
        key = from_arrays({"key": state.key}, blobs.get("key", {}), "the checkpoint")["key"]
        return SplitState(jax.tree.leaves(learner), cut_episodes(buffer, jnp.asarray(lost)), key)

    def restart(self, state: SplitState) -> SplitState:
        """Leave the running episodes where they are, and begin new ones in all environments."""
        key, start_key = jax.random.split(state.key)
        self.collector.restart(self.programs.learner(state.learner), start_key)
        buffer = cut_episodes(state.buffer, jnp.ones(self.programs.spec.n_envs, bool))
        self.cuts += 1
        return SplitState(state.learner, buffer, key)

    def close(self) -> None:
        self._thread.shutdown()
        self.collector.close()

    def _steps(self) -> Step:
        """The shapes of what an iteration collects."""
        return self.collector.shapes(self.programs.shapes, self.size.n_steps)

    def _in_background(self, *given: Any) -> Future[Any]:
        """A round of updates, in another thread if it is long enough for that to pay, else at once."""
        if self._replay_seconds > THREAD_PAYS and not self.collector.all_cores:
            return self._thread.submit(self._replay, *given)
        return _done(self._replay(*given))

    def _replay(self, *given: Any) -> Any:
        before = self.seconds["learning"]
        replayed = self._timed("learning", lambda: jax.block_until_ready(self.programs.replay(*given)))
        self._replay_seconds = self.seconds["learning"] - before
        return replayed

    def _timed(self, kind: str, function: Callable[..., Any], *arguments: Any) -> Any:
        began = time.perf_counter()
        result = jax.block_until_ready(function(*arguments))
        self.seconds[kind] += time.perf_counter() - began
        return result


def _done(result: Any) -> Future[Any]:
    done: Future[Any] = Future()
    done.set_result(result)
    return done


class SplitLoop:
    """``Split`` for several seeds, which take turns at every iteration: what the trainer drives."""

    def __init__(self, programs: Programs, collectors: Mapping[int, Collector], phase: int = 0):
        """``collectors`` by seed; ``phase``: which one of a run it is, each draws other random numbers."""
        self.programs, self.spec, self.seeds = programs, programs.spec, tuple(collectors)
        self.each = [Split(programs, seed, collector, phase) for seed, collector in collectors.items()]
        self.steps_per_iteration = programs.size.steps
        self._under_way: tuple[list[SplitState], int] = [], 0  # in a chunk: every seed's state, the iterations of all

    @property
    def seconds(self) -> dict[str, float]:
        """Time spent so far, by kind of work."""
        kinds = [one.collector.seconds | one.seconds for one in self.each]
        return {kind: sum(seconds[kind] for seconds in kinds) for kind in kinds[0]}

    def start(self) -> list[SplitState]:
        """The state of every seed before the first step."""
        return [one.start(len(self.each) - i) for i, one in enumerate(self.each)]

    def compile(self, state: list[SplitState], start: int) -> None:
        """Nothing yet: acting and learning are compiled when they are first called."""

    def chunk(self, state: list[SplitState], iterations: int, start: int, total: int) -> tuple[list[SplitState], Tally]:
        """Run up to ``iterations`` from step ``start`` of ``total``: fewer where they end a warm-up.

        The tally's leaves are NumPy arrays ``[S]``; it says how many iterations were run.
        """
        warm_up = self.each[0].warm_up(start)
        learns, size = warm_up == 0, self.steps_per_iteration
        iterations = min(iterations, warm_up or iterations)
        states = list(state)
        self._under_way = states, 0
        tallies = [one.no_tally(mine, learns=learns) for one, mine in zip(self.each, state, strict=True)]
        for done in range(iterations):
            steps = start + done * size
            clocks = Clock.of(steps, total), Clock.of(steps + size, total)
            for i, one in enumerate(self.each):
                if one.ahead:
                    tallies[i] = tallies[i]._replace(iterations=tallies[i].iterations + 1)
                else:
                    states[i], tallies[i] = one.iteration(states[i], tallies[i], *clocks, learns=learns)
                    one.ahead = True
            for one in self.each:
                one.ahead, one.left = False, None
            self._under_way = states, done + 1
        return states, jax.tree.map(lambda *sums: np.stack(sums), *tallies)

    def diagnose(self, state: list[SplitState], steps: int, total: int) -> Mapping[str, np.ndarray]:
        """What ``Algorithm.diagnose`` finds after so many ``steps`` of ``total``, for every seed ``[S]``."""
        if not self.programs.size.diagnoses:
            return {}
        clock = Clock.of(steps, total)
        found = [one.diagnose(mine, clock) for one, mine in zip(self.each, state, strict=True)]
        return jax.tree.map(lambda *each: np.stack(each), *found)

    def salvage(self, state: list[SplitState]) -> tuple[list[SplitState], int]:
        """After ``chunk`` raised an error: what every seed has learned by then, and the iterations all have done.

        Seeds whose turn came before that of the one that failed are ``ahead`` by an iteration, and wait when the
        others go on with it.
        """
        states, done = self._under_way
        left = [mine if one.ahead else one.left or mine for one, mine in zip(self.each, states, strict=True)]
        return left, done

    def learners(self, state: list[SplitState]) -> Learner:
        """What every seed has learned, ``[S, ...]``."""
        return stacked([self.programs.learner(mine.learner) for mine in state])

    def with_learners(self, state: list[SplitState], learners: Learner) -> list[SplitState]:
        """The state with other ``learners`` ``[S, ...]``."""
        leaves = jax.tree.leaves(learners)
        return [mine._replace(learner=[jnp.array(leaf[i]) for leaf in leaves]) for i, mine in enumerate(state)]

    def with_keys(self, state: list[SplitState], seeds: Sequence[int]) -> list[SplitState]:
        """The state with everything drawn from ``seeds`` from now on."""
        return [mine._replace(key=jax.random.key(seed)) for mine, seed in zip(state, seeds, strict=True)]

    def restart(self, state: list[SplitState]) -> list[SplitState]:
        """The state with new episodes in all environments; the running ones are cut."""
        return [one.restart(mine) for one, mine in zip(self.each, state, strict=True)]

    def dump(self, state: list[SplitState], members: Sequence[int]) -> tuple[Blobs, dict[str, Any]]:
        """The state of some seeds, by index, as blobs of named arrays and plain data, for a checkpoint."""
        blobs: Blobs = {"learner": to_arrays(self.learners([state[i] for i in members]))}
        data = {}
        for one, mine in ((self.each[i], state[i]) for i in members):
            of_seed, data[str(one.seed)] = one.dump(mine)
            blobs |= {f"{name}-{one.seed}": blob for name, blob in of_seed.items()}
        return blobs, data

    def restore(self, blobs: Mapping[str, Arrays], data: Mapping[str, Any]) -> list[SplitState]:
        """The state that ``dump`` was given."""
        shapes = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct((len(self.seeds), *leaf.shape), leaf.dtype), self.programs.shapes
        )
        learners = from_arrays(shapes, blobs.get("learner", {}), "the checkpoint")
        states = []
        for i, one in enumerate(self.each):
            end = f"-{one.seed}"
            mine = {name.removesuffix(end): blob for name, blob in blobs.items() if name.endswith(end)}
            learner = jax.tree.map(lambda leaf, i=i: leaf[i], learners)
            states.append(one.restore(learner, mine, data.get(str(one.seed), {})))
        return states

    def close(self) -> None:
        for one in self.each:
            one.close()
