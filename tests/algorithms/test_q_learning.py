"""Tabular Q-learning against a worked example and a plain Python loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st

from tegu.algorithms.q_learning import QLearning
from tegu.core.errors import TeguError
from tegu.core.schedule import Clock, Linear
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Step
from tegu.environments.grids.lizard import Lizard

KEY = jax.random.key(0)
UPDATE = jax.jit(lambda algorithm, learner, batch: algorithm.update(learner, batch, KEY)[:2])
LEFT, RIGHT, UP, DOWN = range(4)
EMPTY_2, EMPTY_3, EMPTY_5, EMPTY_6, FIVE_CRICKETS = 2, 3, 6, 7, 8


def lizard_learner(algorithm):
    lizard = Lizard()
    return algorithm.init(KEY, EnvironmentSpec("lizard", lizard.observation_space, lizard.action_space))


def steps(state, action, reward, next_state, terminated, truncated=None):
    """A batch ``[T, B]`` from nested lists; ``[1, 1]`` from numbers."""
    shape = np.shape(state) or (1, 1)

    def array(values, dtype):
        return np.broadcast_to(np.asarray(values, dtype), shape)

    return Step(
        array(state, np.int32),
        array(action, np.int32),
        array(reward, np.float32),
        array(next_state, np.int32),
        array(terminated, bool),
        array(False if truncated is None else truncated, bool),
    )


def test_the_lizards_first_step_right():
    """From empty 5 to empty 6, reward -1, nothing known: Q(empty 5, right) = 0 + 0.7 (-1 + 0.99 * 0 - 0) = -0.7."""
    algorithm = QLearning(learning_rate=0.7, gamma=0.99)
    learner = lizard_learner(algorithm)
    world, lizard = Lizard(), Lizard()
    state, observation = world.reset(KEY)
    assert observation == EMPTY_5
    now = lizard.step(state, jnp.int32(RIGHT), KEY)
    assert (now.observation, now.reward, bool(now.terminated)) == (EMPTY_6, -1, False)

    batch = steps(observation, RIGHT, now.reward, now.observation, now.terminated)
    learner, metrics = UPDATE(algorithm, learner, batch)
    expected = np.zeros((9, 4), np.float32)
    expected[EMPTY_5, RIGHT] = np.float32(-0.7)
    np.testing.assert_array_equal(learner.table.values, expected)
    assert metrics["td_error"] == 1


def test_the_lizards_second_step_ends_and_the_third_sees_it():
    """Right again reaches the five crickets: 0.7 * 10 = 7. The same first step then sees 7 beyond empty 6."""
    algorithm = QLearning(learning_rate=0.7, gamma=0.99)
    learner = lizard_learner(algorithm)
    for batch in (
        steps(EMPTY_5, RIGHT, -1, EMPTY_6, False),
        steps(EMPTY_6, RIGHT, 10, FIVE_CRICKETS, True),
        steps(EMPTY_5, RIGHT, -1, EMPTY_6, False),
    ):
        learner, _ = UPDATE(algorithm, learner, batch)
    assert np.isclose(learner.table.values[EMPTY_6, RIGHT], 7)
    expected = -0.7 + 0.7 * (-1 + 0.99 * 7 - -0.7)
    assert np.isclose(learner.table.values[EMPTY_5, RIGHT], expected)


cell = st.tuples(
    st.integers(0, 8), st.integers(0, 3), st.integers(-10, 10), st.integers(0, 8), st.booleans(), st.booleans()
)
rollouts = st.lists(cell, min_size=6, max_size=6).map(
    lambda cells: steps(*(np.reshape(column, (3, 2)) for column in zip(*cells, strict=True)))
)
shares = st.floats(0, 1)


@pytest.mark.usefixtures("x64")
@settings(deadline=None, max_examples=100)
@given(rollouts, shares, shares, st.floats(-5, 5))
def test_update_is_a_plain_loop(batch, learning_rate, gamma, initial):
    """Steps ``[T, B]`` in order of time, the environments of one time in order, each after the one before it.

    Only termination takes the future away: what is truncated looks ahead.
    """
    algorithm = QLearning(learning_rate=learning_rate, gamma=gamma, initial_value=initial)
    learner, metrics = UPDATE(algorithm, lizard_learner(algorithm), batch)
    table, errors = np.full((9, 4), initial), []
    for t, b in np.ndindex(3, 2):
        s, a, s_next = batch.observation[t, b], batch.action[t, b], batch.next_observation[t, b]
        best = max(table[s_next]) if not batch.terminated[t, b] else 0.0
        errors.append(batch.reward[t, b] + gamma * best - table[s, a])
        table[s, a] += learning_rate * errors[-1]
    np.testing.assert_allclose(learner.table.values, table, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(metrics["td_error"], np.abs(errors).mean(), rtol=1e-10)


@pytest.mark.parametrize(("terminated", "expected"), [(True, 0.5 * -1), (False, 0.5 * (-1 + 0.9 * 4))])
def test_a_truncated_step_bootstraps_and_a_terminated_one_does_not(terminated, expected):
    algorithm = QLearning(learning_rate=0.5, gamma=0.9)
    learner = lizard_learner(algorithm)
    values = learner.table.values.at[EMPTY_2, UP].set(4)
    learner = learner._replace(table=learner.table.__class__(values, learner.table.spaces))
    learner, _ = UPDATE(algorithm, learner, steps(EMPTY_3, LEFT, -1, EMPTY_2, terminated, not terminated))
    np.testing.assert_allclose(learner.table.values[EMPTY_3, LEFT], expected, rtol=1e-6)


def test_observations_and_actions_are_counted_from_their_start():
    spec = EnvironmentSpec("test", spaces.Discrete(3, start=5), spaces.Discrete(2, start=-1))
    algorithm = QLearning(learning_rate=1.0, gamma=0.5)
    learner, _ = UPDATE(algorithm, algorithm.init(KEY, spec), steps(7, 0, 3, 5, False))
    np.testing.assert_array_equal(learner.table.values, [[0, 0], [0, 0], [0, 3]])
    decision = algorithm.act(learner, jnp.array([5, 7]), (), KEY, explore=False)
    np.testing.assert_array_equal(decision.action, [-1, 0])
    algorithm = algorithm.at(Clock.of(0, 10))
    explored = algorithm.act(learner, jnp.full(200, 7), (), KEY, explore=True).action  # epsilon is 1
    assert set(explored.tolist()) == {-1, 0}


@pytest.mark.parametrize(
    ("steps", "expected"), [(0, 1.0), (125, 0.75), (250, 0.5), (499, 1 / 500), (500, 0.0), (1000, 0.0), (2000, 0.0)]
)
def test_epsilon_falls_linearly_over_its_fraction_and_then_stays(steps, expected):
    algorithm = QLearning(exploration_fraction=0.5, exploration_initial_eps=1.0, exploration_final_eps=0.0)
    np.testing.assert_allclose(algorithm.at(Clock.of(steps, 1000)).exploration_rate, expected, atol=1e-6)


def test_schedules_set_the_learning_rate():
    """At 3/4 of the training a rate falling from 0.8 to 0 is 0.2."""
    algorithm = QLearning(learning_rate=Linear(0.8)).at(Clock.of(75, 100))
    learner = lizard_learner(algorithm)
    learner, metrics = UPDATE(algorithm, learner, steps(EMPTY_5, RIGHT, -1, EMPTY_6, False))
    np.testing.assert_allclose(learner.table.values[EMPTY_5, RIGHT], -0.2, rtol=1e-6)
    np.testing.assert_allclose(metrics["learning_rate"], 0.2, rtol=1e-6)


def test_greedy_actions_ignore_epsilon_and_take_the_first_of_equals():
    algorithm = QLearning()
    learner = lizard_learner(algorithm)
    values = learner.table.values.at[EMPTY_2].set(jnp.array([0.0, 2.0, 2.0, 1.0]))
    learner = learner._replace(table=learner.table.__class__(values, learner.table.spaces))
    decision = algorithm.act(learner, jnp.array([EMPTY_2, EMPTY_3]), (), KEY, explore=False)
    np.testing.assert_array_equal(decision.action, [RIGHT, LEFT])


@pytest.mark.parametrize(
    ("observation", "action"),
    [(spaces.Box(-1, 1, (2,)), spaces.Discrete(2)), (spaces.Discrete(2), spaces.MultiDiscrete([2, 2]))],
)
def test_spaces_without_a_table_are_refused(observation, action):
    with pytest.raises(
        TeguError, match=r"^Q-learning needs a Discrete (observation|action) space, the environment has"
    ):
        QLearning().validate(EnvironmentSpec("test", observation, action))
