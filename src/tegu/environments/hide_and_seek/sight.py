"""What agents see: the others within a cone and in line of sight, and distances by lidar.

A ray is blocked by what its first point is in: prisms (boxes, ramps, walls) and agents. Over a prism's footprint the
ray's height is compared with the prism's, at both ends of the part above it: both are linear, so that decides.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from tegu.environments.hide_and_seek.geometry import TINY, at, height_at
from tegu.environments.hide_and_seek.world import AGENT_HEIGHT, RADIUS, Bodies, Rectangles, column, reduced

EYE = 0.15  #: height of an agent's eye, its centre, above its soles
HALF_CONE = math.radians(67.5)
LIDAR_RANGE = 6.0  #: metres, also what a ray says that meets nothing
OBJECT_CENTRE = 0.25, 0.15  #: at what height of a box and of a ramp others look


def visible(bodies: Bodies, z: jax.Array, boxes: Rectangles, walls: Rectangles) -> jax.Array:
    """Which bodies each agent sees, bool ``[A, N]``, itself included.

    It sees those whose centres are in its cone, however far away, where nothing is in between: teammates are in the way
    like all others.
    """
    n_agents, n_objects = z.shape[0], boxes.x.shape[0]
    x, y, heading = bodies.x[:n_agents], bodies.y[:n_agents], bodies.yaw[:n_agents]
    centre = jnp.where(boxes.rises, OBJECT_CENTRE[1], OBJECT_CENTRE[0])
    target_z = jnp.concatenate([z + EYE, centre])
    dx, dy = bodies.x[None] - x[:, None], bodies.y[None] - y[:, None]
    rise = target_z[None] - (z + EYE)[:, None]

    ahead = dx * jnp.cos(heading)[:, None] + dy * jnp.sin(heading)[:, None]
    in_cone = ahead >= math.cos(HALF_CONE) * jnp.sqrt(dx * dx + dy * dy)

    ray = (
        x[:, None, None],
        y[:, None, None],
        (z + EYE)[:, None, None],
        dx[:, :, None],
        dy[:, :, None],
        rise[:, :, None],
    )
    by_objects = _enters_prism(*ray, at(boxes, 0, 1)) < 1
    itself = np.arange(n_agents + n_objects)[:, None] == n_agents + np.arange(n_objects)
    by_objects &= ~column(itself[None], by_objects, axes=3)
    by_walls = _enters_prism(*ray, at(walls, 0, 1)) < 1
    by_agents = _enters_agent(*ray, x[None, None], y[None, None], z[None, None]) < 1
    agents = np.arange(n_agents)
    either = (np.arange(n_agents + n_objects)[None, :, None] == agents) | (agents[:, None, None] == agents)
    by_agents &= ~column(either, by_agents, axes=3)
    blocked = by_objects.any(axis=2) | by_walls.any(axis=2) | by_agents.any(axis=2)
    own = column(agents[:, None] == np.arange(n_agents + n_objects), dx, axes=2)
    return own | (in_cone & ~blocked)


def lidar(bodies: Bodies, z: jax.Array, boxes: Rectangles, walls: Rectangles, n_rays: int) -> jax.Array:
    """How far each agent's eye is from what is around it, ``[A, n_rays]``, at most ``LIDAR_RANGE``.

    The rays are horizontal and lie evenly around the agent, the first along the x axis of the world.
    """
    n_agents = z.shape[0]
    angle = 2 * np.pi * np.arange(n_rays) / n_rays
    x, y, eye = bodies.x[:n_agents, None, None], bodies.y[:n_agents, None, None], (z + EYE)[:, None, None]
    dx = LIDAR_RANGE * column(np.cos(angle).astype(np.float32)[None, :, None], x, axes=3)
    dy = LIDAR_RANGE * column(np.sin(angle).astype(np.float32)[None, :, None], x, axes=3)
    ray = (x, y, eye, dx, dy, jnp.zeros_like(dx))
    agents = np.arange(n_agents)
    own = column(agents[:, None, None] == agents, x, axes=3)
    of_agents = jnp.where(
        own, 1, _enters_agent(*ray, bodies.x[:n_agents][None, None], bodies.y[:n_agents][None, None], z[None, None])
    )
    entries = (_enters_prism(*ray, at(boxes, 0, 1)), _enters_prism(*ray, at(walls, 0, 1)), of_agents)
    nearest = [reduced(jnp.minimum, entry, 2) for entry in entries]
    return LIDAR_RANGE * jnp.minimum(jnp.minimum(nearest[0], nearest[1]), nearest[2])


def reach(
    x: jax.Array,
    y: jax.Array,
    to_x: jax.Array,
    to_y: jax.Array,
    to_z: float,
    share: jax.Array,
    bodies: Bodies,
    z: jax.Array,
    boxes: Rectangles,
) -> jax.Array:
    """Which rays from places on the floor ``[K]`` meet no object and no agent on a ``share`` ``[K]`` of their way to a
    point, bool ``[K]``. Walls are not looked at."""
    floor, dx, dy = jnp.zeros_like(share), to_x[None] - x, to_y[None] - y
    x, y = floor + x, floor + y
    ray = (x[:, None], y[:, None], floor[:, None], dx[:, None], dy[:, None], (floor + to_z)[:, None])
    agent_x, agent_y = bodies.x[: len(z)], bodies.y[: len(z)]
    of_agents = _enters_agent(*ray, agent_x[None], agent_y[None], z[None])
    entries = jnp.concatenate([_enters_prism(*ray, at(boxes, 0)), of_agents], axis=1)
    return (entries >= share[:, None]).all(axis=1)


def _enters_prism(
    x: jax.Array, y: jax.Array, z: jax.Array, dx: jax.Array, dy: jax.Array, dz: jax.Array, prisms: Rectangles
) -> jax.Array:
    """Where rays from ``(x, y, z)`` to that plus ``(dx, dy, dz)`` come into prisms: the fraction, at most 1; 1 also
    where they do not."""
    sx, sy = x - prisms.x, y - prisms.y
    own_x, own_y = prisms.cos * sx + prisms.sin * sy, prisms.cos * sy - prisms.sin * sx
    own_dx, own_dy = prisms.cos * dx + prisms.sin * dy, prisms.cos * dy - prisms.sin * dx
    inverse_x, inverse_y = 1 / _off_zero(own_dx), 1 / _off_zero(own_dy)
    middle_x, reach_x = -own_x * inverse_x, jnp.abs(prisms.half_x * inverse_x)
    middle_y, reach_y = -own_y * inverse_y, jnp.abs(prisms.half_y * inverse_y)
    begin = jnp.maximum(jnp.maximum(middle_x - reach_x, middle_y - reach_y), 0)
    end = jnp.minimum(jnp.minimum(middle_x + reach_x, middle_y + reach_y), 1)
    # How far the ray is below the top where it enters and where it leaves the footprint.
    depth_begin = height_at(own_x + begin * own_dx, prisms) - (z + begin * dz)
    depth_end = height_at(own_x + end * own_dx, prisms) - (z + end * dz)
    change = _off_zero(depth_end - depth_begin)
    inside = jnp.where(depth_begin > 0, begin, begin - depth_begin / change * (end - begin))
    return jnp.where((begin < end) & (jnp.maximum(depth_begin, depth_end) > 0), inside, 1)


def _enters_agent(
    x: jax.Array,
    y: jax.Array,
    z: jax.Array,
    dx: jax.Array,
    dy: jax.Array,
    dz: jax.Array,
    agent_x: jax.Array,
    agent_y: jax.Array,
    agent_z: jax.Array,
) -> jax.Array:
    """As ``_enters_prism``, for agents with their soles at these places."""
    sx, sy = agent_x - x, agent_y - y
    square = _off_zero(dx * dx + dy * dy)
    middle = (sx * dx + sy * dy) / square
    miss = sx * dy - sy * dx
    reach = jnp.sqrt(jnp.maximum(RADIUS**2 * square - miss * miss, 0)) / square
    # The part of the ray that is neither above nor below the agent.
    inverse = 1 / _off_zero(dz)
    level, span = (agent_z + AGENT_HEIGHT / 2 - z) * inverse, jnp.abs(AGENT_HEIGHT / 2 * inverse)
    begin = jnp.maximum(jnp.maximum(middle - reach, level - span), 0)
    end = jnp.minimum(jnp.minimum(middle + reach, level + span), 1)
    return jnp.where(begin < end, begin, 1)


def _off_zero(values: jax.Array) -> jax.Array:
    """The same without those too near 0 to divide by."""
    return jnp.where(jnp.abs(values) < TINY, TINY, values)
