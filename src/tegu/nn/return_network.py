"""The network that says more of each action than its value, or says it in another way than ``QNetwork``."""

import math
from collections.abc import Sequence

import equinox as eqx
import jax

from tegu.core.spec import EnvironmentSpec, Spaces
from tegu.core.step import PyTree
from tegu.nn.dueling import Dueling
from tegu.nn.encoder import Encoder
from tegu.nn.implicit import ImplicitQuantileNetwork
from tegu.nn.mlp import MLP
from tegu.spaces.features import features


class ReturnNetwork(eqx.Module):
    """Outputs ``[..., A, *shape]`` about the return of every action, for observations ``[..., *shape]``."""

    encoder: Encoder
    body: MLP | Dueling | ImplicitQuantileNetwork
    shape: tuple[int, ...] = eqx.field(static=True)  #: of the outputs for one action; -1: as many as fractions
    spaces: Spaces = eqx.field(static=True)

    def __init__(
        self,
        key: jax.Array,
        spec: EnvironmentSpec,
        shape: tuple[int, ...],
        net_arch: Sequence[int],
        activation: str,
        features_extractor: str = "auto",
        *,
        dueling: bool,
        cosines: int | None,
    ):
        """``cosines``: None, unless the network is called with quantile fractions ``[..., N]``."""
        self.encoder = Encoder(key, spec.observation_space, features_extractor)
        inputs, actions, outputs = self.encoder.outputs, int(spec.action_space.n), math.prod(shape)
        if cosines is not None:
            self.body = ImplicitQuantileNetwork(
                key, inputs, net_arch, actions, activation, dueling=dueling, cosines=cosines
            )
        elif dueling:
            self.body = Dueling(key, inputs, net_arch, actions, outputs, activation)
        else:
            self.body = MLP(key, (inputs, *net_arch, actions * outputs), activation)
        self.shape = shape
        self.spaces = spec.spaces

    def __call__(self, observation: PyTree, *fractions: jax.Array) -> jax.Array:
        x = self.embed(observation)
        outputs = self.body(x, *fractions)
        return outputs.reshape((*x.shape[:-1], int(self.spaces.action.n), *self.shape))

    def embed(self, observation: PyTree) -> jax.Array:
        """What the layers see ``[..., n]``."""
        return self.encoder(features(self.spaces.observation, observation))

    def hidden(self, observation: PyTree, *fractions: jax.Array) -> jax.Array:
        """The activations ``[..., units]`` of the last hidden layer."""
        return self.body.hidden(self.embed(observation), *fractions)
