"""DreamerV3's networks: what they see of observations, and what they draw."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from tegu.core.spec import EnvironmentSpec
from tegu.nn.world_model import ImageDecoder, Networks, Sizes

KEY = jax.random.key(0)
SIZES = Sizes(deterministic=4, categoricals=2, classes=3, units=8, layers=1, channels=4, bins=5)


def world_of(observation, action=None):
    spec = EnvironmentSpec("test", observation, spaces.Discrete(2) if action is None else action)
    return jax.jit(lambda: Networks(KEY, spec, SIZES, "auto"))().world


@pytest.mark.slow
def test_vectors_are_seen_and_predicted_on_a_scale_of_logarithms_and_pixels_from_0_to_1():
    world = world_of(
        spaces.Dict({"image": spaces.Box(0, 255, (8, 9, 3), np.uint8), "speed": spaces.Box(-1e9, 1e9, (2,))})
    )
    rng = np.random.default_rng(0)
    seen = {"image": rng.integers(256, size=(2, 5, 8, 9, 3), dtype=np.uint8), "speed": rng.normal(size=(2, 5, 2)) * 1e5}
    found = world.seen(seen)
    np.testing.assert_allclose(found.vector, np.sign(seen["speed"]) * np.log1p(abs(seen["speed"])), rtol=1e-5)
    (image,) = found.images
    np.testing.assert_allclose(image, seen["image"] / 255, rtol=1e-5)
    x = rng.normal(size=(2, 5, world.rssm.n_features)).astype(np.float32)
    error = world.decoder.error(x, found)
    drawn, told = world.decoder.images[0](x), world.decoder.vector(x)
    expected = ((drawn - image) ** 2).sum(axis=(-3, -2, -1)) + ((told - found.vector) ** 2).sum(axis=-1)
    np.testing.assert_allclose(error, expected, rtol=1e-4)
    embedded = world.embed(seen)
    assert embedded.shape == (2, 5, 8)
    assert jnp.isfinite(embedded).all()


def test_discrete_observations_are_vectors_without_images():
    world = world_of(spaces.Discrete(5, start=2))
    assert world.decoder.images == ()
    np.testing.assert_allclose(world.seen(jnp.array([3])).vector, np.log(2) * np.eye(5)[[1]], rtol=1e-6)


@pytest.mark.parametrize("size", [(10, 10, 4), (8, 9, 3), (21, 64, 1), (64, 64, 3)])
def test_images_are_drawn_in_their_size(size):
    decoder = jax.eval_shape(lambda: ImageDecoder(KEY, 6, size, 4))
    assert jax.eval_shape(lambda decoder, x: decoder(x), decoder, jnp.zeros((2, 3, 6))).shape == (2, 3, *size)
    assert min(decoder.small[:2]) in range(3, 9)


def test_actions_are_seen_in_units_of_their_bounds():
    world = world_of(spaces.Box(-1, 1, (2,)), spaces.Box(np.float32([0, -4]), np.float32([1, 4])))
    np.testing.assert_allclose(world.action_features(jnp.array([[0.75, 2.0], [0.0, 4.0]])), [[0.5, 0.5], [-1.0, 1.0]])
    np.testing.assert_array_equal(world_of(spaces.Box(-1, 1, (2,))).action_features(jnp.array([1])), [[0, 1]])
