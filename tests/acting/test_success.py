"""Whether episodes reach their goal, as Gymnasium-Robotics' environments say it: ``is_success`` of the infos."""

from typing import Any

import gymnasium
import numpy as np
import pytest

import tegu
from tegu.acting.evaluation import Evaluation
from tegu.environments.make import find


class Task(gymnasium.Env):
    """Three steps; success at each is drawn, and what counts is that of the last one."""

    observation_space = gymnasium.spaces.Box(-1, 1, (1,))
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, ended: list[bool] | None = None, says: str = "always"):
        self.ended, self.says = ended if ended is not None else [], says

    def reset(self, *, seed: int | None = None, options: object = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.success = self.np_random.random(3) < 0.4
        self.steps = 0
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        success, over = bool(self.success[self.steps]), self.steps == 2
        self.steps += 1
        if over:
            self.ended.append(success)
        said: dict[str, Any] = {
            "always": {"is_success": np.float32(success)},
            "of success alone": {"is_success": True} if success else {},
            "never": {},
            "in words": {"is_success": "perhaps"},
        }[self.says]
        return np.zeros(1, np.float32), -1.0, False, over, said


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> tegu.Agent:
    small = {"n_envs": 1, "n_steps": 32, "batch_size": 32, "n_epochs": 1, "net_arch": [4]}
    folder = tmp_path_factory.mktemp("runs")
    return tegu.train(Task, "ppo", steps=64, eval_every=32, eval_episodes=8, seeds=2, folder=folder, **small)


def evaluated(agent: tegu.Agent, says: str) -> tuple[Evaluation, list[bool]]:
    """Sixteen episodes of each seed, and how the environment ended them."""
    ended: list[bool] = []
    source = find(lambda: Task(ended, says))
    made = tegu.Agent(agent.algorithm, agent.spec, agent.learners, agent.seeds, agent.steps, source)
    return made.evaluate(16), ended


@pytest.mark.parametrize("says", ["always", "of success alone"])
def test_an_episode_succeeds_if_its_last_step_does(agent: tegu.Agent, says: str) -> None:
    found, ended = evaluated(agent, says)
    assert found.measures.keys() == {"is_success/end"}
    np.testing.assert_array_equal(found.measures["is_success/end"].ravel(), ended)
    assert found.success_rate == np.mean(ended)
    assert 0 < np.mean(ended) < 1


@pytest.mark.parametrize("says", ["never", "in words"])
def test_where_nothing_is_said_nothing_is_known(agent: tegu.Agent, says: str) -> None:
    found, ended = evaluated(agent, says)
    assert len(ended) == 32
    assert not found.measures
    assert found.success_rate is None


def test_evaluations_while_training_log_it(agent: tegu.Agent) -> None:
    """Of each seed, beside its mean reward, under Stable-Baselines3's name."""
    assert agent.run is not None
    with agent.run.metrics(read_only=True) as store:
        for seed in agent.seeds:
            steps, rates = store.read("eval/success_rate", seed)
            np.testing.assert_array_equal(steps, store.read("eval/mean_reward", seed)[0])
            assert len(steps) >= 2
            np.testing.assert_array_equal(rates * 8, (rates * 8).round())  # eight episodes
            assert 0 < rates.mean() < 1


def test_environments_in_jax_say_it_by_their_measures() -> None:
    returns, lengths = np.zeros((2, 2)), np.ones((2, 2), int)
    success = np.array([[1.0, 0.0], [1.0, 1.0]])
    assert Evaluation(returns, lengths, measures={"is_success/end": success}).success_rate == 0.75
    assert Evaluation(returns, lengths, measures={"is_success/mean": success}).success_rate is None
