"""A tiny game for two agents of different kinds with a known best score, in JAX and as an environment of PettingZoo's.

Both hear which of two songs is played, drawn anew at each of four steps. The alto names a note: the first for song 0,
the second for song 1; a third is never legal. The bass takes a place: -1 for song 0 and 0.5 for song 1. If the note is
right, the alto is paid 1 less half the distance to the right place and the bass half of that; else both get nothing.
"""

from typing import Any

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pettingzoo
from gymnasium import spaces

from tegu.environments.base import Environment, Timestep

AGENTS = ("alto", "bass")
BEST = 3.0  #: the mean over the agents of the best return there is
STEPS = 4
NOTES, PLACES = spaces.Discrete(3, start=1), spaces.Box(-2, 1, (1,))
SONG = spaces.Box(0, 1, (2,))
OBSERVATIONS = spaces.Dict(alto=spaces.Dict(x=SONG, action_mask=spaces.MultiBinary(3)), bass=SONG)
ACTIONS = spaces.Dict(alto=NOTES, bass=PLACES)
LEGAL = np.array([1, 1, 0], np.int8)


def pay(song: Any, action: dict[str, Any]) -> Any:
    """What the alto gets. The third note costs dearly, so that nobody who plays it can look good."""
    distance = abs(action["bass"][0] - (1.5 * song - 1))
    return (action["alto"] == 1 + song) * (1 - distance / 2) - 100.0 * (action["alto"] == 3)


class Duet(Environment):
    id: str = eqx.field(static=True, kw_only=True, default="duet")
    max_episode_steps: int | None = eqx.field(static=True, kw_only=True, default=STEPS)

    @property
    def agents(self) -> tuple[str, ...]:
        return AGENTS

    @property
    def observation_space(self) -> spaces.Dict:
        return OBSERVATIONS

    @property
    def action_space(self) -> spaces.Dict:
        return ACTIONS

    def reset(self, key: jax.Array) -> tuple[jax.Array, dict[str, Any]]:
        song = jax.random.randint(key, (), 0, 2)
        heard = jax.nn.one_hot(song, 2)
        return song, {"alto": {"x": heard, "action_mask": jnp.asarray(LEGAL)}, "bass": heard}

    def step(self, state: jax.Array, action: dict[str, Any], key: jax.Array) -> Timestep:
        paid = pay(state, action).astype(jnp.float32)
        song, observation = self.reset(key)
        return Timestep(song, observation, {"alto": paid, "bass": paid / 2}, jnp.zeros((), bool))


class ParallelDuet(pettingzoo.ParallelEnv):
    """The same on the host. The bass may leave early, after which it counts as being in the right place."""

    metadata: dict[str, Any] = {"name": "parallel duet"}  # noqa: RUF012

    def __init__(self, bass_leaves_after: int = STEPS):
        self.possible_agents = list(AGENTS)
        self.bass_leaves_after = bass_leaves_after

    def observation_space(self, agent: str) -> gymnasium.Space:
        return OBSERVATIONS[agent]

    def action_space(self, agent: str) -> gymnasium.Space:
        return ACTIONS[agent]

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict, dict]:
        self.random, self.t = np.random.default_rng(seed), 0
        self.agents = list(AGENTS)
        return self._listen(), {agent: {} for agent in self.agents}

    def step(self, actions: dict[str, Any]) -> tuple[dict, dict, dict, dict, dict]:
        here, self.t = self.agents, self.t + 1
        assert set(actions) == set(here)
        assert all(ACTIONS[agent].contains(action) for agent, action in actions.items())
        paid = float(pay(self.song, {"bass": [1.5 * self.song - 1]} | actions))
        over = dict.fromkeys(here, self.t == STEPS)
        left = {agent: agent == "bass" and self.t == self.bass_leaves_after < STEPS for agent in here}
        self.agents = [agent for agent in here if not (over[agent] or left[agent])]
        reward = {"alto": paid, "bass": paid / 2}
        heard = self._listen()
        return (
            {agent: heard[agent] for agent in here},
            {agent: reward[agent] for agent in here},
            left,
            over,
            {agent: {} for agent in here},
        )

    def _listen(self) -> dict[str, Any]:
        self.song = int(self.random.integers(2))
        heard = np.eye(2, dtype=np.float32)[self.song]
        return {"alto": {"x": heard, "action_mask": LEGAL}, "bass": heard}
