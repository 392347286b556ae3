"""Where an episode begins: walls with doors, and free places for all bodies.

The room is a rectangle in the lower right corner of the square floor, ``[0, floor]`` along both axes. It has a wall
towards the left, and if it is lower than the floor one towards the top, each with one door.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tegu.environments.hide_and_seek.geometry import at, nearest
from tegu.environments.hide_and_seek.world import (
    CUBE,
    OBJECT_HEIGHT,
    OUTER_HEIGHT,
    RADIUS,
    WALL,
    Bodies,
    Rectangles,
    column,
)

ANYWHERE, INSIDE, OUTSIDE = range(3)  #: of the room
CLEARANCE = 0.02  #: metres between things when an episode begins
OBJECT_RADIUS = CUBE / 2**0.5  #: of the circle around a box or ramp
CORNER = 0.2  #: metres that a door stays away from the ends of its wall
TRIES = 16  #: places that are drawn for each body


class Plan(NamedTuple):
    """What is always the same about a map."""

    floor: float  #: metres along each side
    room_left: float  #: where the room begins along the x axis; it ends at ``floor``
    room_top: float  #: where it ends along the y axis; it begins at 0
    door: float  #: metres
    one_door: float  #: with two walls, the probability that only one has a door


class Draws(NamedTuple):
    """Random numbers in [0, 1) for one map."""

    doors: jax.Array  #: where each is, ``[2]``
    dropout: jax.Array  #: whether a door is missing, and which, ``[2]``
    place: jax.Array  #: ``[N, TRIES, 2]``
    yaw: jax.Array  #: ``[N]``

    @classmethod
    def of(cls, key: jax.Array, n_bodies: int) -> "Draws":
        numbers = jax.random.uniform(key, (4 + n_bodies * (2 * TRIES + 1),))
        doors, dropout, place, yaw = jnp.split(numbers, [2, 4, 4 + 2 * TRIES * n_bodies])
        return cls(doors, dropout, place.reshape(n_bodies, TRIES, 2), yaw)


def walls(plan: Plan, draws: Draws) -> Rectangles:
    """Four around the floor, two beside the door in the room's left wall, and two in its top wall if it has one."""
    floor, left, top = plan.floor, plan.room_left, plan.room_top
    # Those around are thick: nothing must get through. Walls that meet overlap, so that nothing is pushed into a gap.
    half, far = WALL / 2, 0.5
    both = top < floor
    missing = draws.dropout[0] < plan.one_door if both else jnp.zeros_like(draws.dropout[0], bool)
    first = draws.dropout[1] < 0.5  # of the two doors
    open_left, open_top = plan.door * ~(missing & first), plan.door * ~(missing & ~first)
    zero = jnp.zeros_like(draws.doors[0])

    def door_at(draw: jax.Array, length: float) -> jax.Array:
        return CORNER + draw * (length - 2 * CORNER - plan.door)

    sides: list[tuple[float | jax.Array, ...]] = [  # from x, to x, from y, to y, height
        (-2 * far, 0, -2 * far, floor + 2 * far, OUTER_HEIGHT),
        (floor, floor + 2 * far, -2 * far, floor + 2 * far, OUTER_HEIGHT),
        (-2 * far, floor + 2 * far, -2 * far, 0, OUTER_HEIGHT),
        (-2 * far, floor + 2 * far, floor, floor + 2 * far, OUTER_HEIGHT),
    ]
    door = door_at(draws.doors[0], top)
    end = top + half if both else top + far
    sides += [
        (left - half, left + half, -far, door, OBJECT_HEIGHT),
        (left - half, left + half, door + open_left, end, OBJECT_HEIGHT),
    ]
    if both:
        door = left + door_at(draws.doors[1], floor - left)
        sides += [
            (left - half, door, top - half, top + half, OBJECT_HEIGHT),
            (door + open_top, floor + far, top - half, top + half, OBJECT_HEIGHT),
        ]
    x0, x1, y0, y1, height = (jnp.stack([zero + value for value in values]) for values in zip(*sides, strict=True))
    no_turn = jnp.zeros_like(x0)
    return Rectangles(
        (x0 + x1) / 2, (y0 + y1) / 2, no_turn + 1, no_turn, (x1 - x0) / 2, (y1 - y0) / 2, height, no_turn > 0
    )


def places(plan: Plan, around: Rectangles, draws: Draws, n_agents: int, where: tuple[int, ...]) -> Bodies:
    """Bodies at rest at free places, one after the other, each ``where`` it belongs.

    The first of the places drawn for it that is free is taken; if none is, the one with most room around.
    """
    x, y = draws.place[:, :, 0], draws.place[:, :, 1]
    inside = column(np.array(where)[:, None] == INSIDE, x, axes=2)
    x = jnp.where(inside, plan.room_left + x * (plan.floor - plan.room_left), x * plan.floor)
    y = y * jnp.where(inside, plan.room_top, plan.floor)
    in_room = (x > plan.room_left) & (y < plan.room_top)
    allowed = ~in_room | column(np.array(where)[:, None] != OUTSIDE, x, axes=2)
    n_bodies = len(where)
    radius = np.where(np.arange(n_bodies) < n_agents, RADIUS, OBJECT_RADIUS)
    from_walls = nearest(x[:, :, None], y[:, :, None], at(around, 0, 1)).distance.min(axis=2)
    from_walls = jnp.where(allowed, from_walls, -plan.floor) - column(radius[:, None], x, axes=2)

    chosen: list[tuple[jax.Array, jax.Array]] = []
    for body in range(n_bodies):
        room = from_walls[body]
        for other, (other_x, other_y) in enumerate(chosen):
            apart = jnp.hypot(x[body] - other_x, y[body] - other_y) - (radius[body] + radius[other])
            room = jnp.minimum(room, apart)
        room = jnp.minimum(room, CLEARANCE)
        best = room.max(axis=0)
        place_x, place_y = x[body, -1], y[body, -1]
        for one in reversed(range(TRIES)):  # the first that is as good as the best
            is_best = room[one] >= best
            place_x = jnp.where(is_best, x[body, one], place_x)
            place_y = jnp.where(is_best, y[body, one], place_y)
        chosen.append((place_x, place_y))
    still = jnp.zeros_like(draws.yaw)
    x, y = (jnp.stack(parts) for parts in zip(*chosen, strict=True))
    return Bodies(x, y, (2 * draws.yaw - 1) * np.pi, still, still, still)
