"""All that a run holds, for telling whether two are the same; and what was exported from it."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import tegu
from tegu.runs import Run, checkpoint
from tegu.runs.metrics import MetricRow
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


def stored(run: Run) -> list[MetricRow]:
    """Every number that the run's database holds."""
    with run.metrics(read_only=True) as metrics:
        return list(metrics.rows())


def events(folder: Path) -> Iterator[tuple[int, str, float, float]]:
    """The scalars of the only event file in ``folder``: length, its checksum, record, its checksum, again and again."""
    from tensorboardX.proto.event_pb2 import Event

    (path,) = folder.iterdir()
    raw = path.read_bytes()
    while raw:
        (length,) = struct.unpack_from("<Q", raw)
        event = Event.FromString(raw[12 : 12 + length])
        raw = raw[16 + length :]
        for value in event.summary.value:
            yield event.step, value.tag, value.simple_value, event.wall_time


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
