"""Snapshots: the agent as it was at several steps of its training."""

import warnings
from collections.abc import Mapping
from typing import Any

from tegu.algorithms.base import Learner
from tegu.core.trees import to_arrays
from tegu.runs import Run, checkpoint
from tegu.runs.checkpoint import CheckpointError
from tegu.training.trainer import Progress


class SnapshotObserver:
    """Keeps the learners in the run's folder ``snapshots/`` every so many steps."""

    def __init__(self, every: int, run: Run, facts: Mapping[str, Any]):
        """``facts`` are what a checkpoint says of an agent."""
        self.every, self.run, self.facts = every, run, dict(facts)

    def __call__(self, progress: Progress, learners: Learner) -> None:
        facts = self.facts | {"total": progress.total}
        try:
            checkpoint.save(self.run.snapshots, progress.steps, {"learner": to_arrays(learners)}, facts, keep=None)
        except CheckpointError as error:
            warnings.warn(f"{error}; training goes on", stacklevel=2)
