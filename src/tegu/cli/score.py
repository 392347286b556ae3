"""Evaluations in numbers."""

from typing import Any

from tegu.analysis.statistics import bootstrap_interval
from tegu.training.evaluate import Evaluation


def score(evaluation: Evaluation, *, deterministic: bool) -> dict[str, Any]:
    """What fresh episodes came to. The interval (95 %) is over seeds, or over the episodes of a single one."""
    returns = evaluation.returns
    per_seed = returns.mean(axis=1)
    low, high, _ = bootstrap_interval(per_seed if len(per_seed) > 1 else returns[0])
    return {
        "mean": evaluation.mean,
        "std": evaluation.std,
        "interval": [float(low), float(high)],
        "min": float(returns.min()),
        "max": float(returns.max()),
        "per_seed": per_seed.tolist(),
        "episodes": returns.shape[1],
        "deterministic": deterministic,
    }


def figure(value: float) -> str:
    """A return, to a sensible number of digits."""
    return f"{value:,.1f}" if abs(value) >= 100 else f"{value:.3g}"


def interval(low: float, high: float) -> str:
    return f"{figure(low)} to {figure(high)}" if low == low else "-"
