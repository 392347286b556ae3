"""Random orders: every number once, every order as likely as the others."""

import jax
import numpy as np
import pytest
from scipy import stats

from tegu.experience.shuffling import permutation


@pytest.mark.parametrize("n", [1, 2, 3, 1000, 4096, 70_000])
def test_every_number_is_there_once(n: int) -> None:
    order = permutation(jax.random.key(n), n)
    assert order.dtype == np.int32
    np.testing.assert_array_equal(np.sort(order), np.arange(n))


def test_all_orders_of_four_are_equally_likely() -> None:
    orders = np.asarray(jax.vmap(lambda key: permutation(key, 4))(jax.random.split(jax.random.key(1), 24_000)))
    counts = np.unique(orders @ 4 ** np.arange(4), return_counts=True)[1]
    assert len(counts) == 24
    assert stats.chisquare(counts).pvalue > 1e-4


def test_neighbours_are_torn_apart() -> None:
    """Where a number goes says nothing of where the next one goes, also with few random bits beside the number."""
    places = np.argsort(permutation(jax.random.key(2), 2**18)).astype(float)
    correlation = np.corrcoef(places[1:], places[:-1])[0, 1]
    assert abs(correlation) < 5 / 2**9  # five standard deviations


def test_rounds_of_sorting_are_unlike_each_other() -> None:
    """A random order leaves one number on average where it was; one order applied twice would leave two."""
    orders = jax.vmap(lambda key: permutation(key, 4096))(jax.random.split(jax.random.key(3), 400))
    fixed = (np.asarray(orders) == np.arange(4096)).sum(axis=1)
    assert abs(fixed.mean() - 1) < 0.25  # five standard errors


def test_too_many_are_refused() -> None:
    with pytest.raises(ValueError, match="at most"):
        permutation(jax.random.key(0), 2**30)
