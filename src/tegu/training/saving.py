"""Replay buffers as the blobs of a checkpoint: rows in chunks, so that a new checkpoint writes only what is new."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tegu.core.errors import TeguError
from tegu.core.step import PyTree
from tegu.core.trees import from_arrays, to_arrays
from tegu.experience.buffer import ReplayBuffer, length_of
from tegu.runs.checkpoint import Chunk

Arrays = Mapping[str, np.ndarray]
Blobs = dict[str, Arrays | Chunk]

CHUNK_BYTES = 2**24


def buffer_to_blobs(name: str, buffer: ReplayBuffer, written: int, *, cuts: int, revised: bool) -> Blobs:
    """The blob ``name`` with all but the rows, and one for each chunk of filled rows, and of first frames.

    ``written`` rows were ever added, and ``cuts`` times episodes were cut in place, which makes all chunks new.
    ``revised``: updates also change rows in place, so that every chunk is new each time.
    """
    blobs: Blobs = {name: to_arrays(_without_rings(buffer))}
    blobs |= _ring_to_blobs(name, buffer.rows, int(buffer.size), written, cuts, revised=revised)
    if buffer.frames:
        begun = int(buffer.frames.begun)
        filled = min(begun, buffer.frames.places)
        blobs |= _ring_to_blobs(f"{name}-first", buffer.frames.frames, filled, begun, cuts, revised=False)
    return blobs


def buffer_from_blobs(name: str, shapes: ReplayBuffer, blobs: Mapping[str, Arrays]) -> ReplayBuffer:
    """The buffer that ``buffer_to_blobs`` was given; ``shapes`` are those of its arrays. Empty rows are zeros."""
    if name not in blobs:
        raise TeguError(f"the checkpoint does not fit this algorithm: it has no {name}")
    buffer = from_arrays(_without_rings(shapes), blobs[name], "the checkpoint")
    size = int(buffer.size)
    if not 0 <= size <= shapes.capacity:
        raise TeguError(f"the checkpoint is damaged: a replay buffer of {shapes.capacity:,} rows holds {size:,}")
    frames = buffer.frames
    if frames:
        if not 0 <= int(frames.whole) <= size or int(frames.begun) < 0:
            raise TeguError("the checkpoint is damaged: its counts of episodes and steps do not fit together")
        filled = min(int(frames.begun), shapes.frames.places)
        frames = replace(frames, frames=_ring_from_blobs(f"{name}-first", shapes.frames.frames, filled, blobs))
    return buffer._replace(rows=_ring_from_blobs(name, shapes.rows, size, blobs), frames=frames)


def _without_rings(buffer: ReplayBuffer) -> ReplayBuffer:
    return buffer._replace(rows=(), frames=buffer.frames.without() if buffer.frames else ())


def _ring_to_blobs(name: str, ring: PyTree, filled: int, written: int, cuts: int, *, revised: bool) -> Blobs:
    """A blob for each chunk of the filled rows of a ring, to which ``written`` rows were ever added."""
    ring, capacity = jax.tree.map(np.asarray, ring), length_of(ring)
    blobs: Blobs = {}
    for number, (first, end) in enumerate(_chunks(ring, filled)):
        arrays = partial(_part, ring, first, end)
        whole = f"{name}-{number:04d}"
        blobs[whole] = arrays() if revised else Chunk(_version(first, end, capacity, written, cuts), arrays)
    return blobs


def _ring_from_blobs(name: str, shapes: PyTree, filled: int, blobs: Mapping[str, Arrays]) -> PyTree:
    """The ring that ``_ring_to_blobs`` was given."""
    ring = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    for number, (first, end) in enumerate(_chunks(shapes, filled)):
        part_shapes = jax.tree.map(
            lambda leaf, n=end - first: jax.ShapeDtypeStruct((n, *leaf.shape[1:]), leaf.dtype), shapes
        )
        part = from_arrays(part_shapes, blobs.get(f"{name}-{number:04d}", {}), "the checkpoint")
        jax.tree.map(partial(_put, first), ring, part)
    return jax.tree.map(jnp.asarray, ring)


def counts(data: Mapping[str, Any]) -> tuple[int, int]:
    """How many rows were ever stored, and how often episodes were cut, by what a checkpoint says of a loop."""
    fits = all(type(data.get(name)) is int and 0 <= data[name] < 2**60 for name in ("stored", "cuts"))
    if not fits:
        raise TeguError("the checkpoint is damaged: it does not say how many steps were stored")
    return data["stored"], data["cuts"]


def _chunks(ring: PyTree, filled: int) -> Iterator[tuple[int, int]]:
    """The first row of each chunk, and the one after its last."""
    row = sum(np.prod(leaf.shape[1:]) * leaf.dtype.itemsize for leaf in jax.tree.leaves(ring))
    per_chunk = max(int(CHUNK_BYTES // max(row, 1)), 1)
    for first in range(0, filled, per_chunk):
        yield first, min(first + per_chunk, filled)


def _version(first: int, end: int, capacity: int, written: int, cuts: int) -> int:
    """How many rows had been added when one of ``first`` to ``end`` was last written, apart for each number of cuts."""
    position = written % capacity
    last = written if first < position < end else written - (position - end) % capacity
    return (cuts << 48) + last


def _part(rows: PyTree, first: int, end: int) -> Arrays:
    return to_arrays(jax.tree.map(lambda leaf: leaf[first:end], rows))


def _put(first: int, ring: np.ndarray, part: Any) -> None:
    ring[first : first + len(part)] = part
