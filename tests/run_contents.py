"""All that a run holds, for telling whether two are the same."""

from typing import Any

import numpy as np

import tegu
from tegu.runs import Run, checkpoint
from tegu.training.trainer import Progress


def everything(run: Run) -> dict[str, Any]:
    """All that a finished run holds except times: its last checkpoint, its best agent, and its metrics."""
    saved = checkpoint.load_latest(run.checkpoints)
    facts = {name: fact for name, fact in saved.state.items() if name not in ("elapsed", "loop")}
    with run.metrics(read_only=True) as metrics:
        rows = {row[:3]: row.value for row in metrics.rows() if not row.name.startswith("time/")}
    best = checkpoint.load_latest(run.best) if checkpoint.steps(run.best) else None
    found = {"step": saved.step, "blobs": saved.blobs, "loop": saved.state["loop"], "facts": facts, "metrics": rows}
    return found | ({"best": best.step, "best blobs": best.blobs, "best facts": best.state} if best else {})


def assert_same(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Two runs agree in everything, to the bit."""
    assert ours.keys() == theirs.keys()
    for part, content in theirs.items():
        if not part.endswith("blobs"):
            assert ours[part] == content, part
            continue
        assert ours[part].keys() == content.keys()
        for blob, arrays in content.items():
            assert ours[part][blob].keys() == arrays.keys(), blob
            for name, array in arrays.items():
                assert ours[part][blob][name].dtype == array.dtype
                np.testing.assert_array_equal(ours[part][blob][name], array, err_msg=f"{blob}: {name}")


def half_way(progress: Progress) -> bool:
    """A callback that stops in the middle."""
    return progress.steps < progress.total / 2


def stopped_and_resumed(environment: Any, algorithm: str, **settings: Any) -> Run:
    """A run that was stopped half-way and then resumed to its end; arguments as for ``tegu.train``."""
    stopped = tegu.train(environment, algorithm, callbacks=(half_way,), **settings)
    assert stopped.run is not None
    assert stopped.steps < settings["steps"]
    tegu.resume(stopped.run, environment=environment)
    return stopped.run
