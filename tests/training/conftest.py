"""Small settings that train in seconds and compile in one or two."""

from typing import Any

import numpy as np
import pytest

from tegu.runs import Run, checkpoint

SMALL: dict[str, dict[str, Any]] = {
    "ppo": {"n_envs": 4, "n_steps": 32, "batch_size": 64, "n_epochs": 2, "net_arch": [16]},
    "dqn": {"n_envs": 2, "buffer_size": 500, "learning_starts": 50, "batch_size": 16, "net_arch": [16]},
    "q-learning": {"n_envs": 1},
}


@pytest.fixture(params=[("CartPole-v1", "ppo"), ("CartPole-v1", "dqn"), ("lizard", "q-learning")], ids=lambda p: p[1])
def task(request: pytest.FixtureRequest) -> tuple[str, str, dict[str, Any]]:
    """An environment, an algorithm for it, and small settings."""
    environment, algorithm = request.param
    return environment, algorithm, SMALL[algorithm]


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
