"""Cross-play against a world in which it can be seen who chose which action."""

from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete

import tegu
from tegu.agents.crossplay import crossplay, shared_environment, teams_of
from tegu.algorithms.base import Algorithm, Update, named
from tegu.core.step import Decision
from tegu.environments.make import Source
from tegu.experience.base import Rollout
from tegu.training.plan import spec_of

AGENTS = ("hunter_0", "hunter_1", "prey")


class Told(tegu.Environment):
    """Three steps. Every agent is paid what it was told to do, and what it heard the others do is measured."""

    id: str = eqx.field(static=True, kw_only=True, default="told")
    max_episode_steps: int | None = eqx.field(static=True, kw_only=True, default=3)
    unit: float = 1.0

    @property
    def agents(self):
        return AGENTS

    @property
    def teams(self):
        return {"hunters": AGENTS[:2], "prey": AGENTS[2:]}

    @property
    def observation_space(self):
        return Dict({agent: Box(-np.inf, np.inf, (1,)) for agent in AGENTS})

    @property
    def action_space(self):
        return Dict({agent: Discrete(100) for agent in AGENTS})

    def reset(self, key):
        state = jax.random.normal(key, (3,))
        return state, {agent: state[i : i + 1] for i, agent in enumerate(AGENTS)}

    def step(self, state, action, key):
        state = jnp.stack([action[agent] * self.unit for agent in AGENTS]).astype(jnp.float32)
        seen = {agent: state[i : i + 1] for i, agent in enumerate(AGENTS)}
        return tegu.Timestep(state, seen, {agent: seen[agent][0] for agent in AGENTS}, jnp.bool_(False))

    def measures(self, state):
        return {"told": state.sum()}


class Number(NamedTuple):
    number: jax.Array  #: what its agents do


class Says(Algorithm):
    """Does its number, plus 10 times how many steps it remembers to have taken."""

    multi_agent: ClassVar[bool] = True
    name: str = named("says")

    experience = Rollout(1)

    def init(self, key, spec):
        return Number(jnp.int32(0))

    def begin(self, learner, key, n):
        return jnp.zeros(n, jnp.int32)

    def act(self, learner, observation, memory, key, *, explore):
        action = learner.number + 10 * memory + 50 * explore
        return Decision(dict.fromkeys(observation, action), memory + 1)

    def update(self, learner, batch, key):
        return Update(learner, {})


def says(*numbers: int, environment: tegu.Environment | None = None) -> tegu.Agent:
    """An agent with a seed for each number."""
    world = environment or Told()
    learners = Number(jnp.array(numbers))
    seeds = tuple(range(len(numbers)))
    return tegu.Agent(Says(), spec_of(world.id, world, 1), learners, seeds, 0, Source(world.id, world, backend="jax"))


def test_each_side_is_played_by_its_own() -> None:
    """Seeds paired, memories kept apart, measures of what all did."""
    agents = [says(1, 2), says(3, 4, 5)]
    found = crossplay(agents, teams_of(Told()), episodes=4)
    assert set(found) == {(0, 0), (0, 1), (1, 0), (1, 1)}
    numbers = np.array([[1, 2], [3, 4]])
    for (i, j), played in found.items():
        assert played.returns.shape == (2, 4)
        assert (played.lengths == 3).all()
        for agent, by in zip(AGENTS, (i, i, j), strict=True):
            expected = 3 * numbers[by] + 10 * (0 + 1 + 2)
            np.testing.assert_array_equal(played.agents[agent], np.repeat(expected[:, None], 4, axis=1))
        mean = (2 * numbers[i] + numbers[j]) + 3 * 10
        np.testing.assert_allclose(played.measures["told/mean"][:, 0], mean)


def test_the_policies_may_explore() -> None:
    found = crossplay([says(1), says(2)], teams_of(Told()), episodes=2, deterministic=False)
    assert found[0, 1].agents["prey"].tolist() == [[3 * 52 + 30] * 2]


def untrained(algorithm: Algorithm, seed: int) -> tegu.Agent:
    """An agent of two seeds, as it was before training."""
    world = Told()
    spec = spec_of(world.id, world, 1)
    learners = jax.jit(jax.vmap(lambda key: algorithm.init(key, spec)))(jax.random.split(jax.random.key(seed), 2))
    return tegu.Agent(algorithm, spec, learners, (0, 1), 0, Source(world.id, world, backend="jax"))


@pytest.mark.slow
def test_against_itself_an_agent_plays_as_it_is_evaluated() -> None:
    """Also where the players are of different kinds; the same episodes begin in all cells."""
    kinds = (tegu.MADDPG(net_arch=(8,)), tegu.MATD3(net_arch=(6,), ensemble=2))
    agents = [untrained(algorithm, seed) for seed, algorithm in enumerate(kinds)]
    found = crossplay(agents, teams_of(shared_environment(agents)), episodes=50)
    alone = agents[0].evaluate(50)
    for name, returns in alone.agents.items():
        np.testing.assert_allclose(found[0, 0].agents[name], returns, rtol=1e-5, atol=1e-4)
    for name, values in alone.measures.items():
        np.testing.assert_allclose(found[0, 0].measures[name], values, rtol=1e-5, atol=1e-4)
    assert not np.allclose(found[0, 1].agents["prey"], found[0, 0].agents["prey"])
    assert len(np.unique(found[0, 0].returns)) > 20


def test_teams() -> None:
    world = Told()
    assert teams_of(world) == world.teams
    assert teams_of(world, [["prey"]]) == {"prey": ("prey",), "hunter_0+hunter_1": ("hunter_0", "hunter_1")}
    both = [["hunter_0", "prey"], ["hunter_1"]]
    assert list(teams_of(world, both).values()) == [("hunter_0", "prey"), ("hunter_1",)]
    with pytest.raises(tegu.TeguError, match="told has no agent 'hunter_2': did you mean hunter_"):
        teams_of(world, [["hunter_2"]])
    for given in (
        [["prey"], ["hunter_0"]],
        [list(AGENTS)],
        [["prey"], ["prey", "hunter_0", "hunter_1"]],
        [["prey"]] * 3,
    ):
        with pytest.raises(tegu.TeguError, match="the two teams must contain each of hunter_0, hunter_1, prey once"):
            teams_of(world, given)
    with pytest.raises(
        tegu.TeguError, match="simple_spread_v3 defines no teams: name the agents of one team, out of agent_0"
    ):
        teams_of(tegu.make("simple_spread_v3"))


def strangers() -> Iterator[Any]:
    """What cannot be crossed, and what is said."""
    spec = says(1).spec
    unnamed = tegu.Agent(Says(), spec, says(1).learners, (0,), 0)
    yield "none", unnamed, "cross-play needs an environment in JAX, told is not"
    yield "options", says(1, environment=Told(unit=2.0)), "not trained in the same environment"
    for name, says_what in (
        ("tic-tac-toe", "tic-tac-toe is a board game"),
        ("CartPole-v1", "CartPole-v1 has one agent"),
    ):
        world = tegu.make(name)
        yield (
            name,
            tegu.Agent(Says(), spec_of(name, world, 1), None, (0,), 0, Source(name, world, backend="jax")),
            says_what,
        )


@pytest.mark.parametrize(("stranger", "says_what"), [pytest.param(*rest, id=id) for id, *rest in strangers()])
def test_who_cannot_be_crossed(stranger: tegu.Agent, says_what: str) -> None:
    with pytest.raises(tegu.TeguError, match=says_what):
        shared_environment([says(1), stranger])
