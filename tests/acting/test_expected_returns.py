"""Overestimation, on a Markov decision process of two states whose values dynamic programming knows."""

from typing import Any

import equinox as eqx
import gymnasium
import jax.numpy as jnp
import numpy as np
import pytest

import tegu
from tegu.acting.evaluation import Evaluation, HostEvaluator, JaxEvaluator
from tegu.acting.policy import Policy
from tegu.algorithms.base import Algorithm, ExpectedReturn, named
from tegu.core.schedule import Clock
from tegu.core.step import Decision
from tegu.environments.adapters.gymnasium import GymnasiumEnvironments
from tegu.environments.grids.exact import value_iteration
from tegu.environments.grids.finite import FiniteEnvironment, tabulate

GAMMA, STAY, GO = 0.9, 0, 1


def outcomes(state: int, action: int) -> list[tuple[float, int, float, bool]]:
    """Staying pays 1 in the first state and 2 in the second; going leads from the first to the second for nothing, and
    from the second out of the task for 3."""
    if action == STAY:
        return [(1.0, state, 1.0 + state, False)]
    return [(1.0, 1, 0.0, False)] if state == 0 else [(1.0, 1, 3.0, True)]


def two_states(limit: int) -> FiniteEnvironment:
    return FiniteEnvironment(*tabulate(outcomes, 2, 2), np.array([1.0, 0.0]), id="two", max_episode_steps=limit)


class OnTheHost(gymnasium.Env):
    """The same."""

    observation_space, action_space = gymnasium.spaces.Discrete(2), gymnasium.spaces.Discrete(2)

    def __init__(self, limit: int):
        self.limit = limit

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[int, dict]:
        super().reset(seed=seed)
        self.state = self.time = 0
        return self.state, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict]:
        [(_, self.state, reward, terminated)] = outcomes(self.state, int(action))
        self.time += 1
        return self.state, reward, terminated, not terminated and self.time >= self.limit, {}


class Opinionated(Algorithm):
    """Acts by a table, and expects of every state what another table says. Remembers how many steps it has taken."""

    name: str = named("opinionated")
    policy: tuple[int, int] = eqx.field(static=True, default=(GO, STAY))
    gamma: float = GAMMA
    leaves_after: int = eqx.field(static=True, default=10**6)  #: steps, after which it goes

    @property
    def experience(self) -> tegu.Rollout:
        return tegu.Rollout(1)

    def init(self, key, spec):
        return jnp.zeros(2)

    def begin(self, learner, key, n):
        return jnp.zeros(n, jnp.int32)

    def act(self, learner, observation, memory, key, *, explore):
        action = jnp.where(memory < self.leaves_after, jnp.asarray(self.policy)[observation], GO)
        return Decision(action, memory + 1)

    def expected_return(self, learner, observation, memory):
        return ExpectedReturn(learner[observation], self.gamma)

    def update(self, learner, batch, key):
        raise NotImplementedError


def evaluated(where: str, algorithm: Any, values: Any, limit: int, episodes: int = 3) -> Evaluation:
    learners = jnp.asarray(values, jnp.float32)[None]
    if where == "jax":
        evaluator: Any = JaxEvaluator(algorithm, two_states(limit), [0], episodes, deterministic=True)
    else:
        policy = Policy(algorithm, learners[0])

        def make(seed: int) -> GymnasiumEnvironments:
            return GymnasiumEnvironments(lambda: OnTheHost(limit), [(seed, i) for i in range(2)])

        evaluator = HostEvaluator(policy, make, [0], episodes, deterministic=True)
    return evaluator(learners, Clock.of(1, 1))


TRUE = value_iteration(two_states(50), GAMMA)
both = pytest.mark.parametrize("where", ["jax", "host"])


@both
def test_a_truncated_episode_counts_what_lies_beyond_as_it_is_expected(where: str) -> None:
    """So it shows no overestimation where values are exact, though the clock ends the episode after six steps."""
    assert TRUE.action_values.argmax(axis=1).tolist() == [GO, STAY]
    found = evaluated(where, Opinionated(), TRUE.values, 6)
    assert (found.lengths == 6).all()
    np.testing.assert_allclose(found.returns, 5 * 2.0)
    np.testing.assert_allclose(found.expected, TRUE.values[0], rtol=1e-5)
    np.testing.assert_allclose(found.discounted, TRUE.values[0], rtol=1e-5)


