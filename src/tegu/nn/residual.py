"""Residual networks with a policy head and a value head, for board games."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from tegu.nn.conv import GAIN, Conv
from tegu.nn.mlp import normalized, orthogonal


class Dense(eqx.Module):
    """A linear layer ``[..., inputs]`` to ``[..., outputs]``, of what ``view`` makes of its input."""

    weight: jax.Array
    bias: jax.Array
    view: Callable[[jax.Array], jax.Array] | None = eqx.field(static=True)

    def __init__(
        self,
        key: jax.Array,
        inputs: int,
        outputs: int,
        gain: float = GAIN,
        he_normal: bool = False,
        view: Callable[[jax.Array], jax.Array] | None = None,
    ):
        """Orthogonal weights scaled by ``gain``, or normal ones of variance ``gain``^2 / inputs (He et al. 2015)."""
        drawn = jax.random.normal(key, (inputs, outputs))
        self.weight = gain * (drawn * inputs**-0.5 if he_normal else orthogonal(drawn))
        self.bias = jnp.zeros(outputs)
        self.view = view

    def __call__(self, x: jax.Array) -> jax.Array:
        return (x if self.view is None else self.view(x)) @ self.weight + self.bias


def flat(x: jax.Array) -> jax.Array:
    """Planes ``[B, H, W, C]`` as one vector for each board: ``[B, H * W * C]``."""
    return x.reshape((x.shape[0], -1))


def pooled(x: jax.Array) -> jax.Array:
    """Planes ``[..., H, W, C]`` to what they hold anywhere on the board, mean and maximum: ``[..., 2 C]``."""
    return jnp.concatenate([x.mean(axis=(-3, -2)), x.max(axis=(-3, -2))], axis=-1)


class PointPolicy(eqx.Module):
    """Logits of a move at each point and, from the whole board, of a pass (as Wu 2019, appendix A).

    No parameter depends on the size of the board.
    """

    inner: Dense
    everywhere: Dense
    points: Dense
    passing: Dense | None

    def __init__(self, key: jax.Array, width: int, *, passes: bool):
        inner, everywhere, points, passing = jax.random.split(key, 4)
        self.inner = Dense(inner, width, width)
        self.everywhere = Dense(everywhere, 2 * width, width, 1.0, view=pooled)
        self.points = Dense(points, width, 1, 0.01)
        self.passing = Dense(passing, 2 * width, 1, 0.01, view=pooled) if passes else None

    def __call__(self, x: jax.Array) -> jax.Array:
        """Planes ``[B, H, W, C]`` to logits ``[B, H * W]``, with a pass ``[B, H * W + 1]``."""
        logits = flat(self.points(jax.nn.relu(self.inner(x) + self.everywhere(x)[:, None, None])))
        return logits if self.passing is None else jnp.concatenate([logits, self.passing(x)], axis=-1)


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
        self.policy, self.value = self.policy_head(policy, shape, actions, width), self.board_head(value, width)

    def __call__(self, planes: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Planes ``[B, H, W, C]`` to logits ``[B, A]`` and values ``[B]`` in [-1, 1]."""
        return policy_and_value(self, self.trunk(planes))

    def trunk(self, planes: jax.Array) -> jax.Array:
        """What the heads see of planes ``[B, H, W, C]``: ``[B, width]``."""
        x = self.first(flat(planes))
        for inner, outer in self.blocks:
            x = x + outer(jax.nn.relu(inner(normalized(x))))
        return jax.nn.relu(normalized(x))

    @staticmethod
    def policy_head(key: jax.Array, shape: Sequence[int], actions: int, width: int) -> Dense:
        """A layer from the trunk to ``actions`` logits."""
        return Dense(key, width, actions, 0.01)

    @staticmethod
    def point_head(key: jax.Array, shape: Sequence[int], width: int) -> Dense:
        """A layer from the trunk to a number for each point, ``[B, H * W]``."""
        return Dense(key, width, shape[0] * shape[1], 0.01)

    @staticmethod
    def board_head(key: jax.Array, width: int) -> Dense:
        """A layer from the trunk to one number, ``[B, 1]``."""
        return Dense(key, width, 1, 0.01)


class ResidualConv(eqx.Module):
    """For large boards: residual blocks of 3x3 convolutions that also see the whole board (Wu 2019, section 3.3)."""

    first: Conv
    blocks: tuple[tuple[Conv, Dense, Conv], ...]
    policy: Dense | PointPolicy
    value: Dense

    def __init__(self, key: jax.Array, shape: Sequence[int], actions: int, width: int, blocks: int):
        first, policy, value, *keys = jax.random.split(key, 3 + 3 * blocks)
        self.first = Conv(first, shape[2], width)
        self.blocks = tuple(
            (Conv(a, width, width), Dense(b, 2 * width, width, 1.0), Conv(c, width, width, 0.1))
            for a, b, c in zip(keys[::3], keys[1::3], keys[2::3], strict=True)
        )
        self.policy, self.value = self.policy_head(policy, shape, actions, width), self.board_head(value, width)

    def __call__(self, planes: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Planes ``[B, H, W, C]`` to logits ``[B, A]`` and values ``[B]`` in [-1, 1]."""
        return policy_and_value(self, self.trunk(planes))

    def trunk(self, planes: jax.Array) -> jax.Array:
        """What the heads see of planes ``[B, H, W, C]``: ``[B, H, W, width]``."""
        x = self.first(planes)
        for inner, everywhere, outer in self.blocks:
            y = inner(jax.nn.relu(normalized(x)))
            y = y + everywhere(pooled(jax.nn.relu(y)))[:, None, None]
            x = x + outer(jax.nn.relu(normalized(y)))
        return jax.nn.relu(normalized(x))

    @staticmethod
    def policy_head(key: jax.Array, shape: Sequence[int], actions: int, width: int) -> Dense | PointPolicy:
        """A layer from the trunk to ``actions`` logits."""
        return Dense(key, shape[0] * shape[1] * width, actions, 0.01, view=flat)

    @staticmethod
    def point_head(key: jax.Array, shape: Sequence[int], width: int) -> Dense:
        """A layer from the trunk to a number for each point, ``[B, H, W, 1]``."""
        return Dense(key, width, 1, 0.01)

    @staticmethod
    def board_head(key: jax.Array, width: int) -> Dense:
        """A layer from the trunk to one number, ``[B, 1]``."""
        return Dense(key, 2 * width, 1, 0.01, view=pooled)


class FullyConv(ResidualConv):
    """``ResidualConv`` with parameters that fit a board of any size, where each point is a move, or there is a pass."""

    @staticmethod
    def policy_head(key: jax.Array, shape: Sequence[int], actions: int, width: int) -> Dense | PointPolicy:
        return PointPolicy(key, width, passes=actions > shape[0] * shape[1])


def policy_and_value(network: ResidualMLP | ResidualConv, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Logits ``[B, A]`` and values ``[B]`` in [-1, 1] by what comes out of the ``network``'s trunk."""
    return network.policy(x), jnp.tanh(network.value(x)[..., 0])


def moves_are_points(shape: Sequence[int], actions: int) -> bool:
    """Whether a game with planes ``[H, W, C]`` has a move for each point, or beside these one that is a pass."""
    return actions - shape[0] * shape[1] in (0, 1)


def _pairs(keys: Sequence[jax.Array]) -> list[tuple[jax.Array, jax.Array]]:
    return list(pairwise(keys))[::2]
