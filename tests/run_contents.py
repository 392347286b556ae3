"""All that a run holds, for telling whether two are the same."""

from typing import Any

import numpy as np

import tegu
from tegu.runs import Run, checkpoint
from tegu.training.trainer import Progress


def everything(run: Run) -> dict[str, Any]:
    """All that a finished run holds except times: arrays and counters of its last checkpoint, and its metrics."""
    saved = checkpoint.load_latest(run.checkpoints)
    with run.metrics(read_only=True) as metrics:
        rows = {row[:3]: row.value for row in metrics.rows() if not row.name.startswith("time/")}
    return {"step": saved.step, "blobs": saved.blobs, "loop": saved.state["loop"], "metrics": rows}


def assert_same(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Two runs agree in everything, to the bit."""
    assert ours["step"] == theirs["step"]
    assert ours["loop"] == theirs["loop"]
    assert ours["metrics"] == theirs["metrics"]
    for blob, arrays in theirs["blobs"].items():
        assert ours["blobs"][blob].keys() == arrays.keys()
        for name, array in arrays.items():
            np.testing.assert_array_equal(ours["blobs"][blob][name], array, err_msg=f"{blob}: {name}")


def stopped_and_resumed(environment: Any, algorithm: str, **settings: Any) -> Run:
    """A run that was stopped half-way and then resumed to its end; arguments as for ``tegu.train``."""

    def half_way(progress: Progress) -> bool:
        return progress.steps < progress.total / 2

    stopped = tegu.train(environment, algorithm, callbacks=(half_way,), **settings)
    assert stopped.run is not None
    assert stopped.steps < settings["steps"]
    tegu.resume(stopped.run, environment=environment)
    return stopped.run
