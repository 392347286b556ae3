"""The episodes that end while steps are collected."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from tegu.core.step import PyTree


class Episodes(NamedTuple):
    """Sums over the episodes that ended."""

    ended: Any  #: int32: how many
    total_reward: PyTree  #: undiscounted; by agent where there are several
    length: Any  #: int32: steps

    @classmethod
    def of(cls, ended: jax.Array, total_reward: PyTree, length: jax.Array) -> "Episodes":
        """From arrays of any equal shape: where an episode ended, its return so far and its length so far."""
        total = jax.tree.map(lambda reward: jnp.where(ended, reward, 0.0).sum(), total_reward)
        return cls(ended.sum(dtype=jnp.int32), total, jnp.where(ended, length, 0).sum(dtype=jnp.int32))
