"""The replay buffer against a plain list."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from replay_windows import assert_uniform, assert_windows, newest, rows
from scipy import stats

from tegu.core.step import Step
from tegu.experience.base import Feedback, Prioritized, Replay, Uniform
from tegu.experience.buffer import ReplayBuffer
from tegu.training.learning import cut_episodes

BLOCK, CAPACITY = 3, 9
ROW = {"id": jax.ShapeDtypeStruct((BLOCK,), jnp.int32), "x": jax.ShapeDtypeStruct((BLOCK, 2), jnp.float32)}
EMPTY = jax.jit(ReplayBuffer.empty, static_argnums=1)
ADD = jax.jit(ReplayBuffer.add, static_argnums=(2, 3))
DRAW = jax.jit(ReplayBuffer.draw, static_argnums=(2, 3))
REVISE = jax.jit(ReplayBuffer.revise, static_argnums=3)


def replay_of(capacity=CAPACITY, batch_size=32, n_steps=1, **more):
    """What an algorithm declares; only these three count here."""
    return Replay(capacity, batch_size, 0, 1, 1, n_steps, **more)


def block(first):
    """Rows numbered from ``first``; ``x`` repeats the number, so that a torn row would show."""
    ids = np.arange(first, first + BLOCK, dtype=np.int32)
    return {"id": ids, "x": np.stack([ids, -ids], -1).astype(np.float32)}


def filled(blocks):
    experience = replay_of()
    buffer = ReplayBuffer.empty(ROW, experience)
    for i in range(blocks):
        buffer = ADD(buffer, block(1 + i * BLOCK), experience, 1)
    return buffer


def written_to(written, experience, n_envs):
    """A buffer with these blocks of ``rows`` one after the other."""
    buffer = ReplayBuffer.empty(written[0], experience)
    for each in written:
        buffer = ADD(buffer, each, experience, n_envs)
    return buffer


class ListModel(RuleBasedStateMachine):
    """After any writing and drawing the ring holds the last ``CAPACITY`` rows of the list, and only they are drawn."""

    def __init__(self):
        super().__init__()
        self.experience = replay_of(CAPACITY + 2)  # room for two rows more makes no whole block
        self.buffer = ReplayBuffer.empty(ROW, self.experience)
        self.written = []

    @rule()
    def add(self):
        new = block(len(self.written) + 1)
        self.buffer = ADD(self.buffer, new, self.experience, 1)
        self.written += new["id"].tolist()

    @rule(seed=st.integers(0, 2**31 - 1))
    def draw(self, seed):
        (drawn, weight), indices = DRAW(self.buffer, jax.random.key(seed), self.experience, 1)
        assert drawn["id"].shape == indices.shape == (32,)
        assert drawn["x"].shape == (32, 2)
        np.testing.assert_array_equal(weight, np.ones(32, np.float32))
        np.testing.assert_array_equal(drawn["x"], np.stack([drawn["id"], -drawn["id"]], -1))
        np.testing.assert_array_equal(self.buffer.rows["id"][indices], drawn["id"])
        assert set(drawn["id"].tolist()) <= set(self.written[-CAPACITY:] or [0])

    @invariant()
    def holds_the_newest_rows(self):
        assert self.buffer.size == min(len(self.written), CAPACITY)
        assert self.buffer.position == len(self.written) % CAPACITY
        held = np.asarray(self.buffer.rows["id"])
        assert held.shape == (CAPACITY,)
        expected = np.zeros(CAPACITY, np.int32)
        for count, row in enumerate(self.written):
            expected[count % CAPACITY] = row
        np.testing.assert_array_equal(held, expected)


ListModel.TestCase.settings = settings(deadline=None, max_examples=30, stateful_step_count=12)
TestAgainstAList = ListModel.TestCase


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 5), st.integers(0, 8), st.integers(1, 12))
def test_the_ring_holds_the_newest_rows(length, blocks, capacity):
    """Blocks of any length, which need not divide the capacity asked for."""
    written = [rows(100 * i, length, 1) for i in range(blocks)]
    experience = replay_of(capacity)
    buffer = ReplayBuffer.empty(rows(0, length, 1), experience)
    for each in written:
        buffer = buffer.add(each, experience, 1)
    whole = max(capacity // length, 1) * length
    held = zip(*(np.asarray(buffer.rows[name])[: buffer.size].tolist() for name in ("t", "env")), strict=True)
    assert buffer.capacity == whole
    assert set(held) == (newest(written, whole) if written else set())
    assert buffer.size == min(blocks * length, whole)


@pytest.mark.parametrize("blocks", [1, 2, 3, 5])
def test_drawing_is_uniform_over_the_rows_held(blocks):
    """Before the ring is full, when it just is, and after it has wrapped: chi-square of 20,000 draws."""
    drawn = DRAW(filled(blocks), jax.random.key(1), replay_of(batch_size=20_000), 1).batch.rows
    held = range(max(1, 1 + (blocks - 3) * BLOCK), 1 + blocks * BLOCK)
    counts = [int((drawn["id"] == row).sum()) for row in held]
    assert sum(counts) == 20_000
    assert stats.chisquare(counts).pvalue > 1e-3


def test_draws_are_independent():
    """Pairs of successive draws are uniform over all 81 pairs."""
    drawn = DRAW(filled(3), jax.random.key(2), replay_of(batch_size=40_000), 1).batch.rows
    slot = np.asarray(drawn["id"]) - 1
    assert stats.chisquare(np.bincount(slot[::2] * CAPACITY + slot[1::2], minlength=CAPACITY**2)).pvalue > 1e-3


@pytest.mark.parametrize(
    ("capacity", "length", "expected"), [(10, 3, 9), (9, 3, 9), (2, 3, 3), (7, 1, 7), (1, 1, 1), (13, 4, 12)]
)
def test_capacity_is_whole_blocks_and_at_least_one(capacity, length, expected):
    shapes = {"x": jax.ShapeDtypeStruct((length, 2), jnp.float32)}
    assert ReplayBuffer.empty(shapes, replay_of(capacity)).rows["x"].shape == (expected, 2)


def test_dtypes_are_kept():
    experience = replay_of(4, batch_size=3)
    new = {"image": np.full((2, 2, 2), 255, np.uint8), "done": np.ones(2, bool)}
    buffer = ReplayBuffer.empty(new, experience).add(new, experience, 1)
    drawn = buffer.draw(jax.random.key(0), experience, 1).batch.rows
    assert (drawn["image"].dtype, drawn["image"].shape) == (jnp.uint8, (3, 2, 2))
    assert drawn["done"].dtype == jnp.bool_
    assert (drawn["image"] == 255).all()
    assert drawn["done"].all()


def test_adding_leaves_the_old_buffer_and_what_was_drawn_alone():
    """A batch may still be learned from while new rows are written."""
    before = filled(1)
    ids = np.array(before.rows["id"])
    drawn = DRAW(before, jax.random.key(0), replay_of(), 1).batch.rows
    copy = np.array(drawn["id"])
    ADD(before, block(50), replay_of(), 1)
    np.testing.assert_array_equal(before.rows["id"], ids)
    np.testing.assert_array_equal(drawn["id"], copy)


def test_a_buffer_from_its_arrays_goes_on_drawing_the_same():
    """Nothing but its leaves decides what is drawn."""
    experience = replay_of(8, batch_size=50, n_steps=2)
    buffer = written_to([rows(5 * i, 2, 2) for i in range(3)], experience, 2)
    other = jax.tree.map(lambda leaf: jnp.asarray(np.array(leaf)), buffer)
    one, two = (DRAW(each, jax.random.key(3), experience, 2) for each in (buffer, other))
    jax.tree.map(np.testing.assert_array_equal, one, two)


# Windows


@pytest.mark.parametrize("blocks", [2, 3, 4, 9])
@pytest.mark.parametrize("capacity", [12, 13])
@pytest.mark.parametrize(("n_steps", "n_envs"), [(1, 2), (2, 1), (4, 1), (2, 3), (3, 2)])
@pytest.mark.parametrize("prioritized", [False, True])
def test_windows_are_consecutive_steps_of_one_environment(blocks, capacity, n_steps, n_envs, prioritized):
    """Before the ring is full, when it just is, and after it has wrapped; all windows are equally likely.

    Also by priorities, where all rows still have the one they began with.
    """
    written = [rows(2 * i, 2, n_envs) for i in range(blocks)]
    draw = {"draw": Prioritized(0.6, 0.4)} if prioritized else {}
    experience = replay_of(capacity, 2_000, n_steps, **draw)
    (windows, weight), indices = DRAW(written_to(written, experience, n_envs), jax.random.key(3), experience, n_envs)
    windows = {name: leaf.reshape(n_steps, -1) for name, leaf in windows.items()}
    held = newest(written, capacity // (2 * n_envs) * 2 * n_envs)
    assert_windows(windows, held, n_steps)
    np.testing.assert_array_equal(weight, np.ones(2_000, np.float32))
    assert indices.shape == (2_000,)
    if prioritized:  # from equal shares, so more evenly than by chance
        begun = np.bincount(np.asarray(indices), minlength=2 * capacity)
        assert (begun > 0).sum() == len({(t, e) for t, e in held if (t + n_steps - 1, e) in held})
        assert abs(begun[begun > 0] - begun.sum() / (begun > 0).sum()).max() <= 2
    else:
        assert_uniform(windows, held, n_steps)


@pytest.mark.parametrize(("length", "blocks_kept", "n_steps"), [(1, 1, 3), (2, 1, 2), (1, 3, 3), (1, 4, 4), (3, 2, 5)])
def test_windows_as_long_as_the_ring_never_run_on_from_its_newest_row_to_its_oldest(length, blocks_kept, n_steps):
    """Where blocks overwrite what later rows would have completed."""
    n_envs, capacity = 2, 2 * length * blocks_kept
    if n_steps * n_envs > capacity:
        n_steps = capacity // n_envs
    experience = replay_of(capacity, 64, n_steps, draw=Prioritized())
    written = []
    buffer = ReplayBuffer.empty(rows(0, length, n_envs), experience)
    for i in range(3 * blocks_kept):
        written.append(rows(length * i, length, n_envs))
        buffer = ADD(buffer, written[-1], experience, n_envs)
        if buffer.size < experience.window(n_envs):
            assert not buffer.priorities.weight.any()
            continue
        windows = DRAW(buffer, jax.random.key(i), experience, n_envs).batch.rows
        windows = {name: leaf.reshape(n_steps, -1) for name, leaf in windows.items()}
        assert_windows(windows, newest(written, capacity), n_steps)


def test_a_buffer_of_one_window_gives_that_window():
    experience = replay_of(BLOCK, 2, n_steps=BLOCK)
    buffer = ReplayBuffer.empty(ROW, experience).add(block(1), experience, 1)
    drawn = DRAW(buffer, jax.random.key(0), experience, 1)
    np.testing.assert_array_equal(drawn.batch.rows["id"], [[1, 1], [2, 2], [3, 3]])
    np.testing.assert_array_equal(drawn.indices, [0, 0])


def test_cut_episodes_end_where_the_last_step_was():
    """Only those asked for, once the ring has wrapped as well; an empty buffer stays as it is."""
    none, n_envs = np.zeros(4, bool), 2
    steps = Step(np.arange(4, dtype=np.int32), none, none, none, none, none)
    experience = replay_of(6)
    empty = ReplayBuffer.empty(jax.tree.map(lambda leaf: leaf[:2], steps), experience)
    buffer = empty
    for _ in range(4):
        buffer = buffer.add(jax.tree.map(lambda leaf: leaf[:2], steps), experience, n_envs)
    cut = cut_episodes(buffer, jnp.array([False, True]))
    np.testing.assert_array_equal(np.flatnonzero(cut.rows.truncated), [1])  # the fourth block is where the first was
    assert not cut.rows.terminated.any()
    assert not cut_episodes(empty, jnp.ones(n_envs, bool)).rows.truncated.any()


# What an update answers


def test_revised_rows_are_changed_and_parts_that_are_none_are_not():
    """Whole parts of a row may be None, in which case none of it changes; rows that were not drawn stay."""
    shapes = {"a": np.zeros(4, np.float32), "b": {"c": np.zeros((4, 2), np.float32), "d": np.zeros(4, np.int32)}}
    experience = replay_of(8, 3)
    buffer = ReplayBuffer.empty(shapes, experience)
    for i in (1, 2):
        buffer = buffer.add(jax.tree.map(lambda leaf, i=i: leaf + i, shapes), experience, 1)
    index = np.array([0, 5, 5])
    new = {"a": None, "b": {"c": np.full((3, 2), 9.0, np.float32), "d": None}}
    revised = REVISE(buffer, index, Feedback(rows=new), experience)
    expected = np.repeat(np.float32([1, 2]), 4)[:, None] * np.ones((1, 2), np.float32)
    expected[[0, 5]] = 9
    np.testing.assert_array_equal(revised.rows["b"]["c"], expected)
    np.testing.assert_array_equal(revised.rows["a"], buffer.rows["a"])
    np.testing.assert_array_equal(revised.rows["b"]["d"], buffer.rows["b"]["d"])
    revised = REVISE(buffer, index, Feedback(rows={"a": np.float32([3, 4, 4]), "b": None}), experience)
    np.testing.assert_array_equal(revised.rows["a"], [3, 1, 1, 1, 2, 4, 2, 2])
    jax.tree.map(np.testing.assert_array_equal, revised.rows["b"], buffer.rows["b"])
    jax.tree.map(np.testing.assert_array_equal, REVISE(buffer, index, Feedback(), experience), buffer)


def test_of_a_row_drawn_several_times_the_first_answer_holds():
    """Of its contents and of its priority alike: the order in which a device writes does not matter."""
    experience = replay_of(9, 5, draw=Prioritized(alpha=1.0))
    buffer = ReplayBuffer.empty({"a": np.zeros(9, np.float32)}, experience)
    buffer = buffer.add({"a": np.zeros(9, np.float32)}, experience, 1)
    index, answers = np.array([4, 2, 4, 4, 2]), np.float32([7, 5, 8, 1, 9])
    revised = REVISE(buffer, index, Feedback(priority=answers, rows={"a": answers}), experience)
    np.testing.assert_array_equal(revised.rows["a"], [0, 0, 5, 0, 7, 0, 0, 0, 0])
    np.testing.assert_allclose(np.ravel(revised.priorities.weight), [1, 1, 5, 1, 7, 1, 1, 1, 1], rtol=1e-6)


def test_priorities_are_ignored_where_rows_are_drawn_uniformly():
    buffer = filled(2)
    revised = buffer.revise(np.array([0]), Feedback(priority=np.ones(1, np.float32)), replay_of())
    jax.tree.map(np.testing.assert_array_equal, revised, buffer)


# Priorities

ALPHA, BETA = 0.7, 0.5


def prioritized(n_rows=20, capacity=20, batch_size=100, alpha=ALPHA, beta=BETA):
    """A buffer of single rows, and what it declares."""
    experience = replay_of(capacity, batch_size, draw=Prioritized(alpha, beta))
    buffer = ReplayBuffer.empty(rows(0, 1, 1), experience)
    for t in range(n_rows):
        buffer = ADD(buffer, rows(t, 1, 1), experience, 1)
    return buffer, experience


def errors_for(n, seed=0):
    """Errors over three orders of magnitude, one of them 0."""
    error = np.random.default_rng(seed).lognormal(0, 2, n).astype(np.float32)
    error[n // 2] = 0
    return error


def many(buffer, experience, n, key=0):
    """The indices and weights ``[n, batch]`` of ``n`` batches."""
    draw = partial(ReplayBuffer.draw, buffer, experience=experience, n_envs=1)
    keys = jax.random.split(jax.random.key(key), n)
    drawn = jax.jit(lambda keys: jax.lax.map(lambda key: (draw(key).indices, draw(key).batch.weight), keys))(keys)
    return jax.device_get(drawn)


def test_rows_are_drawn_in_proportion_to_a_power_of_their_errors():
    """(|error| + 1e-6)^alpha in float64; 100,000 rows in shares, so within 5 standard errors of independent draws."""
    buffer, experience = prioritized()
    error = errors_for(20)
    buffer = REVISE(buffer, np.arange(20), Feedback(priority=error), experience)
    power = (error.astype(np.float64) + 1e-6) ** ALPHA
    share = power / power.sum()
    index, weight = many(buffer, experience, 1000)
    frequency = np.bincount(index.ravel(), minlength=20) / index.size
    assert (abs(frequency - share) <= 5 * np.sqrt(share * (1 - share) / index.size)).all()
    expected = (20 * share[index]) ** -BETA
    np.testing.assert_allclose(weight, expected / expected.max(axis=1, keepdims=True), rtol=1e-4)
    np.testing.assert_allclose(weight.max(axis=1), 1, rtol=1e-6)


def test_each_batch_holds_one_row_from_each_equal_share():
    """A row's count in a batch is never further than 1 from what it should be."""
    buffer, experience = prioritized()
    error = errors_for(20, 1)
    buffer = REVISE(buffer, np.arange(20), Feedback(priority=error), experience)
    power = (error.astype(np.float64) + 1e-6) ** ALPHA
    index, _ = many(buffer, experience, 50)
    for batch in index:
        counts = np.bincount(batch, minlength=20)
        assert (abs(counts - 100 * power / power.sum()) < 2).all()


