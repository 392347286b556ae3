"""All that a run holds, for telling whether two are the same."""

from typing import Any

import numpy as np

from tegu.runs import Run, checkpoint


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
