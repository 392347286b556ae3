"""Recurrent layers, of any batch shape ``[..., n]``."""

from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from tegu.core.spec import EnvironmentSpec, Spaces
from tegu.core.step import PyTree
from tegu.nn.encoder import Encoder
from tegu.nn.mlp import ACTIVATIONS, MLP
from tegu.spaces.features import features


class LSTMState(NamedTuple):
    hidden: jax.Array  #: ``[..., width]``
    cell: jax.Array  #: ``[..., width]``


class Observed(NamedTuple):
    """A sequence of observations ``[T, B, ...]``."""

    observation: PyTree
    next_observation: PyTree
    begins: jax.Array  #: bool ``[T, B]``: whether an episode begins with the observation


class LSTM(eqx.Module):
    """Long short-term memory with a forget gate (Hochreiter & Schmidhuber 1997; Gers et al. 2000)."""

    weight: jax.Array  #: ``[inputs + width, 4 width]``: input gate, forget gate, candidate and output gate side by side
    bias: jax.Array

    def __init__(self, key: jax.Array, inputs: int, width: int):
        """Weights and biases uniform in +-1/sqrt(width), PyTorch's default."""
        drawn = jax.random.uniform(key, (inputs + width + 1, 4 * width), minval=-1.0) * width**-0.5
        self.weight, self.bias = drawn[:-1], drawn[-1]

    def __call__(self, x: jax.Array, state: LSTMState) -> LSTMState:
        """The state after ``x`` ``[..., inputs]``."""
        gates = jnp.concatenate([x, state.hidden], axis=-1) @ self.weight + self.bias
        write, keep, candidate, show = jnp.split(gates, 4, axis=-1)
        cell = jax.nn.sigmoid(keep) * state.cell + jax.nn.sigmoid(write) * jnp.tanh(candidate)
        return LSTMState(jax.nn.sigmoid(show) * jnp.tanh(cell), cell)

    def start(self, n: int) -> LSTMState:
        """The state with which ``n`` episodes begin: zeros."""
        zeros = jnp.zeros((n, self.weight.shape[-1] // 4), self.weight.dtype)
        return LSTMState(zeros, zeros)


class RecurrentQNetwork(eqx.Module):
    """Action values ``[..., A]`` from what was observed since the episode began: layers, an LSTM, a linear layer."""

    encoder: Encoder
    body: MLP
    lstm: LSTM
    head: MLP
    spaces: Spaces = eqx.field(static=True)

    def __init__(
        self,
        key: jax.Array,
        spec: EnvironmentSpec,
        net_arch: Sequence[int],
        activation: str,
        features_extractor: str,
        lstm_hidden_size: int,
    ):
        """``net_arch`` are the layers before the LSTM, at least one."""
        body_key, lstm_key, head_key = jax.random.split(key, 3)
        self.encoder = Encoder(key, spec.observation_space, features_extractor)
        self.body = MLP(body_key, (self.encoder.outputs, *net_arch), activation)
        self.lstm = LSTM(lstm_key, net_arch[-1], lstm_hidden_size)
        self.head = MLP(head_key, (lstm_hidden_size, int(spec.action_space.n)), activation)
        self.spaces = spec.spaces

    def __call__(self, observation: PyTree, state: LSTMState) -> tuple[jax.Array, LSTMState]:
        """The values of an observation, and the state after it."""
        state = self.lstm(self.embed(observation), state)
        return self.head(state.hidden), state

    def hidden(self, observation: PyTree, state: LSTMState) -> jax.Array:
        """What the LSTM shows ``[..., width]`` of an observation: the last hidden layer."""
        return self.lstm(self.embed(observation), state).hidden

    def embed(self, observation: PyTree) -> jax.Array:
        """What the LSTM sees ``[..., n]`` of observations ``[..., *shape]``."""
        x = self.encoder(features(self.spaces.observation, observation))
        return ACTIVATIONS[self.body.activation](self.body(x))

    def unroll(self, seen: Observed, state: LSTMState) -> tuple[tuple[jax.Array, jax.Array], LSTMState]:
        """The values ``[T, B, A]`` of observations and next observations, and the state after them.

        ``state`` ``[B, ...]`` is that before the sequence.
        """
        fresh = self.lstm.start(seen.begins.shape[1])

        def forwards(state: LSTMState, step: tuple[jax.Array, jax.Array]) -> tuple[LSTMState, LSTMState]:
            x, begins = step
            state = self.lstm(x, jax.tree.map(lambda new, old: jnp.where(begins[:, None], new, old), fresh, state))
            return state, state

        state, states = jax.lax.scan(forwards, state, (self.embed(seen.observation), seen.begins))
        after_next = self.lstm(self.embed(seen.next_observation), states)
        return (self.head(states.hidden), self.head(after_next.hidden)), state
