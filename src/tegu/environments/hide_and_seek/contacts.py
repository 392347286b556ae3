"""Contacts: where bodies touch or may soon, and the impulses that keep them apart.

A contact is inelastic and without friction. Its constraint is that the distance, which changes with the velocity along
the normal, must not become negative within the time step; only impulses that push are allowed. Contacts of one kind are
resolved at once (Jacobi), kinds one after the other. So that several contacts of one body do not push it too far, its
mass is divided among them (mass splitting: Tonge, Benevolenski and Voroshilov 2012): each contact then takes energy
from parts of bodies, and joining the parts again takes more. Energy never grows, and momentum stays.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from tegu.environments.hide_and_seek.geometry import at, corners, height_under, nearest
from tegu.environments.hide_and_seek.world import N_OUTER, RADIUS, Bodies, Rectangles, column, reduced

STEP_UP = 0.08  #: metres: an agent walks onto what is higher than its soles by no more
RAMP_STEP_UP = 0.3  #: the same on ramps: more than one rises within a time step of the fastest agent's
OVERLAP = 0.01  #: metres: an agent stands on what it overlaps by more


class Compounds(NamedTuple):
    """The rigid compound to which each body belongs, ``[N]``: an object with those who hold it, or one agent."""

    x: jax.Array  #: of its centre of mass
    y: jax.Array
    vx: jax.Array
    vy: jax.Array
    spin: jax.Array
    inverse_mass: jax.Array  #: 0 where it is locked
    inverse_inertia: jax.Array


class Contacts(NamedTuple):
    """Contacts of bodies ``I`` with bodies or walls ``J``, ``K`` each: ``[I, J, K]``."""

    nx: jax.Array  #: the unit vector from the second to the first
    ny: jax.Array
    distance: jax.Array  #: negative where they penetrate
    first_arm: jax.Array  #: what the normal's torque is about the first's centre of mass, by unit of impulse
    second_arm: jax.Array
    exist: jax.Array  #: bool: nobody is above the other, and they are not of one compound
    first: slice  #: which bodies
    second: slice | None  #: None: walls


def find(
    bodies: Bodies, z: jax.Array, boxes: Rectangles, walls: Rectangles, compounds: Compounds, together: jax.Array
) -> tuple[list[Contacts], jax.Array]:
    """All contacts, those with walls last; and how high the ground under the agents is, ``[A]``."""
    n_agents, n_objects = z.shape[0], boxes.x.shape[0]
    agents, objects = slice(0, n_agents), slice(n_agents, n_agents + n_objects)
    apart = together < 0.5
    x, y = bodies.x[agents], bodies.y[agents]

    dx, dy = x[:, None] - x[None], y[:, None] - y[None]
    length = jnp.sqrt(dx * dx + dy * dy)
    scale = 1 / jnp.maximum(length, 1e-6)
    lower = column([[i < j for j in range(n_agents)] for i in range(n_agents)], length, axes=2)
    distance = length - 2 * RADIUS
    middle_x, middle_y = (x[:, None] + x[None]) / 2, (y[:, None] + y[None]) / 2
    among_agents = _contacts(
        (dx * scale, dy * scale, distance),
        (middle_x, middle_y),
        apart[agents, agents] & lower,
        compounds,
        agents,
        agents,
    )

    on_objects, ground_of_objects = _of_agents(x, y, z, boxes, compounds, agents, objects, apart[agents, objects])
    on_walls, ground_of_walls = _of_agents(x, y, z, walls, compounds, agents, None, None)
    ground = jnp.maximum(ground_of_objects, ground_of_walls)

    corner_x, corner_y = corners(boxes)
    own = nearest(corner_x[:, None], corner_y[:, None], at(boxes, 0, 2))
    point = corner_x[:, None], corner_y[:, None]
    exist = apart[objects, objects][:, :, None]
    among_objects = _contacts((own.nx, own.ny, own.distance), point, exist, compounds, objects, objects)

    objects_on_walls = _of_objects(corner_x, corner_y, boxes, walls, compounds, objects)
    return [among_agents, on_objects, among_objects, objects_on_walls, on_walls], ground


def _of_objects(
    corner_x: jax.Array, corner_y: jax.Array, boxes: Rectangles, walls: Rectangles, compounds: Compounds, objects: slice
) -> Contacts:
    """Of objects with walls: each corner of an object with the two nearest walls, and its sides with the two nearest
    corners of walls."""
    to = nearest(corner_x[:, :, None], corner_y[:, :, None], at(walls, 0, 1))
    at_corners = _nearest_ones(to.distance, [to.nx, to.ny], 2)
    inner = jax.tree.map(lambda part: part[N_OUTER:], walls)
    post_x, post_y = (part.reshape(1, 1, -1, *part.shape[2:]) for part in corners(inner))
    of = nearest(post_x, post_y, at(boxes, 1, 2))
    x, y = (jnp.broadcast_to(part, of.distance.shape) for part in (post_x, post_y))
    at_sides = _nearest_ones(of.distance, [-of.nx, -of.ny, x, y], 2)
    at_corners = [[*each, corner_x, corner_y] for each in at_corners]
    parts = [jnp.concatenate(each, axis=1) for each in zip(*at_corners, *at_sides, strict=True)]
    distance, nx, ny, x, y = (part[:, None] for part in parts)
    return _contacts((nx, ny, distance), (x, y), jnp.ones_like(distance, bool), compounds, objects, None)


def _nearest_ones(distance: jax.Array, parts: list[jax.Array], number: int) -> list[list[jax.Array]]:
    """The least distances along the third axis and the other parts where they are, each ``[I, J]``, one by one."""
    found = []
    for _ in range(number):
        best = [part[:, :, 0] for part in (distance, *parts)]
        for index in range(1, distance.shape[2]):
            nearer = distance[:, :, index] < best[0]
            best = [
                jnp.where(nearer, part[:, :, index], old) for part, old in zip((distance, *parts), best, strict=True)
            ]
        found.append(best)
        distance = jnp.where(distance == best[0][:, :, None], jnp.inf, distance)
    return found


def _of_agents(
    x: jax.Array,
    y: jax.Array,
    z: jax.Array,
    prisms: Rectangles,
    compounds: Compounds,
    agents: slice,
    second: slice | None,
    apart: jax.Array | None,
) -> tuple[Contacts, jax.Array]:
    """Of agents with prisms; and how high those prisms are on which agents stand, ``[A]``, or 0."""
    to = nearest(x[:, None], y[:, None], at(prisms, 0))
    distance = to.distance - RADIUS
    height = height_under(to.own_x, at(prisms, 0))
    above = height <= z[:, None] + jnp.where(prisms.rises, RAMP_STEP_UP, STEP_UP)[None]
    ground = reduced(jnp.maximum, jnp.where(above & (distance < -OVERLAP), height, 0), 1)
    exist = ~above if apart is None else ~above & apart
    point = x[:, None] - to.nx * to.distance, y[:, None] - to.ny * to.distance
    return _contacts((to.nx, to.ny, distance), point, exist, compounds, agents, second), ground


def _contacts(
    normal_and_distance: tuple[jax.Array, jax.Array, jax.Array],
    point: tuple[jax.Array, jax.Array],
    exist: jax.Array,
    compounds: Compounds,
    first: slice,
    second: slice | None,
) -> Contacts:
    """All with the axes ``[I, J]`` or ``[I, J, K]``."""
    nx, ny, distance = normal_and_distance
    x, y = point
    batch = compounds.x.ndim - 1
    if nx.ndim == 2 + batch:
        nx, ny, distance, x, y, exist = (part[:, :, None] for part in (nx, ny, distance, x, y, exist))
    c_x, c_y = compounds.x[first][:, None, None], compounds.y[first][:, None, None]
    first_arm = (x - c_x) * ny - (y - c_y) * nx
    second_arm = jnp.zeros_like(first_arm)
    if second is not None:
        second_arm = (x - compounds.x[second][None, :, None]) * ny - (y - compounds.y[second][None, :, None]) * nx
    return Contacts(nx, ny, distance, first_arm, second_arm, exist, first, second)


def within(together: jax.Array, values: jax.Array) -> jax.Array:
    """Sums of the bodies' values ``[N]`` over their compounds, for each of its bodies ``[N]``."""
    return functools.reduce(jnp.add, (together[:, i] * values[i] for i in range(values.shape[0])))


