"""The scale of logarithms, and distributions over its bins, in NumPy float64."""

import numpy as np
import pytest

from tegu.nn.symlog import mean_of_bins, symexp, symexp_bins, symlog, two_hot

pytestmark = pytest.mark.usefixtures("x64")


@pytest.mark.slow
def test_symlog_has_its_inverse_and_two_bins_a_value_as_their_mean() -> None:
    x = np.concatenate([-np.logspace(-3, 5, 50), [0], np.logspace(-3, 5, 50)])
    np.testing.assert_allclose(symlog(x), np.sign(x) * np.log(abs(x) + 1), rtol=1e-12)
    np.testing.assert_allclose(symexp(symlog(x)), x, rtol=1e-9)
    for n in (5, 63, 255):
        bins = np.asarray(symexp_bins(n))
        found = np.asarray(two_hot(bins, x))
        np.testing.assert_allclose(found.sum(axis=-1), 1, rtol=1e-12)
        np.testing.assert_allclose(found @ bins, x, rtol=1e-7, atol=1e-6)
        assert ((found > 0).sum(axis=-1) <= 2).all()
        first, last = (found > 0).argmax(axis=-1), n - 1 - (found > 0)[:, ::-1].argmax(axis=-1)
        assert (last - first <= 1).all(), "the two are neighbours"
        np.testing.assert_array_equal(two_hot(bins, bins), np.eye(n))
        np.testing.assert_array_equal(two_hot(bins, np.array([-1e9, 1e9])), np.eye(n)[[0, -1]])


@pytest.mark.slow
def test_bins_of_which_all_are_as_likely_have_the_mean_0() -> None:
    """Also in float32, whose sums of such numbers are off by more than 1."""
    bins = symexp_bins(63).astype(np.float32)
    assert mean_of_bins(bins, np.zeros(63, np.float32)) == 0
    logits = np.random.default_rng(0).normal(size=(9, 63))
    expected = (np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)) @ np.asarray(symexp_bins(63))
    np.testing.assert_allclose(mean_of_bins(symexp_bins(63), logits), expected, rtol=1e-9)
