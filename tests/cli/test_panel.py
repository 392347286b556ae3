"""What is drawn while training, and that it can be drawn everywhere."""

import io
import math
import re
import sys
from pathlib import Path

import pytest
from rich.console import Console

from tegu.cli.panel import LivePanel, tracker
from tegu.cli.progress import BETWEEN_LINES, Lines, clock, rounded
from tegu.cli.terminal import ascii_where_needed
from tegu.runs import Run
from tegu.training.trainer import Progress

METRICS = {
    "rollout/ep_rew_mean": 10.0,
    "train/loss": 0.5,
    "train/n_updates": 1200.0,
    "train/odd": math.nan,
    "train/td_error_p95": 3.0,
}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(tmp_path, "CartPole-v1", "ppo", {"backend": "jax"})


def report(run: Run, step: int, state: str = "training", seeds: int = 2) -> Progress:
    metrics = [METRICS | {"rollout/ep_rew_mean": float(step + i)} for i in range(seeds)]
    return Progress(state, step, 1000, seeds, step / 100, 200.0, metrics, {"compiled program": 0.9}, run)


def drawn(run: Run, encoding: str = "utf-8", width: int = 100, height: int = 40) -> str:
    """All that a terminal is sent during a training."""
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding, newline="")
    ascii_where_needed(file)
    screen = Console(file=file, force_terminal=True, width=width, height=height, markup=False, highlight=False)
    with LivePanel(screen) as panel:
        panel(Progress("compiling", 0, 1000, 2, 0.0, 0.0, run=run))
        for step in range(100, 1001, 100):
            panel(report(run, step))
        panel(report(run, 1000, "saving"))
        panel(report(run, 1000, "finished"))
        panel.say("done")
    file.flush()
    return raw.getvalue().decode(encoding)


def test_the_panel_says_all(run: Run) -> None:
    shown = drawn(run)
    for text in ("CartPole-v1 with ppo", "done", "1,000 of 1,000 steps x 2 seeds", "▁▂▃▃▄▅▆▆▇█", "1000", "std 0.5",
                 "200 steps/s", "compiled program 90%", "loss", "1,200", "nan", str(run.path)[:40],
                 "environment: Tegu's JAX implementation (Gymnasium's own: backend gymnasium)"):  # fmt: skip
        assert text in shown
    assert "td_error_p95" not in shown


@pytest.mark.parametrize("width", [20, 60])
def test_the_panel_fits_narrow_terminals(run: Run, width: int) -> None:
    assert "CartPole" in drawn(run, width=width)


def test_the_panel_in_plain_ascii(run: Run) -> None:
    shown = drawn(run, "ascii")
    assert "_.::-=++*#" in shown
    assert "?" not in re.sub(r"\x1b\[\??[\d;]*\w", "", shown)


@pytest.mark.parametrize(("error", "state"), [(KeyboardInterrupt, "stopped"), (ValueError, "failed")])
def test_the_panel_says_how_it_ended(run: Run, error: type[BaseException], state: str) -> None:
    file = io.StringIO()
    panel = LivePanel(Console(file=file, force_terminal=True, width=80))
    panel.__enter__()
    panel(report(run, 500))
    panel.__exit__(error, error(), None)
    assert state in file.getvalue()


def test_time_left(run: Run) -> None:
    lines = Lines()
    assert math.isnan(lines.left)
    lines(report(run, 400))
    assert lines.left == pytest.approx(600 * 2 / 200)


def test_time_left_is_that_of_learning(run: Run) -> None:
    """The fast random steps before it no longer count once there is an update."""
    lines = Lines()
    for step in range(10):
        lines(Progress("training", step, 1000, 1, 1.0, 5000.0, [{"rollout/ep_rew_mean": 1.0}], {}, run))
    assert lines.left == pytest.approx(991 / 5000)
    lines(Progress("training", 10, 1000, 1, 2.0, 2.0, [METRICS], {}, run))
    assert lines.left == pytest.approx(990 / 2)
    lines(Progress("training", 20, 1000, 1, 3.0, 4.0, [METRICS], {}, run))
    assert lines.left == pytest.approx(980 / 3)


@pytest.mark.parametrize(
    ("speed", "text"),
    [(0.0, "0"), (0.0321, "0.032"), (1.27, "1.3"), (9.97, "10"), (12.6, "13"), (1_234_567.0, "1,230,000")],
)
def test_speeds(speed: float, text: str) -> None:
    assert rounded(speed) == text


def test_plain_lines_are_rare(run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("time.perf_counter", lambda: now)
    lines = Lines()
    for step in range(1000):
        now = step / 50
        lines(report(run, step))
    shown = capsys.readouterr().err.splitlines()
    assert len(shown) == 20 / BETWEEN_LINES - 1
    assert shown[0] == "250 of 1,000 steps, return 250.5, 200 steps/s, 8 s left"


def test_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert isinstance(tracker(quiet=False), Lines)
    assert not isinstance(tracker(quiet=True), Lines)


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0 s"), (59.4, "59 s"), (185, "3:05"), (3723, "1:02:03"),
                                               (math.nan, "?"), (math.inf, "?")])  # fmt: skip
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_every_character_has_a_stand_in() -> None:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, "latin-1", newline="")
    ascii_where_needed(file)
    print("┌─┐ ←→↑↓ ▁█ é 蜥", file=file, end="", flush=True)
    assert raw.getvalue() == "+-+ <>^v _# é ?".encode("latin-1")