@both
def test_of_an_error_that_is_everywhere_a_truncation_hides_a_part(where: str) -> None:
    """What the last state is thought to be worth too much is part of what was measured, discounted."""
    found = evaluated(where, Opinionated(), TRUE.values + 5, 6)
    assert found.expected is not None
    np.testing.assert_allclose(found.expected - found.discounted, 5 * (1 - GAMMA**6), rtol=1e-4)


@both
@pytest.mark.parametrize("error", [0.0, 5.0])
def test_after_termination_nothing_is_expected(where: str, error: float) -> None:
    """It goes to the second state, stays for two steps and ends: 0 + 2 gamma + 2 gamma^2 + 3 gamma^3."""
    found = evaluated(where, Opinionated(leaves_after=3), TRUE.values + error, 50)
    paid = 2 * GAMMA + 2 * GAMMA**2 + 3 * GAMMA**3
    assert (found.lengths == 4).all()
    np.testing.assert_allclose(found.discounted, paid, rtol=1e-5)
    np.testing.assert_allclose(found.expected, TRUE.values[0] + error, rtol=1e-5)
    assert found.expected is not None
    assert found.expected.shape == (1, 3)


class Lives(GymnasiumEnvironments):
    """The third step of six costs a life."""

    steps = 0

    def step(self, actions):
        self.steps += 1
        return super().step(actions)._replace(terminated=np.full(2, self.steps % 6 == 3))


def test_with_a_life_ends_what_is_learned_from() -> None:
    """0 + 2 gamma + 2 gamma^2, though the game goes on and pays 10 in all."""
    policy = Policy(Opinionated(), jnp.zeros(2))
    evaluator = HostEvaluator(
        policy, lambda seed: Lives(lambda: OnTheHost(6), [(0,), (1,)]), [0], episodes=4, deterministic=True
    )
    found = evaluator(jnp.asarray(TRUE.values, jnp.float32)[None], Clock.of(1, 1))
    np.testing.assert_allclose(found.returns, np.full((1, 4), 10.0))
    np.testing.assert_allclose(found.discounted, np.full((1, 4), 2 * GAMMA + 2 * GAMMA**2), rtol=1e-5)
    np.testing.assert_allclose(found.expected, TRUE.values[0], rtol=1e-5)


@both
def test_who_expects_nothing_is_not_compared(where: str) -> None:
    class Silent(Opinionated):
        def expected_return(self, learner, observation, memory):
            return None

    found = evaluated(where, Silent(), TRUE.values, 6)
    assert found.expected is None
    assert found.discounted is None
    np.testing.assert_allclose(found.returns, 10.0)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """DQN in the two states, evaluated once, at the end."""
    dqn = tegu.DQN(
        net_arch=(16,), learning_rate=1e-2, gamma=GAMMA, learning_starts=64, target_update_interval=16, buffer_size=1000
    )
    given = {
        "steps": 1600,
        "n_envs": 4,
        "log_interval": 400,
        "folder": tmp_path_factory.mktemp("runs"),
        "eval_every": 1600,
    }
    return tegu.train(two_states(12), dqn, eval_episodes=2, **given)


@pytest.mark.slow
def test_dqn_learns_values_that_dynamic_programming_knows(trained: Any) -> None:
    """And what is logged of an evaluation is what its network says of the first state, and what follows it."""
    with trained.run.metrics() as store:
        logged = {
            name: store.read(f"eval/{name}")[1][-1] for name in ("q_first", "discounted_return", "overestimation")
        }
    network = trained.learner().online
    values = np.asarray(network(np.arange(2, dtype=np.int32)))
    assert values.argmax(axis=1).tolist() == [GO, STAY]
    assert logged["q_first"] == pytest.approx(values[0].max(), rel=1e-4)
    measured = sum(2 * GAMMA**t for t in range(1, 12)) + GAMMA**12 * values[1].max()
    assert logged["discounted_return"] == pytest.approx(measured, rel=1e-4)
    assert logged["overestimation"] == pytest.approx(logged["q_first"] - logged["discounted_return"], abs=1e-4)
    assert logged["q_first"] == pytest.approx(TRUE.values[0], rel=0.1)
