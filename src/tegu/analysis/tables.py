"""The rows of a comparison, for the terminal and as JSON."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.table import Table

from tegu.analysis.compare import Row
from tegu.analysis.layout import Column, fitted
from tegu.analysis.statistics import Interval

_COLUMNS = [
    Column("group", right=False, wraps=True),
    Column("n"),
    Column("mean"),
    Column("95% CI"),
    Column("IQM", rank=3),
    Column("95% CI", rank=3),
    Column("best (seed)", rank=1),
    Column("worst (seed)", rank=1),
    Column("steps", rank=2),
    Column("steps/s", rank=4),
]


def table(rows: Sequence[Row], width: int | None = None) -> Table:
    """The rows for the terminal: all of them, or what ``width`` characters have room for."""
    several = len({row.environment for row in rows}) > 1
    columns = [Column("environment", right=False, wraps=True)] * several + _COLUMNS
    cells = [[row.environment] * several + _cells(row) for row in rows]
    return fitted(columns, cells, width, _caption(rows))


def to_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows as plain data for JSON: ``None`` in place of NaN."""
    return [{"n": row.n} | {k: _plain(v) for k, v in vars(row).items()} for row in rows]


def _cells(row: Row) -> list[str]:
    return [
        row.label,
        str(row.n),
        _number(row.mean),
        _range(row.mean_interval),
        _number(row.iqm),
        _range(row.iqm_interval),
        f"{_number(row.best)} ({row.best_seed})",
        f"{_number(row.worst)} ({row.worst_seed})",
        f"{row.steps:,}",
        "-" if np.isnan(row.fps) else f"{row.fps:,.0f}",
    ]


def _caption(rows: Sequence[Row]) -> str:
    return ", ".join(dict.fromkeys(f"{row.metric} over the last {row.last:.0%} of the steps" for row in rows))


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _range(interval: Interval) -> str:
    low, high = float(interval.low), float(interval.high)
    return "-" if np.isnan(low) else f"{_number(low)} to {_number(high)}"


def _plain(value: Any) -> Any:
    if isinstance(value, Interval):
        return [_plain(value.low), _plain(value.high)]
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float | np.ndarray):
        return None if np.isnan(value) else float(value)
    return value
