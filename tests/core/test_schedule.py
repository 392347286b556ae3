"""Clocks and counts of steps beyond what 32 bits hold."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tegu.core.schedule import Clock, Linear, StepCount

LARGEST = 2**31 - 1
TOTALS = (1, 2**31 - 1, 2**31, 2**32, 2**32 + 1, 10**12 - 1)


def whole(count):
    return (int(count.high) << 32) + int(count.low)


@pytest.mark.parametrize("start", [0, 2**31 - 10, 2**31 - 1, 2**32 - 5, 2**32, 2**33 - 3, 10**12 - 20])
@pytest.mark.parametrize("steps", [1, 3, 7])
def test_counting_goes_on_across_the_ends_of_words(start, steps):
    """In a compiled loop, as the loops count: the count, the steps that saturate, and the share of the total."""
    total = start + 16

    @jax.jit
    def count(start, total):
        def one(count, _):
            later = count.plus(steps)
            return later, (later, later.clock(total))

        return jax.lax.scan(one, jax.tree.map(jnp.asarray, start), length=20)

    last, (counts, clocks) = count(StepCount.of(start), StepCount.of(total))
    assert whole(last) == start + 20 * steps
    assert {leaf.dtype for leaf in counts} == {np.dtype(np.uint32)}
    assert (clocks.steps.dtype, clocks.progress.dtype) == (np.int32, np.float32)
    for i in range(20):
        exact = start + (i + 1) * steps
        assert whole(jax.tree.map(lambda leaf, i=i: leaf[i], counts)) == exact
        assert clocks.steps[i] == min(exact, LARGEST)
        assert abs(float(clocks.progress[i]) - min(exact / total, 1.0)) <= 1e-6
        assert clocks.progress[i] <= 1


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 2**40), st.integers(0, 2**32 - 1), st.integers(1, 2**40))
def test_any_number_of_steps(start, more, total):
    later = StepCount.of(start).plus(more)
    assert whole(later) == start + more
    clock, plain = later.clock(StepCount.of(total)), Clock.of(start + more, total)
    assert int(clock.steps) == int(plain.steps) == min(start + more, LARGEST)
    assert abs(float(clock.progress) - float(plain.progress)) <= 1e-6
    assert abs(float(plain.progress) - min((start + more) / total, 1.0)) <= 1e-7


@pytest.mark.parametrize("total", TOTALS)
def test_clock_of_is_plain_arithmetic_in_numpy(total):
    for steps in (0, 1, total // 2, total - 1, total, 2 * total):
        clock = Clock.of(steps, total)
        assert isinstance(clock.steps, np.int32)
        assert isinstance(clock.progress, np.float32)
        assert clock.steps == min(steps, LARGEST)
        np.testing.assert_allclose(clock.progress, min(steps / total, 1), rtol=1e-7)
    assert Clock.of(0, total).progress == 0
    assert Clock.of(total, total).progress == 1


def test_nothing_planned_is_all_done_after_the_first_step():
    assert Clock.of(0, 0) == (0, 0)
    assert Clock.of(1, 0) == (1, 1)


@pytest.mark.parametrize(
    ("progress", "expected"), [(0, 3.0), (0.1, 2.5), (0.4, 1.0), (0.4001, 1.0), (0.9, 1.0), (1.0, 1.0)]
)
def test_linear_falls_over_its_fraction_and_stays(progress, expected):
    np.testing.assert_allclose(Linear(3.0, 1.0, 0.4)(np.float32(progress)), expected, rtol=1e-6)
