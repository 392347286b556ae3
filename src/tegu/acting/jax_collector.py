"""Collecting steps in environments written in JAX, as pure functions for use inside compiled programs."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from tegu.acting.episodes import Episodes
from tegu.algorithms.base import Algorithm, Learner
from tegu.core.step import PyTree, Step, episode_ended, flatten_time, where
from tegu.environments.base import Environment
from tegu.spaces.bounds import to_bounds

PLANNING_GROUP = 32
"""Environments that planning algorithms act in together. On a CPU a search of 32 games is as fast for each of them as
one of 256, and such groups can be dealt out to the cores."""


class CollectorState(NamedTuple):
    """``B`` environments in the middle of their episodes."""

    env_state: PyTree
    observation: PyTree
    memory: PyTree  #: the policy's recurrent state
    elapsed: jax.Array  #: int32 ``[B]``: steps of the running episode
    total_reward: PyTree  #: float32 ``[B]``: its undiscounted return so far, by agent where there are several
    earlier: Any = None  #: ``CollectorState``: where a new episode may begin instead; None: episodes are never forked


class JaxCollector:
    """``n_envs`` environments, in groups that draw random numbers of their own and know nothing of each other."""

    def __init__(self, algorithm: Algorithm, environment: Environment, n_envs: int):
        self.environment, self.n_envs = environment, n_envs
        grouped = algorithm.plans and n_envs % PLANNING_GROUP == 0
        self.n_groups = n_envs // PLANNING_GROUP if grouped else 1

    def start(self, algorithm: Algorithm, learner: Learner, key: jax.Array) -> CollectorState:
        """Fresh episodes in all environments."""
        memory = algorithm.begin(learner, jax.random.fold_in(key, 0), self.n_envs)
        state = start_episodes(self.environment, key, self.n_envs, memory)
        return state if algorithm.fork_probability is None else state._replace(earlier=state)

    def collect(
        self,
        algorithm: Algorithm,
        learner: Learner,
        state: CollectorState,
        key: jax.Array,
        n_steps: int,
        *,
        fresh: bool = False,
    ) -> tuple[CollectorState, Step, Episodes]:
        """``n_steps`` decisions in every environment: steps ``[T, B, ...]`` and the episodes that ended in them.

        ``fresh``: all environments begin an episode first.
        """
        if fresh:
            key, start_key = jax.random.split(key)
            state = self.start(algorithm, learner, start_key)
        if self.n_groups == 1:
            return self.collect_group(algorithm, learner, (state, key), n_steps)

        def collected(group: tuple[CollectorState, jax.Array]) -> tuple[CollectorState, Step, Episodes]:
            return self.collect_group(algorithm, learner, group, n_steps)

        groups = self.split(state, key)
        in_turn = jax.default_backend() == "cpu"
        return self.join(jax.lax.map(collected, groups) if in_turn else jax.vmap(collected)(groups))

    def collect_group(
        self, algorithm: Algorithm, learner: Learner, group: tuple[CollectorState, jax.Array], n_steps: int
    ) -> tuple[CollectorState, Step, Episodes]:
        """``collect`` in one group of environments."""

        def step(state: CollectorState, key: jax.Array) -> tuple[CollectorState, tuple[Step, PyTree, jax.Array]]:
            state, step, before_reset = step_and_reset(algorithm, self.environment, learner, state, key, explore=True)
            return state, (step, before_reset.total_reward, before_reset.elapsed)

        state, key = group
        state, (steps, total_reward, length) = jax.lax.scan(step, state, jax.random.split(key, n_steps))
        ended = episode_ended(steps.terminated, steps.truncated)
        return state, steps, Episodes.of(ended, total_reward, length)

    def split(self, state: CollectorState, key: jax.Array) -> tuple[CollectorState, jax.Array]:
        """The environments of each group and a random key for it, ``[G, ...]``."""
        groups = jax.tree.map(
            lambda leaf: leaf.reshape((self.n_groups, leaf.shape[0] // self.n_groups, *leaf.shape[1:])), state
        )
        return groups, jax.random.split(key, self.n_groups)

    def join(self, collected: tuple[CollectorState, Step, Episodes]) -> tuple[CollectorState, Step, Episodes]:
        """What all groups collected, ``[G, ...]``, as if they were one: ``[B, ...]`` and ``[T, B, ...]``."""
        state, steps, episodes = collected
        return (
            flatten_time(state),
            jax.vmap(flatten_time, in_axes=1)(steps),
            jax.tree.map(lambda sums: sums.sum(axis=0), episodes),
        )


def start_episodes(environment: Environment, key: jax.Array, n_envs: int, memory: PyTree = ()) -> CollectorState:
    """``n_envs`` fresh episodes; ``memory`` gives the shapes of what the policy remembers."""
    env_state, observation = jax.vmap(environment.reset)(jax.random.split(key, n_envs))
    nothing = jnp.zeros(n_envs)
    total_reward = dict.fromkeys(environment.agents, nothing) if environment.agents else nothing
    return CollectorState(env_state, observation, memory, jnp.zeros(n_envs, jnp.int32), total_reward)


def memory_for(algorithm: Algorithm, learner: Learner, memory: PyTree, begins: jax.Array, key: jax.Array) -> PyTree:
    """The memory to act with: a fresh one where an episode ``begins`` ``[B]``."""
    fresh = algorithm.begin(learner, key, begins.shape[0])
    return select(begins, fresh, memory)


def act_and_step(
    algorithm: Algorithm,
    environment: Environment,
    learner: Learner,
    state: CollectorState,
    key: jax.Array,
    *,
    explore: bool,
) -> tuple[Step, CollectorState]:
    """One decision in every environment: the ``Step`` and the environments after it, ended episodes included."""
    n_envs = state.elapsed.shape[0]
    act_key, step_key, memory_key = jax.random.split(key, 3)
    memory = memory_for(algorithm, learner, state.memory, state.elapsed == 0, memory_key)
    decision = algorithm.act(learner, state.observation, memory, act_key, explore=explore)
    action = to_bounds(environment.action_space, decision.action)
    now = jax.vmap(environment.step)(state.env_state, action, jax.random.split(step_key, n_envs))

    elapsed = state.elapsed + 1
    limit = environment.time_limit
    truncated = (now.truncated | (elapsed >= limit if limit else False)) & ~now.terminated
    step = Step(
        state.observation, decision.action, now.reward, now.observation, now.terminated, truncated, decision.extras
    )
    total_reward = jax.tree.map(jnp.add, state.total_reward, now.reward)
    return step, CollectorState(now.state, now.observation, decision.memory, elapsed, total_reward)


def step_and_reset(
    algorithm: Algorithm,
    environment: Environment,
    learner: Learner,
    state: CollectorState,
    key: jax.Array,
    *,
    explore: bool,
) -> tuple[CollectorState, Step, CollectorState]:
    """``act_and_step``, and begin anew where an episode has ended.

    Returns the environments to go on with; the ``Step``, which keeps what truly came next; and the environments as
    they stood before any reset.
    """
    key, reset_key = jax.random.split(key)
    step, after = act_and_step(algorithm, environment, learner, state, key, explore=explore)
    ended = step.terminated | step.truncated
    if state.earlier is None:
        fresh, earlier = start_episodes(environment, reset_key, ended.shape[0], after.memory), None
    else:
        reset_key, fork_key, keep_key = jax.random.split(reset_key, 3)
        fresh = start_episodes(environment, reset_key, ended.shape[0], after.memory)
        earlier = keep_earlier(state.earlier, after._replace(total_reward=fresh.total_reward), ended, keep_key)
        fresh = forked(algorithm, earlier, fresh, fork_key)
    return select(ended, fresh, after)._replace(earlier=earlier), step, after


def keep_earlier(earlier: CollectorState, now: CollectorState, ended: jax.Array, key: jax.Array) -> CollectorState:
    """A random one of the moments after each step of ``B`` episodes, ``now`` being the last; not after the last step.

    Reservoir sampling (Vitter 1985, algorithm R): the ``n``-th takes the place of the one that is kept with
    probability 1/n, so that all are equally likely. In an episode that was itself forked, the moment where it began
    stands for those before it.
    """
    keeps = jax.random.uniform(key, ended.shape) * now.elapsed < 1
    return select(keeps & ~ended, now, earlier)


def forked(algorithm: Algorithm, earlier: CollectorState, fresh: CollectorState, key: jax.Array) -> CollectorState:
    """``fresh`` episodes, of which some go on from an ``earlier`` moment. Their clock does, too."""
    forks = jax.random.bernoulli(key, algorithm.fork_probability, fresh.elapsed.shape)
    return select(forks, earlier._replace(memory=algorithm.fork(earlier.memory)), fresh)


def select(condition: jax.Array, yes: PyTree, no: PyTree) -> Any:
    """Of each environment what ``yes`` says where the ``condition`` ``[B]`` is true, else what ``no`` says."""
    return jax.tree.map(lambda one, other: where(condition, one, other), yes, no)
