"""Metrics that are written while training are those that the run holds, each once, also after a resume."""

import csv
import sys
import types

import numpy as np
import pytest
from run_contents import events, stored

import tegu
from tegu.core.errors import TeguError
from tegu.runs import to_csv
from tegu.runs.live import formats_of

SMALL = {"steps": 400, "n_envs": 2, "log_interval": 100, "seeds": 2}


def numbers(run, seed):
    return [(row.step, row.name, float(np.float32(row.value)), row.time) for row in stored(run) if row.seed == seed]


@pytest.fixture
def tensorboard():
    return pytest.importorskip("tensorboardX")


@pytest.mark.slow
def test_files_hold_every_number_once_after_a_resume(tmp_path, tensorboard):
    seen = []

    def halfway(progress):
        """What is in the files is what is stored, at every report; then stop between two checkpoints."""
        if progress.state == "training":
            lines = (progress.run.path / "metrics.csv").read_text().splitlines()
            seen.append(len(lines) - 1 - len(stored(progress.run)))
        return progress.steps < 200

    options = SMALL | {"eval_every": 200, "eval_episodes": 2}
    stopped = tegu.train("FrozenLake-v1", folder=tmp_path, log="csv, tensorboard", callbacks=halfway, **options)
    assert stopped.steps == 200
    with stopped.run.metrics() as metrics:  # as if the process had gone on, and was killed before its next checkpoint
        metrics.write(300, {0: {"train/loss": 1.0}})
    (stopped.run.path / "metrics.csv").write_text("of a killed process")
    run = tegu.resume(stopped).run
    assert seen == [0, 0]
    to_csv(run, tmp_path / "after.csv")
    assert (run.path / "metrics.csv").read_bytes() == (tmp_path / "after.csv").read_bytes()
    with open(run.path / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {int(row["step"]) for row in rows} == {100, 200, 300, 400}
    assert {"eval/mean_reward", "rollout/ep_rew_mean"} <= {row["name"] for row in rows}
    for seed in (0, 1):
        assert repr(list(events(run.path / "tensorboard" / f"seed-{seed}"))) == repr(numbers(run, seed))


def test_a_sweep_logs_each_of_its_runs(tmp_path):
    agents = tegu.sweep(
        "FrozenLake-v1", "q-learning", values={"gamma": [0.9, 0.99]}, folder=tmp_path, log=["csv"], **SMALL
    )
    for agent in agents:
        to_csv(agent.run, tmp_path / "after.csv")
        assert (agent.run.path / "metrics.csv").read_bytes() == (tmp_path / "after.csv").read_bytes()


def test_links_are_not_followed(tmp_path):
    mine = tmp_path / "mine.txt"
    mine.write_text("keep")
    first = tegu.train("FrozenLake-v1", folder=tmp_path, log="csv", **SMALL)
    (first.run.path / "metrics.csv").unlink()
    (first.run.path / "metrics.csv").symlink_to(mine)
    with pytest.raises(TeguError, match="is a link, which is not followed"):
        tegu.resume(first, steps=600, stretch_schedules=True)
    assert mine.read_text() == "keep"


def test_a_full_disk_ends_the_log_and_not_the_training(tmp_path, monkeypatch):
    def full(self, rows):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tegu.runs.export.CsvWriter.write", full)
    with pytest.warns(UserWarning, match="log: csv gets no more of .*No space left on device; training goes on"):
        assert tegu.train("FrozenLake-v1", folder=tmp_path, log="csv", **SMALL).steps == 400


class FakeRun:
    def __init__(self, **options):
        self.options, self.logged, self.finished = options, [], False

    def log(self, values, step):
        self.logged.append((step, values))

    def finish(self):
        self.finished = True


def test_weights_and_biases_get_every_number(tmp_path, monkeypatch):
    """Of a stand-in for the package, which is not installed here: one call for each step, the same id on resume."""
    begun = []
    module = types.ModuleType("wandb")
    module.__spec__ = types.SimpleNamespace(name="wandb")
    module.init = lambda **options: begun.append(FakeRun(**options)) or begun[-1]
    monkeypatch.setitem(sys.modules, "wandb", module)
    run = tegu.train("FrozenLake-v1", folder=tmp_path, log="wandb", **SMALL).run
    rows = [(step, name, value) for step, values in begun[0].logged for name, value in values.items()]
    assert repr(rows) == repr([(row.step, f"seed-{row.seed}/{row.name}", row.value) for row in stored(run)])
    assert begun[0].finished
    tegu.resume(run, steps=600, stretch_schedules=True)
    assert begun[1].options["id"] == begun[0].options["id"]
    assert begun[1].logged[-1][0] == 600


@pytest.mark.parametrize(
    ("log", "says"),
    [
        ("tensorbord", "log must be names among csv, tensorboard, wandb, got 'tensorbord'"),
        (3, "got 3"),
        ([3], r"got \[3\]"),
    ],
)
def test_what_is_no_format_is_one_line(log, says, tmp_path):
    with pytest.raises(TeguError, match=says):
        tegu.train("FrozenLake-v1", folder=tmp_path, log=log)
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_named_before_training(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(TeguError, match=r"log: tensorboard needs a package: pip install 'tegu\[tensorboard\]'"):
        formats_of("tensorboard")
    with pytest.raises(TeguError, match="pip install 'wandb'"):
        formats_of("wandb")
    monkeypatch.undo()
    with pytest.raises(TeguError, match="folder=None saves none"):
        tegu.train("FrozenLake-v1", folder=None, log="csv")
