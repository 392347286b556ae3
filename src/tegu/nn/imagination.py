"""The networks of an imagination-augmented agent (Weber et al. 2017, figure 2)."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from tegu.core.spec import EnvironmentSpec, Spaces
from tegu.exploration import masked
from tegu.nn.conv import GAIN
from tegu.nn.distributions import Categorical
from tegu.nn.mlp import ACTIVATIONS, MLP, after_hidden, hidden_layers
from tegu.nn.planes import PlaneEncoder
from tegu.nn.recurrent import LSTM, unroll


class Rollouts(NamedTuple):
    """What is imagined from observations ``[...]``: for each of ``A`` first actions one rollout of ``L`` steps."""

    x: jax.Array  #: ``[..., A, L, n]``: features of what would be observed after each action
    reward: jax.Array  #: ``[..., A, L]``
    ended: jax.Array  #: bool ``[..., A, L]``: whether the episode would be over


class Seen(NamedTuple):
    """What an imagination-augmented agent decides by."""

    x: jax.Array  #: features of the observation ``[..., n]``
    rollouts: Rollouts | None  #: None: it decides without imagination


class RolloutEncoder(eqx.Module):
    """Rollouts to codes: an LSTM reads what was imagined from the last step back to the first."""

    encoder: PlaneEncoder
    lstm: LSTM

    def __init__(self, key: jax.Array, spec: EnvironmentSpec, channels: int, hidden_size: int):
        encoder, lstm = jax.random.split(key)
        self.encoder = PlaneEncoder(encoder, spec.observation_space, channels)
        self.lstm = LSTM(lstm, self.encoder.outputs + 2, hidden_size, forget_bias=1.0)

    def __call__(self, rollouts: Rollouts) -> jax.Array:
        """Codes ``[..., A, hidden_size]`` of rollouts ``[..., A, L, ...]``."""
        outcome = jnp.stack([rollouts.reward, rollouts.ended.astype(jnp.float32)], axis=-1)
        read = jnp.concatenate([self.encoder(rollouts.x), outcome], axis=-1)
        batch, length = read.shape[:-2], read.shape[-2]
        backwards = jnp.moveaxis(read.reshape((-1, *read.shape[-2:])), 1, 0)[::-1]  # [L, N, m]
        begins = jnp.zeros(backwards.shape[:2], bool)
        states = unroll(self.lstm, backwards, begins, self.lstm.start(backwards.shape[1]))
        return states.hidden[length - 1].reshape((*batch, -1))


class RolloutPolicy(eqx.Module):
    """The small policy that acts in imagined rollouts: logits ``[..., A]`` by features ``[..., n]``."""

    encoder: PlaneEncoder
    layers: MLP

    def __init__(self, key: jax.Array, spec: EnvironmentSpec, channels: int, net_arch: Sequence[int], activation: str):
        encoder, layers = jax.random.split(key)
        self.encoder = PlaneEncoder(encoder, spec.observation_space, channels)
        sizes = self.encoder.outputs, *net_arch, int(spec.action_space.n)
        self.layers = MLP(layers, sizes, activation, (*[GAIN] * len(net_arch), 0.01))

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.layers(self.encoder(x))


class ImaginationAugmented(eqx.Module):
    """A policy and state values by the observation, the model-free path, and by codes of imagined rollouts.

    The codes enter the first hidden layer with weights of 0 at first: a fresh network decides as one without them.
    """

    encoder: PlaneEncoder
    first: MLP  #: the part of the first hidden layer that sees the observation
    rollout_encoder: RolloutEncoder | None
    code_weight: Any  #: ``[A * hidden_size, width]``: the part that sees the codes
    hidden: MLP | None  #: the hidden layers after the first
    actor: MLP
    critic: MLP
    rollout_policy: RolloutPolicy | None
    activation: str = eqx.field(static=True)
    spaces: Spaces = eqx.field(static=True)

    def __init__(
        self,
        key: jax.Array,
        spec: EnvironmentSpec,
        net_arch: Sequence[int],
        activation: str,
        channels: int,
        hidden_size: int,
        imagines: bool,
    ):
        """``net_arch``: hidden layers, at least one. ``hidden_size``: of the codes. ``imagines``: whether there are."""
        keys = jax.random.split(key, 7)
        actions, width = int(spec.action_space.n), net_arch[0]
        self.encoder = PlaneEncoder(keys[0], spec.observation_space, channels)
        self.first = MLP(keys[1], (self.encoder.outputs, width), activation, (GAIN,))
        self.hidden = hidden_layers(keys[2], net_arch, activation)
        self.actor = MLP(keys[3], (net_arch[-1], actions), activation, (0.01,))
        self.critic = MLP(keys[4], (net_arch[-1], 1), activation, (1.0,))
        self.rollout_encoder = self.code_weight = self.rollout_policy = None
        if imagines:
            self.rollout_encoder = RolloutEncoder(keys[5], spec, channels, hidden_size)
            self.code_weight = jnp.zeros((actions * hidden_size, width))
            self.rollout_policy = RolloutPolicy(keys[6], spec, channels, net_arch, activation)
        self.activation, self.spaces = activation, spec.spaces

    @property
    def parts(self) -> tuple[tuple[str, Any], ...]:
        """For the line that describes the networks."""
        later = () if self.hidden is None else (self.hidden,)
        shown = (("", (self.encoder, self.first, *later)), ("actor", self.actor), ("critic", self.critic))
        if self.rollout_encoder is None or self.rollout_policy is None:
            return shown
        reads = self.rollout_encoder.encoder, self.rollout_encoder.lstm
        acts = self.rollout_policy.encoder, self.rollout_policy.layers
        return (*shown, ("rollout encoder", reads), ("rollout policy", acts))

    def __call__(self, seen: Seen, mask: jax.Array | None = None) -> tuple[Categorical, jax.Array]:
        """The policy and the state values ``[...]``."""
        x = self.first(self.encoder(seen.x))
        if seen.rollouts is not None and self.rollout_encoder is not None:
            codes = self.rollout_encoder(seen.rollouts)
            x = x + codes.reshape((*codes.shape[:-2], -1)) @ self.code_weight
        x = after_hidden(self.hidden, ACTIVATIONS[self.activation](x))
        return Categorical(masked(self.actor(x), mask), int(self.spaces.action.start)), self.critic(x)[..., 0]
