"""What a trainer writes of a run: metrics, checkpoints, status. What cannot be written is a warning, no more."""

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
        """Write the ``metrics`` of all the loop's ``seeds`` that are the run's."""
        try:
            with self.run.metrics() as store:
                store.write(steps, {seeds[i]: metrics[i] for i in self.members})
        except MetricsError as error:
            warnings.warn(f"{error}; training goes on", stacklevel=2)

    def save(self, steps: int, blobs: Blobs, data: Mapping[str, Any]) -> bool:
        """Commit a checkpoint; the last one stays where that fails. Returns whether it was written."""
        try:
            saved = {**self.facts, **data}
            self.saved_as = checkpoint.save(self.run.checkpoints, steps, blobs, saved, base=self.saved_as)
        except CheckpointError as error:
            warnings.warn(f"{error}; training goes on", stacklevel=2)
            return False
        return True

    def status(self, state: str, steps: int, total: int, message: str = "") -> None:
        """Say how far training has come."""
        try:
            self.run.set_status(state, steps=steps, total=total, message=message)
        except RunError as error:
            warnings.warn(f"{error}; training goes on", stacklevel=2)

    def kept(self) -> str:
        """Which checkpoint there is, for a message."""
        steps = checkpoint.steps(self.run.checkpoints)
        return f"the checkpoint of step {max(steps):,} is kept" if steps else "there is no checkpoint yet"
