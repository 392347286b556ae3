"""A policy that is linear in local features of a board, for rollouts."""

import equinox as eqx
import jax
import jax.numpy as jnp

from tegu.nn.conv import Conv
from tegu.nn.residual import Dense

_AROUND = [(row, column) for row in range(3) for column in range(3) if (row, column) != (1, 1)]
_OUTSIDE = 3  # empty is 0, an own stone 1, the other's 2
PATTERNS = 4 ** len(_AROUND)


class LocalPolicy(eqx.Module):
    """A linear softmax over the points of a board and, where there is one more action, the pass (Silver et al. 2016,
    "Rollout policy").

    A point's features are which of the 65,536 patterns its eight neighbours make, and the planes in the 3x3 window
    around it; the pass's are the means of the planes.
    """

    pattern: jax.Array  #: ``[PATTERNS]``: the weight of each pattern
    window: Conv
    passing: Dense | None

    def __init__(self, key: jax.Array, planes: int, *, passes: bool):
        """For boards of so many ``planes``, the first two of which are own stones and the other's."""
        window_key, pass_key = jax.random.split(key)
        self.pattern = jnp.zeros(PATTERNS)
        self.window = Conv(window_key, planes, 1, 0.01)
        self.passing = Dense(pass_key, planes, 1, 0.01) if passes else None

    def __call__(self, planes: jax.Array) -> jax.Array:
        """Planes ``[B, H, W, C]`` to logits ``[B, A]``."""
        local = self.pattern[patterns(planes)] + self.window(planes)[..., 0]
        logits = local.reshape((len(planes), -1))
        if self.passing is None:
            return logits
        return jnp.concatenate([logits, self.passing(planes.mean(axis=(1, 2)))], axis=-1)


def patterns(planes: jax.Array) -> jax.Array:
    """Which pattern the neighbours of each point make: int32 ``[B, H, W]``, below ``PATTERNS``."""
    stones = (planes[..., 0] + 2 * planes[..., 1]).astype(jnp.int32)
    framed = jnp.pad(stones, ((0, 0), (1, 1), (1, 1)), constant_values=_OUTSIDE)
    height, width = stones.shape[1:]
    around = [framed[:, row : row + height, column : column + width] for row, column in _AROUND]
    return sum((4**digit * beside for digit, beside in enumerate(around)), jnp.zeros_like(stones))
