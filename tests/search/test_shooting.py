"""Planning by sampled sequences against brute force and against its definitions in NumPy float64."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

import tegu
from tegu.algorithms.mpc import given_model
from tegu.search import shooting
from tegu.search.shooting import CategoricalPlan, GaussianPlan, Optimizer, Outcome, discounted_return, plan_ahead

KEY = jax.random.key(3)
BOX = spaces.Box(np.array([-2.0, 0.0], np.float32), np.array([2.0, 1.0], np.float32))


@pytest.fixture
def precise():
    with jax.enable_x64(True):
        yield


def optimizer(name, **settings):
    usual = {"n_candidates": 50, "n_iterations": 1, "n_elite": 7, "temperature": 0.5, "smoothing": 0.25}
    return Optimizer(name, **usual | settings)


def played(environment, state, actions, gamma):
    """The return of one sequence, step by step in Python."""
    total = 0.0
    for t, action in enumerate(actions):
        found = environment.step(state, jnp.asarray(action), KEY)
        total, state = total + gamma**t * float(found.reward), found.state
        if found.terminated:
            break
    return total


@pytest.mark.parametrize(
    ("environment", "state"),
    [("CartPole-v1", [0.1, 0.5, 0.14, 0.9]), ("MountainCar-v0", [0.42, 0.027])],  # both end within the horizon
)
def test_short_plans_are_those_of_brute_force(environment, state):
    """With every sequence among the candidates, random shooting finds the best return, and an action that begins it."""
    world, horizon, gamma = tegu.make(environment), 4, 0.9
    sequences = list(itertools.product(range(int(world.action_space.n)), repeat=horizon))
    start = jnp.array(state)
    expected = [played(world, start, sequence, gamma) for sequence in sequences]
    n = 40 * len(sequences)

    def returns(actions):
        states = jnp.broadcast_to(start, (n, len(state)))
        return discounted_return(given_model(world), (), KEY, states, actions, gamma)

    plan = shooting.new_plan(world.action_space, horizon)
    found = jax.jit(
        lambda key: plan_ahead(world.action_space, returns, plan, key, optimizer("random", n_candidates=n))
    )(KEY)
    assert found.value == pytest.approx(max(expected), rel=1e-5)
    best = {sequence[0] for sequence, value in zip(sequences, expected, strict=True) if value > max(expected) - 1e-6}
    assert int(found.action) in best
    assert len({round(value, 4) for value in expected}) > 1


def test_returns_stop_at_the_end_and_are_averaged_over_particles():
    def model(parameters, key, action, state):
        return Outcome(state * action, state + action > parameters), state + action

    actions = jnp.array([[1.0, 2.0], [3.0, 1.0], [1.0, 1.0]])
    state = jnp.array([[1.0, 1.0], [2.0, 0.0]])  # two particles of two sequences
    found = discounted_return(model, 4.5, KEY, state, actions, 0.5)
    # particle 1, sequence 1: 1, then 2 * 3 ends it (5 > 4.5); sequence 2: 2, then 3 * 1, then 4 * 1
    # particle 2, sequence 1: 2, then 3 * 3 ends it; sequence 2: 0, then 2 * 1, then 3 * 1
    first = ((1 + 0.5 * 6) + (2 + 0.5 * 9)) / 2
    second = ((2 + 0.5 * 3 + 0.25 * 4) + (0 + 0.5 * 2 + 0.25 * 3)) / 2
    np.testing.assert_allclose(found, [first, second])


def rewarding(actions):
    """A return with one best sequence of continuous actions."""
    return -((actions - jnp.array([0.5, 0.75])) ** 2).sum(axis=(0, 2))


@pytest.mark.parametrize("name", ["cem", "mppi"])
def test_one_improvement_of_a_gaussian_plan(precise, name):
    plan = GaussianPlan(jnp.array([[0.1, -0.2], [0.3, 0.0]]), jnp.array([[0.5, 0.4], [0.3, 0.2]]))
    settings = optimizer(name)
    found = plan_ahead(BOX, rewarding, plan, KEY, settings)

    (key,) = jax.random.split(KEY, 1)
    unit = np.asarray(shooting.draw(plan, key, 50))
    actions = np.array([-2.0, 0.0]) + np.array([4.0, 1.0]) * (unit + 1) / 2
    returns = np.asarray(rewarding(actions))
    if name == "cem":
        chosen = np.argsort(-returns)[:7]
        mean, std = unit[:, chosen].mean(axis=1), unit[:, chosen].std(axis=1)
        value = returns[chosen].mean()
    else:
        weight = np.exp((returns - returns.max()) / 0.5)
        weight /= weight.sum()
        mean, std = (unit * weight[None, :, None]).sum(axis=1), np.asarray(plan.std)
        value = weight @ returns
    mean, std = 0.25 * plan.mean + 0.75 * mean, 0.25 * plan.std + 0.75 * std
    np.testing.assert_allclose(found.plan.mean, mean, atol=1e-6)
    np.testing.assert_allclose(found.plan.std, std, atol=1e-6)
    np.testing.assert_allclose(
        found.action, np.array([-2.0, 0.0]) + np.array([4.0, 1.0]) * (mean[0] + 1) / 2, atol=1e-6
    )
    assert found.value == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize("name", ["cem", "mppi"])
def test_one_improvement_of_a_categorical_plan(precise, name):
    space, plan = spaces.Discrete(3, start=-1), CategoricalPlan(jnp.array([[0.2, 0.5, 0.3], [0.6, 0.3, 0.1]]))

    def returns(actions):
        return (actions * jnp.array([[2.0], [-1.0]])).sum(axis=0) + 0.01 * jnp.arange(50)

    found = plan_ahead(space, returns, plan, KEY, optimizer(name))
    (key,) = jax.random.split(KEY, 1)
    drawn = np.asarray(shooting.draw(plan, key, 50))
    values = np.asarray(returns(drawn - 1))
    if name == "cem":
        weight = np.zeros(50)
        weight[np.argsort(-values)[:7]] = 1 / 7
    else:
        weight = np.exp((values - values.max()) / 0.5)
        weight /= weight.sum()
    share = [[weight[drawn[t] == action].sum() for action in range(3)] for t in range(2)]
    np.testing.assert_allclose(found.plan.probability, 0.25 * plan.probability + 0.75 * np.array(share), atol=1e-6)
    assert found.action == np.asarray(found.plan.probability)[0].argmax() - 1


@pytest.mark.parametrize("name", ["cem", "mppi"])
def test_plans_come_to_the_best_sequence(name):
    settings = optimizer(name, n_candidates=3000, n_iterations=15, n_elite=20, temperature=0.05)
    found = jax.jit(lambda key: plan_ahead(BOX, rewarding, shooting.new_plan(BOX, 2), key, settings))(KEY)
    np.testing.assert_allclose(found.action, [0.5, 0.75], atol=0.08)


@pytest.mark.parametrize("name", ["random", "cem", "mppi"])
@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_never_chosen(name, broken):
    """Half of the sequences, those that would be best, have no finite return."""

    def returns(actions):
        first = actions[0, :, 0]
        return jnp.where(first > 0, broken, first)

    plan = shooting.new_plan(BOX, 3)
    found = plan_ahead(BOX, returns, plan, KEY, optimizer(name, n_candidates=400, n_iterations=5, temperature=0.01))
    assert float(found.action[0]) < 0.1
    assert np.isfinite(found.value)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found.plan))


def test_nothing_counts_after_the_end():
    def diverges(parameters, key, action, state):
        return Outcome(state, state > 0), jnp.inf * (state + 1)

    found = discounted_return(diverges, (), KEY, jnp.ones(1), jnp.zeros((4, 1)), 1.0)
    np.testing.assert_allclose(found, [1.0])


def test_draws_stay_within_bounds_and_follow_the_plan():
    plan = CategoricalPlan(jnp.array([[0.1, 0.9]]))
    drawn = shooting.draw(plan, KEY, 20_000)
    assert float((drawn == 1).mean()) == pytest.approx(0.9, abs=4 * math.sqrt(0.09 / 20_000))
    wide = GaussianPlan(jnp.zeros((3, 2)), jnp.full((3, 2), 5.0))
    assert float(jnp.abs(shooting.draw(wide, KEY, 100)).max()) == 1.0
    assert BOX.contains(np.asarray(shooting.to_environment(BOX, jnp.array([1.0, -1.0]))))


def test_the_next_plan_begins_one_step_later():
    plan = GaussianPlan(jnp.array([[0.1], [0.2], [0.3]]), jnp.full((3, 1), 0.05))
    moved = shooting.next_plan(plan)
    np.testing.assert_allclose(moved.mean, [[0.2], [0.3], [0.0]])
    np.testing.assert_allclose(moved.std, shooting.INITIAL_STD)
    moved = shooting.next_plan(CategoricalPlan(jnp.array([[1.0, 0.0], [0.0, 1.0]])))
    np.testing.assert_allclose(moved.probability, [[0.25, 0.75], [0.5, 0.5]])
