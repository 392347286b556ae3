"""Three rooms without doors: one takes about half of the house, the others a quarter each."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tegu.environments.hide_and_seek.places import Cast, Places
from tegu.environments.hide_and_seek.random_rooms import CELL
from tegu.environments.hide_and_seek.rooms import THICK, Side, around, rectangles
from tegu.environments.hide_and_seek.world import OBJECT_HEIGHT, WALL, Rectangles

MIDDLE = 0.4, 0.6  #: of the house's sides: from where to where walls are


class ThreeRooms(NamedTuple):
    """What is always the same about such a map."""

    floor: float  #: metres along each side
    house: float  #: metres along each side; its middle is the floor's, and high walls are around it

    @property
    def corner(self) -> float:
        """Where the house begins along both axes."""
        return (self.floor - self.house) / 2

    @property
    def n_draws(self) -> int:
        """Where each wall is, whether the first one is upright, and on which side of it the second is."""
        return 4

    def walls(self, draws: jax.Array) -> Rectangles:
        """Four around the floor, four around the house, and two inside, for random numbers in [0, 1), ``[n_draws]``."""
        half = WALL / 2
        at, across, begin, end = self._cut(draws)
        zero = jnp.zeros_like(at)
        inside = [(at - half, at + half, zero, self.house + zero), (begin, end, across - half, across + half)]
        sides: list[Side] = [(*self._placed(draws, wall), OBJECT_HEIGHT) for wall in inside]
        high = [*around(0, self.floor, THICK), *around(self.corner, self.corner + self.house, WALL)]
        return rectangles([*high, *sides], draws[0])

    def places(self, cast: Cast, draws: jax.Array) -> Places:
        """Ramps begin in one room after the other, all others anywhere."""
        zero = jnp.zeros_like(draws[0])
        house = jnp.stack([zero + self.corner, zero + self.corner, zero + self.house, zero + self.house])
        rooms = self.rooms(draws)
        areas = [house] * (cast.agents + cast.boxes) + [rooms[index % 3] for index in range(cast.ramps)]
        return Places(jnp.stack(areas), np.zeros((len(areas), 4), np.float32), np.arange(len(areas)))

    def rooms(self, draws: jax.Array) -> list[jax.Array]:
        """The three rooms, each an ``Area`` ``[4]``, the large one first."""
        at, across, begin, end = self._cut(draws)
        zero, house = jnp.zeros_like(at), jnp.full_like(at, self.house)
        beyond = begin > 0
        large = jnp.where(beyond, zero, at), jnp.where(beyond, at, house), zero, house
        rooms = [large, (begin, end, zero, across), (begin, end, across, house)]
        placed = [self._placed(draws, room) for room in rooms]
        return [jnp.stack([x0, y0, x1 - x0, y1 - y0]) for x0, x1, y0, y1 in placed]

    def _cut(self, draws: jax.Array) -> tuple[jax.Array, ...]:
        """Where the first wall is across its length, where the second is across its, and from where to where that is
        along its length: on either side of the first. In metres from the corner of the house."""
        low, high = MIDDLE
        cells = self.house / CELL
        at, across = (CELL * jnp.floor(cells * (low + (high - low) * draw)) for draw in (draws[0], draws[1]))
        beyond = draws[3] < 0.5
        return at, across, jnp.where(beyond, at, 0), jnp.where(beyond, self.house, at)

    def _placed(self, draws: jax.Array, sides: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        """On the floor, for a house whose first wall is upright: turned where it is level."""
        x0, x1, y0, y1 = (self.corner + side for side in sides)
        turned = zip((x0, x1, y0, y1), (y0, y1, x0, x1), strict=True)
        return tuple(jnp.where(draws[2] < 0.5, upright, level) for upright, level in turned)
