"""Comparing runs: statistics over seeds, learning curves, tables and plots. Imports no JAX, so it starts quickly."""

from tegu.analysis.compare import Group, Row, curves, summary, table, to_json
from tegu.analysis.plots import animation, frame_strip, plot_comparison, plot_curves, sparkline
from tegu.analysis.statistics import (
    Interval,
    iqm,
    iqm_interval,
    mean,
    mean_interval,
    probability_of_improvement,
)

__all__ = [
    "Group",
    "Interval",
    "Row",
    "animation",
    "curves",
    "frame_strip",
    "iqm",
    "iqm_interval",
    "mean",
    "mean_interval",
    "plot_comparison",
    "plot_curves",
    "probability_of_improvement",
    "sparkline",
    "summary",
    "table",
    "to_json",
]
