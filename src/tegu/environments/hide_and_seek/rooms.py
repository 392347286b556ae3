"""One room: walls with doors.

The room is a rectangle in the lower right corner of the square floor, ``[0, floor]`` along both axes. It has a wall
towards the left, and if it is lower than the floor one towards the top, each with one door.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tegu.environments.hide_and_seek.places import NOWHERE, Area, Cast, Places
from tegu.environments.hide_and_seek.world import OBJECT_HEIGHT, OUTER_HEIGHT, WALL, Rectangles

THICK = 1.0  #: metres: walls around the floor, through which nothing must get
CORNER = 0.2  #: metres that a door stays away from the ends of its wall

Side = tuple[float | jax.Array, ...]  #: a wall: from x, to x, from y, to y, height


class OneRoom(NamedTuple):
    """What is always the same about a map with one room."""

    floor: float  #: metres along each side
    left: float  #: where the room begins along the x axis; it ends at ``floor``
    top: float  #: where it ends along the y axis; it begins at 0
    door: float  #: metres
    one_door: float  #: with two walls, the probability that only one has a door

    @property
    def n_draws(self) -> int:
        """How many random numbers ``walls`` takes: where each of two doors is, whether one is missing, and which."""
        return 4

    def walls(self, draws: jax.Array) -> Rectangles:
        """Four around the floor, two beside the door in the room's left wall, and two in its top wall if it has one;
        for random numbers in [0, 1), ``[n_draws]``."""
        floor, left, top = self.floor, self.left, self.top
        half, far = WALL / 2, THICK / 2
        both = top < floor
        missing = draws[2] < self.one_door if both else jnp.zeros_like(draws[2], bool)
        first = draws[3] < 0.5  # of the two doors
        open_left, open_top = self.door * ~(missing & first), self.door * ~(missing & ~first)

        def door_at(draw: jax.Array, length: float) -> jax.Array:
            return CORNER + draw * (length - 2 * CORNER - self.door)

        door = door_at(draws[0], top)
        end = top + half if both else top + far
        sides = [
            *around(0, floor, THICK),
            (left - half, left + half, -far, door, OBJECT_HEIGHT),
            (left - half, left + half, door + open_left, end, OBJECT_HEIGHT),
        ]
        if both:
            door = left + door_at(draws[1], floor - left)
            sides += [
                (left - half, door, top - half, top + half, OBJECT_HEIGHT),
                (door + open_top, floor + far, top - half, top + half, OBJECT_HEIGHT),
            ]
        return rectangles(sides, draws[0])

    def places(self, cast: Cast, draws: jax.Array) -> Places:
        """Seekers begin out of the room, boxes in it, ramps anywhere, and hiders anywhere or in the room."""
        room, anywhere = Area(self.left, 0, self.floor - self.left, self.top), Area(0, 0, self.floor, self.floor)
        areas = [anywhere if cast.hiders_anywhere else room] * cast.hiders + [anywhere] * cast.seekers
        areas += [room] * cast.boxes + [anywhere] * cast.ramps
        out_of = [NOWHERE] * cast.hiders + [room] * cast.seekers + [NOWHERE] * cast.objects
        return Places(np.array(areas, np.float32), np.array(out_of, np.float32), np.arange(len(areas)))


def around(low: float, high: float, thick: float) -> list[Side]:
    """Four high walls outside of the square from ``low`` to ``high`` along both axes. Those that meet overlap, so that
    nothing is pushed into a gap."""
    begin, end = low - thick, high + thick
    sides = ((begin, low, begin, end), (high, end, begin, end), (begin, end, begin, low), (begin, end, high, end))
    return [(*side, OUTER_HEIGHT) for side in sides]


def rectangles(sides: Sequence[Side], like: jax.Array) -> Rectangles:
    """Of walls along the axes; each number has the shape of ``like``, or none."""
    zero = jnp.zeros_like(like)
    x0, x1, y0, y1, height = (jnp.stack([zero + value for value in values]) for values in zip(*sides, strict=True))
    no_turn = jnp.zeros_like(x0)
    return Rectangles(
        (x0 + x1) / 2, (y0 + y1) / 2, no_turn + 1, no_turn, (x1 - x0) / 2, (y1 - y0) / 2, height, no_turn > 0
    )
