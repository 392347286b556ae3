"""The replay buffer on the device against a plain list."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from replay_windows import assert_uniform, assert_windows, newest, rows
from scipy import stats

from tegu.experience.device import DeviceReplay

BLOCK, CAPACITY = 3, 9
ROW = {"id": jax.ShapeDtypeStruct((), jnp.int32), "x": jax.ShapeDtypeStruct((2,), jnp.float32)}
ADD = jax.jit(DeviceReplay.add)
SAMPLE = jax.jit(DeviceReplay.sample, static_argnums=(2, 3, 4))


def block(first):
    """Rows numbered from ``first``; ``x`` repeats the number, so that a torn row would show."""
    ids = np.arange(first, first + BLOCK, dtype=np.int32)
    return {"id": ids, "x": np.stack([ids, -ids], -1).astype(np.float32)}


def filled(blocks):
    replay = DeviceReplay.empty(ROW, CAPACITY, BLOCK)
    for i in range(blocks):
        replay = ADD(replay, block(1 + i * BLOCK))
    return replay


class ListModel(RuleBasedStateMachine):
    """After any writing and sampling the ring holds the last ``CAPACITY`` rows of the list, and only they are drawn."""

    def __init__(self):
        super().__init__()
        self.replay = DeviceReplay.empty(ROW, CAPACITY + 2, BLOCK)  # room for two rows more makes no whole block
        self.written = []

    @rule()
    def add(self):
        new = block(len(self.written) + 1)
        self.replay = ADD(self.replay, new)
        self.written += new["id"].tolist()

    @rule(seed=st.integers(0, 2**31 - 1))
    def sample(self, seed):
        drawn = SAMPLE(self.replay, jax.random.key(seed), 32)
        assert drawn["id"].shape == (32,)
        assert drawn["x"].shape == (32, 2)
        np.testing.assert_array_equal(drawn["x"], np.stack([drawn["id"], -drawn["id"]], -1))
        assert set(drawn["id"].tolist()) <= set(self.written[-CAPACITY:] or [0])

    @invariant()
    def holds_the_newest_rows(self):
        assert self.replay.size == min(len(self.written), CAPACITY)
        assert self.replay.position == len(self.written) % CAPACITY
        held = np.asarray(self.replay.rows["id"])
        assert held.shape == (CAPACITY,)
        expected = np.zeros(CAPACITY, np.int32)
        for count, row in enumerate(self.written):
            expected[count % CAPACITY] = row
        np.testing.assert_array_equal(held, expected)


ListModel.TestCase.settings = settings(deadline=None, max_examples=30, stateful_step_count=12)
TestAgainstAList = ListModel.TestCase


@pytest.mark.parametrize("blocks", [1, 2, 3, 5])
def test_sampling_is_uniform_over_the_rows_held(blocks):
    """Before the ring is full, when it just is, and after it has wrapped: chi-square of 20,000 draws."""
    replay = filled(blocks)
    drawn = SAMPLE(replay, jax.random.key(1), 20_000)
    held = range(max(1, 1 + (blocks - 3) * BLOCK), 1 + blocks * BLOCK)
    counts = [int((drawn["id"] == row).sum()) for row in held]
    assert sum(counts) == 20_000
    assert stats.chisquare(counts).pvalue > 1e-3


def test_draws_are_independent():
    """Pairs of successive draws are uniform over all 81 pairs."""
    slot = np.asarray(SAMPLE(filled(3), jax.random.key(2), 40_000)["id"]) - 1
    assert stats.chisquare(np.bincount(slot[::2] * CAPACITY + slot[1::2], minlength=CAPACITY**2)).pvalue > 1e-3


@pytest.mark.parametrize(
    ("capacity", "block_size", "expected"), [(10, 3, 9), (9, 3, 9), (2, 3, 3), (7, 1, 7), (1, 1, 1)]
)
def test_capacity_is_whole_blocks_and_at_least_one(capacity, block_size, expected):
    assert DeviceReplay.empty(ROW, capacity, block_size).rows["x"].shape == (expected, 2)


def test_dtypes_are_kept():
    row = {"image": jax.ShapeDtypeStruct((2, 2), jnp.uint8), "done": jax.ShapeDtypeStruct((), jnp.bool_)}
    replay = DeviceReplay.empty(row, 4, 2).add({"image": np.full((2, 2, 2), 255, np.uint8), "done": np.ones(2, bool)})
    sample = replay.sample(jax.random.key(0), 3)
    assert (sample["image"].dtype, sample["done"].dtype) == (jnp.uint8, jnp.bool_)
    assert (sample["image"] == 255).all()
    assert sample["done"].all()


def test_adding_leaves_the_old_buffer_alone():
    before = filled(1)
    ids = np.array(before.rows["id"])
    ADD(before, block(50))
    np.testing.assert_array_equal(before.rows["id"], ids)


@pytest.mark.parametrize("blocks", [2, 3, 4, 8])
@pytest.mark.parametrize(("n_steps", "n_envs"), [(2, 1), (4, 1), (2, 3), (3, 2)])
def test_windows_are_consecutive_steps_of_one_environment(blocks, n_steps, n_envs):
    """Before the ring is full, when it just is, and after it has wrapped; all windows are equally likely."""
    written = [rows(2 * i, 2, n_envs) for i in range(blocks)]
    row = {name: jax.ShapeDtypeStruct((), jnp.int32) for name in ("t", "env")}
    replay = DeviceReplay.empty(row, 6 * n_envs, 2 * n_envs)
    for each in written:
        replay = ADD(replay, each)
    drawn, held = SAMPLE(replay, jax.random.key(3), 2_000, n_steps, n_envs), newest(written, 6 * n_envs)
    assert_windows(drawn, held, n_steps)
    assert_uniform(drawn, held, n_steps)


def test_a_buffer_of_one_window_gives_that_window():
    replay = DeviceReplay.empty({"id": ROW["id"]}, BLOCK, BLOCK).add({"id": block(1)["id"]})
    np.testing.assert_array_equal(SAMPLE(replay, jax.random.key(0), 2, BLOCK, 1)["id"], [[1, 1], [2, 2], [3, 3]])
