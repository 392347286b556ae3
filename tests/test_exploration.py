"""Epsilon-greedy choice and the masking of illegal actions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from tegu.exploration import (
    ILLEGAL,
    epsilon_greedy,
    epsilon_greedy_probabilities,
    epsilon_greedy_with,
    epsilon_noise,
    masked,
)

N, A = 100_000, 5
KEY = jax.random.key(7)
MASK = np.array([True, False, True, True, False])
VALUES = np.array([0.5, 9.0, 2.0, -1.0, 3.0], np.float32)


def counts(epsilon, mask=None):
    """How often each action is chosen in ``N`` draws for the same values."""
    values = np.broadcast_to(VALUES, (N, A))
    actions = jax.jit(epsilon_greedy)(KEY, values, epsilon, None if mask is None else np.broadcast_to(mask, (N, A)))
    assert actions.shape == (N,)
    return np.bincount(actions, minlength=A)


def test_epsilon_0_is_greedy():
    assert counts(0.0)[1] == N
    assert counts(0.0, MASK)[2] == N


def test_ties_go_to_the_first_action():
    values = jnp.array([[1.0, 3.0, 3.0], [0.0, 0.0, 0.0]])
    np.testing.assert_array_equal(epsilon_greedy(KEY, values, 0.0), [1, 0])
    illegal_first = jnp.array([[True, False, True], [False, True, True]])
    np.testing.assert_array_equal(epsilon_greedy(KEY, values, 0.0, illegal_first), [2, 1])


def test_epsilon_1_is_uniform():
    assert stats.chisquare(counts(1.0)).pvalue > 1e-3


def test_epsilon_1_is_uniform_over_legal_actions_and_never_chooses_another():
    chosen = counts(1.0, MASK)
    assert chosen[~MASK].sum() == 0
    assert stats.chisquare(chosen[MASK]).pvalue > 1e-3


@pytest.mark.parametrize(("mask", "greedy"), [(None, 1), (MASK, 2)])
def test_between_the_greedy_action_has_1_minus_epsilon_and_its_share_of_the_rest(mask, greedy):
    legal = np.ones(A, bool) if mask is None else mask
    expected = np.where(legal, 0.3 / legal.sum(), 0.0)
    expected[greedy] += 0.7
    chosen = counts(0.3, mask)
    assert chosen[~legal].sum() == 0
    assert stats.chisquare(chosen[legal], N * expected[legal]).pvalue > 1e-3


@pytest.mark.parametrize("epsilon", [0.0, 0.3, 1.0])
def test_the_probabilities_are_those_of_what_is_chosen(epsilon):
    probabilities = np.asarray(epsilon_greedy_probabilities(VALUES, epsilon), float)
    np.testing.assert_allclose(probabilities, epsilon / A + (1 - epsilon) * np.eye(A)[1], rtol=1e-6)
    chosen, possible = counts(epsilon), probabilities > 0
    assert chosen[~possible].sum() == 0
    if epsilon:
        assert stats.chisquare(chosen, N * probabilities / probabilities.sum()).pvalue > 1e-3


def test_noise_that_was_drawn_before_leads_to_the_same_choice():
    values = np.random.default_rng(0).normal(size=(1000, A))
    noise = epsilon_noise(KEY, values.shape)
    assert noise.shape == (1000, A + 1)
    np.testing.assert_array_equal(epsilon_greedy_with(noise, values, 0.4), epsilon_greedy(KEY, values, 0.4))


def test_rows_are_drawn_independently():
    """Whether one row explores says nothing about the next: lag-1 correlation within 4 standard errors of 0."""
    actions = np.asarray(epsilon_greedy(KEY, np.broadcast_to(VALUES, (N, A)), 0.5))
    explored = (actions != 1).astype(float)
    assert abs(np.corrcoef(explored[1:], explored[:-1])[0, 1]) < 4 / np.sqrt(N)


def test_masked_leaves_legal_values_alone():
    np.testing.assert_array_equal(masked(VALUES, None), VALUES)
    np.testing.assert_array_equal(masked(VALUES, MASK), np.where(MASK, VALUES, ILLEGAL))


def test_no_gradient_reaches_an_illegal_action_and_none_is_nan():
    gradient = jax.grad(lambda values: jax.nn.logsumexp(masked(values, MASK)))(jnp.array(VALUES))
    assert np.isfinite(gradient).all()
    np.testing.assert_array_equal(gradient[~MASK], 0)
    np.testing.assert_allclose(gradient.sum(), 1, rtol=1e-6)


def test_masks_may_be_given_per_row():
    masks = np.eye(A, dtype=bool)
    np.testing.assert_array_equal(epsilon_greedy(KEY, np.zeros((A, A), np.float32), 1.0, masks), np.arange(A))
