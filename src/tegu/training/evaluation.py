"""Evaluation while training: returns of the deterministic policies, and the best agent."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tegu.acting.evaluation import SUCCESS, Evaluation, Evaluator
from tegu.algorithms.base import Learner
from tegu.core.schedule import Clock
from tegu.core.trees import to_arrays
from tegu.runs import Run, checkpoint, schema
from tegu.runs.checkpoint import CheckpointError
from tegu.runs.metrics import MetricsError
from tegu.training.trainer import Progress


class EvaluationObserver:
    """Plays fresh episodes every so many steps, in environments separate from those of training.

    Logs means over the episodes of each seed, and keeps the learners whose mean over seeds was
    the highest so far in the run's folder ``best/``.
    """

    def __init__(
        self, evaluator: Evaluator, every: int, seeds: Sequence[int], run: Run | None, facts: Mapping[str, Any]
    ):
        """``facts`` are what a checkpoint says of an agent."""
        self.evaluator, self.every, self.seeds, self.run, self.facts = evaluator, every, tuple(seeds), run, dict(facts)
        self.best = -np.inf
        if run is not None and checkpoint.steps(run.best):
            self.best = _best_so_far(run)

    def __call__(self, progress: Progress, learners: Learner) -> None:
        found = self.evaluator(learners, Clock.of(progress.steps, progress.total))
        if self.run is None:
            return
        rows = {seed: _metrics(found, index) for index, seed in enumerate(self.seeds)}
        try:
            with self.run.metrics() as store:
                store.write(progress.steps, rows)
            if found.mean > self.best:
                facts = self.facts | {"total": progress.total, "mean_reward": found.mean}
                checkpoint.save(self.run.best, progress.steps, {"learner": to_arrays(learners)}, facts, keep=1)
                self.best = found.mean
        except (MetricsError, CheckpointError) as error:
            warnings.warn(f"{error}; training goes on", stacklevel=2)


def _metrics(found: Evaluation, seed: int) -> dict[str, float]:
    """Means over the episodes of a seed, by index."""
    metrics = {
        "eval/mean_reward": float(found.returns[seed].mean()),
        "eval/mean_ep_length": float(found.lengths[seed].mean()),
    }
    means = {name: float(values[seed].mean()) for name, values in found.measures.items()}
    metrics |= {"eval/success_rate" if name == SUCCESS else f"eval/{name}": mean for name, mean in means.items()}
    if found.expected is not None and found.discounted is not None:
        expected, discounted = float(found.expected[seed].mean()), float(found.discounted[seed].mean())
        metrics |= {"eval/q_first": expected, "eval/discounted_return": discounted}
        metrics["eval/overestimation"] = expected - discounted
    return metrics


def _best_so_far(run: Run) -> float:
    """The mean return of the best agent that is kept; of one that is damaged, what any other is better than."""
    try:
        state = checkpoint.load_latest(run.best).state
        return schema.checked(state, schema.AGENT_OPTIONAL, required=("mean_reward",))["mean_reward"]
    except (CheckpointError, ValueError) as error:
        warnings.warn(f"the best agent is looked for anew: {error}", stacklevel=3)
        return -np.inf
