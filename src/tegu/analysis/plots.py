"""Plots: learning curves with confidence bands, and sparklines for the terminal."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tegu.analysis.compare import ELO, EVALUATION, FIRST_PLAYER, RETURN, Group, curves
from tegu.analysis.labels import labels_of
from tegu.analysis.output import checked_path, plotting, written
from tegu.analysis.statistics import STATISTICS
from tegu.analysis.timeline import Milestones
from tegu.core.errors import TeguError
from tegu.runs import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours for every kind of colour vision, https://jfly.uni-koeln.de/color/; faint yellow is last
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (5, 1.5, 1, 1.5)), (0, (1.5, 1)))  # matched to the line's width
INK, PALE = "#2D3440", "#E4E4E0"
_AS_IT_IS: dict[str, Any] = {"color": INK, "parse_math": False}  # for names, which may hold a $

_NAMES = {
    RETURN: "episode return",
    "rollout/ep_len_mean": "episode length",
    FIRST_PLAYER: "result of the first player",
    EVALUATION: "evaluation return",
    ELO: "Elo",
    "time/fps": "environment steps per second",
}
_SHOWN = {"mean": "mean", "iqm": "IQM"}
_PANEL = (5.2, 3.6)  # inches, of one panel without its labels
_FONT = 9.0  # points
_FEW = 4  # seeds that are better seen one by one than in a band
_CHARACTERS = 30  # of a label's line
_BLOCKS, _ASCII = "▁▂▃▄▅▆▇█", "_.:-=+*#"


def plot_comparison(groups: Sequence[Group], path: Path | str, *, statistic: str = "mean") -> "Figure":
    """Plot groups into a .png, .svg or .pdf file: a panel per environment, a line per group.

    ``statistic`` is "mean" or "iqm". Its band is the 95 % interval over seeds at each step; four seeds or fewer have no
    band, and each seed a thin line. Every label says which. One colour means the same label everywhere.
    """
    panels = {environment: [g for g in groups if g.environment == environment] for environment in _in_order(groups)}
    styles = {label: index for index, label in enumerate(dict.fromkeys(group.label for group in groups))}
    tallest = max((sum(_height(_label(group, statistic)) for group in panel) for panel in panels.values()), default=0)
    figure, axes = figure_of(len(panels), at_least=tallest)
    for ax, (environment, panel) in zip(axes, panels.items(), strict=True):
        _prepare(ax, environment, panel)
        for group in panel:
            _draw(ax, group, styles[group.label], statistic, thin=group.n <= _FEW, band=group.n > _FEW)
        _label_lines(ax, panel, styles, statistic)
    return saved(figure, path)


def plot_curves(run: Run, path: Path | str, metrics: Sequence[str] = (RETURN,)) -> "Figure":
    """Plot one run's learning curves into a .png, .svg or .pdf file: a panel per metric, thin lines for the seeds, a
    thick one for their mean. Beside the return while training, that of evaluations, where there were any. Elo has the
    intervals that were logged with it."""
    figure, axes = figure_of(len(metrics))
    for ax, metric in zip(axes, metrics, strict=True):
        groups = _beside_evaluation(run, curves([run], metric))
        _prepare(ax, run.name, groups)
        for style, group in enumerate(groups):
            _draw(ax, group, style, "mean", thin=True, band=False)
        if metric == ELO:
            low, high = (curves([run], f"{ELO}_{end}")[0].values.mean(axis=0) for end in ("low", "high"))
            ax.fill_between(groups[0].steps, low, high, color=COLOURS[0], alpha=0.17, linewidth=0)
        if len(groups) > 1:
            ax.legend(frameon=False, fontsize=_FONT, labelcolor=INK)
        note = "1 seed" if groups[0].n == 1 else f"mean of {groups[0].n} seeds, each thin"
        ax.set_title(note, loc="right", fontsize=_FONT - 1, color=INK)
    return saved(figure, path)


def plot_measures(run: Run, measures: Mapping[str, Group], milestones: Milestones, path: Path | str) -> "Figure":
    """Plot the measures of a run's evaluations into a .png, .svg or .pdf file: a panel each, thin lines for the seeds
    and a thick one for their mean. The panel of one of the ``milestones`` (see ``Environment.milestones``) has its
    name, and a dashed line at the value from which on it has appeared."""
    figure, axes = figure_of(len(measures))
    figure.get_layout_engine().set(w_pad=0.15, h_pad=0.1)  # type: ignore[union-attr, call-arg]
    told = {measure: (milestone, threshold) for milestone, (measure, threshold) in milestones.items()}
    for ax, (measure, group) in zip(axes, measures.items(), strict=True):
        milestone, threshold = told.get(measure, (measure.rpartition("/")[0], None))
        _prepare(ax, milestone, [group])
        _draw(ax, group, 0, "mean", thin=True, band=False)
        if threshold is not None:
            ax.axhline(threshold, color=INK, linestyle=DASHES[1], linewidth=0.8)
    note = "1 seed" if group.n == 1 else f"mean of {group.n} seeds, each thin"
    figure.suptitle(f"{run.name}, evaluations: {note}", fontsize=_FONT + 2, **_AS_IT_IS)
    return saved(figure, path)


def plot_crossplay(returns: Mapping[str, np.ndarray], names: Sequence[str], path: Path | str) -> "Figure":
    """Plot mean returns of cross-play into a .png, .svg or .pdf file: a heat map for each of the two teams.

    ``returns`` are those of a team by its name, ``[N, N]`` for N players ``names``: in a row the first team is played
    by one of them, in a column the second.
    """
    figure, axes = figure_of(len(returns), at_least=len(names) * 0.3)
    labels, n = labels_of(names), len(names)
    first, second = returns
    for ax, (team, values) in zip(axes, returns.items(), strict=True):
        image = ax.imshow(values, cmap="viridis")
        ax.set_title(f"return of {team}", loc="left", fontsize=_FONT + 2, fontweight="bold", **_AS_IT_IS)
        ax.set_xticks(range(n), labels, rotation=90 if n > _FEW else 0, **_AS_IT_IS)
        ax.set_yticks(range(n), labels, **_AS_IT_IS)
        ax.set_xlabel(second, **_AS_IT_IS)
        ax.set_ylabel(first, **_AS_IT_IS)
        ax.tick_params(colors=INK, labelsize=_FONT, length=0)
        ax.spines[:].set_visible(False)
        figure.colorbar(image, ax=ax, shrink=0.8).ax.tick_params(labelsize=_FONT, colors=INK)
    return saved(figure, path)


def sparkline(values: Sequence[float] | np.ndarray, width: int = 40, *, ascii: bool = False) -> str:
    """Values ``[N]`` as one line of at most ``width`` characters, low to high; a gap where nothing is finite."""
    values = np.asarray(values, np.float64)
    parts = [part[np.isfinite(part)] for part in np.array_split(values, min(width, len(values)) or 1)]
    means = np.array([part.mean() if len(part) else np.nan for part in parts])
    if np.isnan(means).all():
        return " " * len(values[:width])
    low, high = np.nanmin(means), np.nanmax(means)
    levels = (means - low) / (high - low) * 7 if high > low else np.where(np.isnan(means), np.nan, 3)
    return "".join(" " if np.isnan(level) else (_ASCII if ascii else _BLOCKS)[round(level)] for level in levels)


def _beside_evaluation(run: Run, groups: list[Group]) -> list[Group]:
    """A group of returns with that of the evaluations of the same run."""
    try:
        evaluations = curves([run], EVALUATION) if groups[0].metric == RETURN else []
    except TeguError:  # there were none
        evaluations = []
    labels = ("while training", "evaluation, deterministic policy")
    return [replace(group, label=label) for group, label in zip(groups + evaluations, labels, strict=False)]


def _in_order(groups: Sequence[Group]) -> list[str]:
    if not groups:
        raise TeguError("there are no runs to plot")
    return list(dict.fromkeys(group.environment for group in groups))


def figure_of(panels: int, at_least: float = 0.0) -> "tuple[Figure, list[Axes]]":
    """A figure with up to three panels side by side, each ``at_least`` so many inches high."""
    with plotting():
        from matplotlib.figure import Figure
    across = min(panels, 3)
    down = -(-panels // across)
    width, height = _PANEL
    figure = Figure((across * width + 1.6, down * max(height, at_least + 1)), dpi=150, layout="constrained")
    return figure, [figure.add_subplot(down, across, index + 1) for index in range(panels)]


def _prepare(ax: "Axes", title: str, groups: Sequence[Group]) -> None:
    ax.set_title(title, loc="left", fontsize=_FONT + 2, fontweight="bold", **_AS_IT_IS)
    ax.set_xlabel("environment steps", color=INK)
    ax.set_ylabel(" / ".join(dict.fromkeys(_NAMES.get(group.metric, group.metric) for group in groups)), **_AS_IT_IS)
    ax.xaxis.set_major_formatter(lambda value, _: _compact(value))
    ax.yaxis.set_major_formatter(lambda value, _: _compact(value))
    ax.set_xlim(0, max(max(group.steps[-1] for group in groups), 1))
    ax.grid(color=PALE, linewidth=0.8)
    ax.set_axisbelow(True)
    ax.tick_params(colors=INK, labelsize=_FONT, length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.spines["bottom"].set_color(INK)


def _draw(ax: "Axes", group: Group, style: int, statistic: str, *, thin: bool, band: bool) -> None:
    colour, dash = _style(style)
    centre_of, interval_of = STATISTICS[statistic]
    if band:
        low, high, _ = interval_of(group.values)
        ax.fill_between(group.steps, low, high, color=colour, alpha=0.17, linewidth=0)
    if thin and group.n > 1:
        ax.plot(group.steps, group.values.T, color=colour, linewidth=0.8, alpha=0.45, label="_seed")
    ax.plot(group.steps, centre_of(group.values), color=colour, linestyle=dash, linewidth=1.8, label=group.label)


def _style(index: int) -> tuple[str, Any]:
    """A colour and dashes; 32 differ, as the dashes move on by one with every round of the colours."""
    return COLOURS[index % len(COLOURS)], DASHES[(index + index // len(COLOURS)) % len(DASHES)]


def _label(group: Group, statistic: str) -> str:
    how = [_SHOWN[statistic]] * (group.n > 1) + ["95% CI"] * (group.n > _FEW)
    return "\n".join([*textwrap.wrap(group.label, _CHARACTERS), ", ".join([*how, f"n={group.n}"])])


def _height(label: str) -> float:
    """Inches that a label takes, with some space."""
    return (label.count("\n") + 1.5) * 1.2 * _FONT / 72


def _label_lines(ax: "Axes", groups: Sequence[Group], styles: dict[str, int], statistic: str) -> None:
    """Write the labels to the right of the panel, each joined to the end of its line."""
    low, high = ax.set_ylim(ax.get_ylim())
    labels = [_label(group, statistic) for group in groups]
    ends = [_end(group, statistic, (low + high) / 2) for group in groups]
    panel = ax.get_position().height * ax.figure.get_figure(root=True).get_figheight()
    heights = np.array([_height(label) for label in labels]) / panel
    places = _spread(np.array([(y - low) / (high - low) for _, y in ends]), heights)
    for group, label, end, place in zip(groups, labels, ends, places, strict=True):
        colour, _ = _style(styles[group.label])
        # thin and undashed, lest it be taken for more of the curve
        line = {"arrowstyle": "-", "color": colour, "linewidth": 0.8, "relpos": (0, 0.5)}
        ax.annotate(
            label,
            end,
            (1.08, place),
            textcoords="axes fraction",
            annotation_clip=False,
            va="center",
            fontsize=_FONT,
            **_AS_IT_IS,
            arrowprops={**line, "shrinkA": 2, "shrinkB": 0},
        )


def _end(group: Group, statistic: str, otherwise: float) -> tuple[float, float]:
    """The last point of a group's line; a group that diverged at once has none, and gets the height ``otherwise``."""
    centre = STATISTICS[statistic][0](group.values)
    drawn = np.flatnonzero(np.isfinite(centre))
    return (group.steps[drawn[-1]], centre[drawn[-1]]) if len(drawn) else (group.steps[-1], otherwise)


def _spread(wanted: np.ndarray, heights: np.ndarray) -> np.ndarray:
    """Centres near the ``wanted`` ones, in their order, at which labels of these heights lie clear of each other."""
    order = np.argsort(wanted, kind="stable")
    places, heights = wanted[order].copy(), heights[order]
    apart = (heights[1:] + heights[:-1]) / 2
    for index, distance in enumerate(apart):
        places[index + 1] = max(places[index + 1], places[index] + distance)
    places[-1] = min(places[-1], 1 - heights[-1] / 2)
    for index, distance in reversed(list(enumerate(apart))):
        places[index] = min(places[index], places[index + 1] - distance)
    return places[np.argsort(order)]


def _compact(value: float) -> str:
    """A tick: 250, 1.5k, 2M."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.6g}{unit}"
    return f"{value:.6g}"


def saved(figure: "Figure", path: Path | str) -> "Figure":
    """Write it to a .png, .svg or .pdf file, whole or not at all."""
    path = checked_path(path, ".png", ".svg", ".pdf")
    with written(path) as temporary:
        figure.savefig(temporary)
    return figure
