"""From measurements to figures."""

from collections.abc import Sequence
from statistics import median
from typing import Any

from benchmarks.cases import Case, Row
from benchmarks.execution import Measurement, Prepared

GOAL = 475.0  #: a greedy score of CartPole-v1 that counts as solved


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and greatest."""
    return {"median": median(values), "min": min(values), "max": max(values)}


def compare(row: Row, ours: Sequence[float], peer: Sequence[float]) -> dict[str, Any]:
    """A row of the table. The ratio's spread is over the pairs measured side by side."""

    def ratio(our: float, their: float) -> float:
        return our / their if row.ratio == "ours / peer" else their / our

    target = row.target
    whole = ratio(median(ours), median(peer))
    pairs = [ratio(our, their) for our, their in zip(ours, peer, strict=True)]
    return {
        "ours": {"name": row.ours, **spread(ours)},
        "peer": {"name": row.peer, **spread(peer)},
        "ratio": {"of": row.ratio, "of_medians": whole, "min": min(pairs), "max": max(pairs)},
        "target": None if target is None else f"{target.figure} {target.sign} {target.bound:,.10g}",
        "met": None if target is None else target.met(whole, median(ours)),
    }


def compare_all(case: Case, taken: dict[str, list[Measurement]]) -> list[dict[str, Any]]:
    """The case's rows."""
    values = {name: [found["value"] for found in measurements] for name, measurements in taken.items()}
    return [compare(row, values[row.ours], values[row.peer]) for row in case.rows]


def describe(ready: Prepared, measurements: list[Measurement]) -> dict[str, Any]:
    """How a side was run and what else was seen of it."""
    results = [found["result"] for found in measurements]
    scores = [score for score in map(score_of, results) if score is not None]
    details: dict[str, Any] = {
        name: spread([result[name] for result in results])
        for name in ("cores_busy", "warm_up_seconds", "compilation_seconds")
        if name in results[0]
    }
    if scores:
        details["score"] = spread(scores)
        details["reached"] = f"{sum(score >= GOAL for score in scores)} of {len(scores)}"
    return {
        "name": ready.side.name,
        "command": " ".join(map(str, ready.side.command)),
        "settings": ready.side.settings,
        "threads": ready.threads,
        "thread_trials": ready.thread_trials,
        "details": details,
        "measurements": measurements,
    }


def score_of(result: dict[str, Any]) -> float | None:
    """The greedy score at the end, where the side played for one."""
    evaluation = result.get("evaluation")
    return evaluation.get("mean") if isinstance(evaluation, dict) else result.get("score")
