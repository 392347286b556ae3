"""One step of the world: what agents choose, what comes of it, and what they see then."""

from typing import NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from tegu.environments.hide_and_seek.geometry import objects
from tegu.environments.hide_and_seek.physics import Drive, move
from tegu.environments.hide_and_seek.sight import visible
from tegu.environments.hide_and_seek.tools import distances, grab, lock
from tegu.environments.hide_and_seek.world import State


class Mechanics(NamedTuple):
    """What is always the same about a step."""

    n_boxes: int  #: the first of the objects; the others are ramps
    max_force: float  #: N
    max_torque: float  #: N m
    substeps: int  #: of the physics


def action_space(n_buckets: int) -> gymnasium.spaces.MultiDiscrete:
    """Of one agent: force along the world's x and y axes and torque, each from full backward to full forward, then
    whether to grab and whether to lock."""
    return gymnasium.spaces.MultiDiscrete([n_buckets] * 3 + [2, 2])


def choices(actions: jax.Array, n_buckets: int) -> tuple[jax.Array, jax.Array]:
    """What actions ``[A, 5]`` mean: pushes from -1 to 1, ``[A, 3]``, and bool ``[A, 2]``: to grab, to lock."""
    middle = (n_buckets - 1) / 2
    return (actions[:, :3] - middle) / middle, actions[:, 3:] == 1


def advance(
    state: State,
    pushes: jax.Array,
    wants: jax.Array,
    lockable: jax.Array,
    is_hider: np.ndarray,
    mechanics: Mechanics,
) -> State:
    """The state after agents grabbed and locked, and then 75 ms of physics; what is seen is still as before.

    ``pushes`` and ``wants`` as of ``choices``; ``lockable``: which objects can be locked and unlocked, bool ``[O]``.
    """
    distance = distances(state, mechanics.n_boxes)
    held = grab(state, distance, wants[:, 0], is_hider).holds
    state = lock(state, distance, wants[:, 1], is_hider, lockable)._replace(holds=held)
    force = mechanics.max_force * pushes[:, :2]
    drive = Drive(force[:, 0], force[:, 1], mechanics.max_torque * pushes[:, 2])
    return move(state, drive, mechanics.n_boxes, mechanics.substeps)._replace(clock=state.clock + 1)


def looking(state: State, n_boxes: int) -> State:
    """The state with what agents see in it."""
    seen = visible(state.bodies, state.z, objects(state, n_boxes), state.walls)
    seen &= jnp.concatenate([jnp.ones_like(state.z, bool), state.exist])[None]
    return state._replace(visible=seen)
