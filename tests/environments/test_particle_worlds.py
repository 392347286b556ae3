"""The particle worlds side by side with mpe2's, which computes in float64."""

import importlib
from typing import Any, NamedTuple

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import tegu
from tegu.environments.particle.world import Particles, ParticleWorld
from tegu.spaces.features import zeros

pytest.importorskip("mpe2")

IDS = (
    "simple_v3",
    "simple_spread_v3",
    "simple_speaker_listener_v4",
    "simple_reference_v3",
    "simple_adversary_v3",
    "simple_push_v3",
    "simple_tag_v3",
    "simple_crypto_v3",
    "simple_world_comm_v3",
)
CASES = [(id, {"continuous_actions": continuous}) for id in IDS for continuous in (False, True)] + [
    ("simple_spread_v3", {"N": 5, "local_ratio": 0.2}),
    ("simple_spread_v3", {"N": 1, "max_cycles": 7}),
    ("simple_reference_v3", {"local_ratio": 0.9}),
    ("simple_adversary_v3", {"N": 4}),
    ("simple_tag_v3", {"num_good": 3, "num_adversaries": 2, "num_obstacles": 4}),
    ("simple_tag_v3", {"num_obstacles": 0, "max_cycles": 60, "good_max_speed": 2.0}),
    (
        "simple_world_comm_v3",
        {"num_good": 3, "num_adversaries": 2, "num_obstacles": 2, "num_food": 1, "num_forests": 3},
    ),
    ("simple_world_comm_v3", {"num_adversaries": 1, "num_forests": 0, "continuous_actions": True}),
]
each_world = pytest.mark.parametrize("id", IDS)
LONG = [pytest.param(*case, marks=pytest.mark.long) for case in CASES[2 * len(IDS) :]]
each_case = pytest.mark.parametrize(("id", "options"), CASES[: 2 * len(IDS)] + LONG)

# Everything is drawn from [-1, 1] x [-1, 1]: also try crowds, where discs overlap, and agents beyond the border.
CROWDING = (1, 1, 0.3, 0.1, 1.3)
EPISODES = 10


class Episodes(NamedTuple):
    """What mpe2 did, leaves ``[EPISODES, ...]`` and, of steps, ``[EPISODES, T, ...]``."""

    start: Particles
    first: dict[str, np.ndarray]
    action: dict[str, np.ndarray]
    state: Particles
    observation: dict[str, np.ndarray]
    reward: dict[str, np.ndarray]
    measures: dict[str, np.ndarray]


def mpe2(id: str, good_max_speed: float | None = None, **options: Any) -> Any:
    env = importlib.import_module(f"mpe2.{id}").parallel_env(**options)
    for agent in env.unwrapped.world.agents:
        if good_max_speed is not None and not agent.adversary:
            agent.max_speed = good_max_speed
    return env


def played(id: str, options: dict[str, Any]) -> Episodes:
    """Random actions in mpe2's world, to the end that it sets."""
    env = mpe2(id, **options)
    episodes = [_episode(env, seed, CROWDING[seed % len(CROWDING)]) for seed in range(EPISODES)]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *episodes)


def _episode(env: Any, seed: int, crowding: float) -> Episodes:
    env.reset(seed=seed)
    world = env.unwrapped.world
    for entity in world.entities:
        entity.state.p_pos = np.float64(np.float32(crowding * entity.state.p_pos))  # so that we start there exactly
    start, first = _state(env.unwrapped), {name: env.unwrapped.observe(name) for name in env.agents}
    for name in env.agents:
        env.action_space(name).seed(seed)
    steps = []
    while env.agents:
        action = {name: _random_action(env.action_space(name)) for name in env.agents}
        observation, reward, terminated, truncated, _ = env.step(action)
        assert not any(terminated.values())
        assert len(set(truncated.values())) == 1
        reward = {name: np.float64(value) for name, value in reward.items()}
        steps.append((action, _state(env.unwrapped), observation, reward, _measures(env.unwrapped)))
    return Episodes(start, first, *jax.tree.map(lambda *leaves: np.stack(leaves), *steps))


