"""Small stand-ins for trained agents."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from tegu.agents.agent import Agent
from tegu.algorithms.base import Algorithm, Update, named
from tegu.algorithms.catalogue import ALGORITHMS, Entry
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Decision
from tegu.environments.games.tic_tac_toe import TicTacToe
from tegu.environments.make import Source
from tegu.experience.base import Rollout
from tegu.search.planning import Search


class Taste(NamedTuple):
    scores: jax.Array  #: ``[A]``: how much each action is liked


class Fixed(Algorithm):
    """Takes the legal action that it likes best, whatever the position."""

    name: str = named("fixed")
    experience = Rollout(1)

    def init(self, key, spec):
        return Taste(jax.random.normal(key, (int(spec.action_space.n),)))

    def act(self, learner, observation, memory, key, *, explore):
        assert not explore
        return Decision(jnp.where(observation["action_mask"], learner.scores, -jnp.inf).argmax(axis=-1), memory)

    def update(self, learner, batch, key):
        return Update(learner, {})


class Planner(Fixed):
    """Reports as its value how many simulations it was given, in hundredths."""

    name: str = named("planner")
    simulations: int = eqx.field(static=True, default=8)

    def plan(self, learner, positions, key, *, simulations, explore):
        assert not explore
        mask = positions["action_mask"]
        policy = jnp.where(mask, jax.nn.softmax(jnp.where(mask, learner.scores, -jnp.inf)), 0)
        action = policy.argmax(axis=-1)
        visits = jax.nn.one_hot(action, policy.shape[1], dtype=jnp.int32) * simulations
        value = jnp.full(len(policy), simulations / 100)
        return Search(action, policy, value, visits, jnp.where(visits > 0, 0.5, 0.0))


def untrained(algorithm, game=None):
    """An agent of two seeds that can be saved; to load it, its algorithm must be ``known``."""
    game = game or TicTacToe()
    spec = EnvironmentSpec(game.id, game.observation_space, game.action_space, model=game)
    learners = jax.vmap(lambda key: algorithm.init(key, spec))(jax.random.split(jax.random.key(0), 2))
    return Agent(algorithm, spec, learners, (0, 1), 100, Source(game.id, native=game, backend="jax"))


def known(monkeypatch):
    """Let the stand-ins be found by their names."""
    for kind in (Fixed, Planner):
        monkeypatch.setitem(ALGORITHMS, kind().name, Entry(f"{kind.__module__}:{kind.__name__}", kind.__name__))
