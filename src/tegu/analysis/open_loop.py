"""A picture of how far a learned model can be trusted: what it predicts beside what was observed."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tegu.analysis.plots import COLOURS, INK, PALE, figure_of, saved

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANELS = 5  # dimensions of the observation that are drawn, beside the panel of errors
_STARTS = 8  # from so many steps of the episode predictions are drawn
_STYLES = {"model": (COLOURS[0], "-"), "reward": (COLOURS[1], "--"), "no change": (INK, ":")}


def plot_open_loop(
    observation: np.ndarray, imagined: np.ndarray, errors: Mapping[str, np.ndarray], path: Path | str
) -> "Figure":
    """Plot an episode's observations ``[T + 1, ...]`` and what ``M`` networks predicted of them, ``[M, H, B, ...]``,
    from each of the first ``B`` on; and the ``errors`` ``[H]`` by how many steps ahead. A .png, .svg or .pdf file.

    Of the observation the first five dimensions are drawn, of planes the first five cells that change: the mean of the
    networks as a line, how they differ as a band.
    """
    planes = observation.ndim > 2
    observation = observation.reshape((len(observation), -1)).astype(np.float64)
    horizon, starts = imagined.shape[1:3]
    imagined = imagined.reshape((*imagined.shape[:3], -1))
    numbers = np.flatnonzero(np.ptp(observation, axis=0)) if planes else np.arange(observation.shape[1])
    numbers = numbers[:_PANELS]
    figure, axes = figure_of(len(numbers) + 1)
    for number, ax in zip(numbers, axes[:-1], strict=True):
        _prepare(ax, f"observation[{number}]", "step of the episode")
        ax.plot(observation[:, number], color=INK, linewidth=1.2, label="observed")
        for start in np.unique(np.linspace(0, starts - 1, _STARTS).astype(int)):
            time = np.arange(start, start + horizon + 1)
            ahead = imagined[:, :, start, number]
            ahead = np.concatenate([np.full((len(ahead), 1), observation[start, number]), ahead], axis=1)
            ax.fill_between(time, ahead.min(axis=0), ahead.max(axis=0), color=COLOURS[0], alpha=0.2, linewidth=0)
            label = "predicted" if start == 0 else None
            ax.plot(time, ahead.mean(axis=0), color=COLOURS[0], linewidth=1.4, label=label)
    axes[0].legend(frameon=False, labelcolor=INK, fontsize=9)
    _prepare(axes[-1], "squared error, as a share of the variance", "steps ahead")
    for name, error in errors.items():
        colour, dash = _STYLES[name]
        axes[-1].plot(np.arange(1, horizon + 1), error, dash, color=colour, linewidth=1.6, label=name)
    axes[-1].set_yscale("log")
    axes[-1].legend(frameon=False, labelcolor=INK, fontsize=9)
    return saved(figure, path)


def _prepare(ax: "Axes", title: str, along: str) -> None:
    ax.set_title(title, loc="left", color=INK, fontsize=11, fontweight="bold")
    ax.set_xlabel(along, color=INK)
    ax.grid(color=PALE, linewidth=0.8)
    ax.set_axisbelow(True)
    ax.tick_params(colors=INK, length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)
