"""Convolutions against plain loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tegu.nn.conv import Conv

KEY = jax.random.key(0)

pytestmark = pytest.mark.usefixtures("x64")


def by_hand(x, conv):
    """Images ``[B, H, W, C]``, without padding."""
    weight, bias, stride = np.asarray(conv.weight), np.asarray(conv.bias), conv.stride
    size = len(weight)
    rows, columns = ((side - size) // stride + 1 for side in x.shape[1:3])
    out = np.empty((len(x), rows, columns, len(bias)))
    for i, j in np.ndindex(rows, columns):
        patch = x[:, i * stride : i * stride + size, j * stride : j * stride + size]
        out[:, i, j] = np.tensordot(patch, weight, 3) + bias
    return out


@pytest.mark.parametrize(
    ("size", "stride"), [(4, 2), (6, 3), (3, 1), (3, 2)]
)  # sides that the stride divides or not, sizes too
def test_a_convolution_is_sums_over_patches_and_so_is_its_gradient(size, stride):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 11, 13, 2))
    conv = Conv(KEY, 2, 3, None, size=size, stride=stride, padding="VALID")
    out, expected = conv(x), by_hand(x, conv)
    np.testing.assert_allclose(out, expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(conv(x[None]), expected[None], rtol=1e-10, atol=1e-12)

    at, step = (slice(None), 4, 5), 1e-6  # the gradient in some pixels, by finite differences
    gradient = jax.grad(lambda x: (conv(x) ** 2).sum())(x)[at]
    for index in np.ndindex(gradient.shape):
        up, down = x.copy(), x.copy()
        up[at][index] += step
        down[at][index] -= step
        slope = ((by_hand(up, conv) ** 2).sum() - (by_hand(down, conv) ** 2).sum()) / (2 * step)
        np.testing.assert_allclose(gradient[index], slope, rtol=1e-6, atol=1e-7)


def test_padding_keeps_the_size():
    conv, x = Conv(KEY, 1, 2), np.random.default_rng(0).normal(size=(3, 5, 4, 1))
    out = conv(x)
    assert out.shape == (3, 5, 4, 2)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    np.testing.assert_allclose(out, by_hand(padded, conv), rtol=1e-10, atol=1e-12)


@pytest.mark.slow
def test_weights_start_orthogonal_or_uniform():
    orthogonal, uniform = Conv(KEY, 3, 5, 2.0), Conv(KEY, 20, 40, None)
    flat = orthogonal.weight.reshape(-1, 5)
    np.testing.assert_allclose(flat.T @ flat, 4 * np.eye(5), atol=1e-10)
    assert not orthogonal.bias.any()
    bound = (9 * 20) ** -0.5
    for values in (uniform.weight, uniform.bias):
        assert 0.9 * bound < jnp.abs(values).max() <= bound
    np.testing.assert_allclose(uniform.weight.var(), bound**2 / 3, rtol=0.05)
