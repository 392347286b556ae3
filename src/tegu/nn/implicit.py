"""Implicit quantile networks (Dabney et al. 2018b): the quantile fraction is an input."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp

from tegu.nn.dueling import Dueling
from tegu.nn.mlp import MLP, after_hidden, hidden_layers


class ImplicitQuantileNetwork(eqx.Module):
    """Returns ``[..., actions, N]`` at the quantile fractions ``[..., N]``, for features ``[..., n]``.

    ``f(psi(x) * phi(tau))`` in the paper: ``psi`` are all hidden layers but the last, ``f`` is that and the outputs.
    """

    shared: MLP | None  #: psi
    embedding: MLP  #: phi, of ``[..., cosines]``
    head: MLP | Dueling  #: f
    cosines: int = eqx.field(static=True)

    def __init__(
        self,
        key: jax.Array,
        inputs: int,
        net_arch: Sequence[int],
        actions: int,
        activation: str,
        *,
        dueling: bool,
        cosines: int,
    ):
        shared_key, embedding_key, head_key = jax.random.split(key, 3)
        width = (inputs, *net_arch[:-1])[-1]
        self.shared = hidden_layers(shared_key, (inputs, *net_arch[:-1]), activation)
        self.embedding = MLP(embedding_key, (cosines, width), "relu")
        self.head = (
            Dueling(head_key, width, net_arch[-1:], actions, 1, activation)
            if dueling
            else MLP(head_key, (width, *net_arch[-1:], actions), activation)
        )
        self.cosines = cosines

    def __call__(self, x: jax.Array, fractions: jax.Array) -> jax.Array:
        merged = self.merged(x, fractions)
        return jnp.swapaxes(self.head(merged).reshape((*merged.shape[:-1], -1)), -1, -2)

    def merged(self, x: jax.Array, fractions: jax.Array) -> jax.Array:
        """``psi(x) * phi(tau)`` ``[..., N, width]``."""
        cosines = jnp.cos(jnp.pi * jnp.arange(self.cosines) * fractions[..., None])
        embedded = after_hidden(self.embedding, cosines)  # equation 4
        return after_hidden(self.shared, x)[..., None, :] * embedded

    def hidden(self, x: jax.Array, fractions: jax.Array) -> jax.Array:
        """The activations ``[..., units]`` of the last hidden layer, averaged over the fractions: the mean return is a
        linear function of that."""
        return self.head.hidden(self.merged(x, fractions)).mean(axis=-2)
