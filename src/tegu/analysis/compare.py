"""Comparing runs: the learning curves of each configuration over its seeds, and their final scores."""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tegu.analysis.labels import described, differing, settings_of
from tegu.analysis.statistics import Interval, iqm, iqm_interval, mean, mean_interval
from tegu.core.errors import TeguError
from tegu.core.text import printable
from tegu.runs import MetricStore, Run

RETURN = "rollout/ep_rew_mean"
FIRST_PLAYER = f"{RETURN}/first"  #: of board games, where the mean over both players is always 0
EVALUATION = "eval/mean_reward"
ELO = "eval/elo"  #: of board games, from matches against the players of ``--opponents``
EPISODES = "rollout/episodes"  #: how many a logged mean over episodes is of
_NAMED = 12  # metrics that a message names
_OVER_EPISODES = re.compile(r"rollout/ep_(rew|len)_mean(/.*)?")


class Curve(NamedTuple):
    """A metric of one seed as it was logged."""

    steps: np.ndarray  #: int64 ``[L]``, rising
    values: np.ndarray  #: float64 ``[L]``
    weights: np.ndarray  #: float64 ``[L]``: of how many episodes each value is the mean; 1 for other metrics


@dataclass(frozen=True, eq=False)
class Group:
    """The seeds of one configuration, and one metric of theirs."""

    label: str  #: the algorithm, and the settings in which this group differs from the others
    environment: str
    metric: str
    runs: tuple[str, ...]  #: the names of the runs it comes from
    seeds: tuple[int, ...]
    steps: np.ndarray  #: float64 ``[T]``, from the first to the last step that all seeds have
    values: np.ndarray  #: float64 ``[seeds, T]``, linear between logged values; NaN beside one that was not finite
    logged: tuple[Curve, ...]  #: of each seed, as it was logged
    fps: float  #: the median of ``time/fps``, steps per second over all seeds of a run; NaN if it is not stored

    @property
    def n(self) -> int:
        return len(self.seeds)


@dataclass(frozen=True)
class Row:
    """The final scores of a group: for each seed its mean over the last part of training, and their statistics."""

    label: str
    environment: str
    metric: str
    last: float  #: the last part as a fraction of all steps
    seeds: tuple[int, ...]
    finals: tuple[float, ...]  #: one per seed; NaN if the seed diverged
    mean: float
    mean_interval: Interval
    iqm: float
    iqm_interval: Interval
    best_seed: int
    best: float
    worst_seed: int
    worst: float
    steps: int
    fps: float

    @property
    def n(self) -> int:
        return len(self.seeds)


@dataclass(frozen=True, eq=False)
class _Recorded:
    """What matters here of one run."""

    run: Run
    kind: tuple[str, str]  #: environment and algorithm
    settings: dict[str, Any]
    curves: dict[int, Curve]
    fps: np.ndarray


def curves(runs: Sequence[Run], metric: str = RETURN, points: int = 200) -> list[Group]:
    """The groups of some runs, in order, each with its curves of one metric on ``points`` common steps.

    Runs of one configuration are one group if they have no seed in common: the same seed twice is no new evidence, so
    a repeated run is a group of its own. Seeds without the metric do not count. Raises ``TeguError`` if a whole run
    lacks it, or if the seeds of a group have no steps in common.
    """
    if not runs:
        raise TeguError("there are no runs to compare")
    together = _together([_recorded(run, metric) for run in runs])
    return [_group(label, group, metric, points) for label, group in zip(_labels(together), together, strict=True)]


def summary(groups: Sequence[Group], last: float = 0.1) -> list[Row]:
    """A row per group over the last fraction of its steps, with intervals over seeds (95 %).

    Every logged value counts, not only those on the grid; of a mean over episodes, every episode. The best seed is the
    highest and a diverged one the worst.
    """
    if not 0 < last <= 1:
        raise ValueError(f"last must lie above 0 and up to 1, got {last}")
    return [_row(group, last) for group in groups]


def _recorded(run: Run, metric: str) -> _Recorded:
    with run.metrics(read_only=True) as store:
        found = {seed: curve for seed in store.seeds() if len((curve := _curve(store, metric, seed)).steps)}
        if not found:
            raise TeguError(f"{run.name} has no metric {metric!r}: {_hint(metric, store.names())}")
        settings = settings_of(run.settings)
        kind = settings.pop("environment"), settings.pop("algorithm")
        return _Recorded(run, kind, settings, found, store.read("time/fps")[1])


