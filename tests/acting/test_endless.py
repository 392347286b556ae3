"""An environment whose episodes never end is evaluated within reason."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tegu
from tegu.environments.base import Timestep


class Endless(gymnasium.Env):
    """Pays 1 for every step."""

    observation_space = gymnasium.spaces.Box(-1, 1, (1,))
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: object = None) -> tuple[np.ndarray, dict]:
        return np.zeros(1, np.float32), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        return np.zeros(1, np.float32), 1.0, False, False, {}


@pytest.mark.slow
def test_no_more_episodes_than_are_needed_to_see_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tegu.acting.evaluation.LONGEST", 5)
    agent = tegu.train(Endless, "ppo", steps=64, n_envs=1, n_steps=32, batch_size=32, n_epochs=1, folder=None)
    with pytest.warns(UserWarning, match="no episode of the evaluation ended: 8 instead of 20 were played, and cut"):
        assert np.array_equal(agent.evaluate(20).returns, np.full((1, 8), 5.0))
    assert agent.evaluate(3).returns.shape == (1, 3)


class EndlessInJax(tegu.Environment):
    """The same."""

    observation_space = Endless.observation_space
    action_space = Endless.action_space

    def reset(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jnp.zeros(1), jnp.zeros(1)

    def step(self, state: jax.Array, action: jax.Array, key: jax.Array) -> Timestep:
        return Timestep(state, state, jnp.ones(()), jnp.zeros((), bool))


@pytest.mark.slow
def test_in_jax_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tegu.acting.evaluation.LONGEST", 5)
    given = {"steps": 64, "n_envs": 1, "n_steps": 32, "batch_size": 32, "n_epochs": 1, "folder": None}
    agent = tegu.train(EndlessInJax(id="endless"), "ppo", **given)
    with pytest.warns(UserWarning, match="no episode of the evaluation ended: 3 were played, and cut after 5 steps"):
        assert np.array_equal(agent.evaluate(3).returns, np.full((1, 3), 5.0))
