"""What the world of hide-and-seek consists of: bodies that move, walls that do not, and what is known of both.

Lengths are in metres, angles in radians, times in seconds, masses in kilograms. In the shapes ``A`` is the number of
agents, ``O`` of objects (boxes, then ramps), ``N = A + O`` of bodies (agents, then objects) and ``W`` of walls.

All functions of this package index the axes that are written here from the front and let any further axes follow, so
that a batch can come last: see ``batch_last``.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import custom_vmap

RADIUS = 0.15  #: of an agent, an upright cylinder
AGENT_HEIGHT = 0.3
OBJECT_HEIGHT = 0.5  #: of boxes and ramps, and of walls inside
OUTER_HEIGHT = 4.0  #: of the walls around the floor
CUBE = 0.5  #: the side of a box, and of the footprint of a ramp
ELONGATED = 1.65, 0.15  #: the sides of an elongated box
N_OUTER = 4  #: walls around the floor, which come first
WALL = 0.1  #: how thick walls inside are
STEP_SECONDS = 0.075  #: of one step of the environment


class Bodies(NamedTuple):
    """Where the agents and objects are on the plane and how they move, each ``[N]``."""

    x: jax.Array
    y: jax.Array
    yaw: jax.Array  #: an agent's heading; a ramp rises along its own x axis
    vx: jax.Array
    vy: jax.Array
    spin: jax.Array  #: rad/s


class Rectangles(NamedTuple):
    """Upright prisms with these footprints, each array ``[P]``."""

    x: jax.Array
    y: jax.Array
    cos: jax.Array  #: of their yaw
    sin: jax.Array
    half_x: jax.Array  #: half their lengths along their own axes
    half_y: jax.Array
    top: jax.Array  #: height, of a ramp at its high end
    rises: jax.Array  #: bool: the top rises from 0 along the own x axis, as a ramp's


class Statistics(NamedTuple):
    """What was done with the objects so far, float32 scalars."""

    max_box_move: jax.Array  #: metres from where it began, of the box that is farthest from there
    num_box_lock: jax.Array
    max_ramp_move: jax.Array
    num_ramp_lock: jax.Array


class Prepared(NamedTuple):
    """How things were at the end of the preparation, or are now while it lasts."""

    statistics: Statistics
    x: jax.Array  #: of the bodies, ``[N]``
    y: jax.Array
    yaw: jax.Array
    hiders_locked: jax.Array  #: bool ``[O]``: locked, and by a hider


class State(NamedTuple):
    """Everything about one game."""

    bodies: Bodies
    z: jax.Array  #: height of the agents' soles, ``[A]``
    vz: jax.Array  #: ``[A]``, m/s
    half_x: jax.Array  #: of the objects, ``[O]``
    half_y: jax.Array
    exist: jax.Array  #: bool: which objects there are, ``[O]``; the others are far away, unseen and untouched
    walls: Rectangles  #: ``[W]``
    holds: jax.Array  #: bool: which agent holds which object, ``[A, O]``, at most one each
    locked: jax.Array  #: bool ``[O]``
    locker: jax.Array  #: int32 ``[O]``, the agent that locked it last; 0 before
    visible: jax.Array  #: bool: what each agent sees, ``[A, N]``
    start_x: jax.Array  #: where the objects began, ``[O]``
    start_y: jax.Array
    prepared: Prepared
    clock: jax.Array  #: int32: steps done


def of_hiders(state: State, is_hider: np.ndarray) -> jax.Array:
    """Whether the locker of each object is a hider, bool ``[1, O]``; hiders come first among the agents."""
    return (state.locker < int(is_hider.sum()))[None]


def column(values: Any, like: jax.Array, axes: int = 1) -> jax.Array:
    """Constants for the first ``axes`` axes of ``like``, to be broadcast over the others."""
    values = np.asarray(values)
    return jnp.asarray(values.reshape(values.shape + (1,) * (like.ndim - axes)))


def reduced(operation: Callable[[Any, Any], Any], values: jax.Array, *axes: int) -> jax.Array:
    """A short axis, or several, reduced by ``jnp.add`` or the like, as one expression.

    On a CPU that takes a fraction of the time of XLA's own reductions. But what is reduced is then computed anew for
    each use of the result: of a result with several uses take ``sum`` or ``any``.
    """
    for axis in sorted(axes, reverse=True):
        parts = (jax.lax.index_in_dim(values, i, axis, keepdims=False) for i in range(values.shape[axis]))
        values = functools.reduce(operation, parts)
    return values


def first(true: jax.Array, *values: jax.Array) -> list[jax.Array]:
    """The first of values ``[K, ...]`` where bool ``[K, ...]`` is true; the last if it nowhere is."""
    found = [value[-1] for value in values]
    for index in reversed(range(true.shape[0] - 1)):
        found = [jnp.where(true[index], value[index], old) for value, old in zip(values, found, strict=True)]
    return found


def batch_last(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, with the batch as the last axis of all arrays under ``vmap``, and not as the first.

    The axes of this world have two to some dozens of entries. A CPU works on many numbers at once only if long axes
    come last: the batch there makes a step several times as fast.
    """

    @custom_vmap
    def one(*arguments: Any) -> Any:
        return function(*arguments)

    @one.def_vmap
    def _(size: int, batched: Any, *arguments: Any) -> tuple[Any, Any]:
        def last(leaf: jax.Array, is_batched: bool) -> jax.Array:
            return jnp.moveaxis(leaf, 0, -1) if is_batched else jnp.broadcast_to(leaf[..., None], (*leaf.shape, size))

        results = function(*jax.tree.map(last, arguments, tuple(batched)))
        return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, -1, 0), results), jax.tree.map(lambda _: True, results)

    return one
