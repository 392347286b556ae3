"""Noisy, dueling and implicit quantile networks against plain NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from tegu.core.spec import EnvironmentSpec
from tegu.nn.description import describe
from tegu.nn.dueling import Dueling
from tegu.nn.heads import QNetwork
from tegu.nn.implicit import ImplicitQuantileNetwork
from tegu.nn.noisy import NoisyNetwork, drawn
from tegu.nn.return_network import ReturnNetwork

KEY = jax.random.key(0)
SPEC = EnvironmentSpec("test", spaces.Discrete(3, start=1), spaces.Discrete(4))
X = np.random.default_rng(0).normal(size=(5, 2, 3)).astype(np.float32)


def relu(x):
    return np.maximum(x, 0)


def mlp(network, x):
    for weight, bias in list(zip(network.weights, network.biases, strict=True))[:-1]:
        x = relu(x @ weight + bias)
    return x @ network.weights[-1] + network.biases[-1]


def made(kind, *arguments, **options):
    """``kind(KEY, ...)`` with NumPy weights; made in one compiled call."""
    return jax.device_get(jax.jit(lambda: kind(KEY, *arguments, **options))())


@pytest.mark.parametrize("net_arch", [(), (7, 8)])
def test_a_dueling_network_adds_advantages_of_mean_zero_to_the_value(net_arch):
    """For 2 outputs of each of 4 actions. All hidden layers but the last are shared."""
    network = made(Dueling, 3, net_arch, 4, 2, "relu")
    assert (network.shared is None) == (len(net_arch) < 2)
    hidden = X if network.shared is None else relu(mlp(network.shared, X))
    value, advantage = mlp(network.value, hidden), mlp(network.advantage, hidden).reshape(5, 2, 4, 2)
    outputs = np.asarray(network(X))
    np.testing.assert_allclose(
        outputs, value[:, :, None] + advantage - advantage.mean(axis=2, keepdims=True), rtol=1e-4, atol=1e-6
    )
    np.testing.assert_allclose(outputs.mean(axis=2), value, rtol=1e-4, atol=1e-6)


def test_the_value_of_a_dueling_network_can_be_told_from_its_advantages():
    """What is added to all advantages alike changes nothing (equation 9)."""
    network = made(Dueling, 3, (8,), 4, 1, "relu")
    added = jax.tree.map(lambda leaf: leaf + 100 * (leaf is network.advantage.biases[-1]), network)
    np.testing.assert_allclose(added(X), network(X), atol=1e-4)


@pytest.mark.parametrize("dueling", [False, True])
def test_an_implicit_quantile_network_multiplies_features_by_the_embedding_of_fractions(dueling):
    """``psi(x) * ReLU(sum of cos(pi i tau) w_i + b)``, i from 0 on (equation 4), and then one layer more."""
    network = made(ImplicitQuantileNetwork, 3, (6, 8), 4, "relu", dueling=dueling, cosines=5)
    fractions = np.random.default_rng(1).random((5, 2, 7)).astype(np.float32)
    outputs = jax.jit(lambda x, fractions: network(x, fractions))(X, fractions)
    assert outputs.shape == (5, 2, 4, 7)
    hidden = relu(mlp(network.shared, X))
    for n in range(7):
        cosines = np.stack([np.cos(np.pi * i * fractions[..., n]) for i in range(5)], axis=-1)
        merged = hidden * relu(mlp(network.embedding, cosines))
        expected = np.asarray(network.head(merged)).reshape(5, 2, 4) if dueling else mlp(network.head, merged)
        np.testing.assert_allclose(outputs[..., n], expected, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(network(X, fractions[0, 0])[0, 0], outputs[0, 0], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("shape", "dueling"), [((), True), ((6,), False)])
def test_outputs_are_those_of_the_body_for_every_action(shape, dueling):
    network = made(ReturnNetwork, SPEC, shape, (8,), "relu", dueling=dueling, cosines=None)
    outputs = network(jnp.array([[1, 3, 2], [2, 2, 1]]))
    assert outputs.shape == (2, 3, 4, *shape)
    np.testing.assert_allclose(outputs[0, 1], np.reshape(network.body(np.eye(3)[2]), (4, *shape)), rtol=1e-5)


def layers(network):
    return [(np.asarray(w, float), np.asarray(b, float)) for w, b in zip(network.weights, network.biases, strict=True)]


@pytest.fixture(scope="module")
def noisy():
    """A network of 2 layers with noise, and 4,000 draws of it."""
    network = jax.jit(lambda: NoisyNetwork(QNetwork(KEY, SPEC, (5,), "relu"), 0.5))()
    draws = jax.jit(jax.vmap(network.draw))(jax.random.split(KEY, 4000))
    return network, draws


def test_noise_begins_with_the_papers_deviations_and_has_mean_zero(noisy):
    """Weights: sigma_0 / sqrt(inputs) times f(e) f(e'), biases the same times f(e'); f(e)^2 has the mean of |e|."""
    network, draws = noisy
    variance = np.sqrt(2 / np.pi)  # of f(e), which has mean 0
    for mean, found in zip(layers(network.mean.mlp), layers(draws.mlp), strict=True):
        inputs = len(mean[0])
        for expected, values, power in zip(mean, found, (2, 1), strict=True):
            deviation = 0.5 / np.sqrt(inputs) * variance ** (power / 2)
            np.testing.assert_allclose(values.mean(axis=0), expected, atol=5 * deviation / np.sqrt(4000))
            np.testing.assert_allclose(values.std(axis=0), deviation, rtol=0.1)


def test_noise_is_factorised(noisy):
    """A layer's noise has rank 1, its biases have that of the outputs, and layers know nothing of each other."""
    network, draws = noisy
    first = []
    for mean, found in zip(layers(network.mean.mlp), layers(draws.mlp), strict=True):
        weights, biases = ((values - average)[:50] for values, average in zip(found, mean, strict=True))
        assert (np.linalg.matrix_rank(weights, tol=1e-5) == 1).all()
        ratio = weights / biases[:, None, :]
        np.testing.assert_allclose(ratio, np.broadcast_to(ratio[:, :, :1], ratio.shape), rtol=1e-2, atol=1e-3)
        first.append((found[1] - mean[1])[:, 0])
    assert abs(np.corrcoef(first)[0, 1]) < 0.1


