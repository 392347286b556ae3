"""Environments that pay whoever knows the time without being shown it, and an algorithm that remembers it."""

from typing import Any, NamedTuple

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from tegu.algorithms.base import Algorithm, Update, named
from tegu.core.step import Decision
from tegu.environments.base import Environment, Timestep
from tegu.experience.base import Rollout

FIRST = 5  #: the number to name at the first step of an episode; then it goes up by one
LONGEST = 7
NOTHING, NUMBERS = spaces.Box(0, 1, (1,)), spaces.Discrete(100)


class Metronome(Environment):
    """Pays 1 for the right number. An episode ends at any time by chance, at the latest by the clock."""

    id: str = eqx.field(static=True, kw_only=True, default="metronome")
    max_episode_steps: int | None = eqx.field(static=True, kw_only=True, default=LONGEST)

    @property
    def observation_space(self) -> spaces.Box:
        return NOTHING

    @property
    def action_space(self) -> spaces.Discrete:
        return NUMBERS

    def reset(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jnp.int32(FIRST), jnp.zeros(1)

    def step(self, state: jax.Array, action: jax.Array, key: jax.Array) -> Timestep:
        paid = (action == state).astype(jnp.float32)
        return Timestep(state + 1, jnp.zeros(1), paid, jax.random.bernoulli(key, 0.2))


class HostMetronome(gymnasium.Env):
    """The same on the host."""

    observation_space, action_space = NOTHING, NUMBERS

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.number = FIRST
        return np.zeros(1, np.float32), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        paid = float(action == self.number)
        self.number += 1
        ends = bool(self.np_random.random() < 0.2)
        return np.zeros(1, np.float32), paid, ends, not ends and self.number == FIRST + LONGEST, {}


class Only(NamedTuple):
    """The learner of an algorithm that learns nothing."""

    updates: jax.Array  #: int32: how often it was asked to

    @classmethod
    def start(cls) -> "Only":
        return cls(jnp.zeros((), jnp.int32))

    def reporting(self, metrics: dict[str, Any]) -> Update:
        """One update later."""
        return Update(Only(self.updates + 1), metrics)


class Counting(Algorithm):
    """Names the number that it remembers. It has nothing to learn."""

    name: str = named("counting")
    experience = Rollout(6)

    def init(self, key, spec):
        return Only.start()

    def begin(self, learner, key, n):
        return jnp.full(n, FIRST, jnp.int32)

    def act(self, learner, observation, memory, key, *, explore):
        return Decision(memory, memory + 1)

    def update(self, learner, batch, key):
        return learner.reporting({"right": batch.reward.mean()})