def test_with_alpha_0_drawing_is_uniform_and_nothing_needs_a_weight():
    buffer, experience = prioritized(alpha=0.0, beta=1.0)
    buffer = REVISE(buffer, np.arange(20), Feedback(priority=errors_for(20)), experience)
    index, weight = many(buffer, experience, 10)
    np.testing.assert_allclose(weight, 1, rtol=1e-6)
    assert (np.stack([np.bincount(batch, minlength=20) for batch in index]) > 2).all()


def test_with_beta_1_the_weights_make_up_for_the_drawing():
    """The weighted mean of any quantity over what is drawn is its mean over all rows."""
    buffer, experience = prioritized(beta=1.0)
    buffer = REVISE(buffer, np.arange(20), Feedback(priority=errors_for(20) + 0.1), experience)
    index, weight = many(buffer, experience, 2000)
    quantity = np.arange(20) ** 2.0
    means = (weight * quantity[index]).sum(axis=1) / weight.sum(axis=1)
    assert abs(means.mean() - quantity.mean()) < 0.03 * quantity.mean()


def test_new_rows_get_the_largest_weight_so_far():
    """1 at first; then the largest ever, though its row may be gone or have another by now."""
    buffer, experience = prioritized(n_rows=3, capacity=4)
    np.testing.assert_array_equal(np.ravel(buffer.priorities.weight), [1, 1, 1, 0])
    buffer = REVISE(buffer, np.arange(3), Feedback(priority=np.float32([0.1, 5, 0.2])), experience)
    buffer = ADD(buffer, rows(3, 1, 1), experience, 1)
    largest = (5 + 1e-6) ** ALPHA
    expected = [(0.1 + 1e-6) ** ALPHA, largest, (0.2 + 1e-6) ** ALPHA, largest]
    np.testing.assert_allclose(np.ravel(buffer.priorities.weight), expected, rtol=1e-6)
    buffer = REVISE(buffer, np.array([1, 3]), Feedback(priority=np.float32([0.3, 0.3])), experience)
    buffer = ADD(buffer, rows(4, 1, 1), experience, 1)
    np.testing.assert_allclose(np.ravel(buffer.priorities.weight)[0], largest, rtol=1e-6)
    np.testing.assert_allclose(buffer.priorities.largest, largest, rtol=1e-6)


