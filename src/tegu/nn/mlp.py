"""The multi-layer perceptron. It takes any batch shape ``[..., n]``, so no ``vmap`` is needed to batch it."""

import math
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from reprlib import repr as shorten
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp

from tegu.core.errors import TeguError

Networks = TypeVar("Networks")

WIDEST = 100_000  #: layer; a wider one is a mistyped number, and no file of a run is believed that has one

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "elu": jax.nn.elu,
    "gelu": jax.nn.gelu,
    "silu": jax.nn.silu,
    "mish": jax.nn.mish,
}


def check_network(activation: str, net_arch: Sequence[int], name: str = "net_arch") -> None:
    """Raise ``TeguError`` in one line unless these describe a network; ``name``: of the hyper-parameter."""
    if activation not in ACTIVATIONS:
        raise TeguError(f"activation must be one of {', '.join(ACTIVATIONS)}, got {activation!r}")
    if any(not 1 <= width <= WIDEST for width in net_arch):
        raise TeguError(f"{name} must be widths from 1 to {WIDEST:,}, got {shorten(list(net_arch))}")


class Dropout(eqx.Module):
    """Leaves out hidden units at random, and scales the others up by as much (Srivastava et al. 2014)."""

    key: jax.Array
    rate: jax.Array | float  #: probability of a unit to be left out, below 1

    def __call__(self, x: jax.Array, layer: int) -> jax.Array:
        """Units ``[..., n]`` of one layer, drawn anew for each row."""
        keep = jax.random.bernoulli(jax.random.fold_in(self.key, layer), 1 - self.rate, x.shape)
        return jnp.where(keep, x / (1 - self.rate), 0.0)


class MLP(eqx.Module):
    """A multi-layer perceptron: ``sizes[0]`` inputs, an activation after every layer but the last."""

    weights: tuple[jax.Array, ...]  #: layer i maps ``[..., sizes[i]]`` to ``[..., sizes[i + 1]]``
    biases: tuple[jax.Array, ...]
    activation: str = eqx.field(static=True)
    layer_norm: bool = eqx.field(static=True)  #: whether what enters each activation is normalised
    dropout: Dropout | None  #: of what each hidden layer computes, before it is normalised; set by ``with_dropout``

    def __init__(
        self,
        key: jax.Array,
        sizes: Sequence[int],
        activation: str,
        gains: Sequence[float] | None = None,
        layer_norm: bool = False,
    ):
        """Orthogonal weights scaled by ``gains`` and zero biases (Saxe et al. 2014), or, without ``gains``, weights
        and biases uniform in +-1/sqrt(inputs), PyTorch's default and so Stable-Baselines3's for value networks."""
        shapes = list(pairwise(sizes))
        if gains is not None:
            drawn = pieces(jax.random.normal(key, (sum(map(math.prod, shapes)),)), shapes)
            self.weights = tuple(gain * orthogonal(normal) for gain, normal in zip(gains, drawn, strict=True))
            self.biases = tuple(jnp.zeros(outputs) for _, outputs in shapes)
        else:
            # a layer's bias is one row more of its weights: it is drawn from the same range
            with_bias = [(inputs + 1, outputs) for inputs, outputs in shapes]
            total = sum(map(math.prod, with_bias))
            drawn = pieces(jax.random.uniform(key, (total,), minval=-1.0), with_bias)
            scaled = [layer * (len(layer) - 1) ** -0.5 for layer in drawn]
            self.weights = tuple(layer[:-1] for layer in scaled)
            self.biases = tuple(layer[-1] for layer in scaled)
        self.activation, self.layer_norm, self.dropout = activation, layer_norm, None

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.of_hidden(self.hidden(x))

    def of_hidden(self, hidden: jax.Array) -> jax.Array:
        """The outputs ``[..., m]`` for the activations ``[..., n]`` of the last hidden layer."""
        return hidden @ self.weights[-1] + self.biases[-1]

    def hidden(self, x: jax.Array) -> jax.Array:
        """The activations ``[..., n]`` of the last hidden layer; without one, ``x`` itself."""
        for i, (w, b) in enumerate(zip(self.weights[:-1], self.biases[:-1], strict=True)):
            x = x @ w + b
            x = x if self.dropout is None else self.dropout(x, i)
            x = ACTIVATIONS[self.activation](normalized(x) if self.layer_norm else x)
        return x


def normalized(x: jax.Array) -> jax.Array:
    """Layer normalisation (Ba et al. 2016) over the last axis, without parameters: the next layer has its own."""
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred * jax.lax.rsqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5)


def with_dropout(networks: Networks, rate: jax.Array | float | None, key: jax.Array) -> Networks:
    """Networks whose multi-layer perceptrons leave out units, each its own; None leaves them as they are.

    The rate is not part of a network that is kept, so all others use all of its units.
    """
    if rate is None:
        return networks
    parts, structure = jax.tree.flatten(networks, is_leaf=is_mlp)
    dropped = [
        eqx.tree_at(
            lambda mlp: mlp.dropout, part, Dropout(jax.random.fold_in(key, i), rate), is_leaf=lambda x: x is None
        )
        if is_mlp(part)
        else part
        for i, part in enumerate(parts)
    ]
    return jax.tree.unflatten(structure, dropped)


def is_mlp(part: Any) -> bool:
    return isinstance(part, MLP)


def hidden_layers(key: jax.Array, sizes: Sequence[int], activation: str) -> MLP | None:
    """Layers for ``after_hidden``; None for ``sizes`` of the inputs alone."""
    return MLP(key, sizes, activation) if len(sizes) > 1 else None


def after_hidden(layers: MLP | None, x: jax.Array) -> jax.Array:
    """What hidden layers make of ``[..., n]``: an activation follows the last of them, too. None changes nothing."""
    return x if layers is None else ACTIVATIONS[layers.activation](layers(x))


def pieces(numbers: jax.Array, shapes: Sequence[tuple[int, int]]) -> list[jax.Array]:
    """A long vector cut into matrices: drawing once compiles much faster than drawing for every layer."""
    cuts = list(accumulate(map(math.prod, shapes)))[:-1]
    return [piece.reshape(shape) for piece, shape in zip(jnp.split(numbers, cuts), shapes, strict=True)]


def orthogonal(normal: jax.Array) -> jax.Array:
    """An orthogonal matrix (or part of one) of the same shape from independent normal numbers (Saxe et al. 2014)."""
    tall = normal if normal.shape[0] >= normal.shape[1] else normal.T
    q, r = jnp.linalg.qr(tall)
    q = q * jnp.sign(jnp.diagonal(r))  # makes every orthogonal matrix equally likely
    return q if tall is normal else q.T
