"""Comparing runs: statistics over seeds, learning curves, tables and plots. Imports no JAX, so it starts quickly."""

from tegu.analysis.compare import Group, Row, curves, summary, table, to_json
from tegu.analysis.plots import animation, frame_strip, plot_comparison, plot_curves, sparkline
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
    "curves",
    "episode_interval",
    "frame_strip",
    "iqm",
    "mean",
    "plot_comparison",
    "plot_curves",
    "probability_of_improvement",
    "sparkline",
    "summary",
    "table",
    "to_json",
]
