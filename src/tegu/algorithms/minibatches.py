"""Epochs over the shuffled minibatches of a rollout."""

from collections.abc import Callable
from typing import Any

import jax

from tegu.algorithms.base import Metrics
from tegu.core.errors import TeguError
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

    The samples are shuffled anew for each of ``n_epochs``. Returns the last carry, and the means of the metrics.
    """
    n = jax.tree.leaves(samples)[0].shape[0]

    def epoch(carry: PyTree, key: jax.Array) -> tuple[PyTree, Metrics]:
        order = permutation(key, n).reshape(-1, batch_size)
        return jax.lax.scan(update, carry, jax.tree.map(lambda leaf: leaf[order], samples))

    carry, metrics = jax.lax.scan(epoch, carry, jax.random.split(key, n_epochs))
    return carry, {name: value.mean() for name, value in metrics.items()}


def check_minibatches(algorithm: Any, spec: EnvironmentSpec) -> None:
    """Raise ``TeguError`` unless minibatches of ``batch_size`` divide a rollout."""
    if (algorithm.n_steps * spec.n_envs) % algorithm.batch_size:
        raise TeguError(
            f"{algorithm.title}: n_steps x n_envs must be a multiple of batch_size, "
            f"got {algorithm.n_steps} x {spec.n_envs} and {algorithm.batch_size}"
        )
