"""Noisy networks (Fortunato et al. 2018): the weights of linear layers are random, and learn how much they vary."""

from collections.abc import Iterator
from itertools import accumulate
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp

from tegu.core.spec import Spaces
from tegu.core.step import PyTree
from tegu.nn.mlp import MLP, is_mlp

Network = TypeVar("Network")


class NoisyNetwork(eqx.Module):
    """A network with factorised Gaussian noise in all its multi-layer perceptrons. Called, it uses the mean weights."""

    mean: Any  #: the network; its weights are the means mu
    deviation: tuple[MLP, ...]  #: sigma of the weights and biases of each of its perceptrons

    def __init__(self, network: Any, sigma: float | jax.Array):
        """``network`` has weights uniform in +-1/sqrt(inputs); deviations begin at ``sigma / sqrt(inputs)``."""
        self.mean = network
        self.deviation = tuple(
            _constant(part, sigma) for part in jax.tree.leaves(network, is_leaf=is_mlp) if is_mlp(part)
        )

    @property
    def spaces(self) -> Spaces:
        return self.mean.spaces

    def __call__(self, *inputs: PyTree) -> jax.Array:
        return self.mean(*inputs)

    def hidden(self, *inputs: PyTree) -> jax.Array:
        """The activations ``[..., units]`` of the last hidden layer, without noise."""
        return self.mean.hidden(*inputs)

    def draw(self, key: jax.Array) -> Any:
        """The network with weights ``mu + sigma * epsilon`` (equation 9), the same for all inputs."""
        parts, structure = jax.tree.flatten(self.mean, is_leaf=is_mlp)
        deviation, noise = iter(self.deviation), self._noise(key)
        drawn = [_drawn(part, next(deviation), noise) if is_mlp(part) else part for part in parts]
        return jax.tree.unflatten(structure, drawn)

    def _noise(self, key: jax.Array) -> Iterator[jax.Array]:
        """``f(epsilon)`` of the inputs and of the outputs of each layer in turn, ``f(x) = sgn(x) sqrt|x|``.

        Drawn all at once, which compiles much faster than drawing for every layer.
        """
        sizes = [size for mlp in self.deviation for weight in mlp.weights for size in weight.shape]
        normal = jax.random.normal(key, (sum(sizes),))
        return iter(jnp.split(jnp.sign(normal) * jnp.sqrt(jnp.abs(normal)), list(accumulate(sizes))[:-1]))


def drawn(network: Network, key: jax.Array) -> Network:
    """A noisy network with the noise of a key; any other as it is."""
    return network.draw(key) if isinstance(network, NoisyNetwork) else network


def _with(mlp: MLP, weights: list[jax.Array], biases: list[jax.Array]) -> MLP:
    return eqx.tree_at(lambda mlp: (mlp.weights, mlp.biases), mlp, (tuple(weights), tuple(biases)))


def _constant(mlp: MLP, sigma: float | jax.Array) -> MLP:
    """The deviations with which noise begins: of a layer's weights and biases alike."""
    layers = [(weight, bias, sigma * len(weight) ** -0.5) for weight, bias in zip(mlp.weights, mlp.biases, strict=True)]
    weights = [jnp.full(weight.shape, value, float) for weight, _, value in layers]
    return _with(mlp, weights, [jnp.full(bias.shape, value, float) for _, bias, value in layers])


def _drawn(mean: MLP, deviation: MLP, noise: Iterator[jax.Array]) -> MLP:
    """Equations 10 and 11: a number for each input and each output of a layer; a weight's noise is their product."""
    layers = [(next(noise), next(noise)) for _ in mean.weights]
    weights = [
        mu + sigma * jnp.outer(*each) for mu, sigma, each in zip(mean.weights, deviation.weights, layers, strict=True)
    ]
    biases = [mu + sigma * out for mu, sigma, (_, out) in zip(mean.biases, deviation.biases, layers, strict=True)]
    return _with(mean, weights, biases)
