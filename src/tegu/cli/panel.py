"""How a training goes: a live panel on the terminal, plain lines elsewhere, or nothing."""

import math
import sys
import time
from collections import deque
from types import TracebackType
from typing import Any, Self

import numpy as np
from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tegu.analysis.compare import RETURN
from tegu.analysis.figures import sparkline
from tegu.cli.common import console
from tegu.training.trainer import Progress

WIDTH = 88  #: of the panel, at most
BETWEEN_LINES = 5.0  #: seconds
_STATES = {"finished": "done"}
_COLOURS = {"compiling": "yellow", "stopped": "yellow", "saving": "yellow", "done": "green"}


def monitor(quiet: bool) -> "Monitor":
    """What suits where the output goes."""
    if quiet:
        return Monitor()
    screen = console(sys.stderr)
    return LivePanel(screen) if screen.is_interactive else Lines()


class Monitor:
    """Follows a training and shows nothing. Hand it to ``train`` as a callback."""

    def __init__(self) -> None:
        self.progress: Progress | None = None
        self.state = "starting"
        self.curve: list[float] = []  #: mean return over seeds, after each chunk that had one
        self.returns: dict[int, float] = {}  #: the last of each seed
        self._speeds: deque[float] = deque(maxlen=10)
        self._heard = time.perf_counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to put away."""

    def __call__(self, progress: Progress) -> None:
        self.progress, self._heard = progress, time.perf_counter()
        self.state = _STATES.get(progress.phase, progress.phase)
        if progress.phase == "training":
            self._speeds.append(progress.fps)
            found = {i: figures[RETURN] for i, figures in enumerate(progress.metrics) if RETURN in figures}
            self.returns |= found
            if found:
                self.curve.append(float(np.mean(list(self.returns.values()))))

    def say(self, state: str) -> None:
        """What is being done now that the training itself is over."""
        self.state = state

    @property
    def elapsed(self) -> float:
        """Seconds of training so far, ticking between chunks."""
        if self.progress is None:
            return 0.0
        running = self.progress.phase in ("compiling", "training")
        return self.progress.seconds + (time.perf_counter() - self._heard if running else 0.0)

    @property
    def left(self) -> float:
        """Seconds to go at the speed of the last chunks; NaN while that is unknown."""
        if self.progress is None or not self._speeds:
            return math.nan
        return (self.progress.total - self.progress.steps) * self.progress.n_seeds / float(np.mean(self._speeds))


class Lines(Monitor):
    """At the start, at the end, and every few seconds between."""

    def __init__(self) -> None:
        super().__init__()
        self._printed = time.perf_counter()

    def __call__(self, progress: Progress) -> None:
        super().__call__(progress)
        now = time.perf_counter()
        if progress.phase == "compiling":
            self._print(f"{heading(progress)}, {progress.total:,} steps: {where(progress)}; {origin(progress)}")
        elif progress.phase != "training":
            self._print(f"{self.state} after {clock(self.elapsed)}: {self._standing(progress)}")
        elif now - self._printed >= BETWEEN_LINES:
            self._printed = now
            self._print(f"{self._standing(progress)}, {rounded(progress.fps)} steps/s, {clock(self.left)} left")

    def _standing(self, progress: Progress) -> str:
        steps = f"{progress.steps:,} of {progress.total:,} steps"
        return f"{steps}, return {self.curve[-1]:.4g}" if self.curve else steps

    def _print(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)


class LivePanel(Monitor):
    """Redrawn in place a few times a second."""

    def __init__(self, screen: Console) -> None:
        super().__init__()
        self._live = Live(console=screen, get_renderable=self._render, refresh_per_second=4)
        self._ascii = screen.options.ascii_only

    def __enter__(self) -> Self:
        self._live.start()
        self._live.console.show_cursor(True)  # so that the cursor is there again even if we are killed
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.transient = self.progress is None
        self._live.stop()

    def _render(self) -> RenderableType:
        """The panel, and an empty line for the cursor to rest on."""
        progress = self.progress
        if progress is None:
            return Group(Text("starting", style="dim"), "")
        parts: list[RenderableType] = [self._rows(progress)]
        if figures := mean_figures(progress):
            parts += ["", _columns(figures)]
        parts += ["", Text(f"{origin(progress)}\n{where(progress)}", style="dim", overflow="fold")]
        title = Text(f" {heading(progress)} ", style="bold")
        width = min(self._live.console.width, WIDTH)
        style = "dim"
        return Group(
            Panel(Group(*parts), title=title, title_align="left", box=box.ROUNDED, border_style=style, padding=(1, 2),
                  width=width),
            "",
        )  # fmt: skip

    def _rows(self, progress: Progress) -> Table:
        rows = Table.grid(padding=(0, 2))
        rows.add_column(style="dim", width=10, no_wrap=True)
        rows.add_column(no_wrap=True, overflow="ellipsis")
        state = Text(self.state, style=_COLOURS.get(self.state, "cyan"))
        rows.add_row(state, self._bar(progress))
        rows.add_row("return", self._curve(progress))
        rows.add_row("speed", f"{rounded(progress.fps)} steps/s" if progress.fps else "")
        rows.add_row("time", self._times(progress))
        return rows

    def _bar(self, progress: Progress) -> Table:
        row = Table.grid(padding=(0, 2))
        seeds = f" of {progress.n_seeds} seeds" if progress.n_seeds > 1 else ""
        bar = ProgressBar(progress.total, progress.steps, width=28, complete_style="green", finished_style="green")
        row.add_row(bar, f"{progress.steps:,} of {progress.total:,} steps{seeds}")
        return row

    def _curve(self, progress: Progress) -> Text:
        if not self.curve:
            return Text("no episode has ended yet" if progress.steps else "", style="dim")
        text = Text.assemble((sparkline(self.curve, 28, ascii=self._ascii), "green"), f"  {self.curve[-1]:.4g}")
        if len(self.returns) > 1:
            text.append(f"  std {np.std(list(self.returns.values())):.3g} over {len(self.returns)} seeds", "dim")
        return text

    def _times(self, progress: Progress) -> Text:
        left = f", {clock(self.left)} left" if self.state == "training" and self._speeds else ""
        split = ", ".join(f"{kind} {share:.0%}" for kind, share in progress.split.items())
        return Text.assemble(f"{clock(self.elapsed)}{left}", (f"  {split}", "dim"))


def heading(progress: Progress) -> str:
    return f"{_config(progress)['environment']} with {_config(progress)['algorithm']}"


def where(progress: Progress) -> str:
    return str(progress.run.path) if progress.run is not None else "kept nowhere"


def origin(progress: Progress) -> str:
    """Which environment it is that is being used."""
    from gymnasium import registry

    environment, backend = _config(progress)["environment"], _config(progress)["backend"]
    if backend == "jax" and environment in registry:
        return f"using tegu's {environment} in JAX, --backend gymnasium for the original"
    return f"using {environment} " + ("in JAX" if backend == "jax" else "through Gymnasium")


def mean_figures(progress: Progress) -> dict[str, float]:
    """What learning reports, the mean over seeds."""
    shown = [name for name in progress.metrics[0] if name.startswith("train/")] if progress.metrics else []
    shown += [name for name in ("rollout/exploration_rate", "rollout/ep_len_mean") if name in dict(*progress.metrics[:1])]
    return {
        name.partition("/")[2]: float(np.mean([figures[name] for figures in progress.metrics if name in figures]))
        for name in shown
    }


def clock(seconds: float) -> str:
    """``12 s``, ``3:05`` or ``1:02:03``."""
    if not math.isfinite(seconds):
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}" if minutes else f"{rest} s"


def rounded(value: float) -> str:
    """Three digits are enough of a speed."""
    return f"{float(f'{value:.3g}'):,.0f}"


def _columns(figures: dict[str, float], across: int = 3) -> Table:
    """Names and values, three pairs to a row."""
    grid = Table.grid(padding=(0, 1))
    for _ in range(across):
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column(justify="right", width=11, no_wrap=True)
    cells = [cell for name, value in figures.items() for cell in (name, f"{value:.4g}  ")]
    for start in range(0, len(cells), 2 * across):
        grid.add_row(*cells[start : start + 2 * across])
    return grid


def _config(progress: Progress) -> dict[str, Any]:
    assert progress.run is not None
    return progress.run.config
