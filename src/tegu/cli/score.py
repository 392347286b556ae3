"""Statistics of evaluations, for the command line."""

from typing import Any

import numpy as np

from tegu.acting.evaluation import Evaluation
from tegu.analysis.statistics import mean_interval


def score(evaluation: Evaluation, *, deterministic: bool) -> dict[str, Any]:
    """Statistics of an evaluation. The interval (95 %) is over seeds, or over the episodes of a single seed."""
    returns = evaluation.returns
    per_seed = returns.mean(axis=1)
    return {
        "mean": evaluation.mean,
        "std": evaluation.std,
        "interval": _interval(returns),
        "min": float(returns.min()),
        "max": float(returns.max()),
        "per_seed": per_seed.tolist(),
        "success_rate": evaluation.success_rate,
        "episodes": returns.shape[1],
        "deterministic": deterministic,
        "agents": {agent: part(values) for agent, values in evaluation.agents.items()},
        "measures": {name: part(values) for name, values in evaluation.measures.items()},
    }


def part(values: np.ndarray) -> dict[str, Any]:
    """Statistics of one agent's returns, or of one measure, ``[seeds, episodes]``."""
    if not values.size:  # a seat of a game that was never taken
        return {"mean": None, "std": None, "interval": [None, None]}
    return {"mean": float(values.mean()), "std": float(values.std()), "interval": _interval(values)}


def _interval(values: np.ndarray) -> list[float | None]:
    """Two numbers, or None for both where there is one episode of one seed."""
    per_seed = values.mean(axis=1)
    low, high, n = mean_interval(per_seed if len(per_seed) > 1 else values[0])
    return [float(low), float(high)] if n > 1 else [None, None]


def formatted(value: float | None) -> str:
    """A number as text, with a sensible number of digits."""
    if value is None:
        return "-"
    return f"{value:,.1f}" if abs(value) >= 100 else f"{value:.3g}"


def interval(low: float | None, high: float | None) -> str:
    return "-" if low is None or high is None else f"{formatted(low)} to {formatted(high)}"
