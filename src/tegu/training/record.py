"""What a trainer writes of a run: metrics, checkpoints, status."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tegu.runs import Run, RunError, checkpoint
from tegu.runs.checkpoint import CheckpointError
from tegu.runs.metrics import MetricsError
from tegu.training.saving import Blobs


class Record:
    """One run, and which of a loop's seeds are its own."""

    def __init__(self, run: Run, facts: Mapping[str, Any], members: Sequence[int]):
        """``facts`` go into each checkpoint's manifest; ``members`` are indices of the loop's seeds."""
        self.run, self.facts, self.members = run, dict(facts), list(members)
        self.saved_as: Path | None = None  #: the last checkpoint, of which a new one links what has not changed

    def log(self, steps: int, seeds: Sequence[int], metrics: Sequence[Mapping[str, float]]) -> None:
        """Write the ``metrics`` of all the loop's ``seeds`` that are the run's, or warn."""
        try:
            with self.run.metrics() as store:
                store.write(steps, {seeds[i]: metrics[i] for i in self.members})
        except MetricsError as error:
            warnings.warn(f"{error}; training goes on", stacklevel=2)

    def check(self, blobs: Blobs, data: Mapping[str, Any]) -> None:
        """Raise ``CheckpointError`` for what could never be saved, before there is anything to lose."""
        try:
            checkpoint.check(blobs, {**self.facts, **data})
        except ValueError as error:
            raise CheckpointError(f"this training could not be saved: {error}") from error

    def save(self, steps: int, blobs: Blobs, data: Mapping[str, Any]) -> None:
        """Commit a checkpoint. ``CheckpointError`` where that fails; the last one stays."""
        try:
            saved = {**self.facts, **data}
            self.saved_as = checkpoint.save(self.run.checkpoints, steps, blobs, saved, base=self.saved_as)
        except ValueError as error:
            raise CheckpointError(f"cannot save a checkpoint of {self.run.path}: {error}") from error

    def status(self, state: str, steps: int, total: int, message: str = "") -> None:
        """Say how far training has come, or warn."""
        try:
            self.run.set_status(state, steps=steps, total=total, message=message)
        except RunError as error:
            warnings.warn(str(error), stacklevel=2)

    def kept(self) -> str:
        """Which checkpoint there is, for a message."""
        steps = checkpoint.steps(self.run.checkpoints)
        return f"the checkpoint of step {max(steps):,} is kept" if steps else "there is no checkpoint yet"
