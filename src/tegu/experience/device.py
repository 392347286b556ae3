"""A replay buffer that lives on the device, inside the compiled loop."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tegu.core.step import PyTree
from tegu.core.trees import from_arrays


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


def filled(replay: DeviceReplay) -> DeviceReplay:
    """The replay of all seeds, ``[S, ...]`` in NumPy, without the rows that are still empty: every seed has as many."""
    size = int(replay.size.max())
    return replay._replace(rows=jax.tree.map(lambda ring: ring[:, :size], replay.rows))


def refilled(shapes: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """A replay of such ``shapes`` from the arrays of one that was ``filled``: rows it left out are zeros, as before."""
    if not shapes:
        return from_arrays(shapes, arrays, "the checkpoint")
    capacity = jax.tree.leaves(shapes.rows)[0].shape[1]
    size = min(int(np.max(arrays.get(".size", capacity))), capacity)

    def shorter(ring: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((ring.shape[0], size, *ring.shape[2:]), ring.dtype)

    replay = from_arrays(shapes._replace(rows=jax.tree.map(shorter, shapes.rows)), arrays, "the checkpoint")
    empty = [(0, 0), (0, capacity - size)]
    rows = jax.tree.map(lambda ring: jnp.pad(ring, empty + [(0, 0)] * (ring.ndim - 2)), replay.rows)
    return replay._replace(rows=rows)
