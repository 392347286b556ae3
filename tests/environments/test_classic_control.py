"""The classic control tasks side by side with Gymnasium's, which integrates in float64."""

from collections.abc import Callable
from typing import NamedTuple

import gymnasium
import jax
import numpy as np
import pytest
from scipy import stats

from tegu.core.errors import TeguError
from tegu.environments.base import Environment
from tegu.environments.classic.acrobot import Acrobot
from tegu.environments.classic.cartpole import CartPole
from tegu.environments.classic.mountain_car import MountainCar, MountainCarContinuous
from tegu.environments.classic.pendulum import Pendulum


def cartpole_margin(state):
    return min(abs(abs(state[0]) - 2.4), abs(abs(state[2]) - np.radians(12)))


def acrobot_margin(state):
    return abs(-np.cos(state[0]) - np.cos(state[0] + state[1]) - 1)


class Case(NamedTuple):
    ours: Environment
    span: list[float]  # random states are drawn from -span..span around the middle, well beyond the bounds
    middle: list[float]
    tolerance: list[float]  # of each part of the next state, absolute
    margin: Callable[[np.ndarray], float]  # how far a state lies from the border of termination


CASES = [
    Case(CartPole(), [3.0, 4.0, 0.3, 4.0], [0, 0, 0, 0], [1e-6] * 4, cartpole_margin),
    # At 9 pi rad/s a link turns 5.7 rad in one step, and the four stages of the integration magnify float32 rounding.
    Case(Acrobot(), [np.pi, np.pi, 4 * np.pi, 9 * np.pi], [0, 0, 0, 0], [3e-5, 3e-5, 4e-3, 4e-3], acrobot_margin),
    Case(MountainCar(), [1.0, 0.08], [-0.3, 0], [1e-6, 1e-7], lambda state: abs(state[0] - 0.5)),
    Case(MountainCarContinuous(), [1.0, 0.08], [-0.3, 0], [1e-6, 1e-7], lambda state: abs(state[0] - 0.45)),
    Case(Pendulum(), [30.0, 9.0], [0, 0], [3e-6, 1e-6], lambda state: np.inf),
]
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.ours.id)


def unlimited(case):
    return gymnasium.make(case.ours.id).unwrapped


def random_actions(case, count, rng):
    if isinstance(case.ours.action_space, gymnasium.spaces.Discrete):
        return rng.integers(case.ours.action_space.n, size=count).astype(np.int32)
    # A tenth beyond the bounds, where Gymnasium clips.
    return (1.1 * case.ours.action_space.high * rng.uniform(-1, 1, (count, 1))).astype(np.float32)


def gymnasium_step(env, state, action):
    env.state = np.array(state, np.float64)
    env.steps_beyond_terminated = None
    # Discrete actions are looked up in lists and checked against a space: they want Python's integers.
    observation, reward, terminated, _, _ = env.step(int(action) if np.ndim(action) == 0 else action)
    return np.array(env.state, np.float64), observation, reward, terminated


def compare(case, states, actions):
    """One step from each of the float32 ``states``. Returns how many were too near termination to say."""
    env = unlimited(case)
    theirs = [gymnasium_step(env, state, action) for state, action in zip(states, actions, strict=True)]
    state, observation, reward, terminated = (np.array(column) for column in zip(*theirs, strict=True))
    ours = jax.jit(jax.vmap(case.ours.step, in_axes=(0, 0, None)))(states, actions, jax.random.key(0))

    difference = np.asarray(ours.state) - state
    if case.ours.id == "Acrobot-v1":  # -pi and pi are the same angle
        difference[:, :2] = (difference[:, :2] + np.pi) % (2 * np.pi) - np.pi
    assert (np.abs(difference) <= case.tolerance).all(), np.abs(difference).max(axis=0)
    # An observation holds parts of the state as they are, or an angle's cosine and sine, which change no faster.
    angles = observation.shape[1] - state.shape[1]
    tolerance = [*np.repeat(case.tolerance[:angles], 2), *case.tolerance[angles:]]
    assert (np.abs(ours.observation - observation) <= tolerance).all(), case.ours.id

    certain = np.array([case.margin(row) > 1e-4 for row in state])
    np.testing.assert_array_equal(np.asarray(ours.terminated)[certain], terminated[certain])
    np.testing.assert_allclose(np.asarray(ours.reward)[certain], reward[certain], rtol=1e-5, atol=1e-5)
    return terminated, certain


@each_case
def test_a_step_from_random_states_is_gymnasiums(case):
    rng = np.random.default_rng(0)
    states = (case.middle + np.array(case.span) * rng.uniform(-1, 1, (3000, len(case.span)))).astype(np.float32)
    terminated, certain = compare(case, states, random_actions(case, len(states), rng))
    assert certain.mean() > 0.99
    assert case.ours.id == "Pendulum-v1" or 0.01 < terminated.mean() < 0.99, "both outcomes must be seen"


