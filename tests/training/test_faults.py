"""What goes wrong is said in one line, and nothing that was good is lost."""

import errno
import os
import signal
from pathlib import Path
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tegu
from tegu.cli import main
from tegu.runs import Run, checkpoint
from tegu.training.faults import UnsavedError
from tegu.training.trainer import Progress

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


def _full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.slow
def test_a_disk_that_is_full_for_a_while_does_not_stop_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A warning says so, training goes on, and the last checkpoint is there."""
    agent = tegu.train("lizard", steps=1_000, checkpoint_every=0, folder=tmp_path)
    assert agent.run is not None
    monkeypatch.setattr(checkpoint, "_write", _full)

    def later(progress: Progress) -> None:
        if progress.steps > 2_000:
            monkeypatch.undo()

    with pytest.warns(UserWarning, match="No space left on device.*training goes on"):
        more = tegu.resume(agent.run, steps=3_000, callbacks=(later,))
    assert more.steps == 3_000
    assert checkpoint.load_latest(agent.run.checkpoints).step == 3_000
    assert agent.run.status.state == "finished"


@pytest.mark.slow
def test_a_run_whose_last_checkpoint_cannot_be_written_is_not_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    agent = tegu.train("lizard", steps=1_000, folder=tmp_path)
    assert agent.run is not None
    monkeypatch.setattr(checkpoint, "_write", _full)
    with pytest.raises(UnsavedError, match=r"No space left on device; the checkpoint of step 1,000 is kept") as caught:
        tegu.resume(agent.run, steps=3_000)
    assert caught.value.agent.steps == 3_000
    assert agent.run.status.state == "failed"
    assert "No space left on device" in agent.run.status.message
    assert checkpoint.load_latest(agent.run.checkpoints).step == 1_000
    assert main(["resume", "last", "--runs", str(tmp_path), "--steps", "3000", "--episodes", "0", "--quiet"]) == 1
    assert "No space left on device" in capsys.readouterr().err


class Fragile(gymnasium.Env):
    """Its sensor fails for good at a step of all environments."""

    observation_space = gymnasium.spaces.Box(-1, 1, (2,))
    action_space = gymnasium.spaces.Discrete(2)
    left = 0

    def reset(self, *, seed=None, options=None):
        self.t = 0
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.t += 1
        Fragile.left -= 1
        if not Fragile.left:
            raise RuntimeError("sensor gone")
        return np.full(2, self.t / 50, np.float32), 1.0, False, self.t == 50, {}


TINY_DQN = {"n_envs": 2, "learning_starts": 50, "buffer_size": 500, "batch_size": 8, "net_arch": (8,), "train_freq": 4}


@pytest.mark.parametrize(("algorithm", "settings", "saved"), [("ppo", TINY, 480), ("dqn", TINY_DQN, 496)])
def test_what_was_learned_survives_an_environment_that_raises(
    algorithm: str, settings: dict[str, Any], saved: int, tmp_path: Path
) -> None:
    """The last whole iteration is saved, and resuming goes on from there in fresh episodes."""
    Fragile.left = 500
    with pytest.raises(RuntimeError, match="sensor gone") as caught:
        tegu.train(Fragile, algorithm, steps=1_000, log_interval=200, folder=tmp_path, **settings)
    run = Run.open("last", tmp_path)
    assert f"the checkpoint of step {saved} is kept" in caught.value.__notes__[0]
    assert (run.status.state, run.status.message) == ("failed", "RuntimeError: sensor gone")
    assert checkpoint.load_latest(run.checkpoints).step == run.status.steps == saved
    Fragile.left = 0
    assert tegu.resume(run, environment=Fragile).steps >= 1_000
    assert run.status.state == "finished"


def test_what_was_learned_survives_a_callback_that_raises(tmp_path: Path) -> None:
    def upset(progress: Progress) -> None:
        if progress.steps >= 500:
            raise KeyError("no such metric")

    with pytest.raises(KeyError):
        tegu.train("lizard", steps=1_000, log_interval=100, folder=tmp_path, callbacks=(upset,))
    run = Run.open("last", tmp_path)
    assert run.status.state == "failed"
    assert "no such metric" in run.status.message
    assert checkpoint.load_latest(run.checkpoints).step == run.status.steps == 500


class Unsaveable(Spoilt):
    """Its own state is no array of numbers."""

    def save_state(self) -> dict[str, Any]:
        return {"friend": np.array([self], object)}

    def load_state(self, arrays: dict[str, Any]) -> None:
        raise AssertionError


def test_what_can_never_be_saved_is_found_before_training(tmp_path: Path) -> None:
    with pytest.raises(tegu.TeguError, match=r"could not be saved: .*state/0/friend.* object"):
        tegu.train(Unsaveable, "ppo", steps=1_000, folder=tmp_path, **TINY)
    assert Run.open("last", tmp_path).status.steps == 0


def test_the_first_ctrl_c_saves_and_reaches_the_script(tmp_path: Path) -> None:
    """Also while it compiles; the environment's own step is not cut in two."""

    def press(at: str) -> Any:
        return lambda progress: os.kill(os.getpid(), signal.SIGINT) if progress.state == at else None

    for at, least in (("compiling", 0), ("training", 1)):
        with pytest.raises(KeyboardInterrupt):
            tegu.train("lizard", steps=1_000, log_interval=100, folder=tmp_path / at, callbacks=(press(at),))
        run = Run.open("last", tmp_path / at)
        assert run.status.state == "stopped"
        assert least <= checkpoint.load_latest(run.checkpoints).step < 1_000
    assert tegu.resume(run).steps == 1_000


@pytest.mark.parametrize(
    ("error", "size"),
    [
        (MemoryError(), ""),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 64000001348 bytes."), " for 59.6 GiB more"),
    ],
)
def test_too_little_memory_is_one_line(error: Exception, size: str, tmp_path: Path) -> None:
    """Whatever asks for too much, and after what there is has been saved."""

    def greedy(progress: Progress) -> None:
        if progress.steps >= 500:
            raise error

    with pytest.raises(tegu.TeguError, match=f"there is not enough memory{size}: lower net_arch"):
        tegu.train("lizard", steps=1_000, log_interval=100, folder=tmp_path, callbacks=(greedy,))
    run = Run.open("last", tmp_path)
    assert run.status.state == "failed"
    assert checkpoint.load_latest(run.checkpoints).step == 500
