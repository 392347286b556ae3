"""Ensembles of probabilistic networks against their definitions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tegu.nn.dynamics import Ensemble, Prediction, negative_log_likelihood


@pytest.fixture(scope="module")
def ensemble():
    return Ensemble(jax.random.key(0), 3, 4, (8, 8), 2, "silu")


def test_every_member_is_a_network_of_its_own(ensemble):
    x = jax.random.normal(jax.random.key(1), (3, 5, 4))
    found = ensemble(x)
    assert (found.mean.shape, found.log_variance.shape, found.end.shape) == ((3, 5, 2), (3, 5, 2), (3, 5))
    for member in range(3):
        h = np.asarray(x[member], np.float64)
        for weight, bias in zip(ensemble.weights[:-1], ensemble.biases[:-1], strict=True):
            h = h @ np.asarray(weight[member]) + np.asarray(bias[member])
            h = h / (1 + np.exp(-h))
        h = h @ np.asarray(ensemble.weights[-1][member]) + np.asarray(ensemble.biases[-1][member])
        np.testing.assert_allclose(found.mean[member], h[:, :2], atol=1e-5)
        np.testing.assert_allclose(found.end[member], h[:, 4], atol=1e-5)
        soft = 0.5 - np.log1p(np.exp(0.5 - h[:, 2:4]))
        soft = -10 + np.log1p(np.exp(soft + 10))
        np.testing.assert_allclose(found.log_variance[member], soft, atol=1e-5)


def test_variances_stay_within_their_bounds(ensemble):
    found = ensemble(1e4 * jax.random.normal(jax.random.key(1), (3, 50, 4)))
    assert float(found.log_variance.min()) >= -10
    assert float(found.log_variance.max()) <= 0.5 + 1e-4  # the lower bound is soft, too


def test_the_loss_is_the_likelihood_of_normal_distributions():
    random = np.random.default_rng(0)
    mean, log_variance, target = random.normal(size=(3, 6, 2))
    density = np.exp(-0.5 * (target - mean) ** 2 / np.exp(log_variance)) / np.sqrt(2 * np.pi * np.exp(log_variance))
    found = negative_log_likelihood(Prediction(*map(jnp.asarray, (mean, log_variance, mean))), jnp.asarray(target))
    np.testing.assert_allclose(found, (-2 * np.log(density) - np.log(2 * np.pi)).sum(axis=-1), rtol=1e-5)


def test_beta_one_gives_the_mean_the_gradient_of_squared_errors():
    mean, log_variance, target = jnp.array([0.3, -1.0]), jnp.array([-6.0, 0.4]), jnp.array([0.5, 1.0])

    def loss(mean, beta):
        return negative_log_likelihood(Prediction(mean, log_variance, mean), target, beta)

    squared = 2 * (mean - target)
    np.testing.assert_allclose(jax.grad(loss)(mean, 1.0), squared, rtol=1e-5)
    np.testing.assert_allclose(jax.grad(loss)(mean, 0.0), squared * jnp.exp(-log_variance), rtol=1e-5)
    np.testing.assert_allclose(jax.grad(loss)(mean, 0.5), squared * jnp.exp(-0.5 * log_variance), rtol=1e-5)
