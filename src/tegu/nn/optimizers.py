"""Gradient descent on one flat vector: a few large loops are faster on a CPU than many small ones."""

from typing import TypeVar

import jax
import optax
from jax.flatten_util import ravel_pytree

Parameters = TypeVar("Parameters")


def adam(max_grad_norm: float | jax.Array | None = None, eps: float = 1e-8) -> optax.GradientTransformation:
    """Adam (Kingma & Ba 2015) behind an optional clip of the global gradient norm, with a learning rate of 1."""
    return _behind_a_clip(max_grad_norm, optax.scale_by_adam(eps=eps))


def radam(max_grad_norm: float | jax.Array | None = None) -> optax.GradientTransformation:
    """Rectified Adam (Liu et al. 2020) behind an optional clip of the global gradient norm; a learning rate of 1."""
    return _behind_a_clip(max_grad_norm, optax.scale_by_radam())


def _behind_a_clip(
    max_grad_norm: float | jax.Array | None, scaled: optax.GradientTransformation
) -> optax.GradientTransformation:
    clip = [] if max_grad_norm is None else [optax.clip_by_global_norm(max_grad_norm)]
    return optax.flatten(optax.chain(*clip, scaled))


def gradient_norm(gradient: Parameters) -> jax.Array:
    """The Euclidean norm of a gradient, by the same operations as in the clip, so that the compiler does them once."""
    return optax.tree.norm(ravel_pytree(gradient)[0])


def descend(
    optimizer: optax.GradientTransformation,
    learning_rate: float | jax.Array,
    parameters: Parameters,
    gradient: Parameters,
    state: optax.OptState,
) -> tuple[Parameters, optax.OptState]:
    """One step down the gradient. Returns the new parameters and optimizer state."""
    direction, state = optimizer.update(gradient, state)
    return jax.tree.map(lambda p, d: p - learning_rate * d, parameters, direction), state


def follow(target: Parameters, online: Parameters, tau: float | jax.Array) -> Parameters:
    """Target parameters moved by the fraction ``tau`` towards the online ones (Polyak averaging); 1 copies them."""
    return jax.tree.map(lambda old, new: (1 - tau) * old + tau * new, target, online)
