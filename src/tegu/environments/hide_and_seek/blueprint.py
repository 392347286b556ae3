"""Construction from blueprint (Baker et al. 2019, section 5): boxes are to be brought to marked sites."""

from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from tegu.environments.hide_and_seek.geometry import corners, objects
from tegu.environments.hide_and_seek.options import refuse
from tegu.environments.hide_and_seek.places import NOWHERE, Area, Draws, Places, discs, placed
from tegu.environments.hide_and_seek.random_rooms import RandomRooms
from tegu.environments.hide_and_seek.solo import FLOOR, HOUSE, Shapes, SoloTest, Trial
from tegu.environments.hide_and_seek.world import CUBE, RADIUS, Rectangles, State, column

BUILT = 3.0  #: reward for each site, when there is a box at all of them
DENSE = 0.05  #: what each metre between corners costs in each step
SHARPNESS = 1.5  #: per metre, of the smooth minimum
NEAR = 0.1  #: metres: a box or corner is at its place
MIDDLE = 0.85  #: of where a site fits into the house along each axis: the share in its middle where sites are

SITE = ("x", "y", *(f"{axis}_{corner}" for corner in range(4) for axis in "xy"), "exists")
"""What is observed of a site, wherever the agent looks: its middle and its corners, in metres. All 0 where there is
none."""


class Sites(NamedTuple):
    """Squares of the size of a box along the axes, ``[S]``."""

    x: jax.Array
    y: jax.Array
    exist: jax.Array  #: bool

    def corners(self) -> tuple[jax.Array, jax.Array]:
        """Their x and y, ``[S, 4]``."""
        half = jnp.full_like(self.x, CUBE / 2)
        still = jnp.zeros_like(self.x)
        return corners(Rectangles(self.x, self.y, still + 1, still, half, half, still, still > 0))


class Blueprint(SoloTest):
    """A box is to stand at each of one to four sites in an empty house.

    Each step costs 0.05 times the mean over the sites' corners of the smooth minimum of their distances from the
    corners of boxes. When a box's middle is within 10 cm of the middle of each site, and a corner of a box within
    10 cm of each of their corners, that pays 3 for each site and ends the episode.
    """

    boxes: int = eqx.field(static=True, kw_only=True, default=8)
    max_sites: int = eqx.field(static=True, kw_only=True, default=4)  #: from 1 to so many, all numbers equally likely
    horizon: int = eqx.field(static=True, kw_only=True, default=150)  #: steps of an episode
    id: str = eqx.field(static=True, kw_only=True, default="hide-and-seek-blueprint")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_sites > self.boxes:
            refuse(self, "max_sites", f"a whole number from 1 to {self.boxes}, the number of boxes")

    @property
    def plan(self) -> RandomRooms:
        return RandomRooms(FLOOR, HOUSE, max_rooms=1, walled=1.0)

    @property
    def n_marks(self) -> int:
        return self.max_sites

    def goal(self, world: State, draws: Draws) -> Sites:
        """Sites at free places."""
        number = 1 + jnp.floor(draws.sizes[0] * self.max_sites)
        exist = column(np.arange(self.max_sites), number[None]) < number[None]
        things = objects(world, self.boxes)
        x, y = (part[:1] for part in world.bodies[:2])
        size, still = jnp.full_like(x, RADIUS), jnp.zeros_like(x)
        agent = Rectangles(x, y, still + 1, still, size, size, still, still > 0)
        taken = jax.tree.map(lambda *parts: jnp.concatenate(parts), world.walls, things, agent)
        wide = MIDDLE * (HOUSE - CUBE)
        area = Area((FLOOR - wide) / 2, (FLOOR - wide) / 2, wide, wide)
        where = Places(
            np.tile(np.array(area, np.float32), (self.max_sites, 1)),
            np.tile(np.array(NOWHERE, np.float32), (self.max_sites, 1)),
            np.arange(self.max_sites),
        )
        half = jnp.full(exist.shape, CUBE / 2)
        along = draws._replace(yaw=jnp.full_like(draws.yaw, 0.5))
        found = placed(where, taken, discs(half, half, 0), exist, along)
        return Sites(found.x, found.y, exist)

    def judged(self, before: Trial, after: Trial) -> tuple[jax.Array, jax.Array]:
        sites = after.goal
        built = self._built(after).all(axis=0)
        apart = self._apart(after)
        weight = jnp.exp(-SHARPNESS * apart)
        each = (weight * apart).sum(axis=0) / weight.sum(axis=0)  # [S * 4]
        number = sites.exist.sum(axis=0)
        mean = jnp.where(jnp.repeat(sites.exist, 4, axis=0), each, 0).sum(axis=0) / (4 * number)
        return -DENSE * mean + BUILT * number * built, built

    def measures(self, state: Trial) -> dict[str, jax.Array]:
        """``built``: the share of the sites at which there is a box. ``success``: 1 if there is one at all, else 0."""
        built, exist = self._built(state), state.goal.exist
        share = (built & exist).sum(axis=0) / exist.sum(axis=0)
        return {"built": share.astype(jnp.float32), "success": built.all(axis=0).astype(jnp.float32)}

    def goal_lists(self) -> Shapes:
        return {"sites": (self.max_sites, len(SITE))}

    def goal_seen(self, goal: Sites) -> list[jax.Array]:
        x, y = goal.corners()
        places = jnp.stack([x, y], axis=2).reshape(x.shape[0], 8, *x.shape[2:])
        rows = jnp.concatenate([jnp.stack([goal.x, goal.y], axis=1), places, jnp.ones_like(places[:, :1])], axis=1)
        rows = jnp.where(goal.exist[:, None], rows, 0)
        return [rows.reshape(-1, *rows.shape[2:])]

    def marks(self, trial: Trial) -> Sequence[np.ndarray]:
        """The sites."""
        half = CUBE / 2 * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
        sites = trial.goal
        return [np.array([sites.x[i], sites.y[i]]) + half for i in np.flatnonzero(sites.exist)]

    def _apart(self, trial: Trial) -> jax.Array:
        """How far the corners of boxes are from those of sites, ``[4 * boxes, 4 * S]``."""
        of_sites = trial.goal.corners()
        of_boxes = corners(jax.tree.map(lambda part: part[: self.boxes], objects(trial.world, self.boxes)))
        (x, y), (to_x, to_y) = ([part.reshape(-1, *part.shape[2:]) for part in each] for each in (of_boxes, of_sites))
        return jnp.hypot(x[:, None] - to_x[None], y[:, None] - to_y[None])

    def _built(self, trial: Trial) -> jax.Array:
        """At which sites there is a box, bool ``[S]``; also where there is no site."""
        sites, (x, y) = trial.goal, (part[1 : 1 + self.boxes, None] for part in trial.world.bodies[:2])
        middles = jnp.hypot(x - sites.x[None], y - sites.y[None]).min(axis=0)
        at_corners = self._apart(trial).min(axis=0).reshape(self.max_sites, 4, *sites.x.shape[1:])
        return (middles < NEAR) & (at_corners < NEAR).all(axis=1) | ~sites.exist
