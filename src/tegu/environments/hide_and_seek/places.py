"""Free places for all bodies when an episode begins."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tegu.environments.hide_and_seek.geometry import at, nearest
from tegu.environments.hide_and_seek.world import RADIUS, Bodies, Rectangles, column, first

CLEARANCE = 0.02  #: metres between things when an episode begins
TRIES = 32  #: places that are drawn for each body
NEAR = 0.5  #: metres, along both axes, from the first of its team
DISCS = 5  #: that cover a body
FAR = 1e4  #: metres: where bodies are that have no place yet
BEYOND = -10.0  #: metres along both axes: where objects are that do not exist


class Area(NamedTuple):
    """A rectangle of the floor, in metres."""

    left: float
    bottom: float
    width: float
    height: float


NOWHERE = Area(0.0, 0.0, 0.0, 0.0)


class Places(NamedTuple):
    """Where each body may begin."""

    area: np.ndarray | jax.Array  #: an ``Area``, float32 ``[N, 4]``
    out_of: np.ndarray  #: an ``Area`` in which it must not begin, ``[N, 4]``
    leader: np.ndarray  #: int ``[N]``: the body near which it begins; itself: anywhere in its area


class Cast(NamedTuple):
    """Who and what takes part."""

    hiders: int
    seekers: int
    boxes: int  #: at most
    min_boxes: int  #: at least; all numbers are equally likely
    min_elongated: int  #: of the boxes at least so many are elongated; all numbers from it are equally likely
    ramps: int
    hiders_anywhere: bool  #: and not in the room
    max_elongated: int | None = None  #: of the boxes at most so many; None: all of them

    @property
    def agents(self) -> int:
        return self.hiders + self.seekers

    @property
    def objects(self) -> int:
        return self.boxes + self.ramps


class Draws(NamedTuple):
    """Random numbers in [0, 1) for one beginning."""

    walls: jax.Array  #: ``[n]``, as many as the map takes
    sizes: jax.Array  #: how many boxes there are, and how many of them are elongated, ``[2]``
    place: jax.Array  #: ``[N, TRIES, 2]``
    yaw: jax.Array  #: ``[N]``

    @classmethod
    def of(cls, key: jax.Array, n_walls: int, n_bodies: int) -> "Draws":
        numbers = jax.random.uniform(key, (n_walls + 2 + n_bodies * (2 * TRIES + 1),))
        walls, sizes, place, yaw = jnp.split(numbers, np.cumsum([n_walls, 2, 2 * TRIES * n_bodies]).tolist())
        return cls(walls, sizes, place.reshape(n_bodies, TRIES, 2), yaw)

    def of_bodies(self, which: slice) -> "Draws":
        return self._replace(place=self.place[which], yaw=self.yaw[which])


def discs(half_x: jax.Array, half_y: jax.Array, n_agents: int) -> tuple[jax.Array, jax.Array]:
    """Discs that cover each body, agents first: how far their centres are along its own x axis, ``[N, DISCS]``, and
    their radii ``[N]``; for halves of the objects' sides, ``[O]``, the longer along the own x axis."""
    share = jnp.asarray((2 * np.arange(DISCS) + 1) / DISCS - 1, half_x.dtype)  # of the half: where their middles are
    is_long = half_x > 2 * half_y
    offset = jnp.where(is_long, half_x, 0)[:, None] * share.reshape(1, -1, *[1] * (half_x.ndim - 1))
    radius = jnp.hypot(jnp.where(is_long, half_x / DISCS, half_x), half_y)
    alone = jnp.zeros((n_agents, *offset.shape[1:]), half_x.dtype)
    return jnp.concatenate([alone, offset]), jnp.concatenate([alone[:, 0] + RADIUS, radius])


def placed(
    where: Places, walls: Rectangles, covers: tuple[jax.Array, jax.Array], exist: jax.Array, draws: Draws
) -> Bodies:
    """Bodies at rest at free places, one after the other; those that do not exist, bool ``[N]``, are beyond the walls.

    The first of the places drawn for a body that is free is taken; if none is, the one with most room around.
    """
    offset, radius = covers
    place, yaw = draws.place, (2 * draws.yaw - 1) * np.pi
    n_bodies = yaw.shape[0]
    radii = jnp.repeat(radius, DISCS, axis=0)[None, None]
    area, out_of, leaders = (jnp.asarray(part) for part in where)
    along_x, along_y = offset * jnp.cos(yaw)[:, None], offset * jnp.sin(yaw)[:, None]  # [N, DISCS]

    def one(index: int, chosen: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        x, y = chosen
        left, bottom, width, height = area[index]
        u, v = place[index, :, 0], place[index, :, 1]
        leads = leaders[index] == index
        tried_x = jnp.where(leads, left + width * u, x[leaders[index]][None] + NEAR * (2 * u - 1))
        tried_y = jnp.where(leads, bottom + height * v, y[leaders[index]][None] + NEAR * (2 * v - 1))
        disc_x, disc_y = tried_x[:, None] + along_x[index][None], tried_y[:, None] + along_y[index][None]
        to_walls = nearest(disc_x[:, :, None], disc_y[:, :, None], at(walls, 0, 1)).distance.min(axis=2)
        others_x, others_y = (
            (part[:, None] + along).reshape(-1, *part.shape[1:]) for part, along in ((x, along_x), (y, along_y))
        )
        apart = jnp.hypot(disc_x[:, :, None] - others_x[None, None], disc_y[:, :, None] - others_y[None, None])
        room = jnp.minimum(to_walls, (apart - radii).min(axis=2)).min(axis=1) - radius[index][None]
        allowed = _within(area[index], tried_x, tried_y) & ~_within(out_of[index], tried_x, tried_y)
        room = jnp.minimum(jnp.where(allowed, room, room - FAR), CLEARANCE)
        best = first(room >= room.max(axis=0), tried_x, tried_y)
        return tuple(
            jax.lax.dynamic_update_index_in_dim(part, jnp.where(exist[index], new, FAR), index, 0)
            for part, new in zip(chosen, best, strict=True)
        )

    nowhere = jnp.full_like(yaw, FAR)
    x, y = jax.lax.fori_loop(0, n_bodies, one, (nowhere, nowhere))
    beyond = BEYOND * column(np.arange(1, n_bodies + 1), x)
    x, y = jnp.where(exist, x, beyond), jnp.where(exist, y, beyond)
    still = jnp.zeros_like(yaw)
    return Bodies(x, y, yaw, still, still, still)


def _within(area: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
    """Whether places are in an ``Area``."""
    left, bottom, width, height = area
    return (x > left) & (x < left + width) & (y > bottom) & (y < bottom + height)
