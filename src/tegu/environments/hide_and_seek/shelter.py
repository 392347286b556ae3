"""Construction of a shelter (Baker et al. 2019, section 5): boxes are to be put around a cylinder."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from tegu.environments.hide_and_seek.geometry import objects
from tegu.environments.hide_and_seek.options import refuse
from tegu.environments.hide_and_seek.places import Cast, Draws, Places
from tegu.environments.hide_and_seek.random_rooms import RandomRooms
from tegu.environments.hide_and_seek.sight import reach
from tegu.environments.hide_and_seek.solo import CORNER, FLOOR, HOUSE, SoloTest, Trial
from tegu.environments.hide_and_seek.world import OBJECT_HEIGHT, Rectangles, State, column

DIAMETERS = 1.5, 2.0  #: metres, all equally likely
MIDDLE = 0.7  #: of where it fits into the house along each axis: the share in its middle where it is
PARTS = 8  #: rectangles that it is made of: a prism with twice as many sides
RAYS = 25  #: from each side of the house
EDGE = 0.202  #: metres from the walls, where rays begin
PRICE = 0.001  #: of each ray that meets it, in each step


class Cylinder(NamedTuple):
    """Where it is, in metres."""

    x: jax.Array
    y: jax.Array
    radius: jax.Array


class AroundCylinder(NamedTuple):
    """An empty house with a cylinder in it."""

    empty: RandomRooms

    @property
    def n_draws(self) -> int:
        return self.empty.n_draws + 3

    def walls(self, draws: jax.Array) -> Rectangles:
        """Those of the house, then the parts of the cylinder: rectangles that share its middle and whose corners are
        on its edge."""
        house, it = self.empty.walls(draws[: self.empty.n_draws]), self.cylinder(draws)
        angle = np.pi / PARTS * np.arange(PARTS)
        cos, sin = (column(part.astype(np.float32), it.x[None]) + 0 * it.x for part in (np.cos(angle), np.sin(angle)))
        still = jnp.zeros_like(cos)
        half_x, half_y = still + it.radius * np.cos(np.pi / 2 / PARTS), still + it.radius * np.sin(np.pi / 2 / PARTS)
        parts = Rectangles(still + it.x, still + it.y, cos, sin, half_x, half_y, still + OBJECT_HEIGHT, still > 0)
        return jax.tree.map(lambda one, other: jnp.concatenate([one, other]), house, parts)

    def places(self, cast: Cast, draws: jax.Array) -> Places:
        return self.empty.places(cast, draws)

    def cylinder(self, draws: jax.Array) -> Cylinder:
        """For the same random numbers."""
        low, high = DIAMETERS
        u, v, w = draws[self.empty.n_draws :]
        diameter = low + (high - low) * w
        x, y = (FLOOR / 2 + MIDDLE * (HOUSE - diameter) * (draw - 0.5) for draw in (u, v))
        return Cylinder(x, y, diameter / 2)


class Shelter(SoloTest):
    """Boxes, some of them elongated, are to be put around a cylinder that stands in an empty house.

    From the edge of the house 100 rays go to the cylinder; each that nothing stops costs 0.001 in each step.
    """

    boxes: int = eqx.field(static=True, kw_only=True, default=8)
    elongated: int = eqx.field(static=True, kw_only=True, default=3)  #: of the boxes
    horizon: int = eqx.field(static=True, kw_only=True, default=240)  #: steps of an episode
    id: str = eqx.field(static=True, kw_only=True, default="hide-and-seek-shelter")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.elongated > self.boxes:
            refuse(self, "elongated", f"a whole number from 0 to {self.boxes}, the number of boxes")

    @property
    def plan(self) -> AroundCylinder:
        return AroundCylinder(RandomRooms(FLOOR, HOUSE, max_rooms=1, walled=1.0))

    @property
    def cast(self) -> Cast:
        return super().cast._replace(min_elongated=self.elongated, max_elongated=self.elongated)

    def goal(self, world: State, draws: Draws) -> Cylinder:
        return self.plan.cylinder(draws.walls)

    def judged(self, before: Trial, after: Trial) -> tuple[jax.Array, jax.Array]:
        reward = -PRICE * self._free(after).sum(axis=0)
        return reward, jnp.zeros_like(reward, bool)

    def measures(self, state: Trial) -> dict[str, jax.Array]:
        """``covered``: the share of the rays that do not reach the cylinder."""
        return {"covered": 1 - self._free(state).mean(axis=0, dtype=jnp.float32)}

    def _free(self, trial: Trial) -> jax.Array:
        """Which rays reach the cylinder, bool ``[100]``."""
        world, to = trial.world, trial.goal
        x, y = (column(part, world.bodies.x) for part in rays())
        share = 1 - to.radius[None] / jnp.hypot(to.x[None] - x, to.y[None] - y)
        things = objects(world, self.boxes)
        return reach(x, y, to.x, to.y, OBJECT_HEIGHT / 2, share, world.bodies, world.z, things)


def rays() -> tuple[np.ndarray, np.ndarray]:
    """Where rays begin, evenly along the four sides of the house, float32 ``[100]`` each."""
    low, high = CORNER + EDGE, CORNER + HOUSE - EDGE
    along, same = (high - low) * np.arange(RAYS) / RAYS, np.zeros(RAYS)
    x = np.concatenate([low + along, high + same, high - along, low + same])
    y = np.concatenate([low + same, low + along, high + same, high - along])
    return x.astype(np.float32), y.astype(np.float32)
