"""Batch renormalisation, dropout and SimBa's blocks against NumPy float64."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tegu.nn.batch_norm import BatchNormMLP, BatchRenorm, with_statistics
from tegu.nn.mlp import MLP, Dropout, with_dropout
from tegu.nn.simba import SimBa

KEY = jax.random.key(0)

call = jax.jit(lambda network, x: network(x))
hidden_of = jax.jit(lambda network, x: network.hidden(x))
fitted = jax.jit(lambda network, x, corrected: network.fitted(x, corrected))


@jax.jit
def gradients(x, layer, weight, corrected):
    """Of the weighted sum of a layer's outputs, by ``x`` and by the layer."""
    return jax.grad(lambda x, layer: (weight * layer.fitted(x, corrected)[0]).sum(), argnums=(0, 1))(x, layer)


def batches(n, count, rows=7):
    """Some whose statistics are far from what was seen before."""
    rng = np.random.default_rng(0)
    return [(10.0 if i % 3 == 2 else 1.0) * rng.normal(i, 1 + i, (rows, n)) for i in range(count)]


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("corrected", [False, True])
def test_batches_are_normalised_as_algorithm_1_says(corrected):
    """Outputs, running statistics and gradients, with r and d taken as constants, over several batches."""
    mu, variance, clipped = np.zeros(3), np.ones(3), 0
    values = np.array([2.0, 0.5, -1.0]), np.array([1.0, 0.0, 3.0])
    layer = eqx.tree_at(lambda layer: (layer.scale, layer.bias), BatchRenorm(3), tuple(map(jnp.array, values)))
    for x in batches(3, 4):
        batch_mu, batch_sigma, sigma = x.mean(0), np.sqrt(x.var(0) + 1e-3), np.sqrt(variance + 1e-3)
        r, d = batch_sigma / sigma, (batch_mu - mu) / sigma
        clipped += ((r > 3) | (r < 1 / 3) | (abs(d) > 5)).sum()
        r, d = (np.clip(r, 1 / 3, 3), np.clip(d, -5, 5)) if corrected else (1.0, 0.0)

        def normalised(x, r=r, d=d):
            y = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-3) * r + d
            return values[0] * y + values[1]

        found, after = fitted(layer, x, corrected)
        np.testing.assert_allclose(found, normalised(x), rtol=1e-9)
        weight = np.cos(np.arange(x.size)).reshape(x.shape)
        of_x, of_layer = gradients(x, layer, weight, corrected)
        for place in ((0, 0), (3, 1), (6, 2)):
            step = np.zeros_like(x)
            step[place] = 1e-5
            slope = (weight * (normalised(x + step) - normalised(x - step))).sum() / 2e-5
            np.testing.assert_allclose(of_x[place], slope, rtol=1e-4, atol=1e-8)
        assert not of_layer.mean.any()
        assert not of_layer.variance.any()
        mu, variance = 0.99 * mu + 0.01 * x.mean(0), 0.99 * variance + 0.01 * x.var(0)
        np.testing.assert_allclose(after.mean, mu, rtol=1e-9)
        np.testing.assert_allclose(after.variance, variance, rtol=1e-9)
        layer = after
    assert clipped, "no correction was clipped"
    x = batches(3, 1)[0][:1]  # one row alone: nothing but the running statistics can normalise it
    np.testing.assert_allclose(layer(x), values[0] * (x - mu) / np.sqrt(variance + 1e-3) + values[1], rtol=1e-9)


@pytest.mark.usefixtures("x64")
def test_inputs_and_activations_are_normalised():
    network = BatchNormMLP(KEY, (3, 5, 4, 2), "relu")
    seen, x = batches(3, 2, rows=9)
    x = x / 10
    fresh, network = jax.tree.map(np.asarray, fitted(network, seen, False))
    weights, biases = network.layers.weights, network.layers.biases

    def by_hand(x, normalised):
        x = normalised(x, 0)
        for i in range(2):
            x = normalised(np.maximum(x @ weights[i] + biases[i], 0), i + 1)
        return x, x @ weights[2] + biases[2]

    def by_batch(x, _):
        return (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-3)

    def by_running(x, i):
        return (x - network.norms[i].mean) / np.sqrt(network.norms[i].variance + 1e-3)

    np.testing.assert_allclose(fresh, by_hand(seen, by_batch)[1], rtol=1e-8)
    hidden, outputs = by_hand(x, by_running)
    np.testing.assert_allclose(hidden_of(network, x), hidden, rtol=1e-8)
    np.testing.assert_allclose(call(network, x), outputs, rtol=1e-8)
    np.testing.assert_allclose(call(network, x[:1]), outputs[:1], rtol=1e-8)


