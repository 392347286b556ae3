"""Residual networks against plain NumPy."""

import jax
import numpy as np
import pytest

from tegu.residual import ResidualConv, ResidualMLP

KEY = jax.random.key(0)
H, W, C, A = 3, 4, 2, 5
PLANES = np.random.default_rng(0).integers(0, 2, (6, H, W, C)).astype(float)

pytestmark = pytest.mark.usefixtures("x64")


def relu(x):
    return np.maximum(x, 0)


def normalized(x):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)


def dense(layer, x):
    return x @ layer.weight + layer.bias


def conv(layer, planes):
    """Each cell from the 3 x 3 cells around it, zeros beyond the edge."""
    out = np.zeros((*planes.shape[:3], len(layer.bias))) + layer.bias
    padded = np.pad(planes, ((0, 0), (1, 1), (1, 1), (0, 0)))
    for row in range(planes.shape[1]):
        for column in range(planes.shape[2]):
            around = padded[:, row : row + 3, column : column + 3]
            out[:, row, column] += np.einsum("bijc,ijco->bo", around, layer.weight)
    return out


def pooled(x):
    return np.concatenate([x.mean((1, 2)), x.max((1, 2))], axis=1)


def numpy_mlp(network, planes):
    x = dense(network.first, planes.reshape(len(planes), -1))
    for inner, outer in network.blocks:
        x = x + dense(outer, relu(dense(inner, normalized(x))))
    x = relu(normalized(x))
    return dense(network.policy, x), np.tanh(dense(network.value, x))[:, 0]


def numpy_conv(network, planes):
    x = conv(network.first, planes)
    for inner, everywhere, outer in network.blocks:
        y = conv(inner, relu(normalized(x)))
        y = y + dense(everywhere, pooled(relu(y)))[:, None, None]
        x = x + conv(outer, relu(normalized(y)))
    x = relu(normalized(x))
    return dense(network.policy, x.reshape(len(x), -1)), np.tanh(dense(network.value, pooled(x)))[:, 0]


NETWORKS = [(ResidualMLP, numpy_mlp), (ResidualConv, numpy_conv)]


@pytest.mark.parametrize(("kind", "by_hand"), NETWORKS)
def test_logits_and_values_are_numpys(kind, by_hand):
    rng = np.random.default_rng(1)
    shapes = jax.eval_shape(lambda: kind(KEY, (H, W, C), A, 6, 2))
    network = jax.tree.map(lambda leaf: rng.normal(0, 0.4, leaf.shape), shapes)
    found, expected = jax.jit(lambda planes: network(planes))(PLANES), by_hand(network, PLANES)
    assert (found[0].shape, found[1].shape) == ((6, A), (6,))
    for ours, its in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, its, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", [ResidualMLP, ResidualConv])
def test_a_fresh_network_favours_nothing(kind):
    """Almost equal logits and values near 0, so that an untrained search is led by nothing but the rules."""
    logits, value = jax.jit(lambda key: kind(key, (H, W, C), A, 32, 3)(PLANES))(KEY)
    assert np.ptp(logits, axis=1).max() < 0.3
    assert np.abs(value).max() < 0.1


@pytest.mark.parametrize("kind", [ResidualMLP, ResidualConv])
def test_every_weight_is_drawn_apart(kind):
    """No two layers begin alike, and each is used."""
    network = jax.jit(lambda: kind(KEY, (H, W, C), A, 8, 2))()
    weights = [leaf for leaf in jax.tree.leaves(network) if leaf.ndim > 1]
    numbers = np.concatenate([np.ravel(leaf) for leaf in weights])
    assert len(np.unique(numbers)) == len(numbers)
    gradient = jax.jit(jax.grad(lambda network: sum((part**2).sum() for part in network(PLANES))))(network)
    assert all(np.any(leaf) for leaf in jax.tree.leaves(gradient))
