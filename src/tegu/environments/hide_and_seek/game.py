"""The game of hide-and-seek."""

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from tegu.core.step import PyTree
from tegu.environments.base import Environment, Timestep
from tegu.environments.hide_and_seek.acting import Mechanics, action_space, advance, choices, looking
from tegu.environments.hide_and_seek.beginning import Plan, begin
from tegu.environments.hide_and_seek.forts import touched_agents, touched_objects, walkable
from tegu.environments.hide_and_seek.geometry import at, nearest, objects
from tegu.environments.hide_and_seek.observation import (
    Layout,
    as_lists,
    global_state,
    layout,
    lists,
    observation_space,
    observe,
    state_lists,
)
from tegu.environments.hide_and_seek.options import check_options
from tegu.environments.hide_and_seek.picture import draw
from tegu.environments.hide_and_seek.places import Cast, Draws
from tegu.environments.hide_and_seek.random_rooms import RandomRooms
from tegu.environments.hide_and_seek.rooms import OneRoom
from tegu.environments.hide_and_seek.world import Prepared, State, Statistics, batch_last, column, of_hiders
from tegu.spaces.features import STATE

BORDER = 0.1  #: metres from the edge of the floor: where an agent or object is out of bounds
OUT_OF_BOUNDS = -10.0
HIGH = 0.4  #: metres: an agent with soles above has climbed something
SURFING = 0.1  #: m/s: an object that is faster moves


