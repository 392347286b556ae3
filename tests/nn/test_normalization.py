"""Running moments against a two-pass computation over everything seen."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tegu.nn.moments import RunningMoments

PRIOR = float(np.float32(1e-4))  # moments start as this many observations of mean 0 and variance 1
MERGE = jax.jit(RunningMoments.merge)
batches = st.lists(arrays(np.float64, (4, 3), elements=st.floats(-100, 100)), min_size=1, max_size=5)


def merged(batches, shape=(3,)):
    moments = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.result_type(float)), RunningMoments.start(shape))
    for batch in batches:
        moments = MERGE(moments, batch)
    return moments


def two_pass(values):
    """Mean and variance of ``values`` ``[N, ...]`` together with the prior."""
    weight = len(values) + PRIOR
    mean = values.sum(0) / weight
    return mean, (((values - mean) ** 2).sum(0) + PRIOR * (1 + mean**2)) / weight


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
@settings(deadline=None, max_examples=200)
@given(batches)
def test_merging_batches_is_two_passes_over_all_of_them(batches):
    moments, (mean, variance) = merged(batches), two_pass(np.concatenate(batches))
    np.testing.assert_allclose(moments.mean, mean, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(moments.variance, variance, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(moments.n, 4 * len(batches) + PRIOR, rtol=1e-12)


@pytest.mark.usefixtures("x64")
@settings(deadline=None, max_examples=100)
@given(batches, st.randoms(use_true_random=False))
def test_order_does_not_matter(batches, random):
    shuffled = random.sample(batches, len(batches))
    for one, other in zip(merged(batches), merged(shuffled), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)


def test_any_batch_axes_count_alike():
    """A batch ``[T, B, 3]`` is ``T x B`` observations, and scalars have no axes of their own."""
    values = np.random.default_rng(0).normal(2, 3, (4, 5, 3)).astype(np.float32)
    for one, other in zip(merged([values]), merged([values.reshape(20, 3)]), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)
    scalar = merged([values], shape=())
    np.testing.assert_allclose(scalar.variance, two_pass(values.ravel())[1], rtol=1e-4)
    assert scalar.mean.shape == ()


def test_a_large_mean_does_not_drown_the_variance():
    """In float32 a mean 1,000 times the deviation costs little: squares are taken of differences."""
    values = np.random.default_rng(0).normal(1000, 1, (200, 50, 1)).astype(np.float32)
    mean, variance = two_pass(values.reshape(-1, 1).astype(np.float64))
    moments = merged(values, shape=(1,))
    np.testing.assert_allclose(moments.mean, mean, rtol=1e-5)
    np.testing.assert_allclose(moments.variance, variance, rtol=1e-2)


@pytest.mark.parametrize("constant", [0.0, 1.0, -1e6, 1e-20])
def test_constant_input_stays_finite(constant):
    batch = np.full((4, 3), constant, np.float32)
    moments = merged([batch] * 1000)
    assert (moments.variance >= 0).all()
    assert np.isfinite(jax.tree.leaves(moments)[1]).all()
    for value in (batch, batch + 1, -batch):
        assert np.isfinite(moments.normalize(value)).all()
        assert np.isfinite(moments.scale(value)).all()


@pytest.mark.usefixtures("x64")
def test_normalize_and_scale_are_their_formulas():
    rng = np.random.default_rng(0)
    moments = RunningMoments(rng.normal(size=3), rng.uniform(0.1, 4, 3), np.asarray(10.0))
    values = rng.normal(0, 3, (50, 3))
    normal = (values - moments.mean) / np.sqrt(moments.variance + 1e-8)
    np.testing.assert_allclose(moments.normalize(values), np.clip(normal, -10, 10), rtol=1e-12)
    np.testing.assert_allclose(moments.normalize(values, clip=0.5), np.clip(normal, -0.5, 0.5), rtol=1e-12)
    scaled = values / np.sqrt(moments.variance + 1e-8)
    np.testing.assert_allclose(moments.scale(values), np.clip(scaled, -10, 10), rtol=1e-12)
    np.testing.assert_array_equal(np.sign(moments.scale(values)), np.sign(values))
    assert abs(moments.normalize(np.full(3, 1e9))).max() == 10


@pytest.mark.usefixtures("x64")
def test_normalized_data_has_mean_0_and_variance_1():
    values = np.random.default_rng(0).normal(5, 2, (10_000, 3))
    normal = np.asarray(merged([values]).normalize(values))
    np.testing.assert_allclose(normal.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(normal.var(0), 1, atol=1e-5)