def _curve(store: MetricStore, metric: str, seed: int) -> Curve:
    steps, values = store.read(metric, seed)
    weights = np.ones(len(steps))
    if _OVER_EPISODES.fullmatch(metric):
        counts = dict(zip(*store.read(EPISODES, seed), strict=True))
        weights = np.array([counts.get(step, 1.0) for step in steps])
    return Curve(steps, np.where(np.isfinite(values), values, np.nan), weights)


def _hint(metric: str, names: list[str]) -> str:
    if not names:
        return "it has none yet"
    if _OVER_EPISODES.fullmatch(metric) and EPISODES not in names and RETURN not in names:
        others = [name for name in names if name.startswith("train/")] or names
        return f"no episode has ended; train longer, or compare {printable(others[0], 80)} or the like (--metric)"
    near = " or ".join(difflib.get_close_matches(metric, names[:1000], n=3, cutoff=0.4))
    few = ", ".join(names[:_NAMED]) + f" and {len(names) - _NAMED} more" * (len(names) > _NAMED)
    return printable(f"did you mean {near}?" if near else f"it has {few}", 1000)


def _together(recorded: list[_Recorded]) -> list[list[_Recorded]]:
    """Runs of one configuration together, as far as each brings new seeds."""
    groups: list[list[_Recorded]] = []
    for one in recorded:
        for group in groups:
            if _same(group[0], one) and not any(one.curves.keys() & other.curves.keys() for other in group):
                group.append(one)
                break
        else:
            groups.append([one])
    return groups


def _same(a: _Recorded, b: _Recorded) -> bool:
    return (a.kind, a.settings) == (b.kind, b.settings)


def _labels(groups: list[list[_Recorded]]) -> list[str]:
    """The algorithm and the settings that differ within it; the numbers of the runs where those are all equal."""
    labels = []
    for group in groups:
        like = [other for other in groups if other[0].kind == group[0].kind]
        settings = described(group[0].settings, differing([other[0].settings for other in like]))
        if sum(_same(other[0], group[0]) for other in like) > 1:
            settings.append("#" + "+".join(one.run.path.name for one in group))
        labels.append(printable(" ".join([group[0].kind[1], *settings]), 300))
    return labels


def _group(label: str, recorded: list[_Recorded], metric: str, points: int) -> Group:
    environment = recorded[0].kind[0]
    logged = {seed: curve for one in recorded for seed, curve in one.curves.items()}
    first = max(curve.steps[0] for curve in logged.values())
    last = min(curve.steps[-1] for curve in logged.values())
    if first > last:
        raise TeguError(f"the seeds of {label} on {environment} have no steps of {metric!r} in common")
    steps = np.linspace(first, last, points if first < last else 1)
    fps = np.concatenate([one.fps for one in recorded])
    return Group(
        label,
        environment,
        metric,
        tuple(one.run.name for one in recorded),
        tuple(logged),
        steps,
        np.stack([np.interp(steps, curve.steps, curve.values) for curve in logged.values()]),
        tuple(logged.values()),
        float(np.median(fps)) if len(fps) else np.nan,
    )


def _row(group: Group, last: float) -> Row:
    end = group.steps[-1]
    finals = np.array([_final(curve, end, last) for curve in group.logged])
    order = np.argsort(np.where(np.isnan(finals), -np.inf, finals), kind="stable")
    worst, best = order[0], order[-1]
    return Row(
        label=group.label,
        environment=group.environment,
        metric=group.metric,
        last=last,
        seeds=group.seeds,
        finals=tuple(finals.tolist()),
        mean=float(mean(finals)),
        mean_interval=mean_interval(finals),
        iqm=float(iqm(finals)),
        iqm_interval=iqm_interval(finals),
        best_seed=group.seeds[best],
        best=float(finals[best]),
        worst_seed=group.seeds[worst],
        worst=float(finals[worst]),
        steps=int(end),
        fps=group.fps,
    )


def _final(curve: Curve, end: float, last: float) -> float:
    """The mean of what was logged in the last fraction of the steps up to ``end``, or the latest value before.

    Where values are means over episodes, every episode counts the same.
    """
    steps, values, weights = (part[curve.steps <= end] for part in curve)
    recent = steps > end * (1 - last)
    return float(np.average(values[recent], weights=weights[recent]) if recent.any() else values[-1])
