"""The networks that look at images ``[..., H, W, C]``, by the names that ``features_extractor`` gives them."""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from tegu.nn.conv import Conv
from tegu.nn.mlp import normalized


class PlainCNN(eqx.Module):
    """Convolutions without padding, each followed by a ReLU."""

    layers: tuple[Conv, ...]
    layer_norm: bool = eqx.field(static=True, default=False)  #: whether the channels of each pixel are normalised first

    def __call__(self, x: jax.Array) -> jax.Array:
        for layer in self.layers:
            x = layer(x)
            x = jax.nn.relu(normalized(x) if self.layer_norm else x)
        return x


class ImpalaResNet(eqx.Module):
    """Three stages: a convolution, a maximum over 3x3 pixels at every second, two residual blocks (Espeholt et al.
    2018, figure 3, right)."""

    stages: tuple[tuple[Conv, tuple[tuple[Conv, Conv], ...]], ...]

    def __call__(self, x: jax.Array) -> jax.Array:
        batch = x.shape[:-3]
        x = x.reshape((-1, *x.shape[-3:]))
        for first, blocks in self.stages:
            x = jax.lax.reduce_window(first(x), -jnp.inf, jax.lax.max, (1, 3, 3, 1), (1, 2, 2, 1), "SAME")
            for inner, outer in blocks:
                x = x + outer(jax.nn.relu(inner(jax.nn.relu(x))))
        return jax.nn.relu(x).reshape((*batch, *x.shape[1:]))


CNN = PlainCNN | ImpalaResNet


def nature_cnn(key: jax.Array, channels: int, gain: float | None, layer_norm: bool) -> CNN:
    """32 filters of 8x8 at every fourth pixel, 64 of 4x4 at every second, 64 of 3x3 (Mnih et al. 2015, methods)."""
    keys, sizes = jax.random.split(key, 3), ((channels, 32, 8, 4), (32, 64, 4, 2), (64, 64, 3, 1))
    layers = (
        Conv(k, inputs, outputs, gain, size=size, stride=stride, padding="VALID")
        for k, (inputs, outputs, size, stride) in zip(keys, sizes, strict=True)
    )
    return PlainCNN(tuple(layers), layer_norm)


def minatar_cnn(key: jax.Array, channels: int, gain: float | None, layer_norm: bool) -> CNN:
    """16 filters of 3x3 (Young & Tian 2019, section 3)."""
    return PlainCNN((Conv(key, channels, 16, gain, padding="VALID"),), layer_norm)


def impala_resnet(key: jax.Array, channels: int, gain: float | None, layer_norm: bool) -> CNN:
    """Stages of 16, 32 and 32 filters. Their sums of residuals are not normalised."""
    stages, inputs = [], channels
    for stage, outputs in zip(jax.random.split(key, 3), (16, 32, 32), strict=True):
        first, *rest = jax.random.split(stage, 5)
        a, b, c, d = (Conv(k, outputs, outputs, gain) for k in rest)
        stages.append((Conv(first, inputs, outputs, gain), ((a, b), (c, d))))
        inputs = outputs
    return ImpalaResNet(tuple(stages))


class Extractor(NamedTuple):
    title: str
    make: Callable[[jax.Array, int, float | None, bool], CNN]
    smallest: int  #: pixels that a side must have


EXTRACTORS = {
    "nature": Extractor("Nature CNN", nature_cnn, 36),
    "impala": Extractor("IMPALA ResNet", impala_resnet, 8),
    "minatar": Extractor("MinAtar CNN", minatar_cnn, 3),
}
