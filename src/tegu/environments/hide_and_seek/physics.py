"""How bodies move: forces, friction of the floor, contacts, heights."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tegu.environments.hide_and_seek.contacts import Compounds, find, resolve, within
from tegu.environments.hide_and_seek.geometry import objects
from tegu.environments.hide_and_seek.world import RADIUS, STEP_SECONDS, Bodies, State, column, reduced

MASS = 1.0  #: kg, of every body
AGENT_DAMPING = 10.0  #: N s/m, and N m s/rad
OBJECT_DAMPING = 0.01
FLOOR_FRICTION = 0.2  #: of objects; agents have none
GRAVITY = 50.0  #: m/s^2
MAX_SPEED = 12.0  #: m/s
MAX_SPIN = 10.0  #: rad/s
VELOCITY_ROUNDS = 6  #: rounds of impulses by substep that change the velocities
POSITION_ROUNDS = 8  #: and further ones that only part what penetrates


class Drive(NamedTuple):
    """What agents do to themselves, ``[A]``."""

    force_x: jax.Array  #: N
    force_y: jax.Array
    torque: jax.Array  #: N m


def move(state: State, drive: Drive, n_boxes: int, substeps: int) -> State:
    """One step of the environment, in so many time steps."""
    together = compound_matrix(state.holds).astype(state.z.dtype)

    def substep(_: jax.Array, moving: tuple[Bodies, jax.Array, jax.Array]) -> tuple[Bodies, jax.Array, jax.Array]:
        bodies, z, vz = moving
        return _substep(state._replace(bodies=bodies, z=z, vz=vz), drive, together, n_boxes, STEP_SECONDS / substeps)

    bodies, z, vz = jax.lax.fori_loop(0, substeps, substep, (state.bodies, state.z, state.vz))
    return state._replace(bodies=bodies, z=z, vz=vz)


def compound_matrix(holds: jax.Array) -> jax.Array:
    """Which bodies form one compound, bool ``[N, N]``, for who holds what ``[A, O]``."""
    n_agents, n_objects = holds.shape[:2]
    partners = reduced(jnp.logical_or, holds[:, None] & holds[None], 2) | column(
        np.eye(n_agents, dtype=bool), holds, axes=2
    )
    alone = jnp.broadcast_to(column(np.eye(n_objects, dtype=bool), holds, 2), (n_objects, n_objects, *holds.shape[2:]))
    above = jnp.concatenate([partners, holds], axis=1)
    below = jnp.concatenate([jnp.swapaxes(holds, 0, 1), alone], axis=1)
    return jnp.concatenate([above, below])


def _substep(
    state: State, drive: Drive, together: jax.Array, n_boxes: int, seconds: float
) -> tuple[Bodies, jax.Array, jax.Array]:
    bodies = state.bodies
    boxes = objects(state, n_boxes)
    compounds = driven(state, drive, together, seconds)
    contacts, ground = find(bodies, state.z, boxes, state.walls, compounds, together)

    def one_round(index: jax.Array, both: tuple[Compounds, Compounds]) -> tuple[Compounds, Compounds]:
        moving, parting = both
        for kind in contacts:
            parting = resolve(kind, parting, together, seconds, part=index >= VELOCITY_ROUNDS)
        return jax.tree.map(lambda new, old: jnp.where(index < VELOCITY_ROUNDS, new, old), parting, moving), parting

    rounds = VELOCITY_ROUNDS + POSITION_ROUNDS
    compounds, parting = jax.lax.fori_loop(0, rounds, one_round, (compounds, compounds))
    vz = state.vz - GRAVITY * seconds
    z = state.z + vz * seconds
    stands = z <= ground
    return _moved(bodies, compounds, parting, seconds), jnp.where(stands, ground, z), jnp.where(stands, 0, vz)


def driven(state: State, drive: Drive, together: jax.Array, seconds: float) -> Compounds:
    """The compounds with the velocities that forces, damping and the floor give them.

    Bodies that have just become one compound join their momenta. Where force and damping are constant the velocity is
    exact: it approaches their ratio exponentially.
    """
    b, n_agents = state.bodies, state.z.shape[0]
    still = jnp.zeros_like(state.half_x)
    is_agent = column([1.0] * n_agents + [0.0] * state.half_x.shape[0], b.x)
    corner_2 = jnp.concatenate([jnp.zeros_like(state.z), state.half_x**2 + state.half_y**2])
    inertia = jnp.where(is_agent > 0, 0.4 * MASS * RADIUS**2, MASS * corner_2 / 3)
    damping = jnp.where(is_agent > 0, AGENT_DAMPING, OBJECT_DAMPING)
    force_x, force_y, torque = (jnp.concatenate([part, still]) for part in drive)

    mass = MASS * within(together, jnp.ones_like(b.x))
    x, y = within(together, MASS * b.x) / mass, within(together, MASS * b.y) / mass
    dx, dy = b.x - x, b.y - y
    inertias = within(together, inertia + MASS * (dx * dx + dy * dy))
    vx, vy = within(together, MASS * b.vx) / mass, within(together, MASS * b.vy) / mass
    spin = within(together, inertia * b.spin + MASS * (dx * b.vy - dy * b.vx)) / inertias

    drag, turning_drag = within(together, damping), within(together, damping * (1 + dx * dx + dy * dy))
    vx = _approached(vx, within(together, force_x), drag, mass, seconds)
    vy = _approached(vy, within(together, force_y), drag, mass, seconds)
    spin = _approached(spin, within(together, torque + dx * force_y - dy * force_x), turning_drag, inertias, seconds)

    # An object rests on its corners, as in MuJoCo, so the friction of its rotation acts there.
    weight = FLOOR_FRICTION * GRAVITY * MASS * (1 - is_agent)
    speed = jnp.sqrt(vx * vx + vy * vy) + 1e-9
    kept = jnp.maximum(0, 1 - seconds * within(together, weight) / (mass * speed))
    kept *= jnp.minimum(1, MAX_SPEED / speed)
    slower = seconds * within(together, weight * jnp.sqrt(corner_2 + dx * dx + dy * dy)) / inertias
    spin = jnp.sign(spin) * jnp.clip(jnp.abs(spin) - slower, 0, MAX_SPIN)

    is_locked = jnp.concatenate([jnp.zeros_like(state.z), state.locked.astype(b.x.dtype)])
    free = within(together, is_locked) < 0.5
    return Compounds(
        x,
        y,
        free * kept * vx,
        free * kept * vy,
        free * spin,
        jnp.where(free, 1 / mass, 0),
        jnp.where(free, 1 / inertias, 0),
    )


def _approached(
    velocity: jax.Array, force: jax.Array, damping: jax.Array, mass: jax.Array, seconds: float
) -> jax.Array:
    """What becomes of a velocity under a constant force and a damping."""
    kept = jnp.exp(-damping * seconds / mass)
    return velocity * kept + force / damping * (1 - kept)


def _moved(bodies: Bodies, compounds: Compounds, parting: Compounds, seconds: float) -> Bodies:
    """Rotate each body about the centre of mass of its compound and move both. Velocities are those without what
    parted them from others."""
    turn = parting.spin * seconds
    cos, sin = jnp.cos(turn), jnp.sin(turn)
    dx, dy = bodies.x - compounds.x, bodies.y - compounds.y
    new_dx, new_dy = cos * dx - sin * dy, sin * dx + cos * dy
    return Bodies(
        x=compounds.x + parting.vx * seconds + new_dx,
        y=compounds.y + parting.vy * seconds + new_dy,
        yaw=bodies.yaw + turn,
        vx=compounds.vx - compounds.spin * new_dy,
        vy=compounds.vy + compounds.spin * new_dx,
        spin=compounds.spin,
    )
