"""What the tests of one agent in the world of hide-and-seek share."""

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from tegu.core.step import PyTree
from tegu.environments.base import Environment, Timestep
from tegu.environments.hide_and_seek.acting import Mechanics, action_space, advance, choices, looking
from tegu.environments.hide_and_seek.beginning import Plan, begin
from tegu.environments.hide_and_seek.observation import (
    OBJECT,
    OTHER,
    Layout,
    as_lists,
    layout,
    lists,
    observation_space,
    observe,
)
from tegu.environments.hide_and_seek.options import check_values
from tegu.environments.hide_and_seek.picture import draw
from tegu.environments.hide_and_seek.places import Cast, Draws
from tegu.environments.hide_and_seek.world import WALL, State, batch_last

FLOOR, HOUSE = 18.0, 6.0  #: metres along each side, as in random rooms; the house has high walls, so nobody leaves it
CORNER = (FLOOR - HOUSE) / 2  #: where the house begins along both axes
IS_HIDER = np.ones(1, bool)

Shapes = dict[str, tuple[int, ...]]


class Trial(NamedTuple):
    """Everything about one episode of a test."""

    world: State
    goal: Any  #: what the test asks for beside what is in the world


class SoloTest(Environment):
    """A hider alone in the house of random rooms (Baker et al. 2019, section 5), see ``docs/hide-and-seek.md``.

    Actions and what is observed of each entity are those of hide-and-seek. So that networks with attention have the
    weights of those that play hide-and-seek in rooms, there is always one more agent, and without ramps one ramp, that
    is never visible. There is no preparation: the fraction of it that has passed stays 0.
    """

    boxes: int = eqx.field(static=True, kw_only=True, default=1)
    horizon: int = eqx.field(static=True, kw_only=True, default=120)  #: steps of an episode
    n_buckets: int = eqx.field(static=True, kw_only=True, default=11)  #: of the movements, odd
    n_lidar: int = eqx.field(static=True, kw_only=True, default=30)  #: rays of the agent
    max_force: float = eqx.field(static=True, kw_only=True, default=90.0)  #: N
    max_torque: float = eqx.field(static=True, kw_only=True, default=90.0)  #: N m
    substeps: int = eqx.field(static=True, kw_only=True, default=6)  #: of the physics in each step
    entities: bool = eqx.field(static=True, kw_only=True, default=False)  #: observations list entities by kind
    max_episode_steps: int | None = eqx.field(static=True, init=False)

    def __post_init__(self) -> None:
        self.max_episode_steps = self.horizon
        check_values(self)

    @property
    @abstractmethod
    def plan(self) -> Plan:
        """The map."""

    @property
    def cast(self) -> Cast:
        """Who and what takes part: the agent and all boxes, anywhere."""
        return Cast(1, 0, self.boxes, self.boxes, 0, 0, True)

    @property
    def n_marks(self) -> int:
        """How many things beside bodies get a place at random."""
        return 0

    def goal(self, world: State, draws: Draws) -> PyTree:
        """What is asked for, for the world as it begins and the random numbers of the map and of the marks."""
        return ()

    def lockable(self, world: State) -> jax.Array:
        """Which objects can be locked and unlocked, bool ``[O]``."""
        return jnp.ones_like(world.exist)

    @abstractmethod
    def judged(self, before: Trial, after: Trial) -> tuple[jax.Array, jax.Array]:
        """The reward of a step, and whether the task is done and ends the episode."""

    def goal_lists(self) -> Shapes:
        """The shapes of what is observed of the goal."""
        return {}

    def goal_seen(self, goal: PyTree) -> list[jax.Array]:
        """What is observed of the goal, each ``[D]``."""
        return []

    def marks(self, trial: Trial) -> Sequence[np.ndarray]:
        """What a picture shows beside the bodies, as closed lines, each ``[K, 2]``."""
        return ()

    @property
    def layout(self) -> Layout:
        """What is where in an observation, without ``entities``; what is observed of the goal comes after it."""
        return layout(2, self.boxes, max(self.cast.ramps, 1), self.n_lidar)

    @property
    def observation_space(self) -> gymnasium.Space:
        return observation_space(self._lists, self.entities)

    @property
    def action_space(self) -> gymnasium.spaces.MultiDiscrete:
        return action_space(self.n_buckets)

    def reset(self, key: jax.Array) -> tuple[Trial, PyTree]:
        cast = self.cast
        draws = Draws.of(key, self.plan.n_draws, cast.agents + cast.objects + self.n_marks)
        trial, observation = batch_last(self._begin)(draws)
        return trial, self._observed(observation)

    def step(self, state: Trial, action: jax.Array, key: jax.Array) -> Timestep:
        """Grab, lock, then 75 ms of physics."""
        trial, observation, reward, done = batch_last(self._advance)(state, action)
        return Timestep(trial, self._observed(observation), reward, done)

    def image(self, state: Trial) -> np.ndarray:
        """The house, seen from above."""
        return draw(state.world, FLOOR, CORNER - 2 * WALL, self.boxes, 1, self.marks(state))

    @property
    def _lists(self) -> Shapes:
        return lists(self.layout) | self.goal_lists()

    def _observed(self, observation: jax.Array) -> PyTree:
        return as_lists(self._lists, observation) if self.entities else observation

    def _begin(self, draws: Draws) -> tuple[Trial, jax.Array]:
        n_bodies = self.cast.agents + self.cast.objects
        world = looking(begin(self.plan, self.cast, draws.of_bodies(slice(n_bodies))), self.boxes)
        trial = Trial(world, self.goal(world, draws.of_bodies(slice(n_bodies, None))))
        return trial, self._observe(trial)

    def _advance(self, before: Trial, action: jax.Array) -> tuple[Trial, jax.Array, jax.Array, jax.Array]:
        pushes, wants = choices(action[None], self.n_buckets)
        mechanics = Mechanics(self.boxes, self.max_force, self.max_torque, self.substeps)
        world = advance(before.world, pushes, wants, self.lockable(before.world), IS_HIDER, mechanics)
        after = before._replace(world=looking(world, self.boxes))
        return after, self._observe(after), *self.judged(before, after)

    def _observe(self, trial: Trial) -> jax.Array:
        """``[D]``: what a hider observes, with zeros for whom there is not, then the goal."""
        seen = observe(trial.world, self.boxes, self.n_lidar, IS_HIDER, math.inf)[0]
        before = self.layout.lidar.stop
        nobody, nothing = (jnp.zeros((len(names), *seen.shape[1:])) for names in (OTHER, OBJECT))
        absent = [] if self.cast.ramps else [nothing]
        return jnp.concatenate([seen[:before], nobody, seen[before:], *absent, *self.goal_seen(trial.goal)])
