"""Comparing runs: statistics over seeds, learning curves, tables and plots. Imports no JAX, so it starts quickly."""

from tegu.analysis.animation import animation, frame_strip
from tegu.analysis.compare import Group, Row, curves, summary
from tegu.analysis.plots import plot_comparison, plot_curves, sparkline
from tegu.analysis.statistics import (
    Interval,
    iqm,
    iqm_interval,
    mean,
    mean_interval,
    probability_of_improvement,
)
from tegu.analysis.tables import table, to_json
from tegu.analysis.video import video

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
    "video",
]
