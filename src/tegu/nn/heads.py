"""Networks as pytrees of arrays. They take any batch shape ``[..., n]``, so no ``vmap`` is needed to batch them."""

import math
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp

from tegu.core.spec import EnvironmentSpec, Spaces
from tegu.core.step import PyTree
from tegu.nn.body import Body, body
from tegu.nn.conv import GAIN
from tegu.nn.custom import CustomNetwork
from tegu.nn.distributions import Distribution, distribution, n_parameters
from tegu.nn.encoder import Encoder
from tegu.nn.mlp import MLP
from tegu.nn.state_dependent_noise import SDE, StateDependentNoise
from tegu.spaces.features import features, n_features


class QNetwork(eqx.Module):
    """Action values ``[..., A]`` for observations ``[..., *shape]``."""

    encoder: Encoder
    mlp: Body
    spaces: Spaces = eqx.field(static=True)

    def __init__(
        self,
        key: jax.Array,
        spec: EnvironmentSpec,
        net_arch: Sequence[int],
        activation: str,
        features_extractor: str = "auto",
        layer_norm: bool = False,
        architecture: str = "mlp",
    ):
        """``layer_norm``: whether what enters each activation is normalised. ``architecture``: as of ``body``."""
        self.encoder = Encoder(key, spec.observation_space, features_extractor, layer_norm=layer_norm)
        sizes = self.encoder.outputs, *net_arch, n_parameters(spec.action_space)
        self.mlp = body(key, sizes, activation, architecture, layer_norm)
        self.spaces = spec.spaces

    def __call__(self, observation: PyTree) -> jax.Array:
        return self.mlp(self.embed(observation))

    def embed(self, observation: PyTree) -> jax.Array:
        """What the layers see ``[..., n]``."""
        return self.encoder(features(self.spaces.observation, observation))

    def hidden(self, observation: PyTree) -> jax.Array:
        """The activations ``[..., units]`` of the last hidden layer."""
        return self.mlp.hidden(self.embed(observation))