@each_case
def test_every_step_of_whole_episodes_is_gymnasiums(case):
    """Along Gymnasium's own path, so that rounding does not add up over an episode of a chaotic system."""
    rng = np.random.default_rng(1)
    env = gymnasium.make(case.ours.id)
    states, actions = [], []
    for episode in range(5):
        env.reset(seed=episode)
        done = False
        while not done:
            action = random_actions(case, 1, rng)[0]
            states.append(np.array(env.unwrapped.state, np.float32))
            actions.append(action)
            inside = np.clip(action, *bounds) if (bounds := box_bounds(case)) else int(action)
            _, _, terminated, truncated, _ = env.step(inside)
            done = terminated or truncated
    _, certain = compare(case, np.array(states), np.array(actions))
    assert certain.mean() > 0.99


def box_bounds(case):
    space = case.ours.action_space
    return (space.low, space.high) if isinstance(space, gymnasium.spaces.Box) else None


@pytest.mark.parametrize("case", [CASES[0], CASES[2]], ids=lambda case: case.ours.id)
def test_an_episode_runs_freely_like_gymnasiums(case):
    """From the same start with the same actions, without correction; these two systems are not chaotic."""
    rng = np.random.default_rng(2)
    env = gymnasium.make(case.ours.id)
    step = jax.jit(case.ours.step)
    for seed in range(3):
        observation, _ = env.reset(seed=seed)
        state = env.unwrapped.state = np.array(observation)
        for action in random_actions(case, case.ours.max_episode_steps, rng):
            observation, reward, terminated, truncated, _ = env.step(int(action))
            state, ours, our_reward, our_terminated, _ = step(state, action, jax.random.key(0))
            np.testing.assert_allclose(ours, observation, rtol=1e-4, atol=1e-4)
            assert our_reward == reward
            if case.margin(observation) > 1e-4:
                assert our_terminated == terminated
            if terminated or truncated:
                break


@each_case
def test_episodes_begin_as_in_gymnasium(case):
    """Kolmogorov and Smirnov's test finds no difference in any part of the state."""
    env = unlimited(case)
    env.reset(seed=0)
    theirs = []
    for _ in range(2000):
        env.reset()
        theirs.append(env.state)
    ours, _ = jax.vmap(case.ours.reset)(jax.random.split(jax.random.key(0), 2000))
    for own, other in zip(np.asarray(ours).T, np.array(theirs).T, strict=True):
        assert stats.ks_2samp(own, other).pvalue > 1e-3


@each_case
def test_the_first_observation_shows_the_first_state(case):
    state, observation = case.ours.reset(jax.random.key(3))
    expected = np.asarray(state)
    if case.ours.id == "Acrobot-v1":
        a, b, *speeds = expected
        expected = [np.cos(a), np.sin(a), np.cos(b), np.sin(b), *speeds]
    if case.ours.id == "Pendulum-v1":
        expected = [np.cos(expected[0]), np.sin(expected[0]), expected[1]]
    np.testing.assert_allclose(observation, expected, atol=1e-6)


def test_the_stated_limits_of_the_first_state():
    keys = jax.random.split(jax.random.key(1), 2000)
    limits = {
        "CartPole-v1": ([-0.05] * 4, [0.05] * 4),
        "Acrobot-v1": ([-0.1] * 4, [0.1] * 4),
        "MountainCar-v0": ([-0.6, 0], [-0.4, 0]),
        "MountainCarContinuous-v0": ([-0.6, 0], [-0.4, 0]),
        "Pendulum-v1": ([-np.pi, -1], [np.pi, 1]),
    }
    for case in CASES:
        low, high = np.array(limits[case.ours.id])
        states = np.asarray(jax.vmap(case.ours.reset)(keys)[0])
        slack = 0.01 * (high - low)
        assert (states >= low - 1e-6).all()
        assert (states <= high + 1e-6).all()
        assert (states.min(axis=0) <= low + slack).all()
        assert (states.max(axis=0) >= high - slack).all()


def test_the_wall_stops_the_car_dead():
    state = np.array([-1.19, -0.07], np.float32)
    for ours, action in ((MountainCar(), np.int32(0)), (MountainCarContinuous(), np.array([-1.0], np.float32))):
        np.testing.assert_array_equal(ours.step(state, action, jax.random.key(0)).state, np.float32([-1.2, 0]))


def test_a_time_limit_is_a_number_of_steps_or_none():
    assert CartPole(id="x", max_episode_steps=7).time_limit == 7
    assert CartPole(id="x", max_episode_steps=None).time_limit is None
    assert CartPole(id="x", max_episode_steps=-1).time_limit is None, "Gymnasium's word for none"
    for wrong in (0, -2, 1.5, True, "7"):
        with pytest.raises(TeguError, match=r"^x: max_episode_steps must be a whole number from 1, or None, got "):
            CartPole(id="x", max_episode_steps=wrong)