def _random_action(space: gymnasium.Space) -> Any:
    if isinstance(space, gymnasium.spaces.Discrete):
        return space.sample()
    # Up to a quarter beyond the bounds, where mpe2 clips, or nothing at all, which has a rule of its own in
    # simple_crypto_v3; rounded so that mpe2's differences in float32 are exact.
    action = 1.5 * space.sample() - 0.25 if space.np_random.random() < 0.8 else np.zeros(space.shape, np.float32)
    return np.round(1024 * action) / np.float32(1024)


def _state(env: Any) -> Particles:
    world = env.world
    n_words = tegu.make(env.metadata["name"]).n_words  # without the two that mpe2 keeps for those who never speak
    return Particles(
        np.array([agent.state.p_pos for agent in world.agents]),
        np.array([agent.state.p_vel for agent in world.agents]),
        np.array([agent.state.c for agent in world.agents])[:, :n_words],
        np.array([mark.state.p_pos for mark in world.landmarks]).reshape(-1, 2),
        np.array(_goals(world), np.int32),
    )


def _goals(world: Any) -> list[int]:
    def index(goal: Any) -> int:
        return next(i for i, mark in enumerate(world.landmarks) if mark is goal)

    first = world.agents[0]
    if hasattr(first, "_key"):
        key = next(i for i, mark in enumerate(world.landmarks) if mark.color is world.agents[2].key)
        return [index(first.goal_a), key]
    if hasattr(first, "_goal_b"):
        return [index(agent.goal_b) for agent in world.agents if agent._goal_b is not None]
    return [index(first.goal_a)] if hasattr(first, "_goal_a") else []


def _measures(env: Any) -> dict[str, float]:
    """Our measures from mpe2's rewards and benchmark data."""
    world, scenario = env.world, env.scenario
    reward = [scenario.reward(agent, world) for agent in world.agents]
    data = [scenario.benchmark_data(agent, world) for agent in world.agents]
    match env.metadata["name"]:
        case "simple_v3":
            return {"distance": np.sqrt(-reward[0])}
        case "simple_spread_v3":
            _, collisions, distance, occupied = np.array(data, float).T
            return {"distance": distance[0], "collisions": collisions.mean(), "occupied": occupied[0]}
        case "simple_speaker_listener_v4":
            return {"distance": np.sqrt(-reward[0]), "success": float(-reward[0] < 0.1**2)}
        case "simple_reference_v3":
            return {"distance": -np.mean(reward), "success": np.mean(np.array(reward) > -0.1)}
        case "simple_adversary_v3":
            good, adversary = np.sqrt(min(squares[-1] for squares in data[1:])), np.sqrt(data[0])
            success = {"agent_success": float(good < 0.1), "adversary_success": float(adversary < 0.1)}
            return {"agent_distance": good, "adversary_distance": adversary} | success
        case "simple_push_v3":
            return {"agent_distance": -reward[1], "adversary_distance": -reward[1] - reward[0]}
        case "simple_tag_v3" | "simple_world_comm_v3":
            return {"touches": float(sum(data))}
        case "simple_crypto_v3":
            eve, bob, _ = (float(word.argmax() == message.argmax()) for word, message in data)
            return {"bob_correct": bob, "eve_correct": eve}
    raise AssertionError(env.metadata)


def replayed(world: ParticleWorld, start: Particles, action: dict[str, np.ndarray]) -> Any:
    """What happens here, from where mpe2 began, and with the same actions: first observation, timesteps, measures."""

    def step(state, action):
        timestep = world.step(state, action, jax.random.key(0))
        return timestep.state, (timestep, world.measures(timestep.state))

    def play(start, action):
        return world.observe(start), *jax.lax.scan(step, start, action)[1]

    return jax.device_get(jax.jit(jax.vmap(play))(start, action))


