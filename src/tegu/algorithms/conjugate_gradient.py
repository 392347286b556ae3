"""Conjugate gradients for matrices that may be singular."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

PyTree = Any


def conjugate_gradient(
    product: Callable[[PyTree], PyTree], b: PyTree, *, max_steps: int, tolerance: float
) -> tuple[PyTree, jax.Array]:
    """An ``x`` for which ``product(x)`` is nearly ``b`` (Hestenes & Stiefel 1952), and the steps it took, int32.

    ``product`` multiplies by a symmetric matrix without negative eigenvalues. Steps end when the residual's norm is at
    most ``tolerance``, after ``max_steps``, and before a direction in which the matrix has no curvature but what
    rounding leaves of the largest so far: there is nothing to divide by then, and ``x`` is the best of the directions
    before it.
    """
    rounding = 10 * jnp.finfo(jax.tree.leaves(b)[0].dtype).eps

    def goes_on(carry: tuple[Any, ...]) -> jax.Array:
        _, _, _, squared, taken, _, curved = carry
        return (squared > tolerance**2) & (taken < max_steps) & curved

    def step(carry: tuple[Any, ...]) -> tuple[Any, ...]:
        x, residual, direction, squared, taken, largest, _ = carry
        image = product(direction)
        curvature = optax.tree.vdot(direction, image)
        relative = curvature / optax.tree.vdot(direction, direction)
        largest = jnp.maximum(largest, relative)
        curved = relative > rounding * largest
        length = jnp.where(curved, squared / jnp.where(curved, curvature, 1.0), 0.0)
        x = jax.tree.map(lambda a, d: a + length * d, x, direction)
        residual = jax.tree.map(lambda r, i: r - length * i, residual, image)
        now = optax.tree.vdot(residual, residual)
        direction = jax.tree.map(lambda r, d: r + now / squared * d, residual, direction)
        return x, residual, direction, now, taken + curved, largest, curved

    nothing = jax.tree.map(jnp.zeros_like, b)
    squared = optax.tree.vdot(b, b)
    carry = nothing, b, b, squared, jnp.zeros((), jnp.int32), jnp.zeros_like(squared), jnp.ones((), bool)
    x, _, _, _, taken, _, _ = jax.lax.while_loop(goes_on, step, carry)
    return x, taken
