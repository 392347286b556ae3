"""An environment whose episodes never end is evaluated within reason."""

import gymnasium
import numpy as np
import pytest

import tegu


class Endless(gymnasium.Env):
    """Pays 1 for every step; the episodes of some agents end."""

    observation_space = gymnasium.spaces.Box(-1, 1, (1,))
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: object = None) -> tuple[np.ndarray, dict]:
        return np.zeros(1, np.float32), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        return np.zeros(1, np.float32), 1.0, False, False, {}


def test_no_more_episodes_than_are_needed_to_see_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tegu.acting.evaluation.LONGEST", 5)
    agent = tegu.train(Endless, "ppo", steps=64, n_envs=1, n_steps=32, batch_size=32, n_epochs=1, folder=None)
    with pytest.warns(UserWarning, match="no episode of the evaluation ended: 8 instead of 20 were played, and cut"):
        assert np.array_equal(agent.evaluate(20).returns, np.full((1, 8), 5.0))
    assert agent.evaluate(3).returns.shape == (1, 3)