def assert_near(ours: Any, theirs: Any, tolerance: float) -> None:
    """``tolerance`` is absolute for numbers up to 1 and relative beyond."""
    jax.tree.map(lambda own, other: np.testing.assert_allclose(own, other, tolerance, tolerance), ours, theirs)


@each_case
def test_agents_and_spaces_are_mpe2s(id, options):
    world, env = tegu.make(id, **options), mpe2(id, **options)
    assert world.id == id
    assert world.agents == tuple(env.possible_agents)
    for ours, theirs in ((world.observation_space, env.observation_space), (world.action_space, env.action_space)):
        assert ours == gymnasium.spaces.Dict({name: theirs(name) for name in world.agents})


@pytest.mark.slow
@each_case
@pytest.mark.usefixtures("x64")
def test_whole_episodes_are_mpe2s(id, options):
    """Without correction on the way, and exactly: in float64, from the same start and with the same actions."""
    world, theirs = tegu.make(id, **options), played(id, options)
    first, ours, measures = replayed(world, *jax.tree.map(_in_float64, (theirs.start, theirs.action)))
    assert_near(ours.state, theirs.state, 1e-10)
    assert_near(ours.reward, theirs.reward, 1e-10)
    assert_near(measures, theirs.measures, 1e-10)
    assert_near((first, ours.observation), (theirs.first, theirs.observation), 1e-6)  # mpe2 shows float32
    assert world.max_episode_steps == ours.terminated.shape[1] == options.get("max_cycles", 25)
    assert not ours.terminated.any()


def _in_float64(leaf: np.ndarray) -> np.ndarray:
    return leaf.astype(np.float64) if leaf.dtype == np.float32 else leaf


@each_world
def test_every_step_in_float32_is_mpe2s(id):
    """Along mpe2's own path, so that rounding does not add up where agents bounce off each other."""
    world, theirs = tegu.make(id), played(id, {})

    def one_by_one(leaf):  # [EPISODES, T, ...] to episodes of a single step
        return leaf.reshape(EPISODES * 25, 1, *leaf.shape[2:])

    before = jax.tree.map(lambda start, state: np.hstack([start[:, None], state[:, :-1]]), theirs.start, theirs.state)
    starts, actions = jax.tree.map(one_by_one, (before, theirs.action))
    _, ours, measures = replayed(world, jax.tree.map(lambda leaf: leaf[:, 0], starts), actions)
    expected = jax.tree.map(one_by_one, (theirs.state, theirs.observation, theirs.reward, theirs.measures))
    assert_near((ours.state, ours.observation, ours.reward, measures), expected, 1e-5)


@pytest.mark.slow
def test_all_that_is_measured_is_seen_to_vary():
    """Or the comparisons above would not say much."""
    for id in IDS:
        for name, values in played(id, {}).measures.items():
            assert values.min() < values.max(), (id, name)


@each_world
def test_episodes_begin_as_in_mpe2(id):
    """Kolmogorov and Smirnov's test finds no difference in where things are, nor a chi-squared test in the goals."""
    env, theirs = mpe2(id), []
    env.reset(seed=0)
    for _ in range(500):
        env.reset()
        theirs.append(_state(env.unwrapped))
    theirs = jax.tree.map(lambda *leaves: np.stack(leaves), *theirs)
    world = tegu.make(id)
    keys = jax.random.split(jax.random.key(0), 4000)
    ours = jax.device_get(jax.jit(jax.vmap(lambda key: world.reset(key)[0]))(keys))
    assert not ours.velocity.any()
    assert not ours.words.any()
    for own, other in ((ours.position, theirs.position), (ours.landmarks, theirs.landmarks)):
        for thing in range(own.shape[1]):
            for axis in range(2):
                assert stats.ks_2samp(own[:, thing, axis], other[:, thing, axis]).pvalue > 1e-4
            assert stats.pearsonr(*own[:, thing].T).pvalue > 1e-4
    extents = np.array([mark.extent for mark in world.landmarks])
    assert set(extents) == ({0.9} if id in ("simple_tag_v3", "simple_world_comm_v3") else {1.0})
    for places, extent in ((ours.position, 1.0), (ours.landmarks, extents[:, None])):
        reach = np.abs(places).max(axis=0)
        assert ((0.995 * extent < reach) & (reach <= extent)).all()
    assert ours.goals.shape[1] == theirs.goals.shape[1]
    if ours.goals.size:
        drawn = np.unique(ours.goals, axis=0, return_counts=True)[1]  # of goals that are drawn together
        assert len(drawn) == len(world.landmarks) ** ours.goals.shape[1]
        assert stats.chisquare(drawn).pvalue > 1e-4


