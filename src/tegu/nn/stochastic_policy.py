"""Policies that decide for each state how random they are, as in soft actor-critic. Any batch shape ``[..., n]``."""

from collections.abc import Sequence

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp

from tegu.core.spec import EnvironmentSpec, Spaces
from tegu.core.step import PyTree
from tegu.exploration import masked
from tegu.nn.body import Body, body
from tegu.nn.custom import CustomNetwork
from tegu.nn.distributions import Categorical, SquashedGaussian, n_parameters
from tegu.nn.encoder import Encoder
from tegu.spaces.features import action_mask, features

LOG_STD = -20.0, 2.0  #: the range of a squashed Gaussian's log standard deviation (Haarnoja et al. 2018a's code)


class StochasticPolicy(eqx.Module):
    """A policy that decides for each state how random it is: over Discrete actions, or those of a Box as vectors
    ``[..., k]`` scaled to [-1, 1], for observations ``[..., *shape]``."""

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
        architecture: str = "mlp",
    ):
        self.encoder = Encoder(key, spec.observation_space, features_extractor)
        sizes = self.encoder.outputs, *net_arch, stochastic_outputs(spec.action_space)
        self.mlp = body(key, sizes, activation, architecture, layer_norm=False)
        self.spaces = spec.spaces

    def __call__(self, observation: PyTree) -> Categorical | SquashedGaussian:
        return self.read(self.mlp(self.embed(observation)), observation)

    def embed(self, observation: PyTree) -> jax.Array:
        """What the layers see ``[..., n]``."""
        return self.encoder(features(self.spaces.observation, observation))

    def read(self, outputs: jax.Array, observation: PyTree) -> Categorical | SquashedGaussian:
        """The policy that the layers' outputs stand for."""
        return stochastic(self.spaces, outputs, observation)


class CustomStochasticPolicy(eqx.Module):
    """The same of a person's own: observations come as they are in place of features."""

    network: CustomNetwork

    @property
    def spaces(self) -> Spaces:
        return self.network.spaces

    def __call__(self, observation: PyTree) -> Categorical | SquashedGaussian:
        return stochastic(self.spaces, self.network(observation), observation)


def stochastic_outputs(space: gymnasium.Space) -> int:
    """How many outputs a ``StochasticPolicy`` over ``space`` needs: for a Box means, then log standard deviations."""
    return n_parameters(space) * (2 if isinstance(space, gymnasium.spaces.Box) else 1)


def stochastic(spaces: Spaces, outputs: jax.Array, observation: PyTree) -> Categorical | SquashedGaussian:
    """The policy that a network's outputs ``[..., n]`` stand for."""
    if isinstance(spaces.action, gymnasium.spaces.Discrete):
        mask = action_mask(spaces.observation, observation)
        return Categorical(masked(outputs, mask), int(spaces.action.start))
    mean, log_std = jnp.split(outputs, 2, axis=-1)
    return SquashedGaussian(mean, jnp.clip(log_std, *LOG_STD))
