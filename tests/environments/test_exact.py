"""The exact solver against independent computations and known values."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tegu.environments.grids.cliff_walking import CliffWalking
from tegu.environments.grids.exact import policy_value, start_value, value_iteration
from tegu.environments.grids.finite import FiniteEnvironment
from tegu.environments.grids.frozen_lake import FrozenLake
from tegu.environments.grids.lizard import Lizard
from tegu.environments.grids.taxi import Taxi


def solved_over_gymnasiums_dictionary(id, gamma, sweeps):
    table = gymnasium.make(id).unwrapped.P
    values = [0.0] * len(table)
    for _ in range(sweeps):
        for state, actions in table.items():
            values[state] = max(
                sum(p * (reward + gamma * values[after] * (not end)) for p, after, reward, end in outcomes)
                for outcomes in actions.values()
            )
    return values


def test_the_lake_is_worth_what_gymnasiums_dictionary_says():
    values = solved_over_gymnasiums_dictionary("FrozenLake-v1", gamma=0.99, sweeps=1500)
    np.testing.assert_allclose(value_iteration(FrozenLake(), 0.99).values, values, atol=1e-8)


def test_known_values():
    lake = FrozenLake()
    assert start_value(lake, value_iteration(lake, 0.99).values) == pytest.approx(0.542026, abs=1e-6)
    # Without discounting the best crossing succeeds 14 times in 17.
    assert start_value(lake, value_iteration(lake, 1.0, tolerance=1e-13).values) == pytest.approx(14 / 17, abs=1e-8)
    cliff = CliffWalking()
    assert start_value(cliff, value_iteration(cliff, 1.0).values) == -13  # up, eleven to the right, down


def test_the_taxi_is_worth_what_the_best_drives_from_all_300_starts_earn():
    taxi = Taxi()
    solution = value_iteration(taxi, 1.0)
    np.testing.assert_array_equal(solution.values, solution.action_values.max(axis=1))
    greedy = solution.action_values.argmax(axis=1)
    returns = []
    for start in np.flatnonzero(taxi.initial):
        state, total, done = start, 0.0, False
        while not done:
            entry = (state, greedy[state], 0)
            state, total, done = taxi.next_state[entry], total + taxi.reward[entry], taxi.terminated[entry]
        returns.append(total)
    assert len(returns) == 300
    assert start_value(taxi, solution.values) == pytest.approx(np.mean(returns), abs=1e-9)


@pytest.mark.parametrize("environment", [FrozenLake(), CliffWalking(), Lizard()], ids=lambda e: e.id)
def test_a_policys_value_is_its_discounted_sum_of_rewards(environment):
    """The distribution over states is pushed forward step by step, and the rewards met on the way summed up."""
    rng, gamma = np.random.default_rng(0), 0.9
    states, actions, _ = environment.probability.shape
    policy = rng.dirichlet(np.ones(actions), size=states)
    values = np.zeros(states)
    occupied = np.eye(states)  # row: where one began, column: where one is by now
    for step in range(400):
        moved = np.zeros_like(occupied)
        for state, action in np.ndindex(states, actions):
            for outcome, chance in enumerate(environment.probability[state, action]):
                flow = occupied[:, state] * policy[state, action] * chance
                values += gamma**step * flow * environment.reward[state, action, outcome]
                if not environment.terminated[state, action, outcome]:
                    moved[:, environment.next_state[state, action, outcome]] += flow
        occupied = moved
        if gamma**step < 1e-12:
            break
    np.testing.assert_allclose(policy_value(environment, policy, gamma), values, atol=1e-7)


def test_a_policys_value_is_the_mean_return_of_played_episodes():
    """Ties the solver to ``step``: 20,000 episodes of random moves, long enough that nothing is left out."""
    lizard, gamma, episodes = Lizard(), 0.95, 20_000

    def advance(carry, key):
        state, alive, discount, total = carry
        actions = jax.random.randint(key, (episodes,), 0, 4)
        timestep = jax.vmap(lizard.step, in_axes=(0, 0, None))(state, actions, key)
        total = total + discount * alive * timestep.reward
        return (timestep.state, alive & ~timestep.terminated, discount * gamma, total), None

    @jax.jit
    def returns(key):
        state, _ = jax.vmap(lizard.reset)(jax.random.split(key, episodes))
        carry = (state, jnp.ones(episodes, bool), 1.0, jnp.zeros(episodes))
        return jax.lax.scan(advance, carry, jax.random.split(key, 250))[0][3]

    sample = np.asarray(returns(jax.random.key(0)))
    exact = start_value(lizard, policy_value(lizard, np.full((9, 4), 0.25), gamma))
    assert abs(sample.mean() - exact) < 4 * sample.std() / np.sqrt(episodes)


def test_the_greedy_policy_earns_the_optimal_values():
    for environment in (FrozenLake(), Lizard(), Taxi(), CliffWalking(is_slippery=True)):
        solution = value_iteration(environment, 0.97)
        greedy = solution.action_values.argmax(axis=1)
        np.testing.assert_allclose(policy_value(environment, greedy, 0.97), solution.values, atol=1e-8)
        as_probabilities = np.eye(environment.action_space.n)[greedy]
        np.testing.assert_array_equal(
            policy_value(environment, greedy, 0.97), policy_value(environment, as_probabilities, 0.97)
        )


def test_a_termination_has_no_future():
    """Two states that pay 1 and lead to each other; only from the second does the episode end."""
    environment = FiniteEnvironment(
        probability=np.ones((2, 1, 1)),
        next_state=np.array([[[1]], [[0]]]),
        reward=np.ones((2, 1, 1)),
        terminated=np.array([[[False]], [[True]]]),
        initial=np.array([0.5, 0.5]),
        id="pair",
    )
    solution = value_iteration(environment, 0.5)
    np.testing.assert_allclose(solution.values, [1.5, 1])
    np.testing.assert_allclose(policy_value(environment, np.array([0, 0]), 0.5), [1.5, 1])
    assert start_value(environment, solution.values) == 1.25


def test_values_that_grow_for_ever_are_reported(monkeypatch):
    monkeypatch.setattr("tegu.environments.grids.exact._MAX_SWEEPS", 100)
    forever = FiniteEnvironment(
        probability=np.ones((1, 1, 1)),
        next_state=np.zeros((1, 1, 1)),
        reward=np.ones((1, 1, 1)),
        terminated=np.zeros((1, 1, 1)),
        initial=np.ones(1),
        id="forever",
    )
    with pytest.raises(ArithmeticError, match="do not settle"):
        value_iteration(forever, 1.0)