def resolve(
    contacts: Contacts, compounds: Compounds, together: jax.Array, seconds: float, part: jax.Array
) -> Compounds:
    """The compounds after one round of impulses.

    With ``part`` velocities also become such that what penetrates parts: good for positions, but it would add energy.
    """
    first, second = contacts.first, contacts.second
    c = compounds
    room = jnp.maximum(contacts.distance, jnp.where(part, -jnp.inf, 0))
    of_first = Compounds(*(values[first][:, None, None] for values in c))
    apart = of_first.vx * contacts.nx + of_first.vy * contacts.ny + of_first.spin * contacts.first_arm
    if second is not None:
        of_second = Compounds(*(values[second][None, :, None] for values in c))
        apart -= of_second.vx * contacts.nx + of_second.vy * contacts.ny + of_second.spin * contacts.second_arm
    excess = apart + room / seconds  # m/s; where negative they would meet within the time
    active = contacts.exist & (excess < 0)

    counted = active.astype(excess.dtype)
    shares = within(together, _summed(counted, counted, contacts, c.x))
    softness = (of_first.inverse_mass + contacts.first_arm**2 * of_first.inverse_inertia) * shares[first][:, None, None]
    if second is not None:
        of_one = of_second.inverse_mass + contacts.second_arm**2 * of_second.inverse_inertia
        softness += of_one * shares[second][None, :, None]
    acts = active & (softness > 0)
    # The division comes last because XLA computes a quotient once, but the rest anew for each use.
    impulse = jnp.where(acts, -excess, 0) / jnp.where(acts, softness, 1)

    push_x, push_y = impulse * contacts.nx, impulse * contacts.ny
    twist_1, twist_2 = impulse * contacts.first_arm, impulse * contacts.second_arm
    push_x, push_y, twist = (
        within(together, _summed(one, two, contacts, c.x))
        for one, two in ((push_x, -push_x), (push_y, -push_y), (twist_1, -twist_2))
    )
    return c._replace(
        vx=c.vx + c.inverse_mass * push_x,
        vy=c.vy + c.inverse_mass * push_y,
        spin=c.spin + c.inverse_inertia * twist,
    )


def _summed(of_first: jax.Array, of_second: jax.Array, contacts: Contacts, like: jax.Array) -> jax.Array:
    """The sums over a body's contacts, ``[I, J, K]`` to ``[N]``."""
    total = _placed(of_first.sum(axis=(1, 2)), contacts.first, like)
    return total if contacts.second is None else total + _placed(of_second.sum(axis=(0, 2)), contacts.second, like)


def _placed(values: jax.Array, where: slice, like: jax.Array) -> jax.Array:
    """Those of some bodies among zeros for the others, ``[N]``."""
    return jnp.pad(values, [(where.start, like.shape[0] - where.stop)] + [(0, 0)] * (like.ndim - 1))
