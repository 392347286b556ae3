"""Replay buffers as the blobs of a checkpoint: rows in chunks, so that a new checkpoint writes only what is new."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tegu.core.errors import TeguError
from tegu.core.step import PyTree
from tegu.core.trees import from_arrays, to_arrays
from tegu.experience.buffer import ReplayBuffer
from tegu.runs.checkpoint import Chunk

Arrays = Mapping[str, np.ndarray]
Blobs = dict[str, Arrays | Chunk]

CHUNK_BYTES = 2**24


def buffer_to_blobs(name: str, buffer: ReplayBuffer, written: int, *, cuts: int, revised: bool) -> Blobs:
    """The blob ``name`` with all but the rows, and one for each chunk of filled rows.

    ``written`` rows were ever added, and ``cuts`` times episodes were cut in place, which makes all chunks new.
    ``revised``: updates also change rows in place, so that every chunk is new each time.
    """
    rows = jax.tree.map(np.asarray, buffer.rows)
    size, per_chunk = int(buffer.size), _rows_per_chunk(buffer)
    blobs: Blobs = {name: to_arrays(buffer._replace(rows=()))}
    for number, first in enumerate(range(0, size, per_chunk)):
        end = min(first + per_chunk, size)
        arrays = partial(_part, rows, first, end)
        whole = f"{name}-{number:04d}"
        blobs[whole] = arrays() if revised else Chunk(_version(first, end, buffer.capacity, written, cuts), arrays)
    return blobs


def buffer_from_blobs(name: str, shapes: ReplayBuffer, blobs: Mapping[str, Arrays]) -> ReplayBuffer:
    """The buffer that ``buffer_to_blobs`` was given; ``shapes`` are those of its arrays. Empty rows are zeros."""
    if name not in blobs:
        raise TeguError(f"the checkpoint does not fit this algorithm: it has no {name}")
    buffer = from_arrays(shapes._replace(rows=()), blobs[name], "the checkpoint")
    size, per_chunk = int(buffer.size), _rows_per_chunk(shapes)
    if not 0 <= size <= shapes.capacity:
        raise TeguError(f"the checkpoint is damaged: a replay buffer of {shapes.capacity:,} rows holds {size:,}")
    rows = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes.rows)
    for number, first in enumerate(range(0, size, per_chunk)):
        n = min(per_chunk, size - first)
        part_shapes = jax.tree.map(
            lambda leaf, n=n: jax.ShapeDtypeStruct((n, *leaf.shape[1:]), leaf.dtype), shapes.rows
        )
        part = from_arrays(part_shapes, blobs.get(f"{name}-{number:04d}", {}), "the checkpoint")
        jax.tree.map(partial(_put, first), rows, part)
    return buffer._replace(rows=jax.tree.map(jnp.asarray, rows))


def counts(data: Mapping[str, Any]) -> tuple[int, int]:
    """How many rows were ever stored, and how often episodes were cut, by what a checkpoint says of a loop."""
    fits = all(type(data.get(name)) is int and 0 <= data[name] < 2**60 for name in ("stored", "cuts"))
    if not fits:
        raise TeguError("the checkpoint is damaged: it does not say how many steps were stored")
    return data["stored"], data["cuts"]


def _rows_per_chunk(buffer: ReplayBuffer) -> int:
    row = sum(np.prod(leaf.shape[1:]) * leaf.dtype.itemsize for leaf in jax.tree.leaves(buffer.rows))
    return max(int(CHUNK_BYTES // max(row, 1)), 1)


def _version(first: int, end: int, capacity: int, written: int, cuts: int) -> int:
    """How many rows had been added when one of ``first`` to ``end`` was last written, apart for each number of cuts."""
    position = written % capacity
    last = written if first < position < end else written - (position - end) % capacity
    return (cuts << 48) + last


def _part(rows: PyTree, first: int, end: int) -> Arrays:
    return to_arrays(jax.tree.map(lambda leaf: leaf[first:end], rows))


def _put(first: int, ring: np.ndarray, part: Any) -> None:
    ring[first : first + len(part)] = part
