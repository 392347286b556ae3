"""Distances from rectangles on the plane, and how high their prisms are."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from tegu.environments.hide_and_seek.world import OBJECT_HEIGHT, RADIUS, Rectangles, State

TINY = 1e-9


class Nearest(NamedTuple):
    """From points to the borders of rectangles."""

    distance: jax.Array  #: metres, negative within
    nx: jax.Array  #: the unit vector in which the distance grows
    ny: jax.Array
    own_x: jax.Array  #: where the point is along the rectangle's own x axis


def objects(state: State, n_boxes: int) -> Rectangles:
    """The boxes and ramps, ``[O]``."""
    n_objects = state.half_x.shape[0]
    x, y, yaw = (part[-n_objects:] for part in state.bodies[:3])
    rises = jnp.broadcast_to((jnp.arange(n_objects) >= n_boxes).reshape((-1,) + (1,) * (x.ndim - 1)), x.shape)
    top = jnp.full_like(x, OBJECT_HEIGHT)
    return Rectangles(x, y, jnp.cos(yaw), jnp.sin(yaw), state.half_x, state.half_y, top, rises)


def at(rectangles: Rectangles, *axes: int) -> Rectangles:
    """With new axes of length 1 at these places."""
    return jax.tree.map(lambda part: jnp.expand_dims(part, axes), rectangles)


def nearest(x: jax.Array, y: jax.Array, to: Rectangles) -> Nearest:
    """All arrays must broadcast."""
    dx, dy = x - to.x, y - to.y
    own_x, own_y = to.cos * dx + to.sin * dy, to.cos * dy - to.sin * dx
    over_x, over_y = jnp.abs(own_x) - to.half_x, jnp.abs(own_y) - to.half_y  # negative within
    out_x, out_y = jnp.maximum(over_x, 0), jnp.maximum(over_y, 0)
    outside = jnp.sqrt(out_x * out_x + out_y * out_y)
    is_outside = outside > TINY
    along_x = over_x >= over_y  # of a point within, the nearest side is one across the x axis
    scale = 1 / jnp.maximum(outside, TINY)
    n_x = jnp.where(is_outside, out_x * scale, along_x) * jnp.where(own_x < 0, -1.0, 1.0)
    n_y = jnp.where(is_outside, out_y * scale, ~along_x) * jnp.where(own_y < 0, -1.0, 1.0)
    distance = jnp.where(is_outside, outside, jnp.maximum(over_x, over_y))
    return Nearest(distance, to.cos * n_x - to.sin * n_y, to.sin * n_x + to.cos * n_y, own_x)


def height_at(own_x: jax.Array, of: Rectangles) -> jax.Array:
    """How high prisms are at a place along their own x axes."""
    return jnp.where(of.rises, of.top * jnp.clip(0.5 + own_x / (2 * of.half_x), 0, 1), of.top)


def height_under(own_x: jax.Array, of: Rectangles) -> jax.Array:
    """The highest point of prisms under an agent whose centre is there: a cylinder rests on its uphill edge."""
    return height_at(own_x + RADIUS, of)


def corners(of: Rectangles) -> tuple[jax.Array, jax.Array]:
    """Their x and y, the four as a new axis after the first: ``[P, 4]``."""
    signs = ((-1, -1), (1, -1), (1, 1), (-1, 1))
    x = [of.x + of.cos * i * of.half_x - of.sin * j * of.half_y for i, j in signs]
    y = [of.y + of.sin * i * of.half_x + of.cos * j * of.half_y for i, j in signs]
    return jnp.stack(x, axis=1), jnp.stack(y, axis=1)
