"""Gradient descent on one flat vector: a few large loops are faster on a CPU than many small ones."""

from itertools import accumulate
from typing import TypeVar

import jax
import jax.numpy as jnp
import optax

Parameters = TypeVar("Parameters")


def adam(
    max_grad_norm: float | jax.Array | None = None, eps: float = 1e-8, b1: float | jax.Array | None = None
) -> optax.GradientTransformation:
    """Adam (Kingma & Ba 2015) behind an optional clip of the global gradient norm, with a learning rate of 1.

    ``b1``: how much of the mean gradient is kept at each step; None: 0.9.
    """
    return _behind_a_clip(max_grad_norm, optax.scale_by_adam(b1=0.9 if b1 is None else b1, eps=eps))


def radam(max_grad_norm: float | jax.Array | None = None) -> optax.GradientTransformation:
    """Rectified Adam (Liu et al. 2020) behind an optional clip of the global gradient norm; a learning rate of 1."""
    return _behind_a_clip(max_grad_norm, optax.scale_by_radam())


def rmsprop(
    max_grad_norm: float | jax.Array | None = None, eps: float | jax.Array = 1e-8, *, tf_like: bool = False
) -> optax.GradientTransformation:
    """RMSprop (Tieleman & Hinton 2012) behind an optional clip of the global gradient norm, with a learning rate of 1.

    The mean of squares forgets 1 % at each step and starts at 0; ``eps`` is added to its root, as in PyTorch. Where it
    is ``tf_like``, as in TensorFlow, the mean starts at 1, and ``eps`` is added to it under the root.
    """
    start = 1.0 if tf_like else 0.0
    scaled = optax.scale_by_rms(decay=0.99, eps=eps, initial_scale=start, eps_in_sqrt=tf_like)
    return _behind_a_clip(max_grad_norm, scaled)


def laprop(eps: float = 1e-20) -> optax.GradientTransformation:
    """LaProp (Ziyin et al. 2020), with a learning rate of 1: the mean of gradients that are scaled first.

    Means of squares forget 1 % at each step, those of gradients 10 %.
    """
    scaled = optax.scale_by_rms(decay=0.99, eps=eps, eps_in_sqrt=False, bias_correction=True)
    return on_one_vector(optax.chain(scaled, optax.ema(0.9)))


def adaptively_clipped(gradient: Parameters, parameters: Parameters, ratio: float | jax.Array) -> Parameters:
    """The gradient, of which no array's norm is more than ``ratio`` times that of its parameters (Brock et al. 2021,
    here for whole arrays, as in DreamerV3). Arrays of parameters count as of norm 0.001 at least."""

    def clipped(gradient: jax.Array, parameter: jax.Array) -> jax.Array:
        most = ratio * jnp.maximum(jnp.linalg.norm(parameter.ravel()), 1e-3)
        return gradient * jnp.minimum(1.0, most / jnp.maximum(jnp.linalg.norm(gradient.ravel()), 1e-30))

    return jax.tree.map(clipped, gradient, parameters)


def _behind_a_clip(
    max_grad_norm: float | jax.Array | None, scaled: optax.GradientTransformation
) -> optax.GradientTransformation:
    clip = [] if max_grad_norm is None else [optax.clip_by_global_norm(max_grad_norm)]
    return on_one_vector(optax.chain(*clip, scaled))


def on_one_vector(inner: optax.GradientTransformation) -> optax.GradientTransformation:
    """``inner`` applied to all parameters as one vector ``[n]``."""

    def init(parameters: optax.Params) -> optax.OptState:
        return inner.init(one_vector(parameters))

    def update(
        gradient: optax.Updates, state: optax.OptState, parameters: optax.Params | None = None
    ) -> tuple[optax.Updates, optax.OptState]:
        direction, state = inner.update(one_vector(gradient), state)
        leaves, structure = jax.tree.flatten(gradient)
        pieces = jnp.split(direction, list(accumulate(leaf.size for leaf in leaves))[:-1])
        shaped = [piece.reshape(leaf.shape) for piece, leaf in zip(pieces, leaves, strict=True)]
        return jax.tree.unflatten(structure, shaped), state

    return optax.GradientTransformation(init, update)


def one_vector(tree: optax.Params) -> jax.Array:
    """All numbers of a pytree, ``[n]``.

    On a CPU they are written piece by piece, at places that the compiler cannot see through. It would make one loop of
    the concatenation and of what computes the pieces, masked beyond each piece's end; where memory was never touched,
    masked reads and writes take 100 times as long as others, so that it depends on the addresses that a process happens
    to get. tegu train CartPole-v1 dqn (68 thousand parameters) made 490 steps/s in most processes in place of 4,300,
    tegu train MinAtar/Breakout-v0 pqn 4,900 in some in place of 22,800 (jax 0.10.2, 2 cores).
    """
    pieces = [leaf.ravel() for leaf in jax.tree.leaves(tree)]
    if jax.default_backend() != "cpu":
        return jnp.concatenate(pieces)
    vector, begin = jnp.zeros(sum(piece.size for piece in pieces), jnp.result_type(*pieces)), 0
    for piece in pieces:
        place = jax.lax.optimization_barrier(jnp.int32(begin))
        vector = jax.lax.dynamic_update_slice(vector, piece.astype(vector.dtype), (place,))
        begin += piece.size
    return vector


def descend(
    optimizer: optax.GradientTransformation,
    learning_rate: float | jax.Array,
    parameters: Parameters,
    gradient: Parameters,
    state: optax.OptState,
    weight_decay: float | jax.Array | None = None,
) -> tuple[Parameters, optax.OptState]:
    """One step down the gradient. Returns the new parameters and optimizer state.

    ``weight_decay``: of all parameters, apart from the gradient (Loshchilov & Hutter 2019); None: there is none.
    """
    direction, state = optimizer.update(gradient, state)
    if weight_decay is not None:
        direction = jax.tree.map(lambda d, p: d + weight_decay * p, direction, parameters)
    return jax.tree.map(lambda p, d: p - learning_rate * d, parameters, direction), state


def follow(target: Parameters, online: Parameters, tau: float | jax.Array) -> Parameters:
    """Target parameters moved by the fraction ``tau`` towards the online ones (Polyak averaging); 1 copies them."""
    return jax.tree.map(lambda old, new: (1 - tau) * old + tau * new, target, online)
