"""Statistics against brute force, SciPy and cases worked out by hand."""

import itertools

import numpy as np
import pytest
from scipy import stats

from tegu.analysis.statistics import bootstrap_interval, episode_interval, iqm, mean, probability_of_improvement

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("n", range(1, 14))
def test_iqm_is_scipys_trimmed_mean(n):
    values = RNG.normal(size=(n, 3))
    np.testing.assert_allclose(iqm(values), stats.trim_mean(values, 0.25, axis=0), rtol=1e-13)
    np.testing.assert_allclose(iqm(values.T, axis=1), iqm(values), rtol=1e-13)


def test_iqm_leaves_out_the_extremes():
    assert iqm([-1e9, 1, 3, 1e9]) == 2
    assert iqm([1, 2, 30]) == 11


@pytest.mark.parametrize("statistic", [mean, iqm])
def test_one_diverged_run_is_not_hidden(statistic):
    values = np.array([[1.0, 2.0]] * 7 + [[np.nan, 2.0]])
    np.testing.assert_array_equal(statistic(values), [np.nan, 2.0])
    low, high, _ = bootstrap_interval(values, statistic)
    np.testing.assert_array_equal([low, high], [[np.nan, 2.0]] * 2)


@pytest.mark.parametrize("statistic", [mean, iqm])
def test_bootstrap_comes_near_the_exact_distribution(statistic):
    """Five values have 5 ** 5 equally likely resamples, few enough to go through them all."""
    values = np.array([0.0, 1.0, 3.0, 4.0, 11.0])
    everything = [float(statistic(np.array(chosen))) for chosen in itertools.product(values, repeat=5)]
    low, high, n = bootstrap_interval(values, statistic, confidence=0.9, resamples=40_000)
    np.testing.assert_allclose([low, high], np.quantile(everything, [0.05, 0.95]), atol=0.21)
    assert n == 5


def test_bootstrap_of_curves_draws_whole_runs():
    values = RNG.normal(size=(6, 4))
    low, high, _ = bootstrap_interval(np.column_stack([values, -values]), mean)
    assert low.shape == high.shape == (8,)
    np.testing.assert_allclose(low[:4], -high[4:])
    alone = bootstrap_interval(values[:, 2], mean)
    np.testing.assert_allclose([low[2], high[2]], [alone.low, alone.high])


def test_bootstrap_is_the_same_for_blocks_of_any_size(monkeypatch):
    values = RNG.normal(size=(5, 7))
    whole = bootstrap_interval(values, iqm)
    monkeypatch.setattr("tegu.analysis.statistics._BLOCK", 1000)
    np.testing.assert_array_equal(bootstrap_interval(values, iqm)[:2], whole[:2])


def test_bootstrap_is_decided_by_its_seed():
    values = RNG.normal(size=8)
    assert bootstrap_interval(values, seed=3) == bootstrap_interval(values, seed=3)
    assert bootstrap_interval(values, seed=3) != bootstrap_interval(values, seed=4)


def test_coverage_with_ten_runs():
    """Of 2000 experiments with ten normal runs each, the 95 % interval holds the mean in about 90 %."""
    values = np.random.default_rng(1).normal(5.0, 2.0, size=(10, 2000))
    low, high, _ = bootstrap_interval(values)
    assert 0.88 < np.mean((low < 5.0) & (high > 5.0)) < 0.93


@pytest.mark.parametrize("n", [0, 1])
@pytest.mark.parametrize("interval", [bootstrap_interval, episode_interval])
def test_one_value_has_no_interval(n, interval):
    low, high, count = interval(np.ones(n))
    assert (np.isnan(low), np.isnan(high), count) == (True, True, n)
    assert bootstrap_interval(np.ones((n, 4))).low.shape == (4,)


@pytest.mark.parametrize("interval", [bootstrap_interval, episode_interval])
def test_three_are_few(interval):
    assert [interval(RNG.normal(size=n)).few for n in (1, 2, 3, 4)] == [True, True, True, False]


@pytest.mark.parametrize("confidence", [0, 1, 95])
def test_confidence_is_a_fraction(confidence):
    with pytest.raises(ValueError, match="between 0 and 1"):
        bootstrap_interval([1, 2], confidence=confidence)


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
@pytest.mark.parametrize("n", [2, 3, 4, 10, 100])
def test_episode_interval_is_students(n, confidence):
    returns = RNG.normal(size=n)
    low, high, _ = episode_interval(returns, confidence)
    expected = stats.t.interval(confidence, n - 1, returns.mean(), stats.sem(returns))
    np.testing.assert_allclose(high - low, expected[1] - expected[0], rtol=0.01)
    np.testing.assert_allclose((low + high) / 2, returns.mean())


def test_probability_of_improvement_is_mann_whitneys():
    a, b = RNG.integers(0, 6, size=(9, 3)), RNG.integers(0, 6, size=(4, 3))
    expected = stats.mannwhitneyu(a, b).statistic / (9 * 4)
    np.testing.assert_allclose(probability_of_improvement(a, b), expected)
    np.testing.assert_allclose(probability_of_improvement(b, a), 1 - expected)


@pytest.mark.parametrize(("a", "b", "expected"), [([2, 3], [0, 1], 1), ([1, 1], [1], 0.5), ([0], [np.nan], np.nan)])
def test_probability_of_improvement_by_hand(a, b, expected):
    np.testing.assert_equal(probability_of_improvement(a, b), expected)