def test_empty_rows_are_never_drawn():
    """Not even where rounding puts the draw at the very end of all weights."""
    buffer, experience = prioritized(n_rows=10, capacity=100, batch_size=256)
    index, weight = many(buffer, experience, 200)
    assert index.max() < 10
    assert np.isfinite(weight).all()


def test_a_draw_at_the_very_end_is_the_last_row_that_can_be_drawn(monkeypatch):
    monkeypatch.setattr(jax.random, "uniform", lambda key, shape: jnp.full(shape, 1 - 2**-23, jnp.float32))
    buffer, experience = prioritized(n_rows=10, capacity=100, batch_size=256)
    drawn = buffer.draw(jax.random.key(0), experience, 1)
    assert drawn.indices.max() < 10
    assert np.isfinite(drawn.batch.weight).all()


@pytest.mark.parametrize(("n_steps", "n_envs"), [(3, 2), (2, 3), (4, 1)])
def test_windows_keep_their_priorities_while_the_ring_turns(n_steps, n_envs):
    """Against a plain dict from (time, environment) to weight: incomplete windows have none, complete ones what they
    were given last, or what was the largest when they were completed."""
    experience = replay_of(10 * n_envs, 16, n_steps, draw=Prioritized(ALPHA, BETA))
    buffer = ReplayBuffer.empty(rows(0, 2, n_envs), experience)
    expected, largest, rng = {}, 1.0, np.random.default_rng(0)
    for i in range(14):
        new = rows(2 * i, 2, n_envs)
        buffer = ADD(buffer, new, experience, n_envs)
        for t in range(2 * i - n_steps + 1, 2 * i + 2 - n_steps + 1):
            expected |= {(t, env): largest for env in range(n_envs) if t >= 0}
        expected = {key: weight for key, weight in expected.items() if key[0] >= 2 * i + 2 - 10}
        slots = {(t % 10) * n_envs + env: weight for (t, env), weight in expected.items()}
        weights = np.ravel(buffer.priorities.weight)
        np.testing.assert_allclose(weights[: 10 * n_envs], [slots.get(s, 0) for s in range(10 * n_envs)], rtol=1e-6)
        assert not weights[10 * n_envs :].any()
        if buffer.size < experience.window(n_envs):
            continue
        drawn = DRAW(buffer, jax.random.key(i), experience, n_envs)
        begun = list(zip(*(np.asarray(drawn.batch.rows[name])[0].tolist() for name in ("t", "env")), strict=True))
        assert set(begun) <= expected.keys()
        chance = np.array([expected[key] for key in begun]) / sum(expected.values())
        weight = (int(buffer.size) * chance) ** -BETA
        np.testing.assert_allclose(drawn.batch.weight, weight / weight.max(), rtol=1e-4)
        error = {key: float(rng.lognormal()) for key in begun}  # a window drawn twice has one error
        given = np.float32([error[key] for key in begun])
        buffer = REVISE(buffer, drawn.indices, Feedback(priority=given), experience)
        expected |= {key: (each + 1e-6) ** ALPHA for key, each in error.items()}
        largest = max(largest, *((each + 1e-6) ** ALPHA for each in error.values()))


