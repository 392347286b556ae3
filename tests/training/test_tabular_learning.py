"""What tabular algorithms learn, against dynamic programming and the examples of Sutton & Barto (2018)."""

from functools import cache
from typing import Any

import numpy as np
import pytest

import tegu
from tegu.environments.grids.exact import policy_value, value_iteration
from tegu.environments.grids.finite import FiniteEnvironment, Transition, one_hot, tabulate
from tegu.environments.make import find

long = pytest.mark.long


def tables(agent: tegu.Agent) -> np.ndarray:
    """The table ``[S, A]`` of each seed; of two the sum."""
    learners: Any = agent.learners
    return np.asarray(learners.tables.values.sum(axis=1) if hasattr(learners, "tables") else learners.table.values)


def returns_in_training(environment: Any, algorithm: str, **settings: Any) -> tuple[tegu.Agent, np.ndarray]:
    """The agent, and of each seed the mean return in the second half of training."""
    found: list[list[float]] = []

    def note(progress: Any) -> None:
        if 2 * progress.steps > progress.total and progress.metrics:
            found.append([metrics["rollout/ep_rew_mean"] for metrics in progress.metrics])

    agent = tegu.train(environment, algorithm, folder=None, callbacks=(note,), **settings)
    return agent, np.mean(found, axis=0)


@pytest.mark.parametrize(
    "algorithm",
    [
        "q-lambda",
        "monte-carlo",
        "dyna-q",
        "prioritized-sweeping",
        "adaptive-dp",
        *(pytest.param(name, marks=long) for name in ("sarsa", "n-step-sarsa", "expected-sarsa", "double-q-learning")),
    ],
)
def test_the_lizard_finds_the_optimal_policy(algorithm: str) -> None:
    """The greedy policy is worth exactly what value iteration says, from the start state; three seeds."""
    native: Any = find("lizard").native
    agent = tegu.train("lizard", algorithm, seeds=3, seed=20, folder=None)
    best = value_iteration(native, 0.99).values @ native.initial
    for values in tables(agent):
        assert policy_value(native, values.argmax(axis=1), 0.99) @ native.initial == pytest.approx(best, abs=1e-9)


def soft_optimum(grid: FiniteEnvironment, gamma: float, epsilon: float) -> np.ndarray:
    """The values ``[S]`` of the best epsilon-soft policy (Sutton & Barto, section 5.4): value iteration where the
    environment itself takes a random action with probability epsilon."""
    weights = epsilon / len(grid.action_names) + (1 - epsilon) * np.eye(len(grid.action_names))

    def all_outcomes(table: np.ndarray) -> np.ndarray:
        """Of whichever action is taken in the end: ``[S, A, A * K]``."""
        return np.repeat(table.reshape(len(table), 1, -1), table.shape[1], axis=1)

    slipping = FiniteEnvironment(
        (weights[None, :, :, None] * grid.probability[:, None]).reshape(len(grid.probability), len(weights), -1),
        *(all_outcomes(table) for table in (grid.next_state, grid.reward, grid.terminated)),
        grid.initial,
        id="soft",
    )
    return value_iteration(slipping, gamma).values


@long
@pytest.mark.parametrize(
    ("algorithm", "within"),
    [("sarsa", 0.005), ("n-step-sarsa", 0.005), ("expected-sarsa", 0.005), ("monte-carlo", 0.05)],
)
def test_on_policy_algorithms_come_to_the_best_policy_that_explores(algorithm: str, within: float) -> None:
    """On the slippery lake with a tenth of random actions, by the presets: the best epsilon-soft policy, of which the
    best policy without them is 0.9 % short. Of ten other seeds each kind of Sarsa came to it exactly, and of five
    Monte Carlo control within 2.6 %."""
    native: Any = find("FrozenLake-v1").native
    agent = tegu.train("FrozenLake-v1", algorithm, seeds=3, seed=21, folder=None)
    best = soft_optimum(native, 0.99, 0.1) @ native.initial
    for values in tables(agent):
        policy = 0.1 / 4 + 0.9 * np.eye(4)[values.argmax(axis=1)]
        assert policy_value(native, policy, 0.99) @ native.initial >= (1 - within) * best


@long
@pytest.mark.parametrize(("algorithm", "learning_rate"), [("double-q-learning", "lin_0.1"), ("q-lambda", "lin_0.05")])
def test_off_policy_algorithms_come_to_the_best_policy(algorithm: str, learning_rate: str) -> None:
    """The same lake, the same share of random actions, and the policy that is best without them, within 2 %."""
    native: Any = find("FrozenLake-v1").native
    settings: dict[str, Any] = {"steps": 1_000_000, "n_envs": 8, "exploration_final_eps": 0.1}
    agent = tegu.train(
        "FrozenLake-v1", algorithm, seeds=3, seed=22, learning_rate=learning_rate, folder=None, **settings
    )
    best = value_iteration(native, 0.99).values @ native.initial
    for values in tables(agent):
        assert policy_value(native, values.argmax(axis=1), 0.99) @ native.initial >= 0.98 * best


def test_sarsa_walks_safely_where_q_learning_walks_along_the_cliff() -> None:
    """Example 6.6, with a learning rate that falls: Q-learning learns the shortest path of 13 steps, and earns less
    while it explores. The book's figure shows about -50 and -25."""
    settings: dict[str, Any] = {"steps": 40_000, "learning_rate": "lin_0.5", "gamma": 1.0, "seeds": 3, "seed": 23}
    settings |= {"exploration_initial_eps": 0.1, "exploration_final_eps": 0.1, "log_interval": 1_000}
    bold, bold_returns = returns_in_training("CliffWalking-v1", "q-learning", **settings)
    safe, safe_returns = returns_in_training("CliffWalking-v1", "sarsa", **settings)
    assert (bold.evaluate(1).returns == -13).all()
    assert ((safe.evaluate(1).returns <= -15) & (safe.evaluate(1).returns >= -21)).all()
    assert safe_returns.min() > bold_returns.max() + 8


@cache
def biased() -> FiniteEnvironment:
    """Much like example 6.7: from A half of the actions end the episode, the others lead to B, where ten actions pay 1
    or -1, -0.1 in mean."""
    a, b, end = range(3)

    def outcomes(state: int, action: int) -> list[Transition]:
        if state == a:
            return [(1.0, b, 0.0, False)] if action < 5 else [(1.0, end, 0.0, True)]
        return [(0.45, end, 1.0, True), (0.55, end, -1.0, True)]

    return FiniteEnvironment(*tabulate(outcomes, 3, 10), initial=one_hot(a, 3), id="biased")


def test_double_q_learning_overestimates_less() -> None:
    """The way to B is worth -0.1. Q-learning believes in the greatest of ten averages, each of which has a standard
    deviation of sqrt(alpha / (2 - alpha)) = 0.23: in about -0.1 + 1.54 * 0.23 = 0.25. Double Q-learning does not."""
    settings: dict[str, Any] = {"steps": 5_000, "learning_rate": 0.1, "gamma": 1.0, "seeds": 10, "seed": 24}
    settings |= {"exploration_initial_eps": 1.0, "exploration_final_eps": 1.0, "folder": None}
    single = tables(tegu.train(biased(), "q-learning", **settings))[:, 0, :5].mean(axis=1)
    double = tables(tegu.train(biased(), "double-q-learning", **settings))[:, 0, :5].mean(axis=1) / 2
    assert single.min() > 0
    assert single.mean() == pytest.approx(0.25, abs=0.1)
    assert double.mean() == pytest.approx(-0.1, abs=0.12)
    assert double.mean() < single.mean() - 0.2
