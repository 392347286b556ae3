"""Mixtures of normal distributions against NumPy, and the recurrent network that predicts them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tegu.nn.mixture_density import Mixture, MixtureDensityRNN

pytestmark = pytest.mark.usefixtures("x64")

KEY = jax.random.key(0)


def mixture(*shape):
    rng = np.random.default_rng(1)
    return Mixture(*(jnp.asarray(rng.normal(size=shape) * scale) for scale in (1.5, 2.0, 0.5)))


def density(mixture, value):
    """Of each number ``[..., Z]``, as the weighted sum of densities."""
    logits, mean, log_std = (np.asarray(leaf) for leaf in mixture)
    weight = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    std = np.exp(log_std)
    return (weight * np.exp(-0.5 * ((value[..., None] - mean) / std) ** 2) / (std * np.sqrt(2 * np.pi))).sum(axis=-1)


def test_the_density_is_the_weighted_sum_of_those_of_the_components():
    made, value = mixture(6, 2, 3, 4), np.random.default_rng(2).normal(size=(6, 2, 3)) * 3
    np.testing.assert_allclose(
        jax.jit(Mixture.log_prob)(made, value), np.log(density(made, value)).sum(axis=-1), rtol=1e-10
    )


def test_a_density_far_from_all_components_is_still_a_number():
    made = mixture(2, 4)
    value, gradient = jax.jit(jax.value_and_grad(lambda value: made.log_prob(value)))(jnp.full(2, 1e6))
    assert jnp.isfinite(value)
    assert jnp.isfinite(gradient).all()


@pytest.mark.parametrize("temperature", [0.1, 1.0, 1.3])
def test_a_temperature_divides_logits_and_multiplies_variances(temperature):
    made = mixture(2, 3)
    found = made.at_temperature(temperature)
    np.testing.assert_allclose(found.logits, made.logits / temperature, rtol=1e-12)
    np.testing.assert_allclose(found.mean, made.mean)
    np.testing.assert_allclose(np.exp(found.log_std) ** 2, np.exp(made.log_std) ** 2 * temperature, rtol=1e-12)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.0])
def test_draws_have_the_moments_of_the_mixture(temperature):
    made, n = mixture(3, 4).at_temperature(temperature), 200_000
    many = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (n, *leaf.shape)), made)
    drawn = np.asarray(jax.jit(Mixture.sample)(many, KEY))
    logits, mean, log_std = (np.asarray(leaf) for leaf in made)
    weight = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    first = (weight * mean).sum(axis=-1)
    variance = (weight * (np.exp(2 * log_std) + mean**2)).sum(axis=-1) - first**2
    np.testing.assert_allclose(drawn.mean(axis=0), first, atol=5 * np.sqrt(variance.max() / n))
    np.testing.assert_allclose(drawn.var(axis=0), variance, rtol=0.03)


@pytest.mark.slow
def test_sequences_are_steps_one_after_the_other_and_begin_anew_with_episodes():
    """By hand: the head of each number's logits, changes of the latent vector and deviations, then reward and end."""
    rng, (z, a, width, k) = np.random.default_rng(0), (3, 2, 5, 4)
    network = MixtureDensityRNN(KEY, z, a, width, k)
    latent, action = rng.normal(size=(6, 2, z)), rng.normal(size=(6, 2, a))
    begins = rng.random((6, 2)) < 0.3
    assert begins[1:].any()
    step = jax.jit(lambda *given: network(*given))
    found = jax.jit(lambda *given: network.unroll(*given))(latent, action, begins)
    weight, bias = np.asarray(network.head.weights[0]), np.asarray(network.head.biases[0])
    assert weight.shape == (width, 3 * z * k + 2)
    for b in range(2):
        state = network.lstm.start(1)
        for t in range(6):
            state = network.lstm.start(1) if begins[t, b] else state
            state = step(latent[t, b][None], action[t, b][None], state)
            out = np.asarray(state.hidden)[0] @ weight + bias
            logits, change, log_std = out[:-2].reshape(3, z, k)
            np.testing.assert_allclose(found.latent.logits[t, b], logits, rtol=1e-10)
            np.testing.assert_allclose(found.latent.mean[t, b], latent[t, b][:, None] + change, rtol=1e-10)
            np.testing.assert_allclose(found.latent.log_std[t, b], log_std, rtol=1e-10)
            np.testing.assert_allclose((found.reward[t, b], found.end[t, b]), out[-2:], rtol=1e-10)
