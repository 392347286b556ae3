"""How an episode begins: the map, which objects there are, and where everybody is."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tegu.environments.hide_and_seek import random_rooms, rooms
from tegu.environments.hide_and_seek.places import NOWHERE, Area, Draws, Places, discs, placed
from tegu.environments.hide_and_seek.world import CUBE, ELONGATED, Prepared, State, column

Plan = rooms.Plan | random_rooms.Plan


class Cast(NamedTuple):
    """Who and what takes part."""

    hiders: int
    seekers: int
    boxes: int  #: at most
    min_boxes: int  #: at least; all numbers are equally likely
    min_elongated: int  #: of the boxes at least so many are elongated; all numbers up to all of them are equally likely
    ramps: int
    hiders_anywhere: bool  #: and not in the room


def n_draws(plan: Plan) -> int:
    """How many random numbers the map takes."""
    return _maker(plan).n_draws(plan)


def _maker(plan: Plan) -> Any:
    return random_rooms if isinstance(plan, random_rooms.Plan) else rooms


def begin(plan: Plan, cast: Cast, draws: Draws) -> State:
    """The state at the beginning, with nothing seen yet."""
    walls = _maker(plan).walls(plan, draws.walls)
    exist, half_x, half_y = _objects(cast, draws.sizes)
    n_agents, n_objects = cast.hiders + cast.seekers, cast.boxes + cast.ramps
    everybody = jnp.concatenate([jnp.ones((n_agents, *exist.shape[1:]), bool), exist])
    bodies = placed(_places(plan, cast), walls, discs(half_x, half_y, n_agents), everybody, draws)
    on_floor = jnp.zeros_like(bodies.x[:n_agents])
    zero = on_floor[0]
    return State(
        bodies=bodies,
        z=on_floor,
        vz=on_floor,
        half_x=half_x,
        half_y=half_y,
        exist=exist,
        walls=walls,
        holds=jnp.zeros((n_agents, n_objects, *zero.shape), bool),
        locked=jnp.zeros_like(exist),
        locker=jnp.zeros_like(half_x, jnp.int32),
        visible=jnp.zeros((n_agents, n_agents + n_objects, *zero.shape), bool),
        start_x=bodies.x[n_agents:],
        start_y=bodies.y[n_agents:],
        prepared=Prepared(zero, zero, zero, zero),
        clock=zero.astype(jnp.int32),
    )


def _objects(cast: Cast, draws: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Which objects there are, bool ``[O]``, and half their lengths along their own axes."""
    count = cast.min_boxes + jnp.floor(draws[0] * (cast.boxes - cast.min_boxes + 1))
    elongated = jnp.zeros_like(count)
    if cast.min_elongated:
        elongated = cast.min_elongated + jnp.floor(draws[1] * (count - cast.min_elongated + 1))
    number = column(np.arange(cast.boxes + cast.ramps), count[None])
    exist = (number < count[None]) | (number >= cast.boxes)
    is_elongated = number < elongated[None]
    length, width = (jnp.where(is_elongated, side / 2, CUBE / 2) for side in ELONGATED)
    return exist, length, width


def _places(plan: Plan, cast: Cast) -> Places:
    """In random rooms all begin anywhere in the house, each team together; else seekers and ramps begin anywhere, the
    seekers not in the room, the boxes in it, and the hiders too unless they may be anywhere."""
    n_agents, n_bodies = cast.hiders + cast.seekers, cast.hiders + cast.seekers + cast.boxes + cast.ramps
    leader = np.arange(n_bodies)
    if isinstance(plan, random_rooms.Plan):
        corner = (plan.floor - plan.house) / 2
        areas, out_of = [Area(corner, corner, plan.house, plan.house)] * n_bodies, [NOWHERE] * n_bodies
        leader[: cast.hiders], leader[cast.hiders : n_agents] = 0, cast.hiders
    else:
        room = Area(plan.room_left, 0, plan.floor - plan.room_left, plan.room_top)
        anywhere = Area(0, 0, plan.floor, plan.floor)
        areas = [anywhere if cast.hiders_anywhere else room] * cast.hiders + [anywhere] * cast.seekers
        areas += [room] * cast.boxes + [anywhere] * cast.ramps
        out_of = [NOWHERE] * n_bodies
        out_of[cast.hiders : n_agents] = [room] * cast.seekers
    return Places(np.array(areas, np.float32), np.array(out_of, np.float32), leader)
