"""Every algorithm reaches a score, with seeds that were not tuned on; PPO in both loops."""

import numpy as np
import pytest

import tegu
from tegu.environments.grids.exact import policy_value, value_iteration
from tegu.environments.make import find


@pytest.mark.parametrize("environment", ["lizard", "CliffWalking-v1"])
def test_q_learning_finds_the_optimal_policy(environment: str) -> None:
    """The greedy policy is worth exactly what value iteration says, from the start state; three seeds."""
    native = find(environment).native
    agent = tegu.train(environment, "q-learning", seeds=3, seed=10, folder=None)
    gamma = agent.algorithm.gamma
    best = value_iteration(native, gamma).values @ native.initial
    for values in np.asarray(agent.learners.table.values):
        found = policy_value(native, values.argmax(axis=1), gamma) @ native.initial
        assert found == pytest.approx(best, abs=1e-9)


def test_q_learning_learns_the_lizards_whole_table() -> None:
    """Where every state is visited, the table itself is value iteration's."""
    native = find("lizard").native
    agent = tegu.train("lizard", "q-learning", seed=11, steps=200_000, n_envs=4, exploration_final_eps=1.0, folder=None)
    solution = value_iteration(native, agent.algorithm.gamma)
    lasting = ~native.terminated.all(axis=(1, 2)) & (np.arange(9) != 4) & (np.arange(9) != 8)
    learned = np.asarray(agent.learners.table.values[0])
    np.testing.assert_allclose(learned[lasting], solution.action_values[lasting], atol=1e-4)


@pytest.mark.long
@pytest.mark.parametrize("backend", ["jax", "gymnasium"])
def test_ppo_solves_cartpole_in_both_loops(backend: str) -> None:
    """The median of five seeds: of 20 others, 19 got 500 and one 238; a random policy gets 22."""
    agent = tegu.train("CartPole-v1", "ppo", backend=backend, seed=12, seeds=5, folder=None)
    assert np.median(agent.evaluate(20).returns.mean(axis=1)) >= 400


@pytest.mark.parametrize(
    "name", ["ars", *(pytest.param(name, marks=pytest.mark.long) for name in ("cem", "openai-es", "cma-es"))]
)
def test_searches_solve_cartpole(name: str) -> None:
    """The median of five seeds: 15 others got 500 each (of CMA-ES, 19 of 20), and a random policy gets 22."""
    agent = tegu.train("CartPole-v1", name, seeds=5, seed=15, folder=None)
    assert np.median(agent.evaluate(20).returns.mean(axis=1)) >= 450


@pytest.mark.long
def test_ppo_learns_continuous_actions() -> None:
    """Pendulum: a random policy earns about -1,200; 20 other seeds -222 to -150."""
    agent = tegu.train("Pendulum-v1", "ppo", seed=13, steps=60_000, folder=None)
    assert agent.evaluate(20).mean >= -400


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "steps"), [("a2c", 150_000), ("reinforce", 150_000), ("trpo", 60_000), ("npg", 60_000)]
)
def test_other_policy_gradients_learn_cartpole(name: str, steps: int) -> None:
    """With the presets, cut short; the median of three seeds. A random policy gets 22."""
    agent = tegu.train("CartPole-v1", name, seed=12, seeds=3, steps=steps, folder=None)
    assert np.median(agent.evaluate(20).returns.mean(axis=1)) >= 300


@pytest.mark.long
def test_muzero_learns_cartpole() -> None:
    """Far above the 22 of a random policy after 10 thousand steps: five other seeds had 120 and more there."""
    agent = tegu.train("CartPole-v1", "muzero", seeds=2, seed=14, steps=10_000, folder=None)
    assert agent.evaluate(5).mean >= 60


@pytest.mark.long
def test_dqn_learns_cartpole() -> None:
    """Far above the 22 of a random policy after 20 thousand steps: 20 other seeds got 195 and more."""
    settings = {"net_arch": [64, 64], "batch_size": 64, "gamma": 0.97, "learning_rate": "lin_2e-3", "train_freq": 4}
    settings |= {"gradient_steps": 2, "target_update_interval": 100, "learning_starts": 500}
    agent = tegu.train("CartPole-v1", "dqn", seeds=2, seed=14, steps=20_000, folder=None, **settings)
    assert agent.evaluate(20).mean >= 120


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("c51", {"v_min": 0.0, "v_max": 40.0, "n_steps": 10}),
        ("qr-dqn", {"n_quantiles": 32, "n_steps": 10}),
        ("rainbow", {"v_min": 0.0, "v_max": 40.0}),
    ],
)
def test_distributional_dqns_learn_cartpole(name: str, settings: dict[str, float]) -> None:
    """After 20 thousand steps; the mean of three seeds. A random policy gets 22."""
    shared = {"net_arch": [64, 64], "batch_size": 64, "gamma": 0.97, "learning_rate": "lin_2e-3", "train_freq": 4}
    shared |= {"gradient_steps": 2, "target_update_interval": 100, "learning_starts": 500, "n_envs": 1}
    agent = tegu.train("CartPole-v1", name, seeds=3, seed=14, steps=20_000, folder=None, **shared, **settings)
    assert agent.evaluate(20).mean >= 195
