"""The benchmarks for a GPU, at toy size on the CPU, and that their commands are such as Tegu takes."""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tegu.cli.train import arguments

ROOT = Path(__file__).resolve().parent.parent


def call(name: str, output: Path, *words: str) -> tuple[int, dict[str, Any]]:
    """The exit status of a benchmark, and its trainings so far."""
    command = [sys.executable, "-m", f"benchmarks.{name}", "--toy", "--seeds", "1", "--output", output, *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode in (0, 3), done.stdout + done.stderr
    return done.returncode, json.loads((output / f"{name.replace('_', '-')}.json").read_text())["trainings"]


@pytest.mark.long
def test_calls_go_on_where_the_last_one_stopped(tmp_path: Path) -> None:
    """The first one is stopped in its first training; the second does the rest, and the third finds nothing to do."""
    pytest.importorskip("ale_py")
    status, begun = call("gpu_atari", tmp_path, "--limit", "0")
    assert status == 3
    ((_, first),) = begun.items()
    assert first["state"] in ("interrupted", "finished")  # a fast machine may be done before it is stopped
    status, done = call("gpu_atari", tmp_path)
    assert status == 0
    assert set(done) == {f"Pong-{algorithm}-0" for algorithm in ("dqn", "pqn", "ppo")}
    check(done)
    assert len(done["Pong-dqn-0"]["pieces"]) == 1 + (first["state"] == "interrupted")
    assert done["Pong-ppo-0"]["best_score"] < 20
    assert done["Pong-ppo-0"]["seconds_to_target"] is None
    assert call("gpu_atari", tmp_path) == (0, done)


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "trainings"),
    [
        ("gpu_control", {"fast-ppo-0", "fast-sac-0"}),
        ("gpu_models", {"Pendulum-dreamer-0", "Pendulum-td-mpc2-0", "Pendulum-mbpo-0"}),
        ("gpu_hide_and_seek", {"tiny-ippo-0"}),
        ("gpu_go", {"5x5-alphazero-0"}),
    ],
)
def test_a_toy_trains(name: str, trainings: set[str], tmp_path: Path) -> None:
    if name == "gpu_control":
        pytest.importorskip("brax")
    status, done = call(name, tmp_path)
    assert (status, set(done)) == (0, trainings)
    check(done)
    if name == "gpu_go":
        rates = json.loads((tmp_path / "gpu-go-rates.json").read_text())["rates"]
        assert set(rates) == {"random games", "search"}
        assert rates["search"]["evaluations_per_second"] > 0
        assert rates["search"]["rate"] > 0
        assert rates["random games"]["rate"] > 0


def check(done: dict[str, Any]) -> None:
    """All trainings are finished, and were measured."""
    for name, one in done.items():
        assert one["state"] == "finished", name
        assert one["steps"] == 256
        assert one["steps_per_second"] > 0
        assert all(each["cores_busy"] > 0 for each in one["pieces"])
        assert one["seconds_to_target"] is None


@pytest.mark.parametrize("toy", [True, False])
@pytest.mark.parametrize("name", ["gpu_atari", "gpu_control", "gpu_models", "gpu_hide_and_seek", "gpu_go"])
def test_commands_are_such_as_tegu_takes(name: str, toy: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT)
    words, trainings = (
        getattr(importlib.import_module(f"benchmarks.{module}"), function)
        for module, function in (("gpu", "words"), (name, "trainings"))
    )
    found = trainings(2, toy)
    assert len({training.name for training in found}) == len(found)
    for training in found:
        _, subcommand, *rest = words(training, tmp_path)
        assert subcommand == "train"
        args = arguments(rest)
        assert (args.environment, args.steps) == (training.environment, training.steps)
