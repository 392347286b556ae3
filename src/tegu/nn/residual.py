"""Residual networks with a policy head and a value head, for board games."""

from collections.abc import Sequence
from itertools import pairwise

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from tegu.nn.conv import GAIN, Conv
from tegu.nn.mlp import normalized, orthogonal


class Dense(eqx.Module):
    """A linear layer ``[..., inputs]`` to ``[..., outputs]``."""

    weight: jax.Array
    bias: jax.Array

    def __init__(self, key: jax.Array, inputs: int, outputs: int, gain: float = GAIN, he_normal: bool = False):
        """Orthogonal weights scaled by ``gain``, or normal ones of variance ``gain``^2 / inputs (He et al. 2015)."""
        drawn = jax.random.normal(key, (inputs, outputs))
        self.weight = gain * (drawn * inputs**-0.5 if he_normal else orthogonal(drawn))
        self.bias = jnp.zeros(outputs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return x @ self.weight + self.bias


def pooled(x: jax.Array) -> jax.Array:
    """Planes ``[..., H, W, C]`` to what they hold anywhere on the board, mean and maximum: ``[..., 2 C]``."""
    return jnp.concatenate([x.mean(axis=(-3, -2)), x.max(axis=(-3, -2))], axis=-1)


class ResidualMLP(eqx.Module):
    """For small boards: ``blocks`` residual blocks (He et al. 2016, before-activation form) of ``width`` numbers."""

    first: Dense
    blocks: tuple[tuple[Dense, Dense], ...]
    policy: Dense
    value: Dense

    def __init__(self, key: jax.Array, shape: Sequence[int], actions: int, width: int, blocks: int):
        first, policy, value, *keys = jax.random.split(key, 3 + 2 * blocks)
        self.first = Dense(first, int(np.prod(shape)), width)
        self.blocks = tuple((Dense(a, width, width), Dense(b, width, width, 0.1)) for a, b in _pairs(keys))
        self.policy, self.value = Dense(policy, width, actions, 0.01), Dense(value, width, 1, 0.01)

    def __call__(self, planes: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Planes ``[B, H, W, C]`` to logits ``[B, A]`` and values ``[B]`` in [-1, 1]."""
        x = self.first(planes.reshape((planes.shape[0], -1)))
        for inner, outer in self.blocks:
            x = x + outer(jax.nn.relu(inner(normalized(x))))
        x = jax.nn.relu(normalized(x))
        return self.policy(x), jnp.tanh(self.value(x)[..., 0])


class ResidualConv(eqx.Module):
    """For large boards: residual blocks of 3x3 convolutions that also see the whole board (Wu 2019, section 3.3)."""

    first: Conv
    blocks: tuple[tuple[Conv, Dense, Conv], ...]
    policy: Dense
    value: Dense

    def __init__(self, key: jax.Array, shape: Sequence[int], actions: int, width: int, blocks: int):
        height, across, planes = shape
        first, policy, value, *keys = jax.random.split(key, 3 + 3 * blocks)
        self.first = Conv(first, planes, width)
        self.blocks = tuple(
            (Conv(a, width, width), Dense(b, 2 * width, width, 1.0), Conv(c, width, width, 0.1))
            for a, b, c in zip(keys[::3], keys[1::3], keys[2::3], strict=True)
        )
        self.policy = Dense(policy, height * across * width, actions, 0.01)
        self.value = Dense(value, 2 * width, 1, 0.01)

    def __call__(self, planes: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Planes ``[B, H, W, C]`` to logits ``[B, A]`` and values ``[B]`` in [-1, 1]."""
        x = self.first(planes)
        for inner, everywhere, outer in self.blocks:
            y = inner(jax.nn.relu(normalized(x)))
            y = y + everywhere(pooled(jax.nn.relu(y)))[:, None, None]
            x = x + outer(jax.nn.relu(normalized(y)))
        x = jax.nn.relu(normalized(x))
        return self.policy(x.reshape((x.shape[0], -1))), jnp.tanh(self.value(pooled(x))[..., 0])


def _pairs(keys: Sequence[jax.Array]) -> list[tuple[jax.Array, jax.Array]]:
    return list(pairwise(keys))[::2]
