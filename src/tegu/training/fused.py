"""The loop for environments written in JAX: collecting and learning in one compiled program."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tegu.algorithms.base import Algorithm, Learner, Metrics
from tegu.core.schedule import Clock
from tegu.core.seeds import over_seeds, pad, trim, trim_shapes
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import PyTree, Step
from tegu.core.trees import from_arrays, to_arrays
from tegu.environments.base import Environment
from tegu.experience.base import Replay, Rollout
from tegu.experience.device import DeviceReplay, filled, refilled
from tegu.spaces.bounds import to_bounds
from tegu.training.tally import Episodes, Tally


class World(NamedTuple):
    """``B`` environments in the middle of their episodes."""

    state: PyTree
    observation: PyTree
    memory: PyTree  #: the policy's recurrent state
    elapsed: jax.Array  #: int32 ``[B]``: steps of the running episode
    total_reward: PyTree  #: float32 ``[B]``: its undiscounted return so far, by agent where there are several


class FusedState(NamedTuple):
    """Everything one seed needs to go on as if it had never stopped."""

    learner: Learner
    replay: Any  #: a ``DeviceReplay``, or () for on-policy algorithms
    world: World
    key: jax.Array


def begin(environment: Environment, key: jax.Array, n_envs: int, memory: PyTree = ()) -> World:
    """``n_envs`` fresh episodes; ``memory`` gives the shapes of what the policy remembers."""
    state, observation = jax.vmap(environment.reset)(jax.random.split(key, n_envs))
    nothing = jnp.zeros(n_envs)
    total_reward = dict.fromkeys(environment.agents, nothing) if environment.agents else nothing
    return World(state, observation, memory, jnp.zeros(n_envs, jnp.int32), total_reward)


def remembered(algorithm: Algorithm, learner: Learner, memory: PyTree, begun: jax.Array, key: jax.Array) -> PyTree:
    """The memory to act with: a fresh one where an episode has just ``begun`` ``[B]``."""
    fresh = algorithm.begin(learner, key, begun.shape[0])
    return jax.tree.map(lambda new, old: spread(begun, new, old), fresh, memory)


def advance(
    algorithm: Algorithm, environment: Environment, learner: Learner, world: World, key: jax.Array, *, explore: bool
) -> tuple[Step, World]:
    """One decision in every environment: the ``Step`` and the worlds after it, ended episodes included."""
    n_envs = world.elapsed.shape[0]
    act_key, step_key, memory_key = jax.random.split(key, 3)
    memory = remembered(algorithm, learner, world.memory, world.elapsed == 0, memory_key)
    decision = algorithm.act(learner, world.observation, memory, act_key, explore=explore)
    action = to_bounds(environment.action_space, decision.action)
    now = jax.vmap(environment.step)(world.state, action, jax.random.split(step_key, n_envs))

    elapsed = world.elapsed + 1
    limit = environment.max_episode_steps
    truncated = (now.truncated | (elapsed >= limit if limit else False)) & ~now.terminated
    step = Step(
        world.observation, decision.action, now.reward, now.observation, now.terminated, truncated, decision.extras
    )
    total_reward = jax.tree.map(jnp.add, world.total_reward, now.reward)
    return step, World(now.state, now.observation, decision.memory, elapsed, total_reward)


def step_world(
    algorithm: Algorithm, environment: Environment, learner: Learner, world: World, key: jax.Array, *, explore: bool
) -> tuple[World, Step, World]:
    """``advance``, and begin anew where an episode has ended.

    Returns the worlds to go on with; the ``Step``, which keeps what truly came next; and the worlds as they stood
    before any beginning anew.
    """
    key, reset_key = jax.random.split(key)
    step, after = advance(algorithm, environment, learner, world, key, explore=explore)
    fresh = begin(environment, reset_key, world.elapsed.shape[0], after.memory)
    ended = step.terminated | step.truncated
    return jax.tree.map(lambda new, old: spread(ended, new, old), fresh, after), step, after


def spread(condition: jax.Array, yes: jax.Array, no: jax.Array) -> jax.Array:
    """``where`` with a condition ``[B]`` for leaves ``[B, ...]``."""
    return jnp.where(condition.reshape(condition.shape + (1,) * (yes.ndim - condition.ndim)), yes, no)


def collect(
    algorithm: Algorithm, environment: Environment, learner: Learner, world: World, key: jax.Array, n_steps: int
) -> tuple[World, Step, Episodes]:
    """``n_steps`` decisions in every environment: steps ``[T, B, ...]`` and the episodes that ended in them."""

    def step(world: World, key: jax.Array) -> tuple[World, tuple[Step, PyTree, jax.Array]]:
        world, step, after = step_world(algorithm, environment, learner, world, key, explore=True)
        return world, (step, after.total_reward, after.elapsed)

    world, (steps, total_reward, length) = jax.lax.scan(step, world, jax.random.split(key, n_steps))
    return world, steps, Episodes.of(steps.terminated | steps.truncated, total_reward, length)


class Fused:
    """Train one algorithm on one JAX environment. All methods are pure; one seed, no leading axis."""

    def __init__(self, algorithm: Algorithm, environment: Environment, n_envs: int):
        self.environment = environment
        self.n_envs = n_envs
        self.n_steps = steps_per_environment(algorithm, n_envs)
        self.steps_per_iteration = self.n_steps * n_envs
        self.n_groups = n_envs // algorithm.group if algorithm.group and n_envs % algorithm.group == 0 else 1

    def iteration(
        self, algorithm: Algorithm, state: FusedState, total: jax.Array
    ) -> tuple[FusedState, tuple[Step, Episodes, Metrics, jax.Array | bool]]:
        """Collect, then learn. Also returns what a ``Tally`` takes in."""
        learner, groups, keys = self.deal(state, total)
        return self.learn(algorithm, state, self.play(algorithm, learner, groups), keys, total)

    def deal(
        self, state: FusedState, total: jax.Array
    ) -> tuple[Learner, tuple[World, jax.Array], tuple[jax.Array, jax.Array]]:
        """What ``play`` needs: the learner, and the worlds and a random key of each group, ``[G, ...]``.

        Also the random keys that ``learn`` needs.
        """
        learner = at(state.learner, state.learner.clock.steps, total)
        key, play_key, update_key = jax.random.split(state.key, 3)
        if self.n_groups == 1:
            return learner, (state.world, play_key), (key, update_key)
        worlds = jax.tree.map(lambda leaf: leaf.reshape((self.n_groups, -1, *leaf.shape[1:])), state.world)
        return learner, (worlds, jax.random.split(play_key, self.n_groups)), (key, update_key)

    def play(
        self, algorithm: Algorithm, learner: Learner, groups: tuple[World, jax.Array]
    ) -> tuple[World, Step, Episodes]:
        """``collect`` in every one of some groups, which know nothing of each other, ``[G, ...]``."""

        def collected(group: tuple[World, jax.Array]) -> tuple[World, Step, Episodes]:
            return collect(algorithm, self.environment, learner, *group, self.n_steps)

        if self.n_groups == 1:
            return collected(groups)
        in_turn = jax.default_backend() == "cpu"
        return jax.lax.map(collected, groups) if in_turn else jax.vmap(collected)(groups)

    def gather(self, played: tuple[World, Step, Episodes]) -> tuple[World, Step, Episodes]:
        """What all groups played, ``[G, ...]``, as if it were one: worlds ``[B, ...]``, steps ``[T, B, ...]``."""
        if self.n_groups == 1:
            return played
        worlds, steps, episodes = played
        return (
            jax.tree.map(lambda leaf: leaf.reshape((-1, *leaf.shape[2:])), worlds),
            jax.tree.map(lambda leaf: jnp.swapaxes(leaf, 0, 1).reshape((self.n_steps, -1, *leaf.shape[3:])), steps),
            jax.tree.map(lambda sums: sums.sum(axis=0), episodes),
        )

    def learn(
        self,
        algorithm: Algorithm,
        state: FusedState,
        played: tuple[World, Step, Episodes],
        keys: tuple[jax.Array, jax.Array],
        total: jax.Array,
    ) -> tuple[FusedState, tuple[Step, Episodes, Metrics, jax.Array | bool]]:
        """The state after ``played``, and what a ``Tally`` takes in."""
        world, steps, episodes = self.gather(played)
        key, update_key = keys  # the next iteration's, and this update's
        learner = at(state.learner, state.learner.clock.steps + self.steps_per_iteration, total)
        match algorithm.experience:
            case Rollout():
                learner, metrics = algorithm.update(learner, steps, update_key)
                return FusedState(learner, (), world, key), (steps, episodes, metrics, True)
            case Replay() as experience:
                replay = state.replay.add(flat(algorithm.rows(steps)))
                taught, metrics = self.replay_updates(algorithm, experience, learner, replay, update_key)
                ready = (learner.clock.steps > experience.learning_starts) & (
                    replay.size >= window(experience, self.n_envs)
                )
                # a select of the small learner, not a cond: a cond would copy the buffer it is scanned with
                learner = jax.tree.map(lambda new, old: jnp.where(ready, new, old), taught, learner)
                return FusedState(learner, replay, world, key), (steps, episodes, metrics, ready)

    def replay_updates(
        self, algorithm: Algorithm, experience: Replay, learner: Learner, replay: DeviceReplay, key: jax.Array
    ) -> tuple[Learner, Metrics]:
        """A round of updates, each on steps drawn anew; metrics are means over the round."""
        rounds = gradient_steps(experience, self.steps_per_iteration)

        def update(learner: Learner, key: jax.Array) -> tuple[Learner, Metrics]:
            sample_key, update_key = jax.random.split(key)
            batch = replay.sample(sample_key, experience.batch_size, experience.n_steps, self.n_envs)
            return algorithm.update(learner, batch, update_key)

        learner, metrics = jax.lax.scan(update, learner, jax.random.split(key, rounds))
        return learner, {name: value.mean() for name, value in metrics.items()}

    def block(self, algorithm: Algorithm, learner: Learner, world: World, key: jax.Array) -> PyTree:
        """The rows that one iteration adds to the replay buffer, ``[n, ...]``."""
        _, steps, _ = collect(algorithm, self.environment, learner, world, key, self.n_steps)
        return flat(algorithm.rows(steps))

    def init(self, algorithm: Algorithm, spec: EnvironmentSpec, key: jax.Array) -> FusedState:
        key, learner_key, world_key = jax.random.split(key, 3)
        learner = algorithm.init(learner_key, spec)
        memory = algorithm.begin(learner, jax.random.fold_in(world_key, 0), self.n_envs)
        world = begin(self.environment, world_key, self.n_envs, memory)
        replay: Any = ()
        if isinstance(algorithm.experience, Replay):
            block = jax.eval_shape(lambda: self.block(algorithm, learner, world, key))
            row = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), block)
            length = jax.tree.leaves(block)[0].shape[0]
            replay = DeviceReplay.empty(row, algorithm.experience.capacity, length)
        return FusedState(learner, replay, world, key)

    def chunk(
        self, algorithm: Algorithm, state: FusedState, iterations: jax.Array, total: jax.Array
    ) -> tuple[FusedState, Tally]:
        """``iterations`` rounds of collecting and learning, one after the other on the device."""

        def iterate(_: jax.Array, carry: tuple[FusedState, Tally]) -> tuple[FusedState, Tally]:
            state, tally = carry
            state, happened = self.iteration(algorithm, state, total)
            return state, tally.add(*happened)

        return jax.lax.fori_loop(0, iterations, iterate, (state, self.nothing(algorithm, state)))

    def nothing(self, algorithm: Algorithm, state: FusedState) -> Tally:
        """The tally of no iterations at all."""
        _, (_, episodes, metrics, _) = jax.eval_shape(self.iteration, algorithm, state, jnp.int32(1))
        return Tally.zero(episodes, metrics)


def flat(tree: PyTree) -> PyTree:
    """``[T, B, ...]`` to ``[T * B, ...]``."""
    return jax.tree.map(lambda leaf: leaf.reshape((-1, *leaf.shape[2:])), tree)


def at(learner: Learner, steps: jax.Array, total: jax.Array) -> Learner:
    """The learner with its clock set."""
    return learner._replace(clock=Clock(steps, total))


def steps_per_environment(algorithm: Algorithm, n_envs: int) -> int:
    """How many decisions each environment takes between two calls of ``update``."""
    match algorithm.experience:
        case Rollout(n_steps):
            return n_steps
        case Replay() as experience:
            return max(experience.train_freq // n_envs, 1)


def window(experience: Replay, n_envs: int) -> int:
    """Rows that ``n_steps`` consecutive steps of one environment stretch over."""
    return experience.n_steps * n_envs


def gradient_steps(experience: Replay, steps_collected: int) -> int:
    """Updates per round of collecting."""
    return steps_collected if experience.gradient_steps == -1 else experience.gradient_steps


class FusedLoop:
    """``Fused`` for many seeds, compiled: what the trainer drives."""

    def __init__(self, algorithm: Algorithm, environment: Environment, spec: EnvironmentSpec, seeds: Sequence[int]):
        self.algorithm, self.spec, self.seeds = algorithm, spec, tuple(seeds)
        self.one = Fused(algorithm, environment, spec.n_envs)
        self.steps_per_iteration = self.one.steps_per_iteration
        n_seeds = len(self.seeds)
        self._init = jax.jit(
            over_seeds(lambda seed, algorithm: self.one.init(algorithm, spec, jax.random.key(seed)), n_seeds)
        )
        self.seconds: dict[str, float] = {"compiled loop": 0.0}
        self._chunk: Callable[..., Any] = jax.jit(
            over_seeds(lambda state, algorithm, *counts: self.one.chunk(algorithm, state, *counts), n_seeds),
            donate_argnums=0,
        )

    def start(self) -> FusedState:
        """The state of every seed before the first step."""
        return self._init(pad(np.asarray(self.seeds), len(self.seeds)), self.algorithm)

    def chunk(self, state: FusedState, iterations: int, total: int) -> tuple[FusedState, Tally]:
        """Run ``iterations`` of ``total`` steps' worth; ``state`` is used up. The tally's leaves are NumPy ``[S]``."""
        began = time.perf_counter()
        state, tally = self._chunk(state, self.algorithm, np.int32(iterations), np.int32(total))
        tally = trim(tally, len(self.seeds))
        self.seconds["compiled loop"] += time.perf_counter() - began
        return state, tally

    def compile(self, state: FusedState) -> None:
        """Compile ``chunk`` now, so that the first one takes no longer than the others."""
        if isinstance(self._chunk, jax.stages.Wrapped):
            self._chunk = self._chunk.lower(state, self.algorithm, np.int32(0), np.int32(1)).compile()

    def learners(self, state: FusedState) -> Learner:
        """What every seed has learned, ``[S, ...]``: a copy, for the next chunk uses up ``state``."""
        return jax.tree.map(jnp.array, trim(state.learner, len(self.seeds)))

    def dump(self, state: FusedState) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, Any]]:
        """The state as blobs of named arrays and plain data, for a checkpoint."""
        state = trim(state, len(self.seeds))
        world = {"world": state.world, "key": state.key}
        replay = filled(state.replay) if state.replay else ()
        blobs = {"learner": to_arrays(state.learner), "experience": to_arrays(replay), "world": to_arrays(world)}
        return blobs, {}

    def restore(self, blobs: Mapping[str, Mapping[str, np.ndarray]], data: Mapping[str, Any]) -> FusedState:
        """The state that ``dump`` was given."""
        shapes = trim_shapes(jax.eval_shape(self.start), len(self.seeds))
        world = from_arrays({"world": shapes.world, "key": shapes.key}, blobs["world"], "the checkpoint")
        state = FusedState(
            from_arrays(shapes.learner, blobs["learner"], "the checkpoint"),
            refilled(shapes.replay, blobs["experience"]),
            world["world"],
            world["key"],
        )
        return pad(state, len(self.seeds))

    def close(self) -> None:
        """Nothing to let go of; the host loop has environments."""
