"""Epochs over the shuffled minibatches of a rollout."""

import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from tegu.algorithms.base import Metrics
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import PyTree
from tegu.experience.shuffling import permutation


def epochs(
    update: Callable[[Any, Any], tuple[Any, Metrics]],
    carry: PyTree,
    samples: PyTree,
    key: jax.Array,
    n_epochs: int,
    batch_size: int,
) -> tuple[PyTree, dict[str, jax.Array]]:
    """Call ``update(carry, minibatch)`` for each minibatch ``[batch_size, ...]`` of ``samples`` ``[n, ...]``.

    The samples are shuffled anew for each of ``n_epochs``. Where ``batch_size`` does not divide ``n``, the last
    minibatch of each epoch has the rest. Returns the last carry, and the means of the metrics.
    """
    n = jax.tree.leaves(samples)[0].shape[0]
    batch_size = min(batch_size, n)
    whole = n // batch_size

    def epoch(carry: PyTree, key: jax.Array) -> tuple[PyTree, Metrics]:
        order = permutation(key, n)
        carry, metrics = jax.lax.scan(update, carry, taken(order[: whole * batch_size].reshape(whole, batch_size)))
        if n % batch_size == 0:
            return carry, metrics
        carry, last = update(carry, taken(order[whole * batch_size :]))
        return carry, jax.tree.map(lambda each, one: jnp.append(each, one), metrics, last)

    def taken(index: jax.Array) -> PyTree:
        return jax.tree.map(lambda leaf: leaf[index], samples)

    carry, metrics = jax.lax.scan(epoch, carry, jax.random.split(key, n_epochs))
    return carry, {name: value.mean() for name, value in metrics.items()}


def warn_of_truncated_minibatch(algorithm: Any, spec: EnvironmentSpec) -> None:
    """Say so where minibatches of ``batch_size`` do not divide a rollout."""
    whole, rest = divmod(algorithm.n_steps * spec.n_envs, algorithm.batch_size)
    if rest:
        warnings.warn(
            f"{algorithm.title}: n_steps x n_envs is {algorithm.n_steps} x {spec.n_envs}, no multiple of batch_size "
            f"{algorithm.batch_size}: after every {whole} whole minibatches there will be a truncated minibatch of "
            f"size {rest}",
            stacklevel=3,
        )
