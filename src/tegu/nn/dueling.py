"""The dueling network (Wang et al. 2016): the value of a state, and what each action adds to it."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp

from tegu.nn.mlp import MLP, after_hidden, hidden_layers


class Dueling(eqx.Module):
    """``V + A - mean A`` (equation 9), ``[..., actions, outputs]``, for features ``[..., n]``.

    Value and advantage share all hidden layers but the last, of which each has its own.
    """

    shared: MLP | None
    value: MLP
    advantage: MLP
    actions: int = eqx.field(static=True)

    def __init__(
        self, key: jax.Array, inputs: int, net_arch: Sequence[int], actions: int, outputs: int, activation: str
    ):
        """``outputs``: numbers for each action, each with a value and advantages of its own."""
        shared_key, value_key, advantage_key = jax.random.split(key, 3)
        self.shared = hidden_layers(shared_key, (inputs, *net_arch[:-1]), activation)
        stream = (inputs, *net_arch)[-2:]
        self.value = MLP(value_key, (*stream, outputs), activation)
        self.advantage = MLP(advantage_key, (*stream, actions * outputs), activation)
        self.actions = actions

    def __call__(self, x: jax.Array) -> jax.Array:
        x = after_hidden(self.shared, x)
        value, advantage = self.value(x), self.advantage(x)
        advantage = advantage.reshape((*value.shape[:-1], self.actions, value.shape[-1]))
        return value[..., None, :] + advantage - advantage.mean(axis=-2, keepdims=True)

    def hidden(self, x: jax.Array) -> jax.Array:
        """The activations ``[..., 2 units]`` of the last hidden layers, of the value's and then of the advantage's."""
        x = after_hidden(self.shared, x)
        return jnp.concatenate([self.value.hidden(x), self.advantage.hidden(x)], axis=-1)
