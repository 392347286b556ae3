"""Random rooms: a square house in the middle of the floor, cut into rooms by walls with a door each.

Walls lie on a grid. One after the other joins two parallel walls of a room that is drawn, across it, so that all rooms
are rectangles. No wall ends at a door: one can walk from every room to every other.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tegu.environments.hide_and_seek.places import Area, Cast, Places
from tegu.environments.hide_and_seek.rooms import THICK, around, rectangles
from tegu.environments.hide_and_seek.world import OBJECT_HEIGHT, WALL, Rectangles, first

CELL = 0.2  #: metres, of the grid
LEAST = 6  #: cells along each side of a room
DOOR = 2  #: cells
WALL_TRIES = 10  #: rooms and places that are drawn for each wall


Room = tuple[jax.Array, jax.Array, jax.Array, jax.Array]  #: in cells: from x, to x, from y, to y


class Wall(NamedTuple):
    """A wall inside, in cells from the lower left corner of the house."""

    exists: jax.Array  #: bool
    upright: jax.Array  #: bool: along the y axis
    at: jax.Array  #: where it is across its length
    begin: jax.Array  #: where it begins along its length
    end: jax.Array
    door: jax.Array  #: where its door begins along its length


class RandomRooms(NamedTuple):
    """What is always the same about a map with random rooms."""

    floor: float  #: metres along each side
    house: float  #: metres along each side; its middle is the floor's
    max_rooms: int  #: from ``min_rooms`` to so many rooms, all numbers equally likely; fewer where no wall fits
    walled: float  #: the probability that there are walls around the house
    min_rooms: int = 1

    @property
    def corner(self) -> float:
        """Where the house begins along both axes."""
        return (self.floor - self.house) / 2

    @property
    def n_draws(self) -> int:
        """How many random numbers ``walls`` takes."""
        return 2 + (self.max_rooms - 1) * (3 * WALL_TRIES + 1)

    def walls(self, draws: jax.Array) -> Rectangles:
        """Four around the floor, four around the house, and two for each wall inside, one on either side of its door;
        those that do not exist have no size and are beyond the floor. For random numbers in [0, 1), ``[n_draws]``."""
        corner, half = self.corner, WALL / 2
        sides = [*around(0, self.floor, THICK), *around(corner, corner + self.house, WALL)]
        exist = [jnp.ones_like(draws[0], bool)] * 4 + [draws[1] < self.walled] * 4
        for wall in walls_inside(self, draws):
            at, begin, end, door, after = (
                corner + CELL * cells for cells in (wall.at, wall.begin, wall.end, wall.door, wall.door + DOOR)
            )
            for one, other in ((begin - half, door), (after, end + half)):
                upright, level = (at - half, at + half, one, other), (one, other, at - half, at + half)
                side = (jnp.where(wall.upright, a, b) for a, b in zip(upright, level, strict=True))
                sides.append((*side, OBJECT_HEIGHT))
                exist.append(wall.exists)
        found, there = rectangles(sides, draws[0]), jnp.stack(exist)
        x, y = (jnp.where(there, part, -2 * THICK) for part in (found.x, found.y))
        half_x, half_y = (jnp.where(there, part, 0) for part in (found.half_x, found.half_y))
        return found._replace(x=x, y=y, half_x=half_x, half_y=half_y)

    def places(self, cast: Cast, draws: jax.Array) -> Places:
        """All begin anywhere in the house, each team together."""
        n_bodies = cast.agents + cast.objects
        leader = np.arange(n_bodies)
        leader[: cast.hiders], leader[cast.hiders : cast.agents] = 0, cast.hiders
        house = np.array(Area(self.corner, self.corner, self.house, self.house), np.float32)
        return Places(np.tile(house, (n_bodies, 1)), np.zeros((n_bodies, 4), np.float32), leader)


def walls_inside(plan: RandomRooms, draws: jax.Array) -> list[Wall]:
    """The walls between rooms, for random numbers in [0, 1), ``[n_draws]``; the first two are not used here."""
    wanted = plan.min_rooms + jnp.floor(draws[0] * (plan.max_rooms - plan.min_rooms + 1))  # rooms
    zero, all_cells = jnp.zeros_like(draws[0]), jnp.full_like(draws[0], round(plan.house / CELL))
    rooms: list[Room] = [(zero, all_cells, zero, all_cells)]
    found: list[Wall] = []
    numbers = draws[2:].reshape(plan.max_rooms - 1, 3 * WALL_TRIES + 1, *draws.shape[1:])
    for index in range(plan.max_rooms - 1):
        tried = numbers[index, 1:].reshape(WALL_TRIES, 3, *draws.shape[1:])
        wall, which = _wall(rooms, found, tried, numbers[index, 0])
        wall = wall._replace(exists=wall.exists & (index + 1 < wanted))
        found.append(wall)
        rooms = _split(rooms, wall, which)
    return found


def _wall(rooms: list[Room], others: list[Wall], tried: jax.Array, door: jax.Array) -> tuple[Wall, jax.Array]:
    """The first of the walls tried that may be, and the room that it is in."""
    room, upright = jnp.floor(tried[:, 0] * len(rooms)), tried[:, 1] < 0.5
    from_x, to_x, from_y, to_y = (_of(room, [each[side] for each in rooms]) for side in range(4))
    low, high = jnp.where(upright, from_x, from_y) + LEAST, jnp.where(upright, to_x, to_y) - LEAST
    at = low + jnp.floor(tried[:, 2] * (high - low + 1))
    begin, end = jnp.where(upright, from_y, from_x), jnp.where(upright, to_y, to_x)
    may_be = (high >= low) & (end > begin)
    for other in others:
        meets = (other.upright != upright) & ((other.at == begin) | (other.at == end))
        at_door = (other.door <= at) & (at <= other.door + DOOR)
        may_be &= ~(other.exists & meets & at_door)
    room, upright, at, begin, end = first(may_be, room, upright, at, begin, end)
    place = begin + 1 + jnp.floor(door * (end - begin - DOOR - 1))  # a cell away from the ends of the wall
    return Wall(may_be.any(axis=0), upright, at, begin, end, place), room


def _of(which: jax.Array, values: list[jax.Array]) -> jax.Array:
    """The value with that index."""
    found = jnp.broadcast_to(values[0], which.shape)
    for index, value in enumerate(values[1:], 1):
        found = jnp.where(which == index, value, found)
    return found


def _split(rooms: list[Room], wall: Wall, which: jax.Array) -> list[Room]:
    """The rooms after one was cut in two by the wall; the new one is the last, of no size without a wall."""
    across_x, across_y = wall.exists & wall.upright, wall.exists & ~wall.upright
    from_x, to_x, from_y, to_y = (_of(which, [each[side] for each in rooms]) for side in range(4))
    cut = []
    for index, (x0, x1, y0, y1) in enumerate(rooms):
        this = which == index
        cut.append((x0, jnp.where(this & across_x, wall.at, x1), y0, jnp.where(this & across_y, wall.at, y1)))
    new_x = jnp.where(across_x, wall.at, jnp.where(across_y, from_x, to_x))
    new_y = jnp.where(across_y, wall.at, jnp.where(across_x, from_y, to_y))
    return [*cut, (new_x, to_x, new_y, to_y)]
