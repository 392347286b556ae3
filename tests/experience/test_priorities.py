"""Drawing by priorities, and their sums over blocks, against NumPy float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tegu.experience.priorities import Priorities

PUT = jax.jit(Priorities.put)
DRAW = jax.jit(Priorities.draw, static_argnums=2)


@pytest.mark.parametrize("capacity", [1, 2, 3, 9, 10, 17, 1000])
def test_blocks_hold_every_row_once(capacity):
    priorities = PUT(Priorities.empty(capacity), jnp.arange(capacity), jnp.arange(1.0, capacity + 1))
    np.testing.assert_array_equal(np.ravel(priorities.weight)[:capacity], np.arange(1, capacity + 1))
    blocks, width = priorities.weight.shape
    assert abs(blocks - width) <= 1
    assert blocks * width >= capacity > (blocks - 1) * width
    np.testing.assert_array_equal(priorities.block, np.asarray(priorities.weight, np.float64).sum(axis=1))


@pytest.mark.parametrize("capacity", [5, 64, 997])
def test_after_many_puts_sums_are_exact(capacity):
    """Weights are whole eighths, whose sums float32 holds exactly; they have not drifted from those of the rows."""
    rng, plain, priorities = np.random.default_rng(0), np.zeros(capacity), Priorities.empty(capacity)
    for _ in range(300):
        index = rng.choice(capacity, min(32, capacity), replace=False)
        weight = rng.integers(0, 10_000, len(index)) / 8
        plain[index] = weight
        priorities = PUT(priorities, jnp.asarray(index), jnp.float32(weight))
    weights = np.asarray(priorities.weight, np.float64)
    np.testing.assert_array_equal(weights.ravel()[:capacity], plain)
    np.testing.assert_array_equal(priorities.block, weights.sum(axis=1))


def test_of_a_row_put_twice_one_weight_holds_and_the_sums_are_right():
    """Its neighbours keep theirs, though their block's sum is written several times."""
    priorities = PUT(Priorities.empty(9), jnp.arange(9), jnp.ones(9))
    priorities = PUT(priorities, jnp.array([4, 4, 3, 4]), jnp.float32([2, 3, 8, 5]))
    weights = np.asarray(priorities.weight, np.float64)
    assert weights.ravel()[4] in (2, 3, 5)
    np.testing.assert_array_equal(np.delete(weights.ravel(), 4), [1, 1, 1, 8, 1, 1, 1, 1])
    np.testing.assert_array_equal(priorities.block, weights.sum(axis=1))


def test_draws_are_where_their_targets_fall():
    """Row by row against a search in the running sums in float64, with many rows of weight 0 between."""
    rng, n = np.random.default_rng(1), 64
    weight = rng.integers(1, 100, 90) * (rng.random(90) < 0.4)
    priorities = PUT(Priorities.empty(90), jnp.arange(90), jnp.float32(weight))
    for seed in range(20):
        key = jax.random.key(seed)
        index, probability = DRAW(priorities, key, n)
        target = (np.arange(n) + np.asarray(jax.random.uniform(key, (n,)), np.float64)) / n * weight.sum()
        ends = np.cumsum(weight)
        far = abs(ends[:, None] - target).min(axis=0) > 1e-3 * weight.sum() / n  # from where rounding would matter
        assert far.mean() > 0.9
        np.testing.assert_array_equal(np.asarray(index)[far], np.searchsorted(ends, target, side="right")[far])
        np.testing.assert_allclose(probability, weight[np.asarray(index)] / weight.sum(), rtol=1e-6)
        assert (np.asarray(probability) > 0).all()


@pytest.mark.parametrize("only", [0, 7, 8, 9, 98, 99])
def test_the_only_row_that_can_be_drawn_is_drawn(only):
    """Wherever it lies in its block, and its block among the others."""
    priorities = PUT(Priorities.empty(100), jnp.array([only]), jnp.float32([0.3]))
    index, probability = DRAW(priorities, jax.random.key(0), 1000)
    assert (index == only).all()
    np.testing.assert_allclose(probability, 1, rtol=1e-6)


@pytest.mark.long
def test_large_rings_draw_no_row_of_weight_0():
    """A million rows of very different weights, half of them never written."""
    rng, n = np.random.default_rng(0), 1_000_000
    weight = rng.lognormal(0, 3, n).astype(np.float32) * (rng.random(n) < 0.3)
    weight[n // 2 :] = 0
    priorities = PUT(Priorities.empty(n), jnp.arange(n), jnp.asarray(weight))
    total = weight.astype(np.float64).sum()
    for seed in range(20):
        index, probability = (np.asarray(part) for part in DRAW(priorities, jax.random.key(seed), 4096))
        assert (weight[index] > 0).all()
        np.testing.assert_allclose(probability, weight[index] / total, rtol=1e-4)
