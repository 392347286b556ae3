"""Killed at any moment, a run resumes as if it had never stopped."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from run_contents import assert_same, everything

import tegu
from tegu.runs import Run, checkpoint

KILLED = """
import sys, json, tegu
environment, algorithm, folder, settings = sys.argv[1], sys.argv[2], sys.argv[3], json.loads(sys.argv[4])
tegu.train(environment, algorithm, folder=folder, checkpoint_every=0, **settings)
"""


PPO = {"n_envs": 4, "n_steps": 32, "batch_size": 64, "n_epochs": 2, "net_arch": [16]}
DQN = {"n_envs": 2, "buffer_size": 500, "learning_starts": 50, "batch_size": 16, "net_arch": [16]}
FUSED, HOST = {"steps": 38_400, "log_interval": 256}, {"steps": 5_120, "log_interval": 256, "backend": "gymnasium"}


@pytest.mark.parametrize(
    ("environment", "algorithm", "settings"),
    [
        pytest.param("lizard", "q-learning", {"n_envs": 1, "steps": 20_000, "log_interval": 100}, id="q-learning"),
        pytest.param("CartPole-v1", "ppo", PPO | FUSED, id="ppo, fused", marks=pytest.mark.long),
        pytest.param("CartPole-v1", "dqn", DQN | FUSED, id="dqn, fused", marks=pytest.mark.long),
        pytest.param("CartPole-v1", "ppo", PPO | HOST, id="ppo, host", marks=pytest.mark.long),
        pytest.param("CartPole-v1", "dqn", DQN | HOST, id="dqn, host", marks=pytest.mark.long),
    ],
)
def test_a_killed_run_ends_as_one_never_stopped(
    environment: str, algorithm: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    """SIGKILL in the middle of training, twice, by another process; then resume to the end and compare everything but
    times."""
    settings = settings | {"seeds": 2}
    whole = tegu.train(environment, algorithm, folder=tmp_path / "whole", **settings)

    child = [sys.executable, "-c", KILLED, environment, algorithm, str(tmp_path / "killed"), json.dumps(settings)]
    kill_after_checkpoints(child, tmp_path / "killed", 3)
    run = Run.open("last", tmp_path / "killed")
    assert run.status.state == "interrupted"
    assert checkpoint.steps(run.checkpoints)[-1] < whole.steps, "killed too late to show anything"

    again = "import sys, tegu; tegu.resume(sys.argv[1])"
    kill_after_checkpoints([sys.executable, "-c", again, str(run.path)], tmp_path / "killed", 2)
    resumed = tegu.resume(run.path)
    assert resumed.steps == whole.steps
    assert whole.run is not None
    assert_same(everything(run), everything(whole.run))


def kill_after_checkpoints(command: list[str], folder: Path, n: int) -> None:
    """Start ``command`` and kill it, without warning, once it has committed ``n`` checkpoints more."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    seen: set[str] = {path.name for path in folder.glob("*/*/*/checkpoints/[0-9]*")}
    before = len(seen)
    while len(seen) < before + n:
        assert process.poll() in (None, 0), "the training ended by itself, with an error"
        assert time.monotonic() < deadline
        if process.poll() == 0:
            break
        seen |= {path.name for path in folder.glob("*/*/*/checkpoints/[0-9]*")}
    if process.poll() is None:
        os.kill(process.pid, signal.SIGKILL)
    process.wait()


def test_resume_goes_on_to_more_steps(tmp_path: Path) -> None:
    """``steps`` is the new total; metrics go on where they ended."""
    first = tegu.train("lizard", steps=1_000, folder=tmp_path)
    more = tegu.resume(first.run, steps=3_000)
    assert (first.steps, more.steps) == (1_000, 3_000)
    assert first.run is not None
    with first.run.metrics(read_only=True) as metrics:
        steps, _ = metrics.read("train/td_error")
    assert steps[0] <= 1_000 < steps[-1] == 3_000
    assert len(set(steps)) == len(steps)


def test_resuming_a_finished_run_changes_nothing(tmp_path: Path) -> None:
    agent = tegu.train("lizard", steps=1_000, folder=tmp_path)
    assert agent.run is not None
    before = everything(agent.run)
    tegu.resume(agent.run)
    assert_same(everything(agent.run), before)


def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path) -> None:
    """The last good checkpoint is found and the run still ends as it would have."""
    whole = tegu.train("lizard", steps=2_000, log_interval=500, folder=tmp_path / "whole")
    agent = tegu.train("lizard", steps=2_000, log_interval=500, checkpoint_every=0, folder=tmp_path / "damaged")
    assert agent.run is not None
    assert whole.run is not None
    newest = max(agent.run.checkpoints.glob("[0-9]*"))
    (newest / "learner.safetensors").write_bytes(b"not what it was")
    with pytest.warns(UserWarning, match="a newer checkpoint is skipped"):
        tegu.resume(agent.run)
    assert_same(everything(agent.run), everything(whole.run))


def test_a_run_that_is_training_cannot_be_resumed_beside(tmp_path: Path) -> None:
    agent = tegu.train("lizard", steps=500, folder=tmp_path)
    assert agent.run is not None
    with agent.run.lock(), pytest.raises(tegu.TeguError, match=r"lock|training"):
        tegu.resume(agent.run)
