"""Networks as pytrees of arrays. They take any batch shape ``[..., n]``, so no ``vmap`` is needed to batch them."""

import math
from collections.abc import Sequence

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp

from tegu.core.spec import EnvironmentSpec, Spaces
from tegu.core.step import PyTree
from tegu.nn.distributions import Distribution, distribution, n_parameters
from tegu.nn.mlp import MLP
from tegu.spaces.features import features, n_features


class QNetwork(eqx.Module):
    """Action values ``[..., A]`` for observations ``[..., *shape]``."""

    mlp: MLP
    spaces: Spaces = eqx.field(static=True)

    def __init__(self, key: jax.Array, spec: EnvironmentSpec, net_arch: Sequence[int], activation: str):
        sizes = (n_features(spec.observation_space), *net_arch, n_parameters(spec.action_space))
        self.mlp = MLP(key, sizes, activation)
        self.spaces = spec.spaces

    def __call__(self, observation: jax.Array) -> jax.Array:
        return self.mlp(features(self.spaces.observation, observation))


class ActorCritic(eqx.Module):
    """A policy and a value function side by side, sharing nothing (Stable-Baselines3's default for PPO and A2C)."""

    actor: MLP
    critic: MLP
    log_std: jax.Array  #: ``[k]`` for Box actions of length k, else ``[0]``
    spaces: Spaces = eqx.field(static=True)
    actor_inputs: int = eqx.field(static=True)  #: how many of the features, the first ones, the actor sees

    def __init__(
        self,
        key: jax.Array,
        spec: EnvironmentSpec,
        net_arch: Sequence[int],
        activation: str,
        log_std_init: float,
        actor_inputs: int | None = None,
    ):
        """``actor_inputs``: None, the actor sees all features."""
        actor_key, critic_key = jax.random.split(key)
        inputs, outputs = n_features(spec.observation_space), n_parameters(spec.action_space)
        gains = [2**0.5] * len(net_arch)
        self.actor_inputs = inputs if actor_inputs is None else actor_inputs
        self.actor = MLP(actor_key, (self.actor_inputs, *net_arch, outputs), activation, (*gains, 0.01))
        self.critic = MLP(critic_key, (inputs, *net_arch, 1), activation, (*gains, 1.0))
        continuous = isinstance(spec.action_space, gymnasium.spaces.Box)
        self.log_std = jnp.full((outputs if continuous else 0,), log_std_init, float)
        self.spaces = spec.spaces

    def policy(self, x: jax.Array, mask: jax.Array | None = None) -> Distribution:
        """The policy for features ``[..., n]``."""
        return distribution(self.spaces.action, self.actor(x[..., : self.actor_inputs]), self.log_std, mask)

    def value(self, x: jax.Array) -> jax.Array:
        """State values ``[...]`` for features ``[..., n]``."""
        return self.critic(x)[..., 0]


class DeterministicPolicy(eqx.Module):
    """The action ``[..., *shape]``, within the bounds of a Box, for observations ``[..., *shape]``."""

    mlp: MLP
    spaces: Spaces = eqx.field(static=True)

    def __init__(self, key: jax.Array, spec: EnvironmentSpec, net_arch: Sequence[int], activation: str):
        sizes = (n_features(spec.observation_space), *net_arch, math.prod(spec.action_space.shape))
        self.mlp = MLP(key, sizes, activation)
        self.spaces = spec.spaces

    def __call__(self, observation: PyTree) -> jax.Array:
        box = self.spaces.action
        unit = jnp.tanh(self.mlp(features(self.spaces.observation, observation)))
        unit = unit.reshape((*unit.shape[:-1], *box.shape))
        return jnp.float32(box.low) + jnp.float32(box.high - box.low) * (unit + 1) / 2


class ActionValue(eqx.Module):
    """The value ``[...]`` of actions ``[..., *shape]`` of a Box in states with observations ``[..., *shape]``."""

    mlp: MLP
    spaces: Spaces = eqx.field(static=True)

    def __init__(self, key: jax.Array, spec: EnvironmentSpec, net_arch: Sequence[int], activation: str):
        inputs = n_features(spec.observation_space) + n_features(spec.action_space)
        self.mlp = MLP(key, (inputs, *net_arch, 1), activation)
        self.spaces = spec.spaces

    def __call__(self, observation: PyTree, action: jax.Array) -> jax.Array:
        seen = features(self.spaces.observation, observation), features(self.spaces.action, action)
        return self.mlp(jnp.concatenate(seen, axis=-1))[..., 0]
