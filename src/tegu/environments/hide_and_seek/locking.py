"""Tests of locking (Baker et al. 2019, section 5): lock and return, and sequential lock."""

from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from tegu.environments.hide_and_seek.places import Cast
from tegu.environments.hide_and_seek.random_rooms import RandomRooms
from tegu.environments.hide_and_seek.solo import FLOOR, HOUSE, SoloTest, Trial
from tegu.environments.hide_and_seek.three_rooms import ThreeRooms
from tegu.environments.hide_and_seek.world import State, column

LOCK, UNLOCK, SUCCESS = 5.0, -5.0, 1.0  #: rewards for each box, and in each step in which the task is done
SHAPED = 0.5  #: reward for each metre that the agent comes nearer
HOME = 0.1  #: metres from where the agent began, within which it is back


class LockAndReturn(SoloTest):
    """A box in one of the rooms of a house is to be locked; then the agent returns to where it began.

    Locking pays 5, unlocking -5, each metre nearer to the box, and then to the beginning, 0.5, and each step in which
    all boxes are locked and the agent is back 1.
    """

    rooms: int = eqx.field(static=True, kw_only=True, default=6)
    id: str = eqx.field(static=True, kw_only=True, default="hide-and-seek-lock-and-return")

    @property
    def plan(self) -> RandomRooms:
        return RandomRooms(FLOOR, HOUSE, max_rooms=self.rooms, walled=1.0, min_rooms=self.rooms)

    def judged(self, before: Trial, after: Trial) -> tuple[jax.Array, jax.Array]:
        reward = locking_reward(before.world, after.world, self.boxes, in_order=False, returns=True)
        return reward + SUCCESS * self._succeeds(after.world), jnp.zeros_like(reward, bool)

    def measures(self, state: Trial) -> dict[str, jax.Array]:
        """``locked``: the share of the boxes that are. ``success``: 1 if they all are and the agent is back, else 0."""
        locked = state.world.locked[: self.boxes].mean(axis=0, dtype=jnp.float32)
        return {"locked": locked, "success": self._succeeds(state.world).astype(jnp.float32)}

    def marks(self, trial: Trial) -> Sequence[np.ndarray]:
        """The place where the agent began."""
        then = trial.world.prepared
        corners = HOME * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
        return [np.array([then.x[0], then.y[0]]) + corners]

    def _succeeds(self, world: State) -> jax.Array:
        return world.locked[: self.boxes].all(axis=0) & (from_home(world) <= HOME)


class SequentialLock(SoloTest):
    """Boxes in three rooms without doors, with a ramp in each, are to be locked in an order that is not observed.

    A box can be locked only when all before it are. Locking pays 5, unlocking -5, each metre nearer to the next box
    0.5, and each step in which all boxes are locked 1.
    """

    boxes: int = eqx.field(static=True, kw_only=True, default=4)
    ramps: int = eqx.field(static=True, kw_only=True, default=3)
    id: str = eqx.field(static=True, kw_only=True, default="hide-and-seek-sequential-lock")

    @property
    def plan(self) -> ThreeRooms:
        return ThreeRooms(FLOOR, HOUSE)

    @property
    def cast(self) -> Cast:
        return super().cast._replace(ramps=self.ramps)

    def lockable(self, world: State) -> jax.Array:
        """All but the boxes after the first that is not locked, unless they are locked already."""
        number = column(np.arange(self.boxes), world.half_x)
        its_turn = number == target(world, self.boxes, in_order=True).box[None]
        return world.locked.at[: self.boxes].set(world.locked[: self.boxes] | its_turn).at[self.boxes :].set(True)

    def judged(self, before: Trial, after: Trial) -> tuple[jax.Array, jax.Array]:
        reward = locking_reward(before.world, after.world, self.boxes, in_order=True, returns=False)
        return reward + SUCCESS * after.world.locked[: self.boxes].all(axis=0), jnp.zeros_like(reward, bool)

    def measures(self, state: Trial) -> dict[str, jax.Array]:
        """``locked``: the share of the boxes that are. ``success``: 1 if they all are, else 0."""
        locked = state.world.locked[: self.boxes]
        return {"locked": locked.mean(axis=0, dtype=jnp.float32), "success": locked.all(axis=0).astype(jnp.float32)}


class Target(NamedTuple):
    """The box that is to be locked next."""

    exists: jax.Array  #: bool: not all are locked
    box: jax.Array  #: its index
    distance: jax.Array  #: metres, of its centre from the agent's


def target(world: State, n_boxes: int, in_order: bool) -> Target:
    """The first box that is not locked, or if they are not to be locked in order the nearest."""
    x, y = (part[1 : 1 + n_boxes] - part[:1] for part in world.bodies[:2])
    distance, unlocked = jnp.hypot(x, y), ~world.locked[:n_boxes]
    number = column(np.arange(n_boxes), distance)
    index = jnp.argmin(jnp.where(unlocked, number if in_order else distance, jnp.inf), axis=0)
    return Target(unlocked.any(axis=0), index, jnp.where(number == index[None], distance, 0).sum(axis=0))


def from_home(world: State) -> jax.Array:
    """Metres from where the agent began: the end of a preparation that there is not is the beginning."""
    return jnp.hypot(world.bodies.x[0] - world.prepared.x[0], world.bodies.y[0] - world.prepared.y[0])


def locking_reward(before: State, after: State, n_boxes: int, *, in_order: bool, returns: bool) -> jax.Array:
    """What locking, unlocking and coming nearer pay; nearer to the next box or, when all are locked and the agent
    ``returns``, to where it began.

    The rest of the way to a box is paid when it is locked, and when one is unlocked the whole way to the next box is
    taken back.
    """
    was, now = before.locked[:n_boxes], after.locked[:n_boxes]
    locked, unlocked = (now & ~was).sum(axis=0), (was & ~now).sum(axis=0)
    old, new = target(before, n_boxes, in_order), target(after, n_boxes, in_order)
    got = (now & (column(np.arange(n_boxes), now) == old.box[None])).any(axis=0)
    home = from_home(before) - from_home(after) if returns else 0.0
    of_another = jnp.where(old.exists & got, old.distance, jnp.where(new.exists, -new.distance, home))
    same = old.exists & new.exists & (old.box == new.box)
    nearer = jnp.where(same, old.distance - new.distance, of_another)
    return LOCK * locked + UNLOCK * unlocked + SHAPED * nearer
