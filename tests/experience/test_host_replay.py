"""The replay buffer in host memory against a plain list."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from replay_windows import assert_uniform, assert_windows, newest, rows

from tegu.experience.host import HostReplay

ROW = {name: jax.ShapeDtypeStruct((), np.int32) for name in ("t", "env")}


def filled(written, capacity, seed=0):
    replay = HostReplay(ROW, capacity, seed)
    for block in written:
        replay.add(block)
    return replay


@settings(deadline=None)
@given(st.lists(st.integers(1, 5), max_size=8), st.integers(5, 12))
def test_the_ring_holds_the_newest_rows(lengths, capacity):
    """Blocks of any length up to the capacity, which they need not divide."""
    written = [rows(100 * i, length, 1) for i, length in enumerate(lengths)]
    replay = filled(written, capacity)
    held = zip(*(replay.rows[name][: replay.size].tolist() for name in ROW), strict=True)
    assert set(held) == newest(written, capacity)
    assert replay.size == min(sum(lengths), capacity)


@pytest.mark.parametrize("blocks", [2, 3, 4, 9])
@pytest.mark.parametrize("capacity", [12, 13])
@pytest.mark.parametrize(("n_steps", "n_envs"), [(1, 2), (2, 1), (2, 3), (3, 2)])
def test_windows_are_consecutive_steps_of_one_environment(blocks, capacity, n_steps, n_envs):
    """Before the ring is full, when it just is, and after it has wrapped; all windows are equally likely."""
    written = [rows(2 * i, 2, n_envs) for i in range(blocks)]
    drawn, held = filled(written, capacity).sample(3, 2_000, n_steps, n_envs), newest(written, capacity)
    for i in range(3):
        windows = {name: leaf[i].reshape(n_steps, -1) for name, leaf in drawn.items()}
        assert_windows(windows, held, n_steps)
        assert_uniform(windows, held, n_steps)


def test_what_is_drawn_is_a_copy():
    """A batch may still be learned from while new rows are written."""
    replay = filled([rows(0, 4, 1)], 4)
    drawn = replay.sample(1, 50)
    before = drawn["t"].copy()
    replay.add(rows(100, 4, 1))
    np.testing.assert_array_equal(drawn["t"], before)


def test_a_restored_buffer_goes_on_drawing_the_same():
    replay = filled([rows(0, 5, 2)], 8)
    replay.sample(1, 7)
    counters, kept = replay.counters(), jax.tree.map(np.copy, replay.filled())
    assert {len(leaf) for leaf in jax.tree.leaves(kept)} == {replay.size}
    expected = replay.sample(2, 50, 2, 2)
    other = HostReplay(ROW, 8, seed=9)
    other.restore_counters(counters)
    other.refill(kept)
    jax.tree.map(np.testing.assert_array_equal, other.sample(2, 50, 2, 2), expected)


def test_dtypes_are_kept():
    replay = HostReplay({"image": jax.ShapeDtypeStruct((2, 2), np.uint8)}, 4, 0)
    replay.add({"image": np.full((3, 2, 2), 255, np.uint8)})
    drawn = replay.sample(1, 5)["image"]
    assert (drawn.dtype, drawn.shape) == (np.uint8, (1, 5, 2, 2))
    assert (drawn == 255).all()
