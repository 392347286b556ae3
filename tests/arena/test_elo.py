"""Ratings, against results simulated from known ones."""

import numpy as np
import pytest

from tegu.arena.elo import ratings


def simulated(elo, games, seed, draws=0.0):
    """Points of games whose expected results are those of ``elo``."""
    random, n = np.random.default_rng(seed), len(elo)
    points = np.zeros((n, n))
    for i in range(n):
        for j in range(i):
            expected = 1 / (1 + 10 ** ((elo[j] - elo[i]) / 400))
            drawn = draws * min(expected, 1 - expected)
            results = random.choice([1, 0.5, 0], games, p=[expected - drawn / 2, drawn, 1 - expected - drawn / 2])
            points[i, j], points[j, i] = results.sum(), games - results.sum()
    return points


@pytest.mark.parametrize("draws", [0.0, 0.8])
def test_known_ratings_are_recovered(draws):
    elo = np.array([-500.0, -120, 0, 60, 560])
    found = ratings(simulated(elo, 20_000, seed=0, draws=draws))
    np.testing.assert_allclose(found.elo, elo, atol=15)
    assert found.elo.sum() == pytest.approx(0, abs=1e-6)


def test_two_players_by_the_formula():
    """With the imaginary games, three points in four are a little less than 400 log10(3)."""
    elo = ratings([[0, 300], [100, 0]]).elo
    assert elo[0] - elo[1] == pytest.approx(400 * np.log10(3), rel=0.01)
    assert elo[0] == pytest.approx(-elo[1])


def test_draws_count_half():
    drawn, shared = ratings([[0, 10], [10, 0]]), ratings([[0, 5 + 5], [5 + 5, 0]])
    np.testing.assert_allclose(drawn.elo, 0, atol=1e-9)
    np.testing.assert_array_equal(drawn.half_width, shared.half_width)


def test_the_intervals_cover_the_truth():
    elo, covered = np.array([-200.0, -50, 50, 200]), []
    for seed in range(300):
        found = ratings(simulated(elo, 60, seed))
        covered.append(np.abs(found.elo - elo) <= found.half_width)
    assert 0.92 < np.mean(covered) < 0.98


def test_winning_everything_stays_finite():
    """And the more games were won, the higher the rating."""
    found = [ratings([[0, n], [0, 0]]).elo for n in (10, 100, 1000)]
    differences = [elo[0] - elo[1] for elo in found]
    assert differences == sorted(differences)
    assert 300 < differences[0] < differences[-1] < 3000
    assert np.isfinite(ratings(np.zeros((3, 3))).elo).all()
    chain = ratings(np.triu(np.full((5, 5), 500), 1))
    assert (np.diff(chain.elo) < -100).all()
    assert np.isfinite(chain.half_width).all()


def test_a_stationary_point_of_the_likelihood():
    """Expected and actual points agree, but for the imaginary games."""
    points = simulated(np.array([-300.0, 0, 100, 200]), 50, seed=3)
    elo = ratings(points).elo
    expected = 1 / (1 + 10 ** ((elo[None] - elo[:, None]) / 400))
    actual = points.sum(axis=1)
    np.testing.assert_allclose(((points + points.T) * expected).sum(axis=1), actual, atol=0.25)


def test_the_reference_has_nothing_and_no_doubt():
    points = simulated(np.array([-300.0, 0, 100, 200]), 50, seed=3)
    plain, found = ratings(points), ratings(points, reference=1)
    np.testing.assert_allclose(found.elo, plain.elo - plain.elo[1], atol=1e-9)
    assert found.half_width[1] == pytest.approx(0, abs=1e-6)


def test_the_interval_of_a_difference_holds_it_95_times_in_100():
    elo = np.array([-200.0, 0, 150])
    inside = []
    for seed in range(300):
        found = ratings(simulated(elo, 60, seed), reference=0)
        inside.append(np.abs(found.elo - (elo - elo[0]))[1:] <= found.half_width[1:])
    assert 0.92 <= np.mean(inside) <= 0.98
