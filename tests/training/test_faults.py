"""What goes wrong is said in one line, and nothing that was good is lost."""

import errno
from pathlib import Path

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tegu
from tegu.runs import Run, checkpoint, disk

TINY = {"n_envs": 2, "n_steps": 16, "batch_size": 32, "n_epochs": 1, "net_arch": (8,)}


class Walk(tegu.Environment):
    """A counter that turns into NaN where it is told to."""

    breaks_at: int = 0
    breaks: str = "observation"

    @property
    def observation_space(self) -> gymnasium.spaces.Box:
        return gymnasium.spaces.Box(-np.inf, np.inf, (1,))

    @property
    def action_space(self) -> gymnasium.spaces.Discrete:
        return gymnasium.spaces.Discrete(2)

    def reset(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jnp.zeros(()), jnp.zeros(1)

    def step(self, state: jax.Array, action: jax.Array, key: jax.Array) -> tegu.Timestep:
        state = state + 1
        bad = jnp.where(state == self.breaks_at, jnp.nan, 1.0)
        observation = jnp.ones(1) * (bad if self.breaks == "observation" else 1.0)
        return tegu.Timestep(state, observation, bad if self.breaks == "reward" else jnp.ones(()), state > 1e6)


@pytest.mark.parametrize(("breaks", "words"), [("observation", "an observation"), ("reward", "a reward")])
def test_nan_from_the_environment_stops_training(breaks: str, words: str, tmp_path: Path) -> None:
    """The message names the cause and the step, and the last good checkpoint is kept."""
    environment = Walk(breaks_at=100, breaks=breaks, id="walk")
    ppo = tegu.PPO(n_steps=16, batch_size=32, n_epochs=1, net_arch=(8,))
    with pytest.raises(tegu.TeguError) as caught:
        tegu.train(environment, ppo, n_envs=2, steps=1_000, log_interval=32, checkpoint_every=0, folder=tmp_path)
    assert f"{words} became NaN or infinite by step 224 (seed 0); the checkpoint of step 192 is kept" in str(
        caught.value
    )
    run = Run.open("last", tmp_path)
    assert run.status.state == "failed"
    assert checkpoint.load_latest(run.checkpoints).step == 192


def test_nan_in_learning_stops_training(tmp_path: Path) -> None:
    with pytest.raises(tegu.TeguError, match=r"the loss became NaN|of the learner became NaN"):
        tegu.train("CartPole-v1", "ppo", steps=1_000, folder=tmp_path, learning_rate=1e38, **TINY)


class Spoilt(gymnasium.Env):
    """A Gymnasium environment whose fifth observation is infinite."""

    observation_space = gymnasium.spaces.Box(-1, 1, (2,))
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        self.t = 0
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.t += 1
        return np.full(2, np.inf if self.t == 5 else 0.0, np.float32), 1.0, False, self.t == 50, {}


def test_nan_on_the_host_stops_training(tmp_path: Path) -> None:
    with pytest.raises(tegu.TeguError, match="an observation became NaN or infinite by step 32"):
        tegu.train(Spoilt, "ppo", steps=1_000, folder=tmp_path, **TINY)


def test_a_full_disk_does_not_stop_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old checkpoint stays, a warning says so, and training reaches its end."""
    agent = tegu.train("lizard", steps=1_000, folder=tmp_path)
    assert agent.run is not None

    def full(descriptor: int, data: bytes | memoryview) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(disk, "write", full)
    with pytest.warns(UserWarning, match="No space left on device.*training goes on"):
        more = tegu.resume(agent.run, steps=3_000)
    assert more.steps == 3_000
    monkeypatch.undo()
    assert checkpoint.load_latest(agent.run.checkpoints).step == 1_000
