"""What agents do with objects: grab and hold, lock and unlock."""

import jax
import jax.numpy as jnp
import numpy as np

from tegu.environments.hide_and_seek.geometry import at, nearest, objects
from tegu.environments.hide_and_seek.sight import EYE
from tegu.environments.hide_and_seek.world import OBJECT_HEIGHT, State, column, of_hiders, reduced

REACH = 0.25  #: metres from an agent's centre to an object, within which it grabs and locks


def distances(state: State, n_boxes: int) -> jax.Array:
    """From the agents' centres to the boxes around the objects, ``[A, O]``, in metres."""
    n_agents = state.z.shape[0]
    x, y = state.bodies.x[:n_agents], state.bodies.y[:n_agents]
    aside = jnp.maximum(nearest(x[:, None], y[:, None], at(objects(state, n_boxes), 0)).distance, 0)
    above = jnp.maximum(state.z + EYE - OBJECT_HEIGHT, 0)[:, None]
    return jnp.sqrt(aside * aside + above * above)


def grab(state: State, distance: jax.Array, wants: jax.Array, is_hider: np.ndarray) -> State:
    """The state after agents took hold of objects, by whether they want to, bool ``[A]``.

    An agent takes the nearest object within reach that it sees, unless the other team has locked it, and holds it as
    long as it wants to. Several may hold the same object.
    """
    n_agents, n_objects = distance.shape[:2]
    visible = state.visible[:, n_agents:]
    theirs = state.locked & (of_hiders(state, is_hider) != column(is_hider[:, None], distance, axes=2))
    may = (distance <= REACH) & visible & ~theirs
    distance = jnp.where(may, distance, jnp.inf)
    nearest = reduced(jnp.minimum, distance, 1)
    taken, takes = jnp.zeros_like(nearest, bool), []
    for one in range(n_objects):  # the first of the nearest
        takes.append(may[:, one] & (distance[:, one] <= nearest) & ~taken)
        taken |= takes[-1]
    holds_one = reduced(jnp.logical_or, state.holds, 1)[:, None]
    holds = jnp.where(holds_one, state.holds, jnp.stack(takes, axis=1))
    return state._replace(holds=holds & wants[:, None])


def lock(state: State, distance: jax.Array, wants: jax.Array, is_hider: np.ndarray, lockable: jax.Array) -> State:
    """The state after agents locked and unlocked objects, by whether they want them locked, bool ``[A]``, of those
    that are ``lockable``, bool ``[O]``.

    Those of an object count who see it within reach. An object unlocks if one of the locker's team does not want it
    locked; else it locks if anyone wants that. Before it was ever locked the hiders count as the locker's team.
    """
    n_agents = distance.shape[0]
    close = (distance <= REACH) & state.visible[:, n_agents:] & lockable[None]
    wants = wants[:, None]
    of_team = of_hiders(state, is_hider) == column(is_hider[:, None], distance, axes=2)
    unlocks = reduced(jnp.logical_or, close & ~wants & of_team, 0)
    locks = reduced(jnp.logical_or, close & wants, 0) & ~unlocks
    # The original draws the locker among those who want it; here it is the first of them.
    number = column(np.arange(n_agents)[:, None], distance, axes=2)
    first = reduced(jnp.minimum, jnp.where(close & wants, number, n_agents), 0)
    locker = jnp.where(locks & ~state.locked, first, state.locker).astype(state.locker.dtype)
    return state._replace(locked=(state.locked & ~unlocks) | locks, locker=locker)
