"""Exported metrics, read back with other readers, are what was stored."""

import csv
import math
import sys
import time

import numpy as np
import pytest
from run_contents import events, stored

from tegu.runs import ExportError, Run, to_csv, to_tensorboard


@pytest.fixture
def run(tmp_path):
    run = Run.create(tmp_path, "CartPole-v1", "ppo", {})
    rng = np.random.default_rng(0)
    with run.metrics() as metrics:
        for step in range(0, 500, 20):
            metrics.write(step, {seed: {"train/loss": rng.normal(), 'odd, "name"': step} for seed in (5, 1)})
        metrics.write(500, {1: {"train/loss": math.nan}, 5: {"train/loss": -math.inf}})
    return run


def test_csv_holds_every_number_exactly(run, tmp_path):
    to_csv(run, tmp_path / "out.csv")
    with open(tmp_path / "out.csv", newline="", encoding="utf-8") as file:
        header, *lines = csv.reader(file)
    assert header == ["step", "seed", "name", "value"]
    read = [(int(step), int(seed), name, float(value)) for step, seed, name, value in lines]
    assert repr(read) == repr([tuple(row[:4]) for row in stored(run)])
    assert [row[:3] for row in read] == sorted(row[:3] for row in read)
    assert len(read) == 102


def test_tensorboard_holds_every_number_at_its_time(run, tmp_path):
    pytest.importorskip("tensorboardX")
    before = time.time()
    to_tensorboard(run, tmp_path / "tb")
    assert sorted(path.name for path in (tmp_path / "tb").iterdir()) == ["seed-1", "seed-5"]
    for seed in (1, 5):
        expected = [
            (row.step, row.name.replace('odd, "name"', "odd___name_"), float(np.float32(row.value)), row.time)
            for row in stored(run)
            if row.seed == seed
        ]
        assert repr(list(events(tmp_path / "tb" / f"seed-{seed}"))) == repr(expected)
        assert all(before - 60 < row[3] < before for row in expected)
    with pytest.raises(ExportError, match="File exists"):
        to_tensorboard(run, tmp_path / "tb")


def test_a_missing_package_is_named(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ExportError, match=r"tegu\[tensorboard\]"):
        to_tensorboard(run, tmp_path / "tb")


def test_a_target_that_cannot_be_written_is_one_line(run, tmp_path):
    with pytest.raises(ExportError) as caught:
        to_csv(run, tmp_path / "missing" / "out.csv")
    assert "No such file or directory" in str(caught.value)
    assert "\n" not in str(caught.value)
