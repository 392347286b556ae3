"""What a policy remembers begins anew with every episode, wherever it acts."""

import gymnasium
import numpy as np
import pytest
from metronome import FIRST, LONGEST, Counting, HostMetronome, Metronome

import tegu

SETTINGS = {"steps": 600, "log_interval": 60, "n_envs": 5, "seeds": 2, "folder": None}
worlds = pytest.mark.parametrize("environment", [Metronome(), HostMetronome], ids=["fused", "host"])


@worlds
def test_in_training(environment: tegu.Environment | type[gymnasium.Env]) -> None:
    """Every number named is right, and every step paid, in episodes of all lengths that chance and clock allow."""
    figures: list[dict[str, float]] = []
    tegu.train(environment, Counting(), callbacks=(lambda progress: figures.extend(progress.metrics),), **SETTINGS)
    assert len(figures) > 20
    for figure in figures:
        assert figure["train/right"] == 1
        assert figure["rollout/ep_rew_mean"] == pytest.approx(figure["rollout/ep_len_mean"])
        assert 1 < figure["rollout/ep_len_mean"] < LONGEST


@worlds
@pytest.mark.parametrize("deterministic", [True, False])
def test_in_evaluation(environment: tegu.Environment | type[gymnasium.Env], deterministic: bool) -> None:
    evaluation = tegu.train(environment, Counting(), **SETTINGS).evaluate(40, deterministic=deterministic)
    np.testing.assert_array_equal(evaluation.returns, evaluation.lengths)
    assert set(np.unique(evaluation.lengths)) == set(range(1, LONGEST + 1))


@pytest.fixture(scope="module")
def agent() -> tegu.Agent:
    return tegu.train(Metronome(), Counting(), **SETTINGS)


def test_a_prediction_without_a_state_begins_an_episode(agent: tegu.Agent) -> None:
    for _ in range(2):
        action, state = agent.predict(np.zeros(1))
        assert action == FIRST
        assert state.tolist() == [FIRST + 1]


def test_predictions_go_on_with_the_state_that_they_gave_back(agent: tegu.Agent) -> None:
    """As in Stable-Baselines3, with whether an episode starts as a flag or an array of them."""
    state, named = None, []
    for start in (False, False, np.array([False]), True, None, np.array([True])):
        action, state = agent.predict(np.zeros(1), state, episode_start=start)
        named.append(int(action) - FIRST)
    assert named == [0, 1, 2, 0, 1, 0]


def test_each_of_many_predictions_begins_when_its_own_episode_does(agent: tegu.Agent) -> None:
    many = np.zeros((3, 1))
    action, state = agent.predict(many)
    assert (action - FIRST).tolist() == [0, 0, 0]
    action, state = agent.predict(many, state, episode_start=np.array([False, True, False]))
    assert (action - FIRST).tolist() == [1, 0, 1]
    action, _ = agent.predict(many, state, episode_start=np.array([True, False, False]))
    assert (action - FIRST).tolist() == [0, 1, 2]