class HideAndSeek(Environment):
    """Hide-and-seek (Baker et al. 2019) in a world of upright prisms, see ``docs/hide-and-seek.md``.

    All agents act at once: observations, actions and rewards are dicts by agent, hiders first. An observation is a
    float32 vector, see ``layout``; with ``entities`` a dict of its parts, the entities of each kind as rows. With
    ``global_state`` there is all that exists beside the agents, under "state", as a vector or as such rows. An action
    is five choices: force along the world's x and y axes and torque, each one of ``n_buckets`` from full backward to
    full forward, then whether to grab and whether to lock. In the preparation the seekers cannot act and nothing pays.
    Then hiders get 1 and seekers -1 if no seeker sees a hider, else the reverse. Nothing ends an episode but the clock.
    """

    hiders: int = eqx.field(static=True, kw_only=True, default=1)
    seekers: int = eqx.field(static=True, kw_only=True, default=1)
    boxes: int = eqx.field(static=True, kw_only=True, default=1)
    ramps: int = eqx.field(static=True, kw_only=True, default=1)
    floor: float = eqx.field(static=True, kw_only=True, default=4.0)  #: metres along each side
    room_left: float = eqx.field(static=True, kw_only=True, default=2.0)  #: x where the room begins
    room_top: float = eqx.field(static=True, kw_only=True, default=4.0)  #: y where it ends; ``floor``: no wall there
    door: float = eqx.field(static=True, kw_only=True, default=0.6)  #: metres
    one_door: float = eqx.field(static=True, kw_only=True, default=0.0)  #: probability that one of two doors is missing
    hiders_anywhere: bool = eqx.field(static=True, kw_only=True, default=False)  #: they begin anywhere, not in the room
    max_rooms: int = eqx.field(static=True, kw_only=True, default=0)  #: random rooms at most; 0: the one room
    house: float = eqx.field(static=True, kw_only=True, default=6.0)  #: metres along each side, with random rooms
    walled: float = eqx.field(static=True, kw_only=True, default=0.5)  #: probability of walls around the house
    min_boxes: int | None = eqx.field(static=True, kw_only=True, default=None)  #: at least so many; None: all ``boxes``
    min_elongated: int = eqx.field(static=True, kw_only=True, default=0)  #: boxes that are elongated, at least
    horizon: int = eqx.field(static=True, kw_only=True, default=60)  #: steps of an episode
    prep_fraction: float = eqx.field(static=True, kw_only=True, default=0.4)  #: of the steps: preparation
    n_buckets: int = eqx.field(static=True, kw_only=True, default=5)  #: of the movements, odd
    n_lidar: int = eqx.field(static=True, kw_only=True, default=12)  #: rays of each agent
    max_force: float = eqx.field(static=True, kw_only=True, default=40.0)  #: N
    max_torque: float = eqx.field(static=True, kw_only=True, default=90.0)  #: N m
    substeps: int = eqx.field(static=True, kw_only=True, default=4)  #: of the physics in each step
    lockable_ramps: bool = eqx.field(static=True, kw_only=True, default=True)
    penalize_objects_out: bool = eqx.field(static=True, kw_only=True, default=False)  #: then all agents pay for them
    entities: bool = eqx.field(static=True, kw_only=True, default=False)  #: observations list entities by kind
    global_state: bool = eqx.field(static=True, kw_only=True, default=False)  #: central critics see all that exists
    id: str = eqx.field(static=True, kw_only=True, default="hide-and-seek-tiny")
    max_episode_steps: int | None = eqx.field(static=True, init=False)

    def __post_init__(self) -> None:
        self.max_episode_steps = self.horizon
        check_options(self)

    @property
    def agents(self) -> tuple[str, ...]:
        team = {"hider": self.hiders, "seeker": self.seekers}
        return tuple(f"{kind}_{index}" for kind, number in team.items() for index in range(number))

    @property
    def teams(self) -> dict[str, tuple[str, ...]]:
        return {"hiders": self.agents[: self.hiders], "seekers": self.agents[self.hiders :]}

    @property
    def layout(self) -> Layout:
        """What is where in an agent's observation, without ``entities``."""
        return layout(len(self.agents), self.boxes, self.ramps, self.n_lidar)

    @property
    def observation_space(self) -> gymnasium.spaces.Dict:
        found = dict.fromkeys(self.agents, observation_space(lists(self.layout), self.entities))
        if self.global_state:
            shapes = state_lists(len(self.agents), self.boxes, self.ramps)
            found[STATE] = observation_space(shapes, self.entities)
        return gymnasium.spaces.Dict(found)

    @property
    def action_space(self) -> gymnasium.spaces.Dict:
        return gymnasium.spaces.Dict(dict.fromkeys(self.agents, action_space(self.n_buckets)))

    @property
    def prep_steps(self) -> float:
        return self.prep_fraction * self.horizon

    @property
    def _is_hider(self) -> np.ndarray:
        return np.arange(self.hiders + self.seekers) < self.hiders

    def reset(self, key: jax.Array) -> tuple[State, dict[str, jax.Array]]:
        draws = Draws.of(key, self._plan.n_draws, len(self.agents) + self.boxes + self.ramps)
        state, observation = batch_last(self._begin)(draws)
        return state, self._observed(observation) | self._beside(state)

    def step(self, state: State, action: dict[str, jax.Array], key: jax.Array) -> Timestep:
        """Grab, lock, then 75 ms of physics."""
        actions = jnp.stack([action[name] for name in self.agents])
        state, observation, reward = batch_last(self._advance)(state, actions)
        seen = self._observed(observation) | self._beside(state)
        return Timestep(state, seen, self._by_agent(reward), jnp.bool_(False))

    def measures(self, state: State) -> dict[str, jax.Array]:
        """The original's statistics: how far the box or ramp is from its start that is farthest from it, in metres, and
        how many are locked; those with ``_prep`` at the end of the preparation, and before that now. ``seen``: 1 if a
        seeker sees a hider after the preparation; its mean over an episode is at most the share of that time. So with
        ``ramp_use``: a seeker is high up, and ``box_surfing``: it moves with the object that it stands on and holds."""
        now, before = self._statistics(state), state.prepared.statistics
        playing = state.clock > self.prep_steps
        return {
            **{f"{name}_prep": value for name, value in before._asdict().items()},
            **now._asdict(),
            "seen": (self._seen(state) & playing).astype(jnp.float32),
            "ramp_use": ((state.z[self.hiders :] > HIGH).any() & playing).astype(jnp.float32),
            "box_surfing": (self._surfs(state)[self.hiders :].any() & playing).astype(jnp.float32),
        }

    def episode_measures(self, state: State) -> dict[str, jax.Array]:
        """Of the end of the preparation. ``fort``: 1 if no seeker could walk on the floor to where it touches a hider.
        ``ramp_defence`` and ``surf_defence``: the share of the ramps and of the boxes that hiders had locked; a ramp
        counts, too, if no seeker could walk to where it touches it."""
        then, n_agents, n_hiders = state.prepared, len(self.agents), self.hiders
        bodies = state.bodies._replace(x=then.x, y=then.y, yaw=then.yaw)
        things = objects(state._replace(bodies=bodies), self.boxes)
        obstacles = jax.tree.map(lambda *parts: jnp.concatenate(parts), state.walls, things)
        reached = walkable(then.x[n_hiders:n_agents], then.y[n_hiders:n_agents], obstacles, self.floor)
        fort = ~touched_agents(reached, then.x[:n_hiders], then.y[:n_hiders], self.floor).any()
        safe = then.hiders_locked | ~touched_objects(reached, things, self.floor)
        exist, locked = state.exist[: self.boxes], then.hiders_locked[: self.boxes]
        ramps = {"ramp_defence": safe[self.boxes :].mean(dtype=jnp.float32)} if self.ramps else {}
        return {"fort": fort.astype(jnp.float32), **ramps, "surf_defence": locked.sum() / exist.sum()}

    @property
    def milestones(self) -> dict[str, tuple[str, float]]:
        """The phases of the paper, section 4; the values are by inspection, clear of what random play has. Larger teams
        see one another more often by chance. Means are over all steps, and nothing is seen in the preparation."""
        main = (1 - self.prep_fraction) / 0.6  # how long the rest is, beside the paper's
        chasing = 0.2 if len(self.agents) == 2 else 0.45
        ramps = {"ramp use": ("ramp_use/mean", 0.05 * main), "ramp defence": ("ramp_defence/end", 0.5)}
        return {
            "chasing": ("seen/mean", chasing * main),
            "fort building": ("fort/end", 0.25),
            **(ramps if self.ramps else {}),
            "box surfing": ("box_surfing/mean", 0.02 * main),
            "surf defence": ("surf_defence/end", 0.9),
        }

    def image(self, state: State) -> np.ndarray:
        """Seen from above; of random rooms the house and a metre of the field around it."""
        plan = self._plan
        corner = max(plan.corner - 1, 0.0) if isinstance(plan, RandomRooms) else 0.0
        return draw(state, self.floor, corner, self.boxes, self.hiders)

    def _observed(self, observation: jax.Array) -> dict[str, PyTree]:
        """What each agent observes, for ``[A, D]``."""
        of_all = self._by_agent(observation)
        return {name: as_lists(lists(self.layout), of_all[name]) for name in of_all} if self.entities else of_all

    def _beside(self, state: State) -> dict[str, PyTree]:
        """What is beside the agents in an observation: the global state, if asked for."""
        if not self.global_state:
            return {}
        rows = global_state(state, self.boxes, self._is_hider)
        return {STATE: rows if self.entities else jnp.concatenate([part.ravel() for part in rows.values()])}

    def _by_agent(self, values: jax.Array) -> dict[str, jax.Array]:
        return {name: values[index] for index, name in enumerate(self.agents)}

    @property
    def _plan(self) -> Plan:
        if self.max_rooms:
            return RandomRooms(self.floor, self.house, self.max_rooms, self.walled)
        return OneRoom(self.floor, self.room_left, self.room_top, self.door, self.one_door)

    def _begin(self, draws: Draws) -> tuple[State, jax.Array]:
        fewest = self.boxes if self.min_boxes is None else self.min_boxes
        boxes = self.boxes, fewest, self.min_elongated
        cast = Cast(self.hiders, self.seekers, *boxes, self.ramps, self.hiders_anywhere)
        return self._look(begin(self._plan, cast, draws))

    def _advance(self, state: State, actions: jax.Array) -> tuple[State, jax.Array, jax.Array]:
        """The next state, what the agents observe ``[A, D]`` and their rewards ``[A]``, for actions ``[A, 5]``."""
        is_hider = self._is_hider
        in_preparation = state.clock < self.prep_steps
        idle = in_preparation & ~column(is_hider, state.z)
        pushes, wants = choices(actions, self.n_buckets)
        pushes, wants = jnp.where(idle[:, None], 0, pushes), wants & ~idle[:, None]
        lockable = np.arange(self.boxes + self.ramps) < self.boxes + self.lockable_ramps * self.ramps
        mechanics = Mechanics(self.boxes, self.max_force, self.max_torque, self.substeps)
        state = advance(state, pushes, wants, column(lockable, state.half_x), is_hider, mechanics)
        state, observation = self._look(state)
        hiders_locked = state.locked & of_hiders(state, is_hider)[0]
        now = Prepared(self._statistics(state), *state.bodies[:3], hiders_locked)
        prepared = jax.tree.map(lambda new, old: jnp.where(in_preparation, new, old), now, state.prepared)
        return state._replace(prepared=prepared), observation, self._rewards(state, in_preparation)

    def _look(self, state: State) -> tuple[State, jax.Array]:
        """The state with what agents see in it, and what they observe."""
        state = looking(state, self.boxes)
        return state, observe(state, self.boxes, self.n_lidar, self._is_hider, max(self.prep_steps, 1e-5))

    def _seen(self, state: State) -> jax.Array:
        """Whether any seeker sees a hider."""
        return state.visible[self.hiders : self.hiders + self.seekers, : self.hiders].any(axis=(0, 1))

    def _surfs(self, state: State) -> jax.Array:
        """Whether agents move with what they stand on and hold, ``[A]``."""
        b, n_agents = state.bodies, len(self.agents)
        x, y = b.x[:n_agents, None], b.y[:n_agents, None]
        on_top = nearest(x, y, at(objects(state, self.boxes), 0)).distance < 0
        moves = jnp.hypot(b.vx[n_agents:], b.vy[n_agents:]) > SURFING
        return (state.holds & on_top & moves[None]).any(axis=1) & (state.z > HIGH)

    def _rewards(self, state: State, in_preparation: jax.Array) -> jax.Array:
        """``[A]``. Being out of bounds replaces what the game pays; the preparation pays nothing at all."""
        reward = jnp.where(self._seen(state)[None] == column(self._is_hider, state.z), -1.0, 1.0)
        middle = self.floor / 2
        aside = jnp.maximum(jnp.abs(state.bodies.x - middle), jnp.abs(state.bodies.y - middle))
        out = aside > middle - BORDER
        agents_out, objects_out = out[: len(self.agents)], out[len(self.agents) :] & state.exist
        if self.penalize_objects_out:
            agents_out |= objects_out.any(axis=0, keepdims=True)
        return jnp.where(in_preparation[None], 0, jnp.where(agents_out, OUT_OF_BOUNDS, reward))

    def _statistics(self, state: State) -> Statistics:
        objects_x, objects_y = (part[len(self.agents) :] for part in state.bodies[:2])
        moved = jnp.hypot(objects_x - state.start_x, objects_y - state.start_y)
        locked = state.locked.astype(moved.dtype)
        if not self.ramps:
            nothing = jnp.zeros_like(moved[0])
            return Statistics(moved.max(axis=0), locked.sum(axis=0), nothing, nothing)
        (box_moved, ramp_moved), (boxes, ramps) = (jnp.split(part, [self.boxes]) for part in (moved, locked))
        return Statistics(box_moved.max(axis=0), boxes.sum(axis=0), ramp_moved.max(axis=0), ramps.sum(axis=0))
