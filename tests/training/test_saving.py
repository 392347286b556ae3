"""A replay buffer in a run's checkpoints: only what is new is written, and every checkpoint stands alone."""

import shutil
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
from run_contents import assert_same, everything, half_way

import tegu
from tegu.runs import checkpoint
from tegu.training import saving

SETTINGS: dict[str, Any] = {"n_envs": 2, "train_freq": 10, "learning_starts": 50, "batch_size": 16, "net_arch": [4]}
SETTINGS |= {"n_steps": 3, "buffer_size": 300, "log_interval": 50, "checkpoint_every": 0}
backends = pytest.mark.parametrize("backend", ["jax", pytest.param("gymnasium", marks=pytest.mark.long)])


def chunk_name(backend: str, number: int, seed: int) -> str:
    return f"replay-{seed}-{number:04d}" if backend == "jax" else f"replay-{number:04d}-{seed}"


@backends
@pytest.mark.parametrize(
    "steps", [pytest.param(230, id="while it fills"), pytest.param(350, id="after it is full", marks=pytest.mark.long)]
)
def test_checkpoints_share_the_rows_that_have_not_changed(
    backend: str, steps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By their inodes; where a row is new, its chunk is a file of its own. A resume from the second checkpoint, after
    the first is gone, ends as if nothing had ever been stopped."""
    monkeypatch.setattr(saving, "CHUNK_BYTES", 1000)
    settings = SETTINGS | {"steps": 2 * steps, "seeds": 2, "backend": backend}
    whole = tegu.train("CartPole-v1", "dqn", folder=tmp_path / "whole", **settings)
    stopped = tegu.train("CartPole-v1", "dqn", folder=tmp_path / "stopped", callbacks=(half_way,), **settings)
    assert stopped.run is not None
    assert whole.run is not None
    first, second = sorted(stopped.run.checkpoints.glob("[0-9]*"))
    before, now = int(first.name), int(second.name)
    assert now - before == 50
    rows = checkpoint.load(second).blobs[chunk_name(backend, 0, 0)][".observation"].shape[0]
    assert 10 < rows < 50
    kept = shared = 0
    for seed in (0, 1):
        for number in range(-(-min(now, 300) // rows)):
            name = f"{chunk_name(backend, number, seed)}.safetensors"
            mine = set(range(number * rows, min((number + 1) * rows, 300)))
            written = {row % 300 for row in range(before, now)}
            same = (first / name).exists() and (first / name).stat().st_ino == (second / name).stat().st_ino
            assert same == (not mine & written)
            kept, shared = kept + 1, shared + same
    assert 0 < shared < kept

    shutil.rmtree(first)
    tegu.resume(stopped.run)
    assert_same(everything(stopped.run), everything(whole.run))


@pytest.mark.slow
@backends
def test_a_checkpoint_holds_no_more_of_a_replay_buffer_than_is_filled(backend: str, tmp_path: Path) -> None:
    settings = {"n_envs": 2, "train_freq": 10, "learning_starts": 50, "batch_size": 16, "net_arch": [16]}
    settings |= {"steps": 400, "log_interval": 100, "backend": backend}
    whole = tegu.train("CartPole-v1", "dqn", seeds=3, folder=tmp_path / "whole", **settings)
    given = {"folder": tmp_path / "stopped", "callbacks": (half_way,), **settings}
    stopped = tegu.train("CartPole-v1", "dqn", seeds=3, **given)
    assert stopped.run is not None
    assert whole.run is not None
    assert 200 <= stopped.steps < 400
    found = checkpoint.load_latest(stopped.run.checkpoints)
    rows = [
        array.shape
        for blob, arrays in found.blobs.items()
        for name, array in arrays.items()
        if blob.startswith("replay") and name == ".observation"
    ]
    assert rows == [(stopped.steps, 4)] * 3
    tegu.resume(stopped.run)
    assert_same(everything(stopped.run), everything(whole.run))


class Restless(gymnasium.Env):
    """Never the same again, whatever its seed: its observation says how often any of them was reset."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,))
    action_space = gymnasium.spaces.Discrete(2)
    resets: ClassVar[list[int]] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        Restless.resets.append(1)
        self.seen = np.array([len(Restless.resets), 0], np.float32)
        return self.seen, {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.seen = self.seen + np.float32([0, 1])
        return self.seen, 1.0, False, False, {}


@pytest.mark.slow
def test_an_episode_that_was_lost_stays_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the checkpoints after the resume, too, though the rows were written before it."""
    monkeypatch.setattr(saving, "CHUNK_BYTES", 110)  # 4 rows
    settings = SETTINGS | {"n_envs": 1, "train_freq": 4, "log_interval": 20, "steps": 240, "buffer_size": 400}
    stopped = tegu.train(Restless, "dqn", folder=tmp_path, callbacks=(half_way,), **settings)
    assert stopped.run is not None
    with pytest.warns(UserWarning, match="is not deterministic: 1 of 1 episodes could not be replayed"):
        tegu.resume(stopped.run, environment=Restless)
    saved = checkpoint.load_latest(stopped.run.checkpoints)
    chunks = [saved.blobs[name] for name in sorted(saved.blobs) if name.count("-") == 2]
    seen, truncated = (np.concatenate([chunk[name] for chunk in chunks]) for name in (".observation", ".truncated"))
    assert len(seen) == 240
    seam = int(np.flatnonzero(np.diff(seen[:, 0]))[0])
    assert seam == stopped.steps - 1
    assert truncated[seam]
