"""Comparing runs: statistics over seeds, curves, tables and pictures. Imports no JAX: looking is quick."""

from tegu.analysis.compare import Group, Row, curves, summary, table, to_json
from tegu.analysis.figures import animation, compare_figure, curve_figure, frame_strip, sparkline
from tegu.analysis.statistics import (
    Interval,
    bootstrap_interval,
    episode_interval,
    iqm,
    mean,
    probability_of_improvement,
)

__all__ = [
    "Group",
    "Interval",
    "Row",
    "animation",
    "bootstrap_interval",
    "compare_figure",
    "curve_figure",
    "curves",
    "episode_interval",
    "frame_strip",
    "iqm",
    "mean",
    "probability_of_improvement",
    "sparkline",
    "summary",
    "table",
    "to_json",
]
