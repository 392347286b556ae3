"""Numbers that tell why a value network does not learn."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from tegu.nn.custom import CustomNetwork

PERCENTILES = (5, 25, 50, 75, 95)  #: of the temporal-difference errors of a batch
DORMANT = 0.025  #: tau: a unit is dead if its mean size is at most this fraction of its layer's
ROWS = 64  #: of the activations, of which the effective rank is found
DELTA = 0.01  #: the share of the singular values that the effective rank leaves out


def value_metrics(value: jax.Array, target: jax.Array, gradient: Any) -> dict[str, jax.Array]:
    """What every update of a value function reports of the ``value`` of each step and its ``target``.

    ``gradient`` is that of the loss, before it is clipped.
    """
    error = target - value
    percentiles = jnp.percentile(error, jnp.asarray(PERCENTILES, error.dtype))
    return {
        "q_mean": value.mean(),
        "td_error": jnp.abs(error).mean(),
        **{f"td_error_p{p:02}": found for p, found in zip(PERCENTILES, percentiles, strict=True)},
        "grad_norm": optax.tree.norm(gradient),
    }


def network_metrics(network: Any, *inputs: Any) -> dict[str, jax.Array]:
    """What the last hidden layer of a network shows; nothing of a person's own, whose layers are unknown."""
    if isinstance(network, CustomNetwork):
        return {}
    activations = network.hidden(*inputs)
    return {"dead_units": dead_units(activations), "effective_rank": effective_rank(activations)}


def dead_units(activations: jax.Array, tau: float = DORMANT) -> jax.Array:
    """The fraction of tau-dormant units (Sokar et al. 2023, definition 3.1), from ``activations`` ``[B, units]``.

    A unit's score is its mean absolute activation over that of all units of the layer.
    """
    size = jnp.abs(activations).mean(axis=0)
    return (size <= tau * size.mean()).mean()


def effective_rank(activations: jax.Array, delta: float = DELTA) -> jax.Array:
    """How many singular values of ``activations`` ``[B, units]`` make up ``1 - delta`` of their sum (Kumar et al. 2021,
    section 3: srank), of the first ``ROWS``. It is 0 where all are 0."""
    singular = jnp.linalg.svd(triangular(activations[:ROWS]), compute_uv=False)  # falling
    sums = jnp.cumsum(singular)
    enough = (1 - delta) * sums[-1]
    rank = (sums < enough).sum() + 1
    return jnp.where(sums[-1] > 0, rank, 0).astype(activations.dtype)


def triangular(rows: jax.Array) -> jax.Array:
    """A triangular matrix ``[n, n]`` with the singular values of ``rows`` ``[n, m]``, by modified Gram-Schmidt.

    LAPACK decomposes small matrices in one thread. Over larger ones its threads wait for each other, spinning, which on
    a busy machine takes much longer than the decomposition.
    """

    def project(rest: jax.Array, i: jax.Array) -> tuple[jax.Array, jax.Array]:
        norm = jnp.linalg.norm(rest[i])
        direction = rest[i] / jnp.where(norm > 0, norm, 1.0)
        along = rest @ direction
        return rest - along[:, None] * direction, along

    return jax.lax.scan(project, rows, jnp.arange(len(rows)))[1]
