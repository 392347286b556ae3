"""How an episode begins: the map, which objects there are, and where everybody is."""

from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np

from tegu.environments.hide_and_seek.places import Cast, Draws, Places, discs, placed
from tegu.environments.hide_and_seek.world import CUBE, ELONGATED, Prepared, Rectangles, State, Statistics, column


class Plan(Protocol):
    """A map: what is always the same about it."""

    @property
    def n_draws(self) -> int:
        """How many random numbers it takes."""

    def walls(self, draws: jax.Array) -> Rectangles:
        """For random numbers in [0, 1), ``[n_draws]``; the first four are around the floor."""

    def places(self, cast: Cast, draws: jax.Array) -> Places:
        """Where all begin, for the same numbers."""


def begin(plan: Plan, cast: Cast, draws: Draws) -> State:
    """The state at the beginning, with nothing seen yet."""
    exist, half_x, half_y = _objects(cast, draws.sizes)
    n_agents, n_objects, walls = cast.agents, cast.objects, plan.walls(draws.walls)
    everybody = jnp.concatenate([jnp.ones((n_agents, *exist.shape[1:]), bool), exist])
    bodies = placed(plan.places(cast, draws.walls), walls, discs(half_x, half_y, n_agents), everybody, draws)
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
        prepared=Prepared(Statistics(zero, zero, zero, zero), *bodies[:3], jnp.zeros_like(exist)),
        clock=zero.astype(jnp.int32),
    )


def _objects(cast: Cast, draws: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Which objects there are, bool ``[O]``, and half their lengths along their own axes."""
    count = cast.min_boxes + jnp.floor(draws[0] * (cast.boxes - cast.min_boxes + 1))
    elongated = jnp.zeros_like(count)
    if cast.min_elongated:
        most = count if cast.max_elongated is None else jnp.minimum(count, cast.max_elongated)
        elongated = cast.min_elongated + jnp.floor(draws[1] * (most - cast.min_elongated + 1))
    number = column(np.arange(cast.objects), count[None])
    exist = (number < count[None]) | (number >= cast.boxes)
    is_elongated = number < elongated[None]
    length, width = (jnp.where(is_elongated, side / 2, CUBE / 2) for side in ELONGATED)
    return exist, length, width
