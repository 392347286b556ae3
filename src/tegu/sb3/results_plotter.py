"""Curves of what ``Monitor`` has written."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tegu.core.errors import TeguError
from tegu.sb3.errors import ArgumentError
from tegu.sb3.monitor import Results, load_results

X_TIMESTEPS, X_EPISODES, X_WALLTIME = "timesteps", "episodes", "walltime_hrs"
EPISODES_WINDOW = 100  #: episodes over which returns are averaged

__all__ = ["X_EPISODES", "X_TIMESTEPS", "X_WALLTIME", "load_results", "plot_results", "ts2xy"]


def ts2xy(data_frame: Results, x_axis: str) -> tuple[np.ndarray, np.ndarray]:
    """Where episodes ended, in steps, episodes or hours, and their returns, ``[n]`` each."""
    found = {
        X_TIMESTEPS: lambda: np.cumsum(data_frame["l"]),
        X_EPISODES: lambda: np.arange(len(data_frame)),
        X_WALLTIME: lambda: data_frame["t"] / 3600,
    }
    if x_axis not in found:
        raise ArgumentError(f"x_axis must be one of {', '.join(found)}, got {x_axis!r}")
    return found[x_axis](), data_frame["r"]


def plot_curves(
    xy_list: Sequence[tuple[np.ndarray, np.ndarray]], x_axis: str, title: str, figsize: tuple[int, int] = (8, 2)
) -> Any:
    """Returns, and their means over the last episodes, in one picture of Matplotlib's, which is returned."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise TeguError("plots need tegu[plot]: pip install 'tegu[plot]'") from error
    figure, axes = plt.subplots(figsize=figsize)
    for x, y in xy_list:
        axes.scatter(x, y, s=2)
        if len(y) >= EPISODES_WINDOW:
            means = np.convolve(y, np.full(EPISODES_WINDOW, 1 / EPISODES_WINDOW), "valid")
            axes.plot(x[EPISODES_WINDOW - 1 :], means)
    axes.set(title=title, xlabel=x_axis, ylabel="Episode Rewards")
    figure.tight_layout()
    return figure


def plot_results(
    dirs: Sequence[str], num_timesteps: int | None, x_axis: str, task_name: str, figsize: tuple[int, int] = (8, 2)
) -> Any:
    """``plot_curves`` of the monitor files in each folder, up to ``num_timesteps``."""
    curves = []
    for folder in dirs:
        results = load_results(folder)
        x, y = ts2xy(results, x_axis)
        kept = np.cumsum(results["l"]) <= (num_timesteps or np.inf)
        curves.append((x[kept], y[kept]))
    return plot_curves(curves, x_axis, task_name, figsize)
