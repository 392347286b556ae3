"""The vector that an agent observes, and where in it is what; and all that there is, for a central critic."""

import math
from functools import partial
from itertools import accumulate
from typing import NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from tegu.environments.hide_and_seek.geometry import objects
from tegu.environments.hide_and_seek.sight import lidar
from tegu.environments.hide_and_seek.world import OBJECT_HEIGHT, State, column, of_hiders

SELF = ("x", "y", "z", "cos", "sin", "vx", "vy", "vz", "spin", "is_hider", "prepared")
"""Of itself. Lengths in metres in the frame of the world; ``cos`` and ``sin`` of the yaw; ``prepared``: the fraction
of the preparation that has passed, in the end 1."""

OTHER = ("x", "y", "z", "cos", "sin", "vx", "vy", "vz", "spin", "is_hider", "visible")
"""Of another agent; all 0 where it is not visible."""

OBJECT = (
    *("x", "y", "cos", "sin", "vx", "vy", "spin", "length", "width", "height"),
    *("you_locked", "team_locked", "locked", "visible"),
)
"""Of a box or ramp; all 0 where it is not visible. It is locked by you, by your team (you included), by anyone."""

STATE_AGENT = OTHER[:-1]
"""Of each agent in the global state."""

STATE_OBJECT = (*OBJECT[:-4], "hiders_locked", "seekers_locked")
"""Of each box or ramp in the global state, whoever sees it."""


class Layout(NamedTuple):
    """Where the parts of an observation ``[D]`` are."""

    own: slice  #: ``SELF``
    lidar: slice  #: one distance per ray, in metres
    others: tuple[slice, ...]  #: ``OTHER``, of the agents after the observer, then of those before it
    boxes: tuple[slice, ...]  #: ``OBJECT``
    ramps: tuple[slice, ...]  #: ``OBJECT``
    size: int  #: D


def layout(n_agents: int, n_boxes: int, n_ramps: int, n_lidar: int) -> Layout:
    """The same for all agents."""
    sizes = [len(SELF), n_lidar, *[len(OTHER)] * (n_agents - 1), *[len(OBJECT)] * (n_boxes + n_ramps)]
    ends = np.cumsum(sizes).tolist()
    slices = [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]
    own, rays, *rest = slices
    others, boxes, ramps = (rest[: n_agents - 1], rest[n_agents - 1 :][:n_boxes], rest[n_agents - 1 + n_boxes :])
    return Layout(own, rays, tuple(others), tuple(boxes), tuple(ramps), ends[-1])


def lists(layout: Layout) -> dict[str, tuple[int, ...]]:
    """The parts of an observation by name, each with its shape: ``[n]``, or ``[entities, n]`` for those of a kind."""
    kinds = {"agents": layout.others, "boxes": layout.boxes, "ramps": layout.ramps}
    shapes: dict[str, tuple[int, ...]] = {"self": (_length(layout.own),), "lidar": (_length(layout.lidar),)}
    shapes |= {name: (len(slices), _length(slices[0])) for name, slices in kinds.items() if slices}
    return {name: shape for name, shape in shapes.items() if math.prod(shape)}


def observation_space(shapes: dict[str, tuple[int, ...]], entities: bool) -> gymnasium.Space:
    """Of parts with these shapes: apart with ``entities``, else as one vector."""
    box = partial(gymnasium.spaces.Box, -np.inf, np.inf)
    if not entities:
        return box((sum(map(math.prod, shapes.values())),))
    return gymnasium.spaces.Dict({name: box(shape) for name, shape in shapes.items()})


def as_lists(shapes: dict[str, tuple[int, ...]], observation: jax.Array) -> dict[str, jax.Array]:
    """An observation ``[D]`` cut into parts with these shapes."""
    cuts = list(accumulate(map(math.prod, shapes.values())))[:-1]
    return {
        name: part.reshape(shape)
        for (name, shape), part in zip(shapes.items(), jnp.split(observation, cuts), strict=True)
    }


def _length(part: slice) -> int:
    return part.stop - part.start


