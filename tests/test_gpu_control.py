"""The benchmark of robots on a GPU, at toy size on the CPU, and that its commands are such as Tegu takes."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tegu.cli.train import arguments

ROOT = Path(__file__).resolve().parent.parent


def call(output: Path, *words: str) -> tuple[int, dict[str, Any]]:
    command = [sys.executable, "-m", "benchmarks.gpu_control", "--toy", "--seeds", "1", "--output", output, *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode in (0, 3), done.stdout + done.stderr
    return done.returncode, json.loads((output / "gpu-control.json").read_text())["trainings"]


@pytest.mark.long
@pytest.mark.skipif(importlib.util.find_spec("brax") is None, reason="needs brax")
def test_calls_go_on_where_the_last_one_stopped(tmp_path: Path) -> None:
    status, begun = call(tmp_path, "--limit", "0")
    assert status == 3
    ((_, first),) = begun.items()
    assert first["state"] in ("interrupted", "finished")  # a fast machine may be done before it is stopped
    status, done = call(tmp_path)
    assert status == 0
    assert set(done) == {"fast-ppo-0", "fast-sac-0"}
    for one in done.values():
        assert one["state"] == "finished"
        assert one["steps"] == 256
        assert one["steps_per_second"] > 0
        assert one["best_score"] is not None
        assert one["seconds_to_target"] is None
    assert len(done["fast-ppo-0"]["pieces"]) == 1 + (first["state"] == "interrupted")
    assert call(tmp_path) == (0, done)


@pytest.mark.parametrize("toy", [True, False])
def test_commands_are_such_as_tegu_takes(toy: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT)
    words, trainings = (
        getattr(importlib.import_module(f"benchmarks.{module}"), name)
        for module, name in (("gpu", "words"), ("gpu_control", "trainings"))
    )
    found = trainings(2, toy)
    assert len({training.name for training in found}) == len(found)
    for training in found:
        _, subcommand, *rest = words(training, tmp_path)
        assert subcommand == "train"
        args = arguments(rest)
        assert (args.environment, args.steps) == (training.environment, training.steps)
