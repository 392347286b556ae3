"""Windows of steps as sequences of all that was observed in them: what a world model learns from."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from tegu.core.step import PyTree, Step, where


class Observations(NamedTuple):
    """``L`` observations one after the other, the last ones of episodes among them, ``[L, B, ...]`` each."""

    observation: PyTree
    action: Any  #: what led to it; means nothing where it is the first of an episode
    reward: jax.Array  #: what that paid; 0 where nothing is known of it
    first: jax.Array  #: bool: whether an episode begins with it; never of row 0, which follows the memory before it
    last: jax.Array  #: bool: whether the episode ends with it
    terminated: jax.Array  #: bool: whether the task does

    @property
    def arrived(self) -> jax.Array:
        """Bool ``[L, B]``: whether it is known which action led to it, and what that paid."""
        return ~self.first.at[0].set(True)


def observations(steps: Step) -> Observations:
    """Windows of steps ``[T, B, ...]`` as ``T + 1`` observations.

    Each step leads to its true next observation. Where an episode has ended, the first of the next one follows that;
    for each such case an observation at the end of the window is left out.
    """
    ended = steps.terminated | steps.truncated
    begins = jnp.concatenate([jnp.ones_like(ended[:1]), ended[:-1]])
    length, n = ended.shape
    # two places for each step: what it starts from, which only counts where nothing led there, and what it leads to
    counts = jnp.stack([begins, jnp.ones_like(begins)], axis=1).reshape(2 * length, n)
    place = jnp.argsort(~counts, axis=0, stable=True)[: length + 1]
    step, is_start, column = place // 2, place % 2 == 0, jnp.arange(n)

    def either(start: jax.Array, led_to: jax.Array) -> jax.Array:
        return where(is_start, start[step, column], led_to[step, column])

    no = jnp.zeros_like(ended)
    return Observations(
        observation=jax.tree.map(either, steps.observation, steps.next_observation),
        action=steps.action[step, column],
        reward=either(jnp.zeros_like(steps.reward), steps.reward),
        first=is_start.at[0].set(False),
        last=either(no, ended),
        terminated=either(no, steps.terminated),
    )