def test_the_key_decides_the_noise_and_the_same_one_counts_for_all_inputs(noisy):
    network, draws = noisy
    keys = jax.random.split(KEY, 4000)
    again = jax.jit(lambda key: network.draw(key))(keys[3])
    np.testing.assert_allclose(again.mlp.weights[0], draws.mlp.weights[0][3], rtol=1e-5)
    assert (again.mlp.weights[0] != draws.mlp.weights[0][4]).all()
    np.testing.assert_array_equal(*again(jnp.array([2, 2])))


def test_without_a_key_a_noisy_network_is_its_mean(noisy):
    """And a network without noise is what it is, whatever the key."""
    network, _ = noisy
    np.testing.assert_array_equal(network(jnp.array([1, 3])), network.mean(jnp.array([1, 3])))
    assert drawn(network.mean, KEY) is network.mean
    assert (drawn(network, KEY)(jnp.array([1])) != network(jnp.array([1]))).all()


def test_gradients_reach_means_and_deviations(noisy):
    """Of a weight w = mu + sigma e: that of sigma is e times that of mu."""
    network, _ = noisy
    found = jax.jit(jax.grad(lambda network: (network.draw(KEY)(jnp.array([1, 2, 3])) ** 2).sum()))(network)
    noise = jax.tree.map(lambda w, mu, s: (w - mu) / s, network.draw(KEY).mlp, network.mean.mlp, network.deviation[0])
    for weight, epsilon, deviation in zip(
        jax.tree.leaves(found.mean.mlp), jax.tree.leaves(noise), jax.tree.leaves(found.deviation), strict=True
    ):
        np.testing.assert_allclose(deviation, weight * epsilon, rtol=1e-3, atol=1e-4)
        assert np.any(deviation)


def test_every_linear_layer_of_a_network_is_noisy():
    """Of Rainbow's network: the shared one, the value's and the advantages'."""
    settings = {"dueling": True, "cosines": None}

    def both():
        network = NoisyNetwork(ReturnNetwork(KEY, SPEC, (3,), (5, 6), "relu", **settings), 0.5)
        return network, network.draw(KEY)

    network, noisy = jax.device_get(jax.jit(both)())
    assert all(jax.tree.leaves(jax.tree.map(lambda one, other: (one != other).any(), noisy, network.mean)))
    body = network.mean.body
    shapes = [weight.shape for part in (body.shared, body.value, body.advantage) for weight in part.weights]
    assert [weight.shape for part in network.deviation for weight in part.weights] == shapes


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: NoisyNetwork(QNetwork(KEY, SPEC, (5,), "relu"), 0.5), "noisy MLP 3-5-4, relu; 88 parameters"),
        (
            lambda: ReturnNetwork(KEY, SPEC, (2,), (5, 6), "relu", dueling=True, cosines=None),
            "MLP 3-5, relu, value MLP 5-6-2, relu and advantage MLP 5-6-8, relu; 162 parameters",
        ),
        (
            lambda: ReturnNetwork(KEY, SPEC, (-1,), (6,), "relu", dueling=False, cosines=7),
            "quantile embedding of 7, MLP 3-6-4, relu; 76 parameters",
        ),
    ],
)
def test_networks_are_described_in_one_line(make, says):
    assert describe([("", jax.eval_shape(make))]) == says
