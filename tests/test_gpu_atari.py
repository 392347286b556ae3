"""The benchmark of Atari games on a GPU, at toy size on the CPU."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent


def call(output: Path, *words: str) -> tuple[int, dict[str, Any]]:
    command = [sys.executable, "-m", "benchmarks.gpu_atari", "--toy", "--seeds", "1", "--output", output, *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode in (0, 3), done.stdout + done.stderr
    return done.returncode, json.loads((output / "gpu-atari.json").read_text())["trainings"]


@pytest.mark.long
def test_calls_go_on_where_the_last_one_stopped(tmp_path: Path) -> None:
    """The first one is stopped in its first training; the second does the rest, and the third finds nothing to do."""
    pytest.importorskip("ale_py")
    status, begun = call(tmp_path, "--limit", "0")
    assert status == 3
    ((_, first),) = begun.items()
    assert first["state"] in ("interrupted", "finished")  # a fast machine may be done before it is stopped
    status, done = call(tmp_path)
    assert status == 0
    assert set(done) == {f"Pong-{algorithm}-0" for algorithm in ("dqn", "pqn", "ppo")}
    for one in done.values():
        assert one["state"] == "finished"
        assert one["steps"] == 256
        assert one["steps_per_second"] > 0
        assert all(each["cores_busy"] > 0 for each in one["pieces"])
    assert len(done["Pong-dqn-0"]["pieces"]) == 1 + (first["state"] == "interrupted")
    assert done["Pong-ppo-0"]["best_score"] < 20
    assert done["Pong-ppo-0"]["seconds_to_target"] is None
    assert call(tmp_path) == (0, done)
