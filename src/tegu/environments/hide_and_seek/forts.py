"""Forts: where agents can walk on the floor, and what they can touch there."""

import jax
import jax.numpy as jnp
import numpy as np

from tegu.environments.hide_and_seek.geometry import nearest
from tegu.environments.hide_and_seek.world import RADIUS, Rectangles

CELL = 0.05  #: metres, of the grid of places
SQUEEZE = 0.01  #: metres by which a gap may be too narrow on either side
TOUCH = CELL  #: metres between those that touch, at most
BITS = 32  #: of a word
_ORDER = np.arange(BITS, dtype=np.uint32)


def walkable(x: jax.Array, y: jax.Array, obstacles: Rectangles, floor: float) -> jax.Array:
    """Where an agent's centre can get to on the floor from any of some places ``[K]``, bool ``[G, G]`` along x and y.

    A flood fill of a grid, with steps to all eight neighbours. Obstacles ``[P]`` block whatever their heights, ramps
    from their low edges on; other agents do not.
    """
    at_x, at_y = _places(floor)
    boxes = jax.tree.map(lambda part: part[:, None, None], obstacles)
    free = nearest(at_x, at_y, boxes).distance.min(axis=0) > RADIUS - SQUEEZE
    begun = _near(x, y, 2 * CELL, floor).any(axis=0) & free
    bits_free, bits_begun = _packed(free), _packed(begun)

    def spread(filled: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        before, now = filled[1], filled[1]
        now |= (now << 1) | (now >> 1) | (_moved(now, 1, 1) >> BITS - 1) | (_moved(now, -1, 1) << BITS - 1)
        now |= _moved(now, 1, 0) | _moved(now, -1, 0)
        return before, now & bits_free

    def spreads(filled: tuple[jax.Array, jax.Array]) -> jax.Array:
        return (filled[0] != filled[1]).any()

    bits = jax.lax.while_loop(spreads, spread, (jnp.zeros_like(bits_begun), bits_begun))[1]
    return ((bits[..., None] >> _ORDER) & 1).astype(bool).reshape(len(free), -1)[:, : len(free)]


def touched_agents(reached: jax.Array, x: jax.Array, y: jax.Array, floor: float) -> jax.Array:
    """Which agents, at some places ``[K]``, another touches that can get to the places ``reached``, bool ``[G, G]``."""
    return (_near(x, y, 2 * RADIUS + TOUCH, floor) & reached).any(axis=(1, 2))


def touched_objects(reached: jax.Array, objects: Rectangles, floor: float) -> jax.Array:
    """Which objects ``[P]`` it touches."""
    at_x, at_y = _places(floor)
    boxes = jax.tree.map(lambda part: part[:, None, None], objects)
    return ((nearest(at_x, at_y, boxes).distance <= RADIUS + TOUCH) & reached).any(axis=(1, 2))


def _packed(grid: jax.Array) -> jax.Array:
    """Bool ``[G, G]`` as the bits of words, uint32 ``[G, W]``: a flood fill takes a fraction of the time."""
    words = jnp.pad(grid, ((0, 0), (0, -grid.shape[1] % BITS))).reshape(len(grid), -1, BITS)
    return (words.astype(jnp.uint32) << _ORDER).sum(axis=-1, dtype=jnp.uint32)


def _moved(words: jax.Array, by: int, axis: int) -> jax.Array:
    """The rows or columns one further; 0 comes in."""
    kept = jax.lax.slice_in_dim(words, max(-by, 0), words.shape[axis] - max(by, 0), axis=axis)
    nothing = jnp.zeros_like(jax.lax.slice_in_dim(words, 0, 1, axis=axis))
    return jnp.concatenate([nothing, kept] if by > 0 else [kept, nothing], axis)


def _near(x: jax.Array, y: jax.Array, distance: float, floor: float) -> jax.Array:
    """Which places of the grid are near some others ``[K]``, bool ``[K, G, G]``."""
    at_x, at_y = _places(floor)
    return jnp.hypot(at_x - x[:, None, None], at_y - y[:, None, None]) <= distance


def _places(floor: float) -> tuple[jax.Array, jax.Array]:
    """The x ``[G, 1]`` and y ``[1, G]`` of the grid."""
    along = jnp.asarray(np.arange(0, floor + CELL / 2, CELL), jnp.float32)
    return along[:, None], along[None]