@each_case
def test_types_stay_the_same_from_step_to_step(id, options):
    """Else compiled loops would have to compile again, or could not carry the state at all."""
    world, key = tegu.make(id, **options), jax.random.key(0)
    state, observation = jax.eval_shape(world.reset, key)
    timestep = jax.eval_shape(world.step, state, zeros(world.action_space), key)
    measures = jax.eval_shape(world.measures, state)
    assert timestep.state == state
    assert timestep.observation == observation
    for leaf in jax.tree.leaves((timestep, measures)):
        assert not leaf.weak_type
    for leaf in jax.tree.leaves((timestep.observation, timestep.reward, measures)):
        assert leaf.dtype == jnp.float32
    for leaf in jax.tree.leaves((timestep.reward, measures, timestep.terminated)):
        assert leaf.shape == ()


def test_a_world_may_be_an_argument_of_a_compiled_function():
    state, _ = tegu.make("simple_tag_v3").reset(jax.random.key(0))
    state = state._replace(velocity=jnp.full_like(state.velocity, 9.0))
    action = zeros(tegu.make("simple_tag_v3").action_space)

    @eqx.filter_jit
    def speed(world):
        return jnp.abs(world.step(state, action, jax.random.key(0)).state.velocity[-1]).max() * np.sqrt(2)

    assert speed(tegu.make("simple_tag_v3")) == pytest.approx(1.3)
    assert speed(tegu.make("simple_tag_v3", good_max_speed=2.0)) == pytest.approx(2)


def test_two_agents_in_the_very_same_place_stay_finite():
    world = tegu.make("simple_spread_v3")
    state, _ = world.reset(jax.random.key(0))
    state = state._replace(position=jnp.zeros_like(state.position))
    timestep = jax.jit(world.step)(state, zeros(world.action_space), jax.random.key(0))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(timestep))
    assert world.measures(timestep.state)["collisions"] == 2


@each_world
def test_a_picture_shows_the_state(id):
    pytest.importorskip("PIL")
    world = tegu.make(id)
    state = jax.tree.map(np.asarray, world.reset(jax.random.key(0))[0])
    picture = world.image(state)
    assert picture.shape == (500, 500, 3)
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture, world.image(state))
    moved = [state._replace(position=0.9 * state.position), state._replace(landmarks=0.9 * state.landmarks)]
    if world.n_words:
        moved += [state._replace(words=word + 0 * state.words) for word in np.eye(world.n_words, dtype=np.float32)]
    others = [world.image(other) for other in moved]
    assert len({other.tobytes() for other in [picture, *others]}) == 1 + len(others)


def test_a_picture_reaches_to_whoever_runs_away():
    pytest.importorskip("PIL")
    world = tegu.make("simple_tag_v3")
    state = jax.tree.map(np.asarray, world.reset(jax.random.key(0))[0])
    far = state._replace(position=state.position.copy())
    far.position[-1] = 7, 3
    green = (100 * np.array([0.35, 0.85, 0.35]) * 2).astype(np.uint8)
    assert (world.image(far) == green).all(axis=-1).any()
