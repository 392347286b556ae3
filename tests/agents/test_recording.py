"""Recorded episodes are what the agent does, and can be drawn."""

import gymnasium
import numpy as np
import pytest

import tegu
from tegu.agents.recording import record
from tegu.environments.grids.lizard import Lizard


@pytest.fixture(scope="module")
def lizard() -> tegu.Agent:
    return tegu.train("lizard", steps=5000, seeds=2, folder=None)


@pytest.fixture(scope="module")
def pole() -> tegu.Agent:
    """Of Gymnasium's, and hardly trained."""
    hyper = {"learning_starts": 8, "train_freq": 8, "gradient_steps": 1, "batch_size": 4, "net_arch": [4]}
    return tegu.train("CartPole-v1", "dqn", steps=32, backend="gymnasium", folder=None, **hyper)


@pytest.mark.slow
def test_an_episode_in_jax(lizard: tegu.Agent) -> None:
    episode = record(lizard, seed_index=1)
    assert [int(state) for state in episode.states] == [6, 7, 8]
    assert [int(action) for action in episode.actions] == [1, 1]
    assert episode.rewards == [-1.0, 10.0]
    assert episode.returns == [0.0, -1.0, 9.0]
    assert episode.total == 9.0
    assert "LIZARD" in episode.text(episode.states[0])
    frames = episode.frames()
    assert len(frames) == 3
    assert frames[0].dtype == np.uint8


def test_the_same_episode_again(lizard: tegu.Agent) -> None:
    first, second = (record(lizard, deterministic=False) for _ in range(2))
    assert list(map(int, first.states)) == list(map(int, second.states))


def test_an_episode_is_cut(lizard: tegu.Agent) -> None:
    assert len(record(lizard, max_steps=1).states) == 2


def test_an_episode_through_gymnasium(pole: tegu.Agent) -> None:
    episode = record(pole, max_steps=5)
    assert len(episode.frames()) == len(episode.actions) + 1 == 6
    assert episode.frames()[0].shape == (400, 600, 3)
    assert episode.total == 5.0
    with pytest.raises(tegu.TeguError, match="only Tegu's own environments"):
        episode.text(episode.states[0])


def test_without_pygame(pole: tegu.Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pygame", None)
    with pytest.raises(tegu.TeguError, match=r'^cannot draw CartPole-v1: pygame .* `pip install "tegu\[classic\]"`$'):
        record(pole)


def test_an_environment_that_draws_nothing(pole: tegu.Agent) -> None:
    made = tegu.Agent(pole.algorithm, pole.spec, pole.learners, pole.seeds, pole.steps, find_own())
    with pytest.raises(
        tegu.TeguError, match=r"its __init__ must take render_mode=None .* \[H, W, 3\] uint8 where that is 'rgb_array'"
    ):
        record(made)


def find_own():
    from tegu.environments.make import find

    def own() -> gymnasium.Env:
        return gymnasium.make("CartPole-v1")

    return find(own)


class Faceless(Lizard):
    image = tegu.Environment.image


def test_a_jax_environment_without_a_picture() -> None:
    agent = tegu.train(Faceless(), "q-learning", steps=10, folder=None)
    with pytest.raises(tegu.TeguError, match="lizard has no picture"):
        record(agent, max_steps=1).frames()


def test_no_environment_and_no_such_seed(lizard: tegu.Agent) -> None:
    with pytest.raises(tegu.TeguError, match=r"seed_index must lie in 0\.\.1, got 2"):
        record(lizard, seed_index=2)
    alone = tegu.Agent(lizard.algorithm, lizard.spec, lizard.learners, lizard.seeds, lizard.steps)
    with pytest.raises(tegu.TeguError, match="has no environment"):
        record(alone)
