"""Agents kept over a training are those that there were, whatever happened meanwhile."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import tegu
from tegu.agents.selection import expanded
from tegu.core.errors import TeguError
from tegu.core.trees import to_arrays
from tegu.runs import checkpoint
from tegu.runs.checkpoint import CheckpointError

SETTINGS: dict[str, Any] = {"n_envs": 2, "seeds": 2, "checkpoint_every": 0, "log_interval": 400, "snapshot_every": 300}
STEPS = [300, 600, 900, 1200]


class Copies:
    """What an observer of one's own saw."""

    def __init__(self, every: int):
        self.every, self.found = every, dict[int, dict[str, np.ndarray]]()

    def __call__(self, progress: Any, learners: Any) -> None:
        self.found[progress.steps] = {name: np.array(leaf) for name, leaf in to_arrays(learners).items()}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[tegu.Agent, Copies]:
    folder, copies = tmp_path_factory.mktemp("snapshots"), Copies(300)
    return tegu.train("lizard", "q-learning", steps=1200, folder=folder, observers=copies, **SETTINGS), copies


def same(agent: tegu.Agent, arrays: dict[str, np.ndarray]) -> bool:
    found = to_arrays(agent.learners)
    return found.keys() == arrays.keys() and all(np.array_equal(found[name], arrays[name]) for name in arrays)


def test_every_one_is_kept_as_it_was(trained: tuple[tegu.Agent, Copies]) -> None:
    agent, copies = trained
    assert agent.run is not None
    assert checkpoint.steps(agent.run.snapshots) == STEPS == sorted(copies.found)
    for step in STEPS:
        kept = tegu.load(f"{agent.run.path}@step={step}")
        assert (kept.steps, kept.total, kept.seeds) == (step, 1200, (0, 1))
        assert same(kept, copies.found[step])
    assert not same(kept, copies.found[300])
    assert same(tegu.load(agent.run), copies.found[1200])


@pytest.mark.parametrize(("asked", "step"), [("1", 300), ("300", 300), ("301", 600), ("1.2k", 1200), ("9e2", 900)])
def test_the_first_at_that_step_or_later(asked: str, step: int, trained: tuple[tegu.Agent, Copies]) -> None:
    run = trained[0].run
    assert run is not None
    assert tegu.load(f"{run.name}@step={asked}", folder=run.path.parents[2]).steps == step


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("1201", "no snapshot of step 1,201 or later: the last is of step 1,200"),
        ("", "whole number"),
        ("x", "got 'x'"),
        ("all", "is several agents, and one is expected"),
    ],
)
def test_what_there_is_not(asked: str, says: str, trained: tuple[tegu.Agent, Copies]) -> None:
    assert trained[0].run is not None
    with pytest.raises(TeguError, match=says):
        tegu.load(f"{trained[0].run.path}@step={asked}")


def test_a_run_without(tmp_path: Path) -> None:
    run = tegu.train("lizard", steps=100, folder=tmp_path).run
    assert run is not None
    assert not run.snapshots.exists()
    for use in (lambda: tegu.load(f"{run.path}@step=1"), lambda: expanded([f"{run.path}@step=all"], "runs")):
        with pytest.raises(TeguError, match="has no snapshots: train with snapshot_every"):
            use()


def test_all_of_them(trained: tuple[tegu.Agent, Copies]) -> None:
    run = trained[0].run
    assert run is not None
    root = run.path.parents[2]
    kept = [f"lizard@step={step}" for step in STEPS]
    assert expanded(["last", "lizard@step=all", "a@best"], root) == ["last", *kept, "a@best"]


def test_resuming_keeps_the_same(trained: tuple[tegu.Agent, Copies], tmp_path: Path) -> None:
    """Stopped in between, and trained on from there."""
    run = tegu.train(
        "lizard", "q-learning", steps=1200, folder=tmp_path, **SETTINGS, callbacks=lambda p: p.steps < 700
    ).run
    assert run is not None
    last = max(checkpoint.steps(run.checkpoints))
    agent = tegu.resume(run)
    assert last < 1200
    assert agent.run is not None
    assert checkpoint.steps(agent.run.snapshots) == STEPS
    for step in STEPS:
        assert same(tegu.load(f"{run.path}@step={step}"), trained[1].found[step])


def test_a_full_disk_ends_no_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save = checkpoint.save

    def full(folder: Path, *rest: Any, **more: Any) -> Path:
        if folder.name == "snapshots":
            raise CheckpointError("no space left on device")
        return save(folder, *rest, **more)

    monkeypatch.setattr(checkpoint, "save", full)
    with pytest.warns(UserWarning, match="no space left on device; training goes on"):
        agent = tegu.train("lizard", steps=400, folder=tmp_path, snapshot_every=300)
    assert agent.steps == 400
    assert jax.tree.leaves(agent.learners)
