"""Recurrent layers, of any batch shape ``[..., n]``."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp

from tegu.core.spec import EnvironmentSpec, Spaces
from tegu.core.step import PyTree
from tegu.nn.conv import GAIN
from tegu.nn.distributions import Distribution, distribution, n_parameters
from tegu.nn.dueling import Dueling
from tegu.nn.encoder import Encoder
from tegu.nn.heads import embedded, encoders, initial_log_std, parts_with_encoders
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

    def __init__(self, key: jax.Array, inputs: int, width: int, forget_bias: float = 0.0):
        """Weights and biases uniform in +-1/sqrt(width), PyTorch's default.

        ``forget_bias`` is added to those of the forget gate: 1 remembers for longer (Jozefowicz et al. 2015).
        """
        drawn = jax.random.uniform(key, (inputs + width + 1, 4 * width), minval=-1.0) * width**-0.5
        self.weight, self.bias = drawn[:-1], drawn[-1].at[width : 2 * width].add(forget_bias)

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


class GRU(eqx.Module):
    """Gated recurrent unit (Cho et al. 2014) whose reset gate acts on the product with the state, as in cuDNN."""

    input_weight: jax.Array  #: ``[inputs, 3 width]``: reset gate, update gate and candidate side by side
    state_weight: jax.Array  #: ``[width, 3 width]``
    input_bias: jax.Array
    state_bias: jax.Array

    def __init__(self, key: jax.Array, inputs: int, width: int):
        """Weights and biases uniform in +-1/sqrt(width), PyTorch's default."""
        drawn = jax.random.uniform(key, (inputs + width + 2, 3 * width), minval=-1.0) * width**-0.5
        self.input_weight, self.state_weight = drawn[:inputs], drawn[inputs:-2]
        self.input_bias, self.state_bias = drawn[-2], drawn[-1]

    def __call__(self, x: jax.Array, state: jax.Array) -> jax.Array:
        """The state ``[..., width]`` after ``x`` ``[..., inputs]``."""
        from_input = jnp.split(x @ self.input_weight + self.input_bias, 3, axis=-1)
        from_state = jnp.split(state @ self.state_weight + self.state_bias, 3, axis=-1)
        reset, keep = (jax.nn.sigmoid(a + b) for a, b in zip(from_input[:2], from_state[:2], strict=True))
        candidate = jnp.tanh(from_input[2] + reset * from_state[2])
        return (1 - keep) * candidate + keep * state

    def start(self, n: int) -> jax.Array:
        """The state with which ``n`` episodes begin: zeros."""
        return jnp.zeros((n, len(self.state_weight)), self.state_weight.dtype)


CELLS: dict[str, Callable[[jax.Array, int, int], LSTM | GRU]] = {"lstm": partial(LSTM, forget_bias=1.0), "gru": GRU}


def visible(state: PyTree) -> jax.Array:
    """What a cell's state ``[..., width]`` shows to the layers after it."""
    return state.hidden if isinstance(state, LSTMState) else state


def unroll(cell: LSTM | GRU, x: jax.Array, begins: jax.Array, state: PyTree) -> PyTree:
    """The states ``[T, B, ...]`` after each of ``x`` ``[T, B, n]``, from ``state`` ``[B, ...]`` on.

    Where an episode ``begins`` (bool ``[T, B]``) with a step, it starts anew.
    """
    fresh = cell.start(begins.shape[1])

    def forwards(state: PyTree, step: tuple[jax.Array, jax.Array]) -> tuple[PyTree, PyTree]:
        x, begins = step
        state = cell(x, jax.tree.map(lambda new, old: jnp.where(begins[:, None], new, old), fresh, state))
        return state, state

    return jax.lax.scan(forwards, state, (x, begins))[1]


class RecurrentQNetwork(eqx.Module):
    """Action values ``[..., A]`` from what was observed since the episode began: layers, an LSTM, a linear layer or a
    dueling network."""

    encoder: Encoder
    body: MLP
    lstm: LSTM
    head: MLP | Dueling
    spaces: Spaces = eqx.field(static=True)

    def __init__(
        self,
        key: jax.Array,
        spec: EnvironmentSpec,
        net_arch: Sequence[int],
        activation: str,
        features_extractor: str,
        lstm_hidden_size: int,
        dueling: bool = False,
    ):
        """``net_arch`` are the layers before the LSTM, at least one. ``dueling``: whether streams of values and of
        advantages follow it (Wang et al. 2016), each with a hidden layer as wide as the LSTM."""
        body_key, lstm_key, head_key = jax.random.split(key, 3)
        self.encoder = Encoder(key, spec.observation_space, features_extractor)
        self.body = MLP(body_key, (self.encoder.outputs, *net_arch), activation)
        self.lstm = LSTM(lstm_key, net_arch[-1], lstm_hidden_size)
        width, actions = lstm_hidden_size, int(spec.action_space.n)
        self.head = (
            Dueling(head_key, width, (width,), actions, 1, activation)
            if dueling
            else MLP(head_key, (width, actions), activation)
        )
        self.spaces = spec.spaces

    def __call__(self, observation: PyTree, state: LSTMState) -> tuple[jax.Array, LSTMState]:
        """The values of an observation, and the state after it."""
        state = self.lstm(self.embed(observation), state)
        return self.of_state(state), state

    def of_state(self, state: LSTMState) -> jax.Array:
        """The action values, from the LSTM's state after the observation."""
        values = self.head(state.hidden)
        return values[..., 0] if isinstance(self.head, Dueling) else values

    def hidden(self, observation: PyTree, state: LSTMState) -> jax.Array:
        """The last hidden layer ``[..., units]`` for an observation: the LSTM's output, or both dueling streams."""
        output = self.lstm(self.embed(observation), state).hidden
        return self.head.hidden(output)

    def embed(self, observation: PyTree) -> jax.Array:
        """What the LSTM sees ``[..., n]`` of observations ``[..., *shape]``."""
        x = self.encoder(features(self.spaces.observation, observation))
        return ACTIVATIONS[self.body.activation](self.body(x))

    def unroll(self, seen: Observed, state: LSTMState) -> tuple[tuple[jax.Array, jax.Array], LSTMState]:
        """The values ``[T, B, A]`` of observations and next observations, and the state after them.

        ``state`` ``[B, ...]`` is that before the sequence.
        """
        states = unroll(self.lstm, self.embed(seen.observation), seen.begins, state)
        after_next = self.lstm(self.embed(seen.next_observation), states)
        last = jax.tree.map(lambda leaf: leaf[-1], states)
        return (self.of_state(states), self.of_state(after_next)), last


