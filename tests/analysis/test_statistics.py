"""Statistics against brute force, SciPy and cases worked out by hand."""

import numpy as np
import pytest
from scipy import stats

from tegu.analysis.statistics import STATISTICS, iqm, iqm_interval, mean_interval, probability_of_improvement

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("n", range(1, 14))
def test_iqm_is_scipys_trimmed_mean(n):
    values = RNG.normal(size=(n, 3))
    np.testing.assert_allclose(iqm(values), stats.trim_mean(values, 0.25, axis=0), rtol=1e-13)
    np.testing.assert_allclose(iqm(values.T, axis=1), iqm(values), rtol=1e-13)


def test_iqm_leaves_out_the_extremes():
    assert iqm([-1e9, 1, 3, 1e9]) == 2
    assert iqm([1, 2, 30]) == 11


@pytest.mark.parametrize("statistic", ["mean", "iqm"])
def test_one_diverged_run_is_not_hidden(statistic):
    centre_of, interval_of = STATISTICS[statistic]
    values = np.array([[1.0, 2.0]] * 7 + [[np.nan, 2.0]])
    np.testing.assert_array_equal(centre_of(values), [np.nan, 2.0])
    low, high, _ = interval_of(values)
    np.testing.assert_array_equal([low, high], [[np.nan, 2.0]] * 2)


EXPERIMENTS = 4000  # 95 % of so many are right give or take 0.35 %


@pytest.mark.parametrize("interval", [mean_interval, iqm_interval])
@pytest.mark.parametrize("n", [2, 3, 4, 5, 10, 30])
def test_an_interval_holds_the_truth_as_often_as_it_says(n, interval):
    """Of experiments with ``n`` normal runs each: a percentile bootstrap would be right in 50 % with two."""
    values = np.random.default_rng(n).normal(5.0, 2.0, size=(n, EXPERIMENTS))
    low, high, _ = interval(values)
    least = 0.94 if interval is mean_interval else 0.925  # of an IQM a little less than is said, as documented
    assert least < np.mean((low < 5.0) & (high > 5.0)) < 0.96 + 0.02 * (interval is iqm_interval)


@pytest.mark.parametrize("n", [0, 1])
@pytest.mark.parametrize("interval", [mean_interval, iqm_interval])
def test_one_value_has_no_interval(n, interval):
    low, high, count = interval(np.ones(n))
    assert (np.isnan(low), np.isnan(high), count) == (True, True, n)
    assert interval(np.ones((n, 4))).low.shape == (4,)


@pytest.mark.parametrize("confidence", [0, 1, 95])
def test_confidence_is_a_fraction(confidence):
    with pytest.raises(ValueError, match="between 0 and 1"):
        mean_interval([1, 2], confidence=confidence)


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
@pytest.mark.parametrize("n", [2, 3, 4, 10, 100])
def test_the_interval_of_a_mean_is_students(n, confidence):
    values = RNG.normal(size=(n, 3))
    low, high, _ = mean_interval(values, confidence)
    expected = stats.t.interval(confidence, n - 1, values.mean(axis=0), stats.sem(values))
    np.testing.assert_allclose(high - low, expected[1] - expected[0], rtol=0.01)
    np.testing.assert_allclose((low + high) / 2, values.mean(axis=0))


@pytest.mark.parametrize("n", [2, 3, 4, 7, 8, 25])
def test_the_interval_of_an_iqm_is_scipys(n):
    """SciPy has the standard error in ``trimmed_mean_ci``, of which ``limits`` are the fractions left out."""
    values = RNG.normal(size=n)
    low, high, _ = iqm_interval(values)
    expected = stats.mstats.trimmed_mean_ci(values, limits=(n // 4 / n + 1e-9,) * 2)
    np.testing.assert_allclose([low, high], expected, rtol=0.02, atol=0.01)


def test_probability_of_improvement_is_mann_whitneys():
    a, b = RNG.integers(0, 6, size=(9, 3)), RNG.integers(0, 6, size=(4, 3))
    expected = stats.mannwhitneyu(a, b).statistic / (9 * 4)
    np.testing.assert_allclose(probability_of_improvement(a, b), expected)
    np.testing.assert_allclose(probability_of_improvement(b, a), 1 - expected)


@pytest.mark.parametrize(("a", "b", "expected"), [([2, 3], [0, 1], 1), ([1, 1], [1], 0.5), ([0], [np.nan], np.nan)])
def test_probability_of_improvement_by_hand(a, b, expected):
    np.testing.assert_equal(probability_of_improvement(a, b), expected)
