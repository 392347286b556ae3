"""Comparing runs: the learning curves of each configuration over its seeds, and their final scores."""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from rich.table import Table
from rich.text import Text

from tegu.analysis.statistics import Interval, iqm, iqm_interval, mean, mean_interval
from tegu.core.errors import TeguError
from tegu.core.text import printable
from tegu.runs import MetricStore, Run

RETURN = "rollout/ep_rew_mean"

# What two runs may differ in and still be the same experiment: its seeds, its origin, and how it was recorded.
_INCIDENTAL = {
    "seeds",
    "created",
    "command",
    "versions",
    "log_interval",
    "checkpoint_every",
    "eval_every",
    "eval_episodes",
}

EPISODES = "rollout/episodes"  #: how many a logged mean over episodes is of
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


def table(rows: Sequence[Row]) -> Table:
    """The rows for the terminal."""
    several = len({row.environment for row in rows}) > 1
    result = Table(caption=_caption(rows), caption_justify="left")
    for name in ["environment"] * several + ["group"]:
        result.add_column(name)
    for name in ("n", "mean", "95% CI", "IQM", "95% CI", "best (seed)", "worst (seed)", "steps", "steps/s"):
        result.add_column(name, justify="right")
    for row in rows:
        cells = [row.environment] * several + [row.label, str(row.n)]
        cells += [_number(row.mean), _range(row.mean_interval), _number(row.iqm), _range(row.iqm_interval)]
        cells += [f"{_number(row.best)} ({row.best_seed})", f"{_number(row.worst)} ({row.worst_seed})"]
        cells += [f"{row.steps:,}", "-" if np.isnan(row.fps) else f"{row.fps:,.0f}"]
        result.add_row(*map(Text, cells))  # Text, because a label in brackets would be read as markup
    return result


def to_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows as plain data for JSON: ``None`` in place of NaN."""
    return [{"n": row.n} | {k: _plain(v) for k, v in vars(row).items()} for row in rows]


def _recorded(run: Run, metric: str) -> _Recorded:
    with run.metrics(read_only=True) as store:
        found = {seed: curve for seed in store.seeds() if len((curve := _curve(store, metric, seed)).steps)}
        if not found:
            raise TeguError(f"{run.name} has no metric {metric!r}: {_hint(metric, store.names())}")
        settings = dict(_flat({key: value for key, value in run.settings.items() if key not in _INCIDENTAL}))
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
    near = " or ".join(difflib.get_close_matches(metric, names[:1000], n=3, cutoff=0.4))
    return printable(f"did you mean {near}?" if near else f"it has {', '.join(names) or 'none yet'}", 200)


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings with dotted names; without what is None, such as a limit that is off."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif value is not None:
            yield prefix + key, value


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
        names = dict.fromkeys(name for other in like for name in other[0].settings)
        differing = [name for name in names if len({str(other[0].settings.get(name)) for other in like}) > 1]
        own = group[0].settings  # what is None is not there and not mentioned
        settings = [f"{_short(name, differing)}={_value(own[name])}" for name in differing if name in own]
        if sum(_same(other[0], group[0]) for other in like) > 1:
            settings.append("#" + "+".join(one.run.path.name for one in group))
        labels.append(printable(" ".join([group[0].kind[1], *settings]), 300))
    return labels


def _short(name: str, names: list[str]) -> str:
    """The last part of a dotted name where that is clear."""
    last = name.rpartition(".")[2]
    return last if sum(other.rpartition(".")[2] == last for other in names) == 1 else name


def _value(value: Any) -> str:
    """A setting without spaces, so that a label breaks between settings."""
    return f"{value:g}" if isinstance(value, float) else re.sub(r"\s", "", str(value))


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
