"""Residual networks against plain NumPy."""

import jax
import numpy as np
import pytest
from residual_by_hand import numpy_conv, numpy_mlp

from tegu.nn.residual import ResidualConv, ResidualMLP

KEY = jax.random.key(0)
H, W, C, A = 3, 4, 2, 5
PLANES = np.random.default_rng(0).integers(0, 2, (6, H, W, C)).astype(float)

pytestmark = pytest.mark.usefixtures("x64")


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