class ActorCritic(eqx.Module):
    """A policy and a value function side by side, sharing what sees images and nothing else (Stable-Baselines3's
    default for PPO and A2C)."""

    encoder: Encoder  #: of the critic, and of the actor if it sees the same
    actor_encoder: Encoder | None  #: of an actor that sees less: the first of the features
    actor: MLP
    critic: MLP
    log_std: jax.Array  #: ``[k]`` for Box actions of length k, else ``[0]``
    spaces: Spaces = eqx.field(static=True)
    noise: StateDependentNoise | None  #: in place of ``log_std``, which is empty then

    def __init__(
        self,
        key: jax.Array,
        spec: EnvironmentSpec,
        net_arch: Sequence[int],
        activation: str,
        log_std_init: float,
        actor_sees: gymnasium.Space | None = None,
        features_extractor: str = "auto",
        standardised: bool = False,
        critic_arch: Sequence[int] | None = None,
        sde: SDE | None = None,
    ):
        """``actor_sees``: the space of what the actor sees, the first part of observations; None: all of them.
        ``standardised``: whether features are, so that images are not to be scaled. ``critic_arch``: None, the critic's
        hidden layers are as wide as the actor's. ``sde``: None, the noise of continuous actions does not depend on the
        state."""
        actor_key, critic_key = jax.random.split(key)
        spaces = spec.observation_space, actor_sees
        self.encoder, self.actor_encoder = encoders(key, actor_key, *spaces, features_extractor, standardised)
        actor_inputs = (self.actor_encoder or self.encoder).outputs
        actor_sizes = actor_inputs, *net_arch, n_parameters(spec.action_space)
        self.actor = MLP(actor_key, actor_sizes, activation, (*[GAIN] * len(net_arch), 0.01))
        critic_arch = net_arch if critic_arch is None else critic_arch
        critic_sizes = self.encoder.outputs, *critic_arch, 1
        self.critic = MLP(critic_key, critic_sizes, activation, (*[GAIN] * len(critic_arch), 1.0))
        self.noise = None if sde is None else StateDependentNoise((actor_sizes[-2], actor_sizes[-1]), log_std_init, sde)
        self.log_std = jnp.zeros(0) if sde is not None else initial_log_std(spec, log_std_init)
        self.spaces = spec.spaces

    @property
    def parts(self) -> tuple[tuple[str, Any], ...]:
        return parts_with_encoders(self.encoder, self.actor_encoder, (self.actor,), (self.critic,))

    def __call__(self, x: jax.Array, mask: jax.Array | None = None) -> tuple[Distribution, jax.Array]:
        """The policy and the state values ``[...]`` for features ``[..., n]``."""
        by_actor, by_critic = self.embed(x)
        hidden = self.actor.hidden(by_actor)
        # as in Stable-Baselines3, the features are not learned for the noise's sake
        log_std = self.log_std if self.noise is None else self.noise.log_std_of(jax.lax.stop_gradient(hidden))
        outputs = self.actor.of_hidden(hidden)
        return distribution(self.spaces.action, outputs, log_std, mask), self.critic(by_critic)[..., 0]

    def hidden(self, x: jax.Array) -> jax.Array:
        """The activations ``[..., units]`` of the actor's last hidden layer for features ``[..., n]``."""
        return self.actor.hidden(self.embed(x)[0])

    def embed(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """What the layers of actor and critic see of features ``[..., n]``."""
        return embedded(self.encoder, self.actor_encoder, x)


def encoders(
    key: jax.Array,
    actor_key: jax.Array,
    space: gymnasium.Space,
    actor_sees: gymnasium.Space | None,
    extractor: str,
    standardised: bool,
) -> tuple[Encoder, Encoder | None]:
    """That of observations in ``space``, and that of an actor which sees less, as for ``ActorCritic``."""
    settings: dict[str, Any] = {"gain": GAIN, "scaled": not standardised}
    own = None if actor_sees is None else Encoder(actor_key, actor_sees, extractor, **settings)
    return Encoder(key, space, extractor, **settings), own


def embedded(encoder: Encoder, actor_encoder: Encoder | None, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """What actor and critic see of features ``[..., n]``."""
    by_critic = encoder(x)
    return by_critic if actor_encoder is None else actor_encoder(x[..., : actor_encoder.inputs]), by_critic


def parts_with_encoders(
    encoder: Encoder, actor_encoder: Encoder | None, actor: tuple[Any, ...], critic: tuple[Any, ...]
) -> tuple[tuple[str, Any], ...]:
    """The parts of a network, for the line that describes it; an encoder that both share stands first."""
    if not encoder.title:
        return ("actor", actor), ("critic", critic)
    if actor_encoder is None:
        return ("", encoder), ("actor", actor), ("critic", critic)
    return ("actor", (actor_encoder, *actor)), ("critic", (encoder, *critic))


class CustomActorCritic(eqx.Module):
    """The same of a person's own: one module for both, or an actor and a critic.

    Observations ``[..., *shape]`` come as they are in place of features.
    """

    modules: tuple[CustomNetwork, ...]
    log_std: jax.Array  #: ``[k]`` for Box actions of length k, else ``[0]``
    spaces: Spaces = eqx.field(static=True)
    actor_sees: str | None = eqx.field(static=True, default=None)  #: of a Dict observation; None: all of it

    @property
    def parts(self) -> tuple[tuple[str, Any], ...]:
        return tuple(zip(("actor", "critic") if len(self.modules) > 1 else ("",), self.modules, strict=True))

    @property
    def critic(self) -> CustomNetwork:
        """What gives the values: a module for them alone, or that for both."""
        return self.modules[-1]

    def __call__(self, x: PyTree, mask: jax.Array | None = None) -> tuple[Distribution, jax.Array]:
        """The policy and the state values ``[...]`` for observations ``[..., *shape]``."""
        if len(self.modules) > 1:
            actor, critic = self.modules
            outputs, value = actor(x if self.actor_sees is None else x[self.actor_sees]), critic(x)
        else:
            outputs, value = self.modules[0](x)
        return distribution(self.spaces.action, outputs, self.log_std, mask), value


def initial_log_std(spec: EnvironmentSpec, value: float) -> jax.Array:
    """``[k]`` times ``value`` for Box actions of length k, else ``[0]``."""
    continuous = isinstance(spec.action_space, gymnasium.spaces.Box)
    return jnp.full((n_parameters(spec.action_space) if continuous else 0,), value, float)


class DeterministicPolicy(eqx.Module):
    """The action ``[..., *shape]`` of a Box, scaled to [-1, 1], for observations ``[..., *shape]``."""

    encoder: Encoder
    mlp: Body
    spaces: Spaces = eqx.field(static=True)

    def __init__(
        self,
        key: jax.Array,
        spec: EnvironmentSpec,
        net_arch: Sequence[int],
        activation: str,
        features_extractor: str = "auto",
        layer_norm: bool = False,
        architecture: str = "mlp",
    ):
        self.encoder = Encoder(key, spec.observation_space, features_extractor, layer_norm=layer_norm)
        sizes = self.encoder.outputs, *net_arch, math.prod(spec.action_space.shape)
        self.mlp = body(key, sizes, activation, architecture, layer_norm)
        self.spaces = spec.spaces

    def __call__(self, observation: PyTree) -> jax.Array:
        return self.read(self.mlp(self.embed(observation)))

    def read(self, outputs: jax.Array, *seen: PyTree) -> jax.Array:
        """The action in the layers' outputs."""
        return squashed(self.spaces.action, outputs)

    def embed(self, observation: PyTree) -> jax.Array:
        """What the layers see ``[..., n]``."""
        return self.encoder(features(self.spaces.observation, observation))


class CustomPolicy(eqx.Module):
    """The same of a person's own: observations come as they are in place of features."""

    network: CustomNetwork

    @property
    def spaces(self) -> Spaces:
        return self.network.spaces

    def __call__(self, observation: PyTree) -> jax.Array:
        return squashed(self.spaces.action, self.network(observation))


def squashed(box: gymnasium.spaces.Box, outputs: jax.Array) -> jax.Array:
    """Actions ``[..., *shape]`` scaled to [-1, 1] for a network's outputs ``[..., n]``."""
    return jnp.tanh(outputs).reshape((*outputs.shape[:-1], *box.shape))


class ActionValue(eqx.Module):
    """The value ``[...]`` of actions ``[..., *shape]`` scaled to [-1, 1], for observations ``[..., *shape]``; or
    quantiles ``[..., n]`` of the return."""

    encoder: Encoder
    mlp: Body
    spaces: Spaces = eqx.field(static=True)
    n_quantiles: int = eqx.field(static=True)  #: 0: values alone

    def __init__(
        self,
        key: jax.Array,
        spec: EnvironmentSpec,
        net_arch: Sequence[int],
        activation: str,
        features_extractor: str = "auto",
        layer_norm: bool = False,
        architecture: str = "mlp",
        n_quantiles: int = 0,
    ):
        self.encoder = Encoder(key, spec.observation_space, features_extractor, layer_norm=layer_norm)
        inputs = self.encoder.outputs + n_features(spec.action_space)
        self.mlp = body(key, (inputs, *net_arch, n_quantiles or 1), activation, architecture, layer_norm)
        self.spaces = spec.spaces
        self.n_quantiles = n_quantiles

    def __call__(self, observation: PyTree, action: jax.Array) -> jax.Array:
        return self.read(self.mlp(self.embed(observation, action)))

    def read(self, outputs: jax.Array, *seen: PyTree) -> jax.Array:
        """The value or the quantiles in the layers' outputs."""
        return outputs if self.n_quantiles else outputs[..., 0]

    def embed(self, observation: PyTree, action: jax.Array) -> jax.Array:
        """What the layers see ``[..., n]``."""
        seen = self.encoder(features(self.spaces.observation, observation))
        return jnp.concatenate([seen, action.reshape((*seen.shape[:-1], -1))], axis=-1)

    def hidden(self, observation: PyTree, action: jax.Array) -> jax.Array:
        """The activations ``[..., units]`` of the last hidden layer."""
        return self.mlp.hidden(self.embed(observation, action))
