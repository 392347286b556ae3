"""The loop for environments that run on the host: they step in Python; acting and learning are compiled."""

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tegu.algorithms.base import Algorithm, Learner, Metrics
from tegu.core.schedule import Clock
from tegu.core.seeds import one_after_another
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Decision, PyTree, Step, over
from tegu.core.trees import from_arrays, to_arrays
from tegu.environments.adapters.gymnasium import GymnasiumEnvironments
from tegu.experience.base import Replay, Rollout
from tegu.experience.host import HostReplay
from tegu.spaces.bounds import to_bounds
from tegu.training.fused import at, flat, gradient_steps, remembered, steps_per_environment, window
from tegu.training.tally import Episodes, Fault, Tally

THREAD_PAYS = 1e-3  #: seconds an update must take before handing it to another thread is worth the hand-over


class HostState(NamedTuple):
    """What changes on the device, with a leading axis of seeds. Where the environments stand is kept by the loop."""

    learner: list[jax.Array]  #: its leaves: compiled functions take a flat list much faster than nested modules
    key: jax.Array


class HostLoop:
    """Train ``S`` seeds on ``S * B`` environments of the host, all acting in one compiled call.

    A replay update learns from the steps stored before the last one, so that a long update can run in another thread
    while the environments take that last step. Everything follows from the seeds; timing changes nothing.
    """

    def __init__(
        self, algorithm: Algorithm, environments: GymnasiumEnvironments, spec: EnvironmentSpec, seeds: Sequence[int]
    ):
        self.algorithm = jax.tree.map(jnp.asarray, algorithm)  # converted once, not at every call
        self.hyper_parameters, self._algorithm_structure = jax.tree.flatten(self.algorithm)
        self.environments, self.spec, self.seeds = environments, spec, tuple(seeds)
        self.experience: Any = algorithm.experience
        self.n_steps = steps_per_environment(algorithm, spec.n_envs)
        self.steps_per_iteration = self.n_steps * spec.n_envs
        self.shape = (len(self.seeds), spec.n_envs)
        self.seconds = dict.fromkeys(("env", "act", "learn"), 0.0)

        self._thread = ThreadPoolExecutor(1)
        self._update_seconds = 0.0

        self.steps = 0
        self.observation: PyTree = None
        self.memory: PyTree = ()
        self.elapsed = np.zeros(self.shape, np.int32)
        nothing = np.zeros(self.shape, np.float32)
        self.total_reward: PyTree = dict.fromkeys(spec.agents, nothing) if spec.agents else nothing
        self.replays: list[HostReplay] = []

        shapes = jax.eval_shape(self._init_one, jax.random.key(0), self.algorithm)
        self._learner_structure = jax.tree.structure(shapes)
        self._init = jax.jit(one_after_another(self._init_one))
        self._memory = jax.jit(one_after_another(self._memory_one))
        self._randomness = jax.jit(one_after_another(self._randomness_one))
        self._act = jax.jit(one_after_another(self._act_one))
        update = self._replay_one if isinstance(self.experience, Replay) else self._rollout_one
        self._update = jax.jit(one_after_another(update))

    def start(self) -> HostState:
        """The state of every seed before the first step."""
        keys = jax.vmap(lambda seed: jax.random.split(jax.random.key(seed)))(jnp.asarray(self.seeds))
        state = HostState(jax.tree.leaves(self._init(keys[:, 1], self.algorithm)), keys[:, 0])
        self.observation = self._by_seed(self.environments.reset())
        self.memory = jax.device_get(self._memory((state.learner, keys[:, 1]), self.hyper_parameters))
        if isinstance(self.experience, Replay):
            row = self._row(state.learner)
            self.replays = [HostReplay(row, self.experience.capacity, seed) for seed in self.seeds]
        return state

    def compile(self, state: HostState) -> None:
        """Nothing yet: acting and learning are compiled when they are first called."""

    def chunk(self, state: HostState, iterations: int, total: int) -> tuple[HostState, Tally]:
        """Run ``iterations`` of ``total`` steps' worth. The tally's leaves are NumPy ``[S]``."""
        tally = _no_tally(self.total_reward)
        for _ in range(iterations):
            state, steps, episodes, metrics = self._iteration(state, total)
            tally = _added(tally, steps, episodes, metrics)
        return state, tally

    def learners(self, state: HostState) -> Learner:
        """What every seed has learned, ``[S, ...]``."""
        return jax.tree.unflatten(self._learner_structure, state.learner)

    def dump(self, state: HostState) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, Any]]:
        """The state as blobs of named arrays and plain data, for a checkpoint."""
        blobs = {
            "learner": to_arrays(self.learners(state)),
            "experience": to_arrays([replay.filled() for replay in self.replays]),
            "world": to_arrays(self._world(state.key)),
        }
        replays = [replay.counters() for replay in self.replays]
        return blobs, {"steps": self.steps, "environments": self.environments.snapshot(), "replays": replays}

    def restore(self, blobs: Mapping[str, Mapping[str, np.ndarray]], data: Mapping[str, Any]) -> HostState:
        """The state that ``dump`` was given, the environments brought back to where they stood."""
        start = self.start()
        learner = from_arrays(self.learners(start), blobs["learner"], "the checkpoint")
        world = from_arrays(self._world(start.key), blobs["world"], "the checkpoint")
        for replay, counters in zip(self.replays, data["replays"], strict=True):
            replay.restore_counters(counters)
        filled = from_arrays([replay.filled() for replay in self.replays], blobs["experience"], "the checkpoint")
        for replay, rows in zip(self.replays, filled, strict=True):
            replay.refill(rows)
        self.steps, self.memory = data["steps"], world["memory"]
        self.elapsed, self.total_reward = jax.tree.map(np.array, (world["elapsed"], world["total_reward"]))
        self.observation = self._by_seed(self.environments.restore(data["environments"]))
        self._begin_anew_where_lost(world["observation"])
        return HostState(jax.tree.leaves(learner), world["key"])

    def close(self) -> None:
        self._thread.shutdown()
        self.environments.close()

    def _iteration(self, state: HostState, total: int) -> tuple[HostState, Step, Episodes, Metrics | None]:
        """Take ``n_steps`` in every environment and learn as the algorithm's experience declares."""
        key, act_words, update_key = self._randomness(state.key)
        act_words = np.asarray(act_words)  # slicing a JAX array at every step would cost more than acting
        learner, clock = state.learner, (np.int32(self.steps), np.int32(total))
        self.steps += self.steps_per_iteration
        later = np.int32(self.steps), clock[1]
        replaying = (
            bool(self.replays)
            and self.steps > self.experience.learning_starts
            and self.replays[0].size >= window(self.experience, self.spec.n_envs)
        )
        metrics = None
        taken, ended = [], []
        for t in range(self.n_steps):
            decision = self._timed("act", self._decide, state.learner, act_words[:, t], clock)
            if replaying and t == self.n_steps - 1:
                learning = self._in_background(self._learn, learner, self._sample(), update_key, later)
            step, episodes = self._step(decision)
            taken.append(step)
            ended.append(episodes)

        steps = jax.tree.map(lambda *leaves: np.stack(leaves, axis=1), *taken)  # [S, T, B, ...]
        self._store(steps)
        if isinstance(self.experience, Rollout):
            learner, metrics = self._timed("learn", self._learn, learner, steps, update_key, later)
        elif replaying:
            learner, metrics = self._timed("learn", learning.result)
        metrics = self._timed("learn", jax.device_get, metrics)
        return HostState(learner, key), steps, jax.tree.map(lambda *sums: np.sum(sums, axis=0), *ended), metrics

    def _store(self, steps: Step) -> None:
        """Keep what the algorithm wants of an iteration's steps ``[S, T, B, ...]``."""
        for seed, replay in enumerate(self.replays):
            replay.add(flat(self.algorithm.rows(jax.tree.map(lambda leaf, seed=seed: leaf[seed], steps))))

    def _decide(self, learner: list[jax.Array], words: np.ndarray, clock: tuple[np.int32, np.int32]) -> Decision:
        """Actions for all environments as NumPy arrays ``[S, B, ...]``."""
        seen = learner, self.observation, self.memory, self.elapsed, words
        return Decision(*jax.tree.map(np.asarray, self._act(seen, self.hyper_parameters, clock)))

    def _learn(
        self, learner: list[jax.Array], steps: Step, key: jax.Array, clock: tuple[np.int32, np.int32]
    ) -> tuple[list[jax.Array], Metrics]:
        start = time.perf_counter()
        learned = jax.block_until_ready(self._update((learner, steps, key), self.hyper_parameters, clock))
        self._update_seconds = time.perf_counter() - start
        return learned

    def _step(self, decision: Decision) -> tuple[Step, Episodes]:
        """Act in all environments. Returns the ``Step`` ``[S, B, ...]`` and sums ``[S]`` over the episodes it ended."""
        action = jax.tree.map(lambda leaf: leaf.reshape((-1, *leaf.shape[2:])), decision.action)
        now = self._by_seed(self._timed("env", self.environments.step, to_bounds(self.spec.action_space, action)))
        flags = now.terminated, now.truncated
        step = Step(self.observation, decision.action, now.reward, now.next_observation, *flags, decision.extras)
        self.observation, self.memory = now.observation, decision.memory

        done = over(*flags)
        self.elapsed, self.total_reward = self.elapsed + 1, jax.tree.map(np.add, self.total_reward, now.reward)
        seen = Episodes(np.ones_like(self.elapsed), self.total_reward, self.elapsed)
        episodes = jax.tree.map(lambda value: (done * value).sum(axis=1), seen)
        self.forget(done)
        return step, episodes

    def forget(self, done: np.ndarray) -> None:
        """Begin the sums of an episode anew where one is ``done``."""
        self.elapsed, self.total_reward = jax.tree.map(lambda sum: sum * ~done, (self.elapsed, self.total_reward))

    def _sample(self) -> Step:
        """Minibatches for one round of updates, ``[S, rounds, ...]`` and then as ``Replay`` declares."""
        rounds = gradient_steps(self.experience, self.steps_per_iteration)
        wanted = rounds, self.experience.batch_size, self.experience.n_steps, self.spec.n_envs
        drawn = [replay.sample(*wanted) for replay in self.replays]
        return jax.tree.map(lambda *leaves: np.stack(leaves), *drawn)

    def _in_background(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Run in another thread what is long enough for that to pay, else at once."""
        if self._update_seconds > THREAD_PAYS:
            return self._thread.submit(function, *arguments)
        done: Future[Any] = Future()
        done.set_result(self._timed("learn", function, *arguments))
        return done

    def _timed(self, kind: str, function: Callable[..., Any], *arguments: Any) -> Any:
        start = time.perf_counter()
        result = function(*arguments)
        self.seconds[kind] += time.perf_counter() - start
        return result

    def _by_seed(self, tree: PyTree) -> PyTree:
        """``[S * B, ...]`` to ``[S, B, ...]``."""
        return jax.tree.map(lambda leaf: leaf.reshape((*self.shape, *leaf.shape[1:])), tree)

    def _world(self, key: jax.Array) -> dict[str, PyTree]:
        names = ("observation", "memory", "elapsed", "total_reward")
        return {"key": key, **{name: getattr(self, name) for name in names}}

    def _row(self, learner: list[jax.Array]) -> PyTree:
        """Shapes and dtypes of one stored row."""
        words = np.zeros((self.shape[0], 2), np.uint32)
        given = learner, self.observation, self.memory, self.elapsed, words
        decision = Decision(*jax.eval_shape(self._act, given, self.hyper_parameters, (np.int32(0), np.int32(0))))
        flags = jax.tree.map(lambda reward: reward.astype(bool), self.total_reward)
        seen = self.observation
        step = Step(seen, decision.action, self.total_reward, seen, flags, flags, decision.extras)
        alone = jax.tree.map(lambda leaf: np.zeros((1, *leaf.shape[1:]), leaf.dtype), step)  # one seed's, [T, B, ...]
        rows = flat(self.algorithm.rows(alone))
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), rows)

    def _begin_anew_where_lost(self, saved: PyTree) -> None:
        """Environments that did not come back to the saved observation are not deterministic: say so, start afresh."""
        same = jax.tree.map(
            lambda now, then: (now == np.asarray(then)).reshape((*self.shape, -1)).all(-1), self.observation, saved
        )
        lost = ~np.logical_and.reduce(jax.tree.leaves(same))
        if lost.any():
            warnings.warn(
                f"{self.spec.id} is not deterministic: {lost.sum()} of {lost.size} episodes could not be brought back "
                "to where they stood and begin anew",
                stacklevel=2,
            )
            self.observation = self._by_seed(self.environments.begin_anew(lost.ravel()))
            self.forget(lost)
            self._cut(lost)

    def _cut(self, lost: np.ndarray) -> None:
        """End the record of the episodes ``lost`` ``[S, B]``, so that no window of steps runs on into the next."""
        for replay, where in zip(self.replays, lost, strict=True):
            if isinstance(replay.rows, Step) and replay.size:
                last = (replay.position - len(where) + np.flatnonzero(where)) % replay.capacity
                for flag in jax.tree.leaves(replay.rows.truncated):
                    flag[last] = True

    # What is compiled, for one seed; ``one_after_another`` adds the axis of seeds.

    def _init_one(self, key: jax.Array, algorithm: Algorithm) -> Learner:
        return algorithm.init(key, self.spec)

    def _given(
        self, learner: list[jax.Array], hyper_parameters: list[jax.Array], clock: Clock
    ) -> tuple[Learner, Algorithm]:
        """Learner and algorithm from their leaves, with the clock set."""
        algorithm = jax.tree.unflatten(self._algorithm_structure, hyper_parameters)
        return at(jax.tree.unflatten(self._learner_structure, learner), *clock), algorithm

    def _randomness_one(self, key: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """What an iteration draws: the next key, the words of a key for every step ``[T, 2]``, a key to learn with."""
        key, act_key, update_key = jax.random.split(key, 3)
        return key, jax.random.key_data(jax.random.split(act_key, self.n_steps)), update_key

    def _act_one(
        self,
        seen: tuple[list[jax.Array], PyTree, PyTree, jax.Array, jax.Array],
        hyper_parameters: list[jax.Array],
        clock: Clock,
    ) -> tuple[PyTree, PyTree, PyTree]:
        leaves, observation, memory, elapsed, words = seen
        learner, algorithm = self._given(leaves, hyper_parameters, clock)
        key = jax.random.wrap_key_data(words)
        memory = remembered(algorithm, learner, memory, elapsed == 0, jax.random.fold_in(key, 0))
        return tuple(algorithm.act(learner, observation, memory, key, explore=True))

    def _memory_one(self, given: tuple[list[jax.Array], jax.Array], hyper_parameters: list[jax.Array]) -> PyTree:
        """A memory of the right shapes: what the first call of ``act`` is handed, and replaces."""
        leaves, key = given
        learner, algorithm = self._given(leaves, hyper_parameters, Clock.start())
        return algorithm.begin(learner, key, self.spec.n_envs)

    def _rollout_one(
        self, given: tuple[list[jax.Array], Step, jax.Array], hyper_parameters: list[jax.Array], clock: Clock
    ) -> tuple[list[jax.Array], Metrics]:
        leaves, steps, key = given
        learner, algorithm = self._given(leaves, hyper_parameters, clock)
        learner, metrics = algorithm.update(learner, steps, key)
        return jax.tree.leaves(learner), metrics

    def _replay_one(
        self, given: tuple[list[jax.Array], Step, jax.Array], hyper_parameters: list[jax.Array], clock: Clock
    ) -> tuple[list[jax.Array], Metrics]:
        leaves, batches, key = given
        learner, algorithm = self._given(leaves, hyper_parameters, clock)
        keys = jax.random.split(key, jax.tree.leaves(batches)[0].shape[0])
        learner, metrics = jax.lax.scan(lambda learner, b: algorithm.update(learner, *b), learner, (batches, keys))
        return jax.tree.leaves(learner), {name: value.mean() for name, value in metrics.items()}


def _no_tally(total_reward: PyTree) -> Tally:
    """``Tally.zero`` in NumPy and for all seeds; ``total_reward`` ``[S, B]`` gives the structure."""
    n_seeds = len(jax.tree.leaves(total_reward)[0])
    no, zero = np.zeros(n_seeds, bool), np.zeros(n_seeds)
    nothing = Episodes(zero, jax.tree.map(lambda _: zero, total_reward), zero)
    return Tally(np.zeros(n_seeds, int), nothing, zero, {}, Fault(np.full(n_seeds, -1), no, no, no))


def _added(tally: Tally, steps: Step, episodes: Episodes, metrics: Metrics | None) -> Tally:
    """``Tally.add`` in NumPy and for all seeds: ``steps`` is ``[S, T, B, ...]``, the others ``[S]``."""
    learned = metrics or {}
    faulty = [
        ~_finite((steps.observation, steps.next_observation)),
        ~_finite(steps.reward),
        ~_finite(learned) if learned else np.zeros_like(tally.fault.reward),
    ]
    first = (tally.fault.iteration < 0) & np.logical_or.reduce(faulty)
    found = Fault(tally.iterations, *faulty)
    return Tally(
        tally.iterations + 1,
        jax.tree.map(np.add, tally.episodes, episodes),
        tally.updates + bool(learned),
        {name: tally.metrics.get(name, 0.0) + np.asarray(value) for name, value in learned.items()} or tally.metrics,
        jax.tree.map(lambda old, new: np.where(first, new, old), tally.fault, found),
    )


def _finite(tree: PyTree) -> np.ndarray:
    """For each seed whether every float of the leaves ``[S, ...]`` is a finite number."""
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]
    finite = [np.isfinite(leaf.reshape(len(leaf), -1)).all(axis=1) for leaf in leaves]
    return np.logical_and.reduce(finite)
