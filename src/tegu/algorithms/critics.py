"""Several critics of actions, of which the lowest value counts: clipped double Q-learning (Fujimoto et al. 2018)."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from tegu.core.step import PyTree
from tegu.nn.custom import CustomNetwork
from tegu.nn.heads import ActionValue

Critic = ActionValue | CustomNetwork


def values(critics: Sequence[Any], *seen: PyTree) -> jax.Array:
    """What each of the critics says ``[critics, B]`` of observations and, beside them, actions scaled to [-1, 1]; or of
    all discrete actions ``[critics, B, A]``.

    They are networks of their own: on a CPU, matrices stacked for one batched product were not faster.
    """
    return jnp.stack([critic(*seen) for critic in critics])


def lowest(found: jax.Array) -> jax.Array:
    """The lowest ``[...]`` of what several critics say ``[critics, ...]``."""
    return found.min(axis=0)


def subset(found: jax.Array, size: int, key: jax.Array) -> jax.Array:
    """What ``size`` of several critics say ``[size, ...]``, drawn at random without replacement (Chen et al. 2021,
    algorithm 1); 0: all of them."""
    return found[jax.random.choice(key, len(found), (size,), replace=False)] if size else found


def truncated(quantiles: jax.Array, drop: int) -> jax.Array:
    """All quantiles ``[critics, B, n]`` but the largest, ``drop`` for each critic, in order (Kuznetsov et al. 2020,
    section 3): ``[B, critics (n - drop)]``."""
    n_critics, batch_size, n = quantiles.shape
    pooled = jnp.moveaxis(quantiles, 0, 1).reshape((batch_size, n_critics * n))
    return jnp.sort(pooled, axis=-1)[:, : n_critics * (n - drop)]