class Memory(NamedTuple):
    """The states of the actor's cell and of the critic's."""

    actor: Any  #: ``LSTMState``, or a GRU's ``[..., width]``
    critic: Any


class Sequences(NamedTuple):
    """``N`` sequences of ``L`` steps, as a minibatch holds them."""

    x: jax.Array  #: features ``[N, L, n]``
    begins: jax.Array  #: bool ``[N, L]``: whether an episode begins with the step
    memory: Memory  #: ``[N, ...]``: before the first step


class RecurrentActorCritic(eqx.Module):
    """A policy and a value function, each a recurrent cell followed by layers (Hausknecht & Stone 2015 for values)."""

    encoder: Encoder  #: of the critic, and of the actor if it sees the same
    actor_encoder: Encoder | None  #: of an actor that sees less: the first of the features
    actor_cell: LSTM | GRU
    actor: MLP
    critic_cell: LSTM | GRU
    critic: MLP
    log_std: jax.Array  #: ``[k]`` for Box actions of length k, else ``[0]``
    spaces: Spaces = eqx.field(static=True)

    def __init__(
        self,
        key: jax.Array,
        spec: EnvironmentSpec,
        net_arch: Sequence[int],
        activation: str,
        log_std_init: float,
        cell: str,
        width: int,
        actor_sees: gymnasium.Space | None = None,
        features_extractor: str = "auto",
        standardised: bool = False,
        critic_arch: Sequence[int] | None = None,
    ):
        """``cell``: of ``CELLS``, with states of ``width``. The rest is as for ``ActorCritic``."""
        keys = jax.random.split(key, 4)
        spaces = spec.observation_space, actor_sees
        self.encoder, self.actor_encoder = encoders(key, keys[2], *spaces, features_extractor, standardised)
        critic_arch = net_arch if critic_arch is None else critic_arch
        self.actor_cell = CELLS[cell](keys[0], (self.actor_encoder or self.encoder).outputs, width)
        self.critic_cell = CELLS[cell](keys[1], self.encoder.outputs, width)
        actor_sizes, critic_sizes = (width, *net_arch, n_parameters(spec.action_space)), (width, *critic_arch, 1)
        self.actor = MLP(keys[2], actor_sizes, activation, (*[GAIN] * len(net_arch), 0.01))
        self.critic = MLP(keys[3], critic_sizes, activation, (*[GAIN] * len(critic_arch), 1.0))
        self.log_std = initial_log_std(spec, log_std_init)
        self.spaces = spec.spaces

    @property
    def parts(self) -> tuple[tuple[str, Any], ...]:
        actor, critic = (self.actor_cell, self.actor), (self.critic_cell, self.critic)
        return parts_with_encoders(self.encoder, self.actor_encoder, actor, critic)

    def start(self, n: int) -> Memory:
        """The memory with which ``n`` episodes begin."""
        return Memory(self.actor_cell.start(n), self.critic_cell.start(n))

    def remember(self, x: jax.Array, memory: Memory) -> Memory:
        """The memory after features ``x`` ``[..., n]``."""
        by_actor, by_critic = embedded(self.encoder, self.actor_encoder, x)
        return Memory(self.actor_cell(by_actor, memory.actor), self.critic_cell(by_critic, memory.critic))

    def unroll(self, x: jax.Array, begins: jax.Array, memory: Memory) -> Memory:
        """The memories ``[T, B, ...]`` after each step's features ``x`` ``[T, B, n]``; see ``unroll``."""
        by_actor, by_critic = embedded(self.encoder, self.actor_encoder, x)
        return Memory(
            unroll(self.actor_cell, by_actor, begins, memory.actor),
            unroll(self.critic_cell, by_critic, begins, memory.critic),
        )

    def of_memory(self, memory: Memory, mask: jax.Array | None = None) -> tuple[Distribution, jax.Array]:
        """The policy and the state values ``[...]`` where ``memory`` holds what was observed up to now."""
        outputs = self.actor(visible(memory.actor))
        policy = distribution(self.spaces.action, outputs, self.log_std, mask)
        return policy, self.critic(visible(memory.critic))[..., 0]

    def __call__(self, seen: Sequences, mask: jax.Array | None = None) -> tuple[Distribution, jax.Array]:
        """The policy and the state values ``[N, L]`` at each step of ``N`` sequences."""
        x, begins = jnp.swapaxes(seen.x, 0, 1), seen.begins.T
        memory = jax.tree.map(lambda leaf: jnp.swapaxes(leaf, 0, 1), self.unroll(x, begins, seen.memory))
        return self.of_memory(memory, mask)
