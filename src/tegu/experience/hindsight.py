"""Hindsight experience replay (Andrychowicz et al. 2017): steps as if their goal had been one reached later."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from tegu.core.step import Step, episode_ended
from tegu.spaces.features import ACHIEVED_GOAL, DESIRED_GOAL


class Numbered(NamedTuple):
    """Stored steps and the episodes that they belong to, ``[n, ...]``."""

    steps: Step
    episode: Any  #: int32: counts the episodes of each environment


def numbered(steps: Step, last: Numbered, n_envs: int) -> Numbered:
    """Fresh ``steps`` ``[n, ...]`` with their episodes; ``last`` ``[n_envs, ...]`` are the rows just before them."""
    ended = _ended(steps).reshape((-1, n_envs)).astype(jnp.int32)
    first = last.episode + _ended(last.steps)
    return Numbered(steps, (first + jnp.cumsum(ended, axis=0) - ended).ravel())


def steps_left(episode: jax.Array, index: jax.Array, newer: jax.Array, n_envs: int, way: int = 1) -> jax.Array:
    """How many more steps the ring holds of the episode of each row ``index``, int32 ``[n]``.

    ``episode`` is the ring's, ``[capacity]``; ``newer`` ``[n]`` says how many rows of its environment are newer than a
    row. An episode's rows follow each other, so that its last one is found by halving. ``way`` -1: how many came before
    it, where ``newer`` says how many rows are older.
    """
    capacity = episode.shape[0]
    mine = episode[index % capacity]

    def halve(_: int, span: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        least, most = span
        middle = (least + most + 1) // 2
        same = episode[(index + way * n_envs * middle) % capacity] == mine
        return jnp.where(same, middle, least), jnp.where(same, most, middle - 1)

    halvings = (capacity // n_envs).bit_length()
    return jax.lax.fori_loop(0, halvings, halve, (jnp.zeros_like(newer), newer))[0]


def rows_of_goals(
    key: jax.Array, episode: jax.Array, index: jax.Array, newer: jax.Array, older: jax.Array, n_envs: int, strategy: str
) -> jax.Array:
    """For each row ``index`` the row of its episode whose goal it gets; ``newer`` and ``older`` as in ``steps_left``.

    ``strategy``: that of ``Hindsight``.
    """
    steps = left = steps_left(episode, index, newer, n_envs)
    if strategy == "future":
        steps = jax.random.randint(key, index.shape, 0, left + 1)
    elif strategy == "episode":
        before = steps_left(episode, index, older, n_envs, way=-1)
        steps = jax.random.randint(key, index.shape, -before, left + 1)
    return (index + n_envs * steps) % episode.shape[0]


def relabelled(steps: Step, chosen: jax.Array, goal: jax.Array, goals: Any) -> Step:
    """The steps ``[..., n]``, those ``chosen`` ``[n]`` with another ``goal`` ``[n, ...]``."""

    def where_chosen(new: jax.Array, old: jax.Array) -> jax.Array:
        shape = chosen.shape + (1,) * (old.ndim - steps.reward.ndim)
        return jnp.where(chosen.reshape(shape), new, old).astype(old.dtype)

    return jax.tree.map(where_chosen, with_goal(steps, goal, goals), steps)


def with_goal(steps: Step, goal: jax.Array, goals: Any) -> Step:
    """The steps ``[..., n]`` as if each had been for the ``goal`` ``[n, ...]``.

    A termination that the goal of that time does not explain stays. Where an episode ended but no more terminates, it
    was cut.
    """

    def at_each(function: Any, desired: jax.Array) -> jax.Array:
        """``function`` of the goals that are achieved and ``desired`` ``[n, ...]``, or ``[..., n, ...]``."""
        for _ in range(steps.reward.ndim):
            function = jax.vmap(function)
        return function(achieved, jnp.broadcast_to(desired, achieved.shape))

    achieved = steps.next_observation[ACHIEVED_GOAL]
    otherwise = steps.terminated & ~at_each(goals.compute_terminated, steps.next_observation[DESIRED_GOAL])
    terminated = otherwise | at_each(goals.compute_terminated, goal)
    desired = {DESIRED_GOAL: jnp.broadcast_to(goal, achieved.shape)}
    return steps._replace(
        observation=steps.observation | desired,
        next_observation=steps.next_observation | desired,
        reward=at_each(goals.compute_reward, goal),
        terminated=terminated,
        truncated=_ended(steps) & ~terminated,
    )


def _ended(steps: Step) -> jax.Array:
    return episode_ended(steps.terminated, steps.truncated)
