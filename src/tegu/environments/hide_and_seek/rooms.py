"""One room: walls with doors.

The room is a rectangle in the lower right corner of the square floor, ``[0, floor]`` along both axes. It has a wall
towards the left, and if it is lower than the floor one towards the top, each with one door.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from tegu.environments.hide_and_seek.world import OBJECT_HEIGHT, OUTER_HEIGHT, WALL, Rectangles

THICK = 0.5  #: half of how thick walls around the floor are: nothing must get through
CORNER = 0.2  #: metres that a door stays away from the ends of its wall


class Plan(NamedTuple):
    """What is always the same about a map."""

    floor: float  #: metres along each side
    room_left: float  #: where the room begins along the x axis; it ends at ``floor``
    room_top: float  #: where it ends along the y axis; it begins at 0
    door: float  #: metres
    one_door: float  #: with two walls, the probability that only one has a door


def n_draws(plan: Plan) -> int:
    """How many random numbers ``walls`` takes: where each of two doors is, whether one is missing, and which."""
    return 4


def around_floor(floor: float) -> list[tuple[float, ...]]:
    """Four walls: from x, to x, from y, to y, height; those that meet overlap, so that nothing is pushed into a gap."""
    end = floor + 2 * THICK
    return [
        (-2 * THICK, 0.0, -2 * THICK, end, OUTER_HEIGHT),
        (floor, end, -2 * THICK, end, OUTER_HEIGHT),
        (-2 * THICK, end, -2 * THICK, 0.0, OUTER_HEIGHT),
        (-2 * THICK, end, floor, end, OUTER_HEIGHT),
    ]


def walls(plan: Plan, draws: jax.Array) -> Rectangles:
    """Four around the floor, two beside the door in the room's left wall, and two in its top wall if it has one; for
    random numbers in [0, 1), ``[n_draws]``."""
    floor, left, top = plan.floor, plan.room_left, plan.room_top
    half, far = WALL / 2, THICK
    both = top < floor
    missing = draws[2] < plan.one_door if both else jnp.zeros_like(draws[2], bool)
    first = draws[3] < 0.5  # of the two doors
    open_left, open_top = plan.door * ~(missing & first), plan.door * ~(missing & ~first)
    zero = jnp.zeros_like(draws[0])

    def door_at(draw: jax.Array, length: float) -> jax.Array:
        return CORNER + draw * (length - 2 * CORNER - plan.door)

    sides: list[tuple[float | jax.Array, ...]] = list(around_floor(floor))
    door = door_at(draws[0], top)
    end = top + half if both else top + far
    sides += [
        (left - half, left + half, -far, door, OBJECT_HEIGHT),
        (left - half, left + half, door + open_left, end, OBJECT_HEIGHT),
    ]
    if both:
        door = left + door_at(draws[1], floor - left)
        sides += [
            (left - half, door, top - half, top + half, OBJECT_HEIGHT),
            (door + open_top, floor + far, top - half, top + half, OBJECT_HEIGHT),
        ]
    x0, x1, y0, y1, height = (jnp.stack([zero + value for value in values]) for values in zip(*sides, strict=True))
    no_turn = jnp.zeros_like(x0)
    return Rectangles(
        (x0 + x1) / 2, (y0 + y1) / 2, no_turn + 1, no_turn, (x1 - x0) / 2, (y1 - y0) / 2, height, no_turn > 0
    )
