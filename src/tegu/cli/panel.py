"""Progress of a training, on the terminal."""

import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import numpy as np
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tegu.analysis.plots import sparkline
from tegu.cli.common import console
from tegu.cli.progress import Lines, ProgressTracker, clock, heading, origin, preset, rounded, where
from tegu.training.trainer import Progress

WIDTH = 88  #: of the panel, at most
_LABEL, _PAIR = 12, 36  # characters of a row's name, and of a metric with its value
_COLOURS = {"compiling": "yellow", "stopped": "yellow", "saving": "yellow", "done": "green", "failed": "red"}


def tracker(quiet: bool) -> ProgressTracker:
    """What suits where the output goes."""
    if quiet:
        return ProgressTracker()
    screen = console(sys.stderr)
    return LivePanel(screen) if screen.is_interactive else Lines()


class LivePanel(ProgressTracker):
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
        if kind is not None:
            self.say("stopped" if kind is KeyboardInterrupt else "failed")
        self._live.transient = self.progress is None
        self._live.stop()

    def _render(self) -> RenderableType:
        """The panel, and an empty line for the cursor to rest on."""
        progress = self.progress
        if progress is None:
            return Group(Text("starting", style="dim"), "")
        width = min(self._live.console.width, WIDTH)
        inside = width - 6  # without the border and the space beside it
        title = Text(heading(progress), style="bold", overflow="fold")
        fits = len(title) <= inside
        parts: list[RenderableType] = [] if fits else [title, ""]
        parts.append(self._rows(progress, inside))
        if self.metrics:
            parts += ["", _columns(self.metrics, across=2 if inside >= 2 * _PAIR else 1)]
        about = [
            origin(progress),
            preset(progress),
            progress.network and f"network: {progress.network}",
            where(progress),
        ]
        parts += ["", Text("\n".join(filter(None, about)), style="dim", overflow="fold")]
        panel = Panel(
            Group(*parts),
            title=title if fits else None,
            title_align="left",
            border_style="dim",
            padding=(1, 2),
            width=width,
        )
        return Group(panel, "")

    def _rows(self, progress: Progress, inside: int) -> Table:
        rows = Table.grid(padding=(0, 2))
        rows.add_column(style="dim", width=_LABEL, no_wrap=True)
        rows.add_column(overflow="fold")
        state = Text(self.state, style=_COLOURS.get(self.state, "cyan"))
        rows.add_row(state, self._bar(progress, inside - _LABEL - 4))
        rows.add_row(self.measure, self._curve(progress))
        if self.first is not None:
            rows.add_row("first player", f"{self.first:.0%} of the points, a draw being a half")
        if self.evaluations:
            rows.add_row("evaluation", self._evaluations())
        rows.add_row("speed", f"{rounded(progress.fps)} steps/s" if progress.fps else "")
        rows.add_row("time", self._times(progress))
        return rows

    def _bar(self, progress: Progress, room: int) -> Table:
        seeds = f" x {progress.n_seeds} seeds" if progress.n_seeds > 1 else ""
        text = f"{progress.steps:,} of {progress.total:,} steps{seeds}"
        width = min(max(room - len(text) - 2, 6), 28)
        bar = ProgressBar(progress.total, progress.steps, width=width, complete_style="green", finished_style="green")
        grid = Table.grid(padding=(0, 2))
        rows: list[list[RenderableType]] = [[bar, text]] if room >= width + 2 + len(text) else [[bar], [text]]
        for row in rows:
            grid.add_row(*row)
        return grid

    def _curve(self, progress: Progress) -> Text:
        if not self.curve:
            return Text("no episode finished yet" if progress.steps else "", style="dim")
        text = Text.assemble((sparkline(self.curve, 28, ascii=self._ascii), "green"), f"  {self.curve[-1]:.4g}")
        if len(self.latest) > 1:
            text.append(f"  std {np.std(list(self.latest.values())):.3g} over {len(self.latest)} seeds", "dim")
        return text

    def _evaluations(self) -> Text:
        line = sparkline(self.evaluations, 28, ascii=self._ascii)
        against = "  against random moves" if self.first is not None else "  deterministic policy"
        return Text.assemble((line, "green"), f"  {self.evaluations[-1]:.4g}", (against, "dim"))

    def _times(self, progress: Progress) -> Text:
        left = f", {clock(self.left)} left" if self.state == "training" and self._speeds else ""
        fractions = ", ".join(f"{kind} {fraction:.0%}" for kind, fraction in progress.time_fractions.items())
        return Text.assemble(f"{clock(self.elapsed)}{left}", (f"  {fractions}", "dim"))


def _columns(metrics: Mapping[str, float], across: int) -> Table:
    """Names and values, two pairs to a row."""
    grid = Table.grid(padding=(0, 4, 0, 0))
    for _ in range(across):
        grid.add_column(style="dim", min_width=20, overflow="fold")
        grid.add_column(width=10, no_wrap=True)
    cells = [cell for name, value in metrics.items() for cell in (name, _value(value))]
    for start in range(0, len(cells), 2 * across):
        grid.add_row(*cells[start : start + 2 * across])
    return grid


def _value(value: float) -> str:
    return f"{value:,.0f}" if value.is_integer() and abs(value) < 1e9 else f"{value:.3g}"