@pytest.mark.parametrize("blocks", [0, 1, 3, 4])
def test_a_block_may_be_written_after_its_room_was_made(blocks):
    """And twice: ``last`` gives the block that was written last, which is no other than it was."""
    buffer, new, experience = filled(blocks), block(50), replay_of()
    added = buffer.add(new, experience, 1)
    one = buffer.advance(new, experience, 1).write(new)
    jax.tree.map(np.testing.assert_array_equal, one, added)
    jax.tree.map(np.testing.assert_array_equal, one.last(BLOCK), new)
    jax.tree.map(np.testing.assert_array_equal, one.write(one.last(BLOCK)), added)


@pytest.mark.parametrize("draw", [Uniform(), Prioritized()], ids=["uniform", "prioritized"])
@pytest.mark.parametrize("blocks", [1, 3, 7])
def test_the_age_of_a_row_is_the_number_of_those_that_came_after_it(blocks, draw):
    """In a plain list: of three environments, before the ring is full and after it has gone round; of windows, that of
    the first row."""
    n_envs, steps = 3, 4
    experience = replay_of(31, 64, n_steps=2, draw=draw)  # whole blocks make 24
    written = [rows(steps * i, steps, n_envs) for i in range(blocks)]
    buffer = written_to(written, experience, n_envs)
    everything = [pair for block in written for pair in zip(block["t"].tolist(), block["env"].tolist(), strict=True)]
    drawn = DRAW(buffer, jax.random.key(0), experience, n_envs)
    begun = zip(*(np.asarray(drawn.batch.rows[name])[0].tolist() for name in ("t", "env")), strict=True)
    expected = [len(everything) - 1 - everything.index(pair) for pair in begun]
    np.testing.assert_array_equal(buffer.age(drawn.indices), expected)
    assert max(expected) < 24
