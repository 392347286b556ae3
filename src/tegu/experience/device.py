"""A replay buffer that lives on the device, inside the compiled loop."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from tegu.step import PyTree


class DeviceReplay(NamedTuple):
    """A ring of rows. Blocks are written whole, so the capacity is a multiple of the block."""

    rows: PyTree  #: leaves ``[capacity, ...]``
    position: jax.Array  #: int32: where the next block goes
    size: jax.Array  #: int32: rows filled

    @classmethod
    def empty(cls, row: PyTree, capacity: int, block: int) -> "DeviceReplay":
        """Room for ``capacity`` rows like ``row`` (shapes and dtypes, no leading axis), rounded to whole blocks."""
        capacity = max(capacity // block, 1) * block
        rows = jax.tree.map(lambda leaf: jnp.zeros((capacity, *leaf.shape), leaf.dtype), row)
        return cls(rows, jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32))

    def add(self, block: PyTree) -> "DeviceReplay":
        """Write a block ``[block, ...]`` over the oldest rows: one contiguous slice per leaf, no scatter."""
        capacity, length = jax.tree.leaves(self.rows)[0].shape[0], jax.tree.leaves(block)[0].shape[0]
        rows = jax.tree.map(
            lambda ring, new: jax.lax.dynamic_update_slice_in_dim(ring, new, self.position, axis=0), self.rows, block
        )
        return DeviceReplay(rows, (self.position + length) % capacity, jnp.minimum(self.size + length, capacity))

    def sample(self, key: jax.Array, n: int, n_steps: int = 1, n_envs: int = 1) -> PyTree:
        """``n`` rows drawn uniformly with replacement, ``[n, ...]``.

        With ``n_steps`` above 1: windows ``[n_steps, n, ...]`` of rows that lie ``n_envs`` apart, which is how steps
        of one environment follow each other.
        """
        capacity = jax.tree.leaves(self.rows)[0].shape[0]
        oldest = self.position - self.size
        starts = self.size - (n_steps - 1) * n_envs
        index = oldest + jax.random.randint(key, (n,), 0, jnp.maximum(starts, 1))
        if n_steps > 1:
            index = index + n_envs * jnp.arange(n_steps)[:, None]
        return jax.tree.map(lambda ring: ring[index % capacity], self.rows)