def test_only_statistics_are_taken_over():
    one, other = (BatchNormMLP(jax.random.key(seed), (3, 5, 2), "relu") for seed in (0, 1))
    plain, another = (MLP(jax.random.key(seed), (2, 2), "relu") for seed in (0, 1))
    _, other = fitted(other, batches(3, 1)[0].astype(np.float32), False)
    mixed = with_statistics((one, plain), (other, another))
    np.testing.assert_array_equal(mixed[0].layers.weights[0], one.layers.weights[0])
    np.testing.assert_array_equal(mixed[1].weights[0], plain.weights[0])
    for norm, own, others in zip(mixed[0].norms, one.norms, other.norms, strict=True):
        assert (norm.mean == others.mean).all()
        assert (norm.mean != own.mean).any()
        assert (norm.variance == others.variance).all()
        assert (norm.scale == own.scale).all()


def test_dropout_leaves_out_its_share_and_keeps_the_mean():
    """Of each row and layer anew."""
    dropped = np.asarray(Dropout(KEY, 0.25)(jnp.ones((4000, 16)), 0))
    assert set(np.unique(dropped)) == {0.0, np.float32(1 / 0.75)}
    np.testing.assert_allclose((dropped == 0).mean(), 0.25, atol=0.01)
    np.testing.assert_allclose((dropped == 0).mean(axis=0), 0.25, atol=0.04)
    assert (dropped[0] != dropped[1:]).any(axis=1).mean() > 0.95
    assert (np.asarray(Dropout(KEY, 0.25)(jnp.ones((4000, 16)), 1)) != dropped).any()


@pytest.mark.usefixtures("x64")
def test_dropout_comes_before_the_normalisation():
    """As in figure 2 of DroQ's paper: dropout, layer normalisation, ReLU; the outputs keep all. Networks differ."""
    plain = MLP(KEY, (3, 32, 32, 1), "relu", layer_norm=True)
    one, other = with_dropout((plain, plain), 0.3, KEY)
    assert with_dropout(plain, None, KEY) is plain
    (x,) = batches(3, 1)
    hidden, weights, biases = x, *jax.tree.map(np.asarray, (plain.weights, plain.biases))
    for i in range(2):
        kept = np.asarray(one.dropout(jnp.ones((len(x), 32)), i))
        hidden = (hidden @ weights[i] + biases[i]) * kept
        spread = np.sqrt(hidden.var(axis=1, keepdims=True) + 1e-5)
        hidden = np.maximum((hidden - hidden.mean(axis=1, keepdims=True)) / spread, 0)
    np.testing.assert_allclose(call(one, x), hidden @ weights[2] + biases[2], rtol=1e-8)
    assert (call(one, x) != call(other, x)).any()
    np.testing.assert_allclose(call(with_dropout(plain, 0.0, KEY), x), call(plain, x), rtol=1e-12)


@pytest.mark.usefixtures("x64")
def test_simba_is_residual_between_layer_normalisations():
    network = jax.tree.map(np.asarray, SimBa(KEY, (3, 6, 6, 2), "relu"))

    def norm(x):
        return (x - x.mean(axis=1, keepdims=True)) / np.sqrt(x.var(axis=1, keepdims=True) + 1e-5)

    (seen,) = batches(3, 1)
    x = seen @ network.first.weight + network.first.bias
    assert len(network.blocks) == 2
    for inner, outer in network.blocks:
        assert inner.weight.shape == (6, 24)
        x = x + np.maximum(norm(x) @ inner.weight + inner.bias, 0) @ outer.weight + outer.bias
    np.testing.assert_allclose(hidden_of(network, seen), norm(x), rtol=1e-8)
    np.testing.assert_allclose(call(network, seen), norm(x) @ network.last.weight + network.last.bias, rtol=1e-8)


@pytest.mark.slow
def test_simbas_blocks_begin_as_he_et_al_say():
    """Normal weights of variance 2 / inputs."""
    ((inner, outer),) = SimBa(KEY, (3, 64, 1), "relu").blocks
    for layer in (inner, outer):
        np.testing.assert_allclose(layer.weight.std(), np.sqrt(2 / len(layer.weight)), rtol=0.03)
        assert not layer.bias.any()
