"""Networks that see small planes ``[H, W, C]`` of numbers from 0 to 1, such as boards and mazes, and predict them."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from tegu.nn.cnn import PlainCNN
from tegu.nn.conv import Conv
from tegu.nn.encoder import channels_first
from tegu.nn.residual import Dense, pooled
from tegu.spaces.features import n_features

SMALLEST = 3  #: cells of a side; a smaller Box of three dimensions is seen as a vector

STAYS = 4.0  #: logit of a cell that holds 1 to hold it still, before a model has learned anything

Planes = tuple[int, int, int]  #: height, width and channels


def planes_of(space: spaces.Space) -> Planes | None:
    """The size of the planes that are observed in ``space``: a Box ``[H, W, C]`` whose features are within [0, 1].

    None for what is seen as a vector of features.
    """
    if not isinstance(space, spaces.Box) or len(space.shape) != 3:
        return None
    height, width, channels = space.shape
    bounded = space.dtype == np.uint8 or bool((space.low >= 0).all() and (space.high <= 1).all())
    if not bounded or channels_first(space.shape) or min(height, width) < SMALLEST:
        return None
    return height, width, channels


class PlaneEncoder(eqx.Module):
    """Features ``[..., n]`` to features ``[..., m]``: planes go through two convolutions with 3x3 filters, of which the
    second looks at every second cell (Weber et al. 2017, appendix, for MiniPacman). A vector stays as it is."""

    cnn: PlainCNN | None
    planes: Planes | None = eqx.field(static=True)
    inputs: int = eqx.field(static=True)

    def __init__(self, key: jax.Array, space: spaces.Space, channels: int):
        """Observations in ``space``; each convolution has ``channels`` filters."""
        first, second = jax.random.split(key)
        self.inputs, self.planes = n_features(space), planes_of(space)
        self.cnn = None
        if self.planes is not None:
            layers = Conv(first, self.planes[-1], channels), Conv(second, channels, channels, stride=2)
            self.cnn = PlainCNN(layers)

    def __call__(self, x: jax.Array) -> jax.Array:
        if self.cnn is None or self.planes is None:
            return x
        seen = self.cnn(x.reshape((*x.shape[:-1], *self.planes)))
        return seen.reshape((*x.shape[:-1], -1))

    @property
    def outputs(self) -> int:
        """The length of what it makes of them."""
        x = jax.ShapeDtypeStruct((self.inputs,), jnp.float32)
        return int(eqx.filter_eval_shape(type(self).__call__, self, x).shape[-1])


class PlanesModel(eqx.Module):
    """What follows from planes and an action: the next planes, the reward, and whether the episode ends.

    Convolutions keep the size of the planes. Between them all cells are told what there is anywhere on the planes, its
    mean and its maximum (pool-and-inject, Weber et al. 2017, appendix). A fresh model says that cells stay as they are.
    """

    first: Conv
    second: Conv
    everywhere: Dense
    cells: Dense
    outcome: Dense

    def __init__(self, key: jax.Array, planes: Planes, actions: int, channels: int):
        keys = jax.random.split(key, 5)
        self.first = Conv(keys[0], planes[-1] + actions, channels)
        self.second = Conv(keys[1], channels, channels)
        self.everywhere = Dense(keys[2], 2 * channels, channels, 1.0, view=pooled)
        self.cells = Dense(keys[3], channels, planes[-1], 0.1)
        self.outcome = Dense(keys[4], 2 * channels, 2, 0.1, view=pooled)

    def __call__(self, planes: jax.Array, action: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Planes ``[..., H, W, C]`` and one-hot actions ``[..., A]``, which are laid on planes of their own.

        Returns logits of the next planes, rewards ``[...]`` and logits of the episode's end ``[...]``.
        """
        spread = jnp.broadcast_to(action[..., None, None, :], (*planes.shape[:-1], action.shape[-1]))
        x = jax.nn.relu(self.first(jnp.concatenate([planes, spread], axis=-1)))
        x = jax.nn.relu(self.second(x) + self.everywhere(x)[..., None, None, :])
        reward, end = jnp.moveaxis(self.outcome(x), -1, 0)
        return self.cells(x) + STAYS * (2 * planes - 1), reward, end


def shaped(planes: Planes | None, x: Any) -> jax.Array:
    """Features ``[..., n]`` as planes ``[..., H, W, C]``."""
    assert planes is not None
    return x.reshape((*x.shape[:-1], *planes))
