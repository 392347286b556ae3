"""Going on with a run: to more steps, from damaged checkpoints, and not twice at once."""

from pathlib import Path

import pytest
from run_contents import assert_same, everything

import tegu


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
