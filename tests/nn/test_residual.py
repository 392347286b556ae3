"""Residual networks against plain NumPy."""

import jax
import numpy as np
import pytest
from residual_by_hand import numpy_conv, numpy_fully_conv, numpy_mlp

from tegu.environments.games.go import Go
from tegu.nn.residual import FullyConv, ResidualConv, ResidualMLP

KEY = jax.random.key(0)
H, W, C, A = 3, 4, 2, 13
PLANES = np.random.default_rng(0).integers(0, 2, (6, H, W, C)).astype(float)

pytestmark = pytest.mark.usefixtures("x64")


NETWORKS = [(ResidualMLP, numpy_mlp), (ResidualConv, numpy_conv), (FullyConv, numpy_fully_conv)]


@pytest.mark.parametrize(("kind", "by_hand"), NETWORKS)
def test_logits_and_values_are_numpys(kind, by_hand):
    rng = np.random.default_rng(1)
    shapes = jax.eval_shape(lambda: kind(KEY, (H, W, C), A, 6, 2))
    network = jax.tree.map(lambda leaf: rng.normal(0, 0.4, leaf.shape), shapes)
    found, expected = jax.jit(lambda planes: network(planes))(PLANES), by_hand(network, PLANES)
    assert (found[0].shape, found[1].shape) == ((6, A), (6,))
    for ours, its in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, its, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [ResidualMLP, ResidualConv, FullyConv])
def test_a_fresh_network_favours_nothing(kind):
    """Almost equal logits and values near 0, so that an untrained search is led by nothing but the rules."""
    logits, value = jax.jit(lambda key: kind(key, (H, W, C), A, 32, 3)(PLANES))(KEY)
    assert np.ptp(logits, axis=1).max() < 0.3
    assert np.abs(value).max() < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("kind", [ResidualMLP, ResidualConv, FullyConv])
def test_every_weight_is_drawn_apart(kind):
    """No two layers begin alike, and each is used."""
    network = jax.jit(lambda: kind(KEY, (H, W, C), A, 8, 2))()
    weights = [leaf for leaf in jax.tree.leaves(network) if leaf.ndim > 1]
    numbers = np.concatenate([np.ravel(leaf) for leaf in weights])
    assert len(np.unique(numbers)) == len(numbers)
    gradient = jax.jit(jax.grad(lambda network: sum((part**2).sum() for part in network(PLANES))))(network)
    assert all(np.any(leaf) for leaf in jax.tree.leaves(gradient))


def symmetrised(network):
    """The network with each 3x3 kernel the mean of its eight turned and mirrored pictures."""

    def mean(leaf):
        if leaf.ndim != 4:
            return leaf
        turned = [np.rot90(leaf, quarter) for quarter in range(4)]
        return sum(each + np.swapaxes(each, 0, 1) for each in turned) / 8

    return jax.tree.map(mean, network)


@pytest.mark.slow
@pytest.mark.parametrize("size", [3, 5])
def test_a_symmetric_fully_convolutional_network_turns_its_logits_with_the_board(size):
    """All of it but the kernels treats all points alike: with any other kernels the logits differ."""
    rng, game, width = np.random.default_rng(2), Go(size=size), 6
    shapes = jax.eval_shape(lambda: FullyConv(KEY, (size, size, C), size**2 + 1, width, 2))
    network = jax.tree.map(lambda leaf: rng.normal(0, 0.4, leaf.shape), shapes)
    planes = rng.normal(size=(8, size, size, C))
    index = np.arange(8)

    def unlike(network):
        """How far the logits and the values of turned boards are from the turned logits and the same values."""
        logits, value = network(planes)
        turned, expected = jax.vmap(game.symmetric)(index, planes, logits)
        found = network(turned)
        return float(abs(found[0] - expected).max()), float(abs(found[1] - value).max())

    assert max(unlike(symmetrised(network))) < 1e-9
    assert min(unlike(network)) > 1e-3


def test_a_fully_convolutional_network_is_as_large_on_any_board():
    """Without a pass it has one head less; other networks grow with the board."""

    def sizes(kind, size, actions):
        network = jax.eval_shape(lambda: kind(KEY, (size, size, C), actions, 6, 2))
        return [leaf.shape for leaf in jax.tree.leaves(network)]

    assert sizes(FullyConv, 5, 26) == sizes(FullyConv, 19, 362) != sizes(FullyConv, 5, 25)
    assert sizes(ResidualConv, 5, 26) != sizes(ResidualConv, 7, 50)
