"""Tegu's environments of several agents in the shape of PettingZoo's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("pettingzoo")

from duet import Duet

import tegu
from tegu.environments.make import find

# Importing PettingZoo's tests imports environments by their modules, which is deprecated in PettingZoo 1.27.
pytestmark = pytest.mark.filterwarnings("ignore:The old environment creation API:DeprecationWarning")


@pytest.fixture(scope="module", params=["duet", "simple_world_comm_v3"])
def world(request):
    return Duet() if request.param == "duet" else tegu.make(request.param)


@pytest.mark.slow
def test_it_is_what_pettingzoo_asks_for(world):
    from pettingzoo.test import parallel_api_test, parallel_seed_test

    parallel_api_test(tegu.as_pettingzoo(world), num_cycles=60)
    parallel_seed_test(lambda: tegu.as_pettingzoo(world), num_cycles=20)


def test_it_takes_the_steps_of_the_environment_itself_until_its_time_limit(world):
    environment = tegu.as_pettingzoo(world)
    rng = np.random.default_rng(0)
    observation, infos = environment.reset(seed=5)
    assert infos == {agent: {} for agent in world.agents}
    key, reset_key = jax.random.split(jax.random.key(int(np.random.SeedSequence(5).generate_state(1)[0])))
    state, expected = jax.jit(world.reset)(reset_key)
    step = jax.jit(world.step)
    for t in range(1, world.time_limit + 1):
        for agent in world.agents:
            jax.tree.map(np.testing.assert_array_equal, observation[agent], jax.device_get(expected[agent]))
            assert environment.observation_space(agent).contains(observation[agent])
        drawn = {agent: rng.integers(0, 2) for agent in world.agents}
        actions = {
            agent: np.full(space.shape, drawn[agent] + getattr(space, "start", 0), space.dtype)
            for agent, space in world.action_space.items()
        }
        key, step_key = jax.random.split(key)
        timestep = step(state, actions, step_key)
        state, expected = timestep.state, timestep.observation
        observation, reward, terminated, truncated, _ = environment.step(actions)
        assert reward == {agent: float(timestep.reward[agent]) for agent in world.agents}
        assert not any(terminated.values())
        assert set(truncated.values()) == {t == world.time_limit}
    assert environment.agents == []
    with pytest.raises(tegu.TeguError, match="the episode is over"):
        environment.step(actions)


def test_episodes_differ_without_a_seed_and_go_on_from_one(world):
    environment = tegu.as_pettingzoo(world)

    def three(seed):
        return [jax.tree.leaves(environment.reset(seed=s)[0]) for s in (seed, None, None)]

    first, again = three(1), three(1)
    jax.tree.map(np.testing.assert_array_equal, first, again)
    if world.id != "duet":  # of which there are two episodes at all
        assert len({np.concatenate([np.ravel(leaf) for leaf in one]).tobytes() for one in first + three(2)}) == 6


@pytest.mark.parametrize("entities", [False, True])
def test_the_global_state_is_that_of_the_environment(entities):
    """In Tegu it is observed beside the agents; PettingZoo has a method for it."""
    options = {"global_state": True, "entities": entities, "horizon": 5}
    environment, world = tegu.as_pettingzoo("hide-and-seek-tiny", **options), tegu.make("hide-and-seek-tiny", **options)
    with pytest.raises(tegu.TeguError, match="call reset"):
        environment.state()
    observation, _ = environment.reset(seed=3)
    assert set(observation) == set(world.agents)
    key, reset_key = jax.random.split(jax.random.key(int(np.random.SeedSequence(3).generate_state(1)[0])))
    state, expected = jax.jit(world.reset)(reset_key)
    step = jax.jit(world.step)
    for _ in range(5):
        jax.tree.map(np.testing.assert_array_equal, environment.state(), jax.device_get(expected["state"]))
        assert environment.state_space.contains(environment.state())
        actions = {agent: np.array([4, 0, 3, 1, 1]) for agent in world.agents}
        key, step_key = jax.random.split(key)
        timestep = step(state, actions, step_key)
        state, expected = timestep.state, timestep.observation
        environment.step(actions)
    jax.tree.map(np.testing.assert_array_equal, environment.state(), jax.device_get(expected["state"]))


def test_without_a_global_state_there_is_none():
    environment = tegu.as_pettingzoo("hide-and-seek-tiny")
    environment.reset(seed=0)
    assert not hasattr(environment, "state_space")
    with pytest.raises(NotImplementedError, match="hide-and-seek-tiny has no global state"):
        environment.state()


def test_it_shows_pictures_and_only_what_it_can():
    pytest.importorskip("PIL")
    environment = tegu.as_pettingzoo("simple_tag_v3", render_mode="rgb_array", num_obstacles=1)
    assert environment.environment.num_obstacles == 1
    with pytest.raises(tegu.TeguError, match="call reset"):
        environment.render()
    environment.reset(seed=0)
    picture = environment.render()
    assert (picture.ndim, picture.shape[2], picture.dtype) == (3, 3, np.uint8)
    assert tegu.as_pettingzoo("simple_tag_v3").render() is None


def test_what_cannot_be_had_is_one_line():
    environment = tegu.as_pettingzoo("simple_spread_v3")
    environment.reset(seed=0)
    actions = dict.fromkeys(environment.agents, 0)
    for wrong, message in (
        (lambda: tegu.as_pettingzoo("CartPole-v1"), "whose agents act at once, CartPole-v1 is not one"),
        (lambda: tegu.as_pettingzoo("tic-tac-toe"), "whose agents act at once, tic-tac-toe is not one"),
        (lambda: tegu.as_pettingzoo("MountainCar-v0", backend="gymnasium"), "Tegu's environments in JAX"),
        (lambda: tegu.as_pettingzoo(Duet(), size=3), "options go with a name"),
        (lambda: tegu.as_pettingzoo("simple_spread_v3", render_mode="human"), "render_mode must be one of"),
        (lambda: environment.step({"agent_0": 0}), "needs an action of every agent, 'agent_1' lacks"),
        (lambda: environment.step(actions | {"agent_2": [0, 1]}), r"the action of agent_2 must have the shape \(\)"),
        (lambda: environment.step(actions | {"agent_2": 5}), r"the action of agent_2 must lie in Discrete\(5\), got 5"),
        (
            lambda: environment.step(actions | {"agent_2": 1.7}),
            r"the action of agent_2 must lie in Discrete\(5\), got 1",
        ),
        (lambda: environment.step(actions | {"agent_2": np.nan}), "the action of agent_2 must lie in"),
        (lambda: environment.reset(seed=-1), "the seed must be at least 0, got -1"),
    ):
        with pytest.raises(tegu.TeguError, match=message):
            wrong()


class Brief(Duet):
    """Two songs; then it is over, before any time limit."""

    def reset(self, key):
        song, observation = super().reset(key)
        return jnp.stack([song, 0]), observation

    def step(self, state, action, key):
        now = super().step(state[0], action, key)
        return now._replace(state=jnp.stack([now.state[0], state[1] + 1]), terminated=state[1] == 1)


def test_an_episode_that_ends_is_terminated_and_not_truncated():
    environment = tegu.as_pettingzoo(Brief())
    observation, _ = environment.reset(seed=3)
    for t in range(2):
        song = int(observation["bass"].argmax())
        action = {"alto": 1 + song, "bass": np.array([1.5 * song - 1], np.float32)}
        observation, reward, terminated, truncated, _ = environment.step(action)
        assert reward == {"alto": 1.0, "bass": 0.5}
        assert set(terminated.values()) == {t == 1}
        assert set(truncated.values()) == {False}
    assert environment.agents == []


@pytest.mark.slow
def test_it_comes_back_as_an_environment_to_learn_in():
    """Out to PettingZoo's shape and in again through Tegu's own adapter."""
    source = find(lambda: tegu.as_pettingzoo(Duet()))
    environment = source.make()
    observation, _ = environment.reset(seed=1)
    assert environment.observation_space.contains(observation)
    agent = tegu.train(
        lambda: tegu.as_pettingzoo(Duet()), "ippo", steps=64, n_envs=2, n_steps=16, batch_size=32, folder=None
    )
    assert agent.steps == 64
    assert set(environment.action_space.spaces) == set(Duet().agents)
