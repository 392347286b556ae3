"""Contacts: where bodies touch or may soon, and the impulses that keep them apart.

A contact is inelastic and without friction. Its constraint is that the distance, which changes with the velocity along
the normal, must not become negative within the time step; only impulses that push are allowed. Contacts of one kind are
resolved at once (Jacobi), kinds one after the other. So that several contacts of one body do not push it too far, its
mass is divided among them (mass splitting: Tonge, Benevolenski and Voroshilov 2012): each contact then takes energy
from parts of bodies, and joining the parts again takes more. Energy never grows, and momentum stays.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tegu.environments.hide_and_seek.geometry import at, corners, height_under, nearest
from tegu.environments.hide_and_seek.world import N_OUTER, RADIUS, Bodies, Rectangles, column, reduced

STEP_UP = 0.08  #: metres: an agent walks onto what is higher than its soles by no more
RAMP_STEP_UP = 0.3  #: the same on ramps: more than one rises within a time step of the fastest agent's
WALL_CONTACTS = 5  #: of an object: two at each of two walls, and one at a corner of a wall
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
    """Contacts of bodies ``I`` with bodies or walls ``J``, ``K`` each: ``[I, J, K]``.

    Of bodies of one kind with each other each pair is there once: ``J`` are the ``partners`` of a body.
    """

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

    to_x, to_y = _partners(x, y)
    dx, dy = x[:, None] - to_x, y[:, None] - to_y
    length = jnp.sqrt(dx * dx + dy * dy)
    scale = 1 / jnp.maximum(length, 1e-6)
    normal_and_distance = dx * scale, dy * scale, length - 2 * RADIUS
    middle = (x[:, None] + to_x) / 2, (y[:, None] + to_y) / 2
    exist = _apart_from_partners(apart[agents, agents])
    among_agents = _contacts(normal_and_distance, middle, exist, compounds, agents, agents)

    on_objects, ground_of_objects = _of_agents(x, y, z, boxes, compounds, agents, objects, apart[agents, objects])
    on_walls, ground_of_walls = _of_agents(x, y, z, walls, compounds, agents, None, None)
    ground = jnp.maximum(ground_of_objects, ground_of_walls)

    exist = _apart_from_partners(apart[objects, objects])
    among_objects = _among_objects(boxes, exist, compounds, objects)
    objects_on_walls = _of_objects(boxes, walls, compounds, objects)
    return [among_agents, on_objects, among_objects, objects_on_walls, on_walls], ground


def _indices(count: int) -> np.ndarray:
    """The partners of each of so many bodies: those after it, after the last the first again, until every pair is
    there, int ``[I, I // 2]``. Of an even number the last ones have each pair twice."""
    return (np.arange(count)[:, None] + np.arange(1, count // 2 + 1)) % count


def _partners(*values: jax.Array) -> list[jax.Array]:
    """Of the partners of all bodies, ``[I]`` to ``[I, I // 2]``.

    As a product of matrices, because on a CPU it takes a fraction of the time of gathering.
    """
    count = values[0].shape[0]
    is_it = _indices(count)[..., None] == np.arange(count)
    found = jnp.tensordot(is_it.astype(np.float32), jnp.stack(values, axis=1), 1, precision="highest")
    return [found[:, :, index] for index in range(len(values))]


def _to_partners(*values: jax.Array) -> list[jax.Array]:
    """The sums over all of whom a body is the partner, ``[I, I // 2]`` to ``[I]``."""
    count = values[0].shape[0]
    is_it = np.arange(count)[:, None, None] == _indices(count)
    found = jnp.tensordot(is_it.astype(np.float32), jnp.stack(values, axis=2), 2, precision="highest")
    return [found[:, index] for index in range(len(values))]


def _apart_from_partners(apart: jax.Array) -> jax.Array:
    """Whether each body and its partner are of two compounds, each pair once; for bool ``[I, I]``."""
    count = apart.shape[0]
    which = _indices(count)
    once = np.ones(which.shape, bool)
    if count % 2 == 0:
        once[count // 2 :, -1] = False
    return apart[np.arange(count)[:, None], which] & column(once, apart, axes=2)


def _among_objects(boxes: Rectangles, exist: jax.Array, compounds: Compounds, objects: slice) -> Contacts:
    """Of two objects: the two corners of either that are nearest to the other."""
    corner_x, corner_y = corners(boxes)
    others = Rectangles(*_partners(*(part.astype(corner_x.dtype) for part in boxes)))
    other_x, other_y = (jnp.stack(_partners(*jnp.unstack(part, axis=1)), axis=2) for part in (corner_x, corner_y))
    ours = nearest(corner_x[:, None], corner_y[:, None], at(others, 2))
    theirs = nearest(other_x, other_y, at(boxes, 1, 2))
    x, y = (jnp.broadcast_to(part[:, None], ours.distance.shape) for part in (corner_x, corner_y))
    both = [(ours.distance, ours.nx, ours.ny, x, y), (theirs.distance, -theirs.nx, -theirs.ny, other_x, other_y)]
    distance, nx, ny, x, y = _nearest_ones([jnp.concatenate(pair, axis=2) for pair in zip(*both, strict=True)], 2)
    exist = jnp.broadcast_to(exist[:, :, None], distance.shape)
    return _contacts((nx, ny, distance), (x, y), exist, compounds, objects, objects)


def _of_objects(boxes: Rectangles, walls: Rectangles, compounds: Compounds, objects: slice) -> Contacts:
    """Of objects with walls: of each corner of an object with the two nearest walls, and of its sides with the two
    nearest corners of walls, those that are nearest."""
    x, y = corners(boxes)
    to = nearest(x[:, :, None], y[:, :, None], at(walls, 0, 1))
    x, y = (jnp.broadcast_to(part[:, :, None], to.distance.shape) for part in (x, y))
    at_corners = _nearest_ones([to.distance, to.nx, to.ny, x, y], 2)
    inner = jax.tree.map(lambda part: part[N_OUTER:], walls)
    x, y = (part.reshape(1, -1, *part.shape[2:]) for part in corners(inner))
    of = nearest(x, y, at(boxes, 1))
    x, y = (jnp.broadcast_to(part, of.distance.shape) for part in (x, y))
    at_sides = _nearest_ones([part[:, None] for part in (of.distance, -of.nx, -of.ny, x, y)], 2)
    flat = [part.reshape(part.shape[0], 1, -1, *part.shape[3:]) for part in at_corners]
    both = [jnp.concatenate(parts, axis=2) for parts in zip(flat, at_sides, strict=True)]
    distance, nx, ny, x, y = _nearest_ones(both, WALL_CONTACTS)
    return _contacts((nx, ny, distance), (x, y), jnp.ones_like(distance, bool), compounds, objects, None)


def _nearest_ones(parts: list[jax.Array], number: int) -> list[jax.Array]:
    """Where along the third axis the first of the parts is least, all parts: ``[I, J, K]`` to ``[I, J, number]``."""
    parts = jax.lax.optimization_barrier(parts)  # or XLA computes them anew for each use
    distance, found = parts[0], []
    indices = range(distance.shape[2])
    for _ in range(number):
        least = reduced(jnp.minimum, distance, 2)
        which = jnp.zeros_like(least, jnp.int32)
        for index in reversed(indices):
            which = jnp.where(distance[:, :, index] <= least, index, which)
        is_it = [which == index for index in indices]
        best = [part[:, :, 0] for part in parts]
        for index in indices[1:]:
            best = [jnp.where(is_it[index], part[:, :, index], old) for part, old in zip(parts, best, strict=True)]
        found.append(best)
        distance = jnp.where(jnp.stack(is_it, axis=2), jnp.inf, distance)
    return [jnp.stack(part, axis=2) for part in zip(*found, strict=True)]


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
        o_x, o_y = _of_second((compounds.x, compounds.y), first, second)
        second_arm = (x - o_x) * ny - (y - o_y) * nx
    return Contacts(nx, ny, distance, first_arm, second_arm, exist, first, second)


def _of_second(values: Sequence[jax.Array], first: slice, second: slice) -> list[jax.Array]:
    """Of the bodies' values ``[N]`` those of the second of each contact, ``[I, J, 1]`` or ``[1, J, 1]``."""
    values = [part[second] for part in values]
    return [part[:, :, None] for part in (_partners(*values) if first == second else [part[None] for part in values])]


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
        of_second = Compounds(*_of_second(c, first, second))
        apart -= of_second.vx * contacts.nx + of_second.vy * contacts.ny + of_second.spin * contacts.second_arm
    excess = apart + room / seconds  # m/s; where negative they would meet within the time
    active = contacts.exist & (excess < 0)

    counted = active.astype(excess.dtype)
    shares = within(together, _summed([counted], [counted], contacts, c.x)[0])
    softness = (of_first.inverse_mass + contacts.first_arm**2 * of_first.inverse_inertia) * shares[first][:, None, None]
    if second is not None:
        of_one = of_second.inverse_mass + contacts.second_arm**2 * of_second.inverse_inertia
        softness += of_one * _of_second([shares], first, second)[0]
    acts = active & (softness > 0)
    # The division comes last because XLA computes a quotient once, but the rest anew for each use.
    impulse = jnp.where(acts, -excess, 0) / jnp.where(acts, softness, 1)

    push_x, push_y = impulse * contacts.nx, impulse * contacts.ny
    on_first, on_second = (
        [push_x, push_y, impulse * contacts.first_arm],
        [-push_x, -push_y, -impulse * contacts.second_arm],
    )
    push_x, push_y, twist = (within(together, total) for total in _summed(on_first, on_second, contacts, c.x))
    return c._replace(
        vx=c.vx + c.inverse_mass * push_x,
        vy=c.vy + c.inverse_mass * push_y,
        spin=c.spin + c.inverse_inertia * twist,
    )


def _summed(
    of_first: list[jax.Array], of_second: list[jax.Array], contacts: Contacts, like: jax.Array
) -> list[jax.Array]:
    """The sums over a body's contacts, each ``[I, J, K]`` to ``[N]``."""
    first, second = contacts.first, contacts.second
    totals = [_placed(part.sum(axis=(1, 2)), first, like) for part in of_first]
    if second is None:
        return totals
    if first == second:
        others = _to_partners(*(part.sum(axis=2) for part in of_second))
    else:
        others = [part.sum(axis=(0, 2)) for part in of_second]
    return [total + _placed(other, second, like) for total, other in zip(totals, others, strict=True)]


def _placed(values: jax.Array, where: slice, like: jax.Array) -> jax.Array:
    """Those of some bodies among zeros for the others, ``[N]``."""
    return jnp.pad(values, [(where.start, like.shape[0] - where.stop)] + [(0, 0)] * (like.ndim - 1))