def observe(state: State, n_boxes: int, n_lidar: int, is_hider: np.ndarray, prep_steps: float) -> jax.Array:
    """What each agent observes, ``[A, D]``."""
    b, z = state.bodies, state.z
    n_agents, n_objects = z.shape[0], state.half_x.shape[0]
    features = _agents(state, is_hider)
    prepared = jnp.broadcast_to(jnp.minimum(1, state.clock / prep_steps)[None, None], (n_agents, 1, *z.shape[1:]))
    parts = [features, prepared]
    boxes = objects(state, n_boxes)
    if n_lidar:
        parts.append(lidar(b, z, boxes, state.walls, n_lidar))
    for offset in range(1, n_agents):
        seen = jnp.stack([state.visible[i, (i + offset) % n_agents] for i in range(n_agents)])[:, None]
        other = jnp.roll(features, -offset, axis=0)
        parts += [jnp.where(seen, other, 0), seen.astype(other.dtype)]

    of_all = _objects(state)
    shape = (n_agents, n_objects, *z.shape[1:])
    locks = [
        column(np.arange(n_agents)[:, None], state.visible, axes=2) == state.locker[None],
        of_hiders(state, is_hider) == column(is_hider[:, None], state.visible, axes=2),
        jnp.ones(shape, bool),
    ]
    locked = jnp.stack([by & state.locked[None] for by in locks], axis=2)  # [A, O, 3]
    seen = state.visible[:, n_agents:, None]
    everything = [jnp.broadcast_to(of_all[None], (n_agents, *of_all.shape)), locked.astype(of_all.dtype)]
    one = jnp.where(seen, jnp.concatenate(everything, axis=2), 0)
    one = jnp.concatenate([one, seen.astype(of_all.dtype)], axis=2)
    parts.append(one.reshape(n_agents, n_objects * len(OBJECT), *z.shape[1:]))
    return jnp.concatenate(parts, axis=1)


def state_lists(n_agents: int, n_boxes: int, n_ramps: int) -> dict[str, tuple[int, ...]]:
    """The shapes of what ``global_state`` returns."""
    kinds = {"agents": (n_agents, STATE_AGENT), "boxes": (n_boxes, STATE_OBJECT), "ramps": (n_ramps, STATE_OBJECT)}
    return {name: (number, len(names)) for name, (number, names) in kinds.items() if number}


def global_state(state: State, n_boxes: int, is_hider: np.ndarray) -> dict[str, jax.Array]:
    """All entities that there are, whoever sees them: ``STATE_AGENT`` of each agent, in the order of the agents, and
    ``STATE_OBJECT`` of each box and each ramp."""
    by_hiders = of_hiders(state, is_hider)[0]
    locks = jnp.stack([state.locked & by_hiders, state.locked & ~by_hiders], axis=1)
    things = jnp.concatenate([_objects(state), locks.astype(state.z.dtype)], axis=1) * state.exist[:, None]
    kinds = {"agents": _agents(state, is_hider), "boxes": things[:n_boxes], "ramps": things[n_boxes:]}
    return {name: rows for name, rows in kinds.items() if len(rows)}


def _agents(state: State, is_hider: np.ndarray) -> jax.Array:
    """``STATE_AGENT`` of each agent, ``[A, 10]``."""
    z = state.z
    x, y, yaw, vx, vy, spin = (part[: len(z)] for part in state.bodies)
    hider = jnp.broadcast_to(column(is_hider.astype(np.float32), z), z.shape)
    return jnp.stack([x, y, z, jnp.cos(yaw), jnp.sin(yaw), vx, vy, state.vz, spin, hider], axis=1)


def _objects(state: State) -> jax.Array:
    """``OBJECT`` of each box and ramp up to its height, ``[O, 10]``."""
    x, y, yaw, vx, vy, spin = (part[len(state.z) :] for part in state.bodies)
    length, width, height = 2 * state.half_x, 2 * state.half_y, jnp.full_like(x, OBJECT_HEIGHT)
    return jnp.stack([x, y, jnp.cos(yaw), jnp.sin(yaw), vx, vy, spin, length, width, height], axis=1)
