"""Ctrl-C: the run is saved, the exit status is 130, and the run can go on."""

import signal
import subprocess
import sys
import time
from pathlib import Path

from cli.conftest import Command

from tegu.runs import Run, checkpoint

PROGRAM = "import sys; from tegu.cli import main; sys.exit(main())"


def test_ctrl_c_saves_and_resume_finishes(tegu: Command, tmp_path: Path) -> None:
    words = ["train", "lizard", "--steps", "1B", "--log-interval", "10k", "--checkpoint-every", "1000"]
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *words],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        metrics = tmp_path / "runs/lizard/q-learning/1/metrics.sqlite"
        deadline = time.monotonic() + 60
        while not metrics.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "continue with: tegu resume lizard/q-learning/1" in out
    assert (tmp_path / "runs/lizard/q-learning/1/curve.png").is_file()
    assert "stopping: saves a checkpoint" in err
    assert "Traceback" not in err
    run = Run.open("last", tmp_path / "runs")
    assert run.status.state == "stopped"
    (step,) = checkpoint.steps(run.checkpoints)
    assert step > 0
    answer = tegu("resume", "--steps", str(step + 1000), "--json", "--quiet")
    assert (answer.status, answer.data["steps"]) == (0, step + 1000)
