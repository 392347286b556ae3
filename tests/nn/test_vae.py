"""What the variational autoencoder sees and draws of observations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from tegu.core.spec import EnvironmentSpec
from tegu.nn.vae import VAE
from tegu.nn.world_model import Sizes

pytestmark = pytest.mark.usefixtures("x64")

KEY = jax.random.key(0)
SIZES = Sizes(0, 0, 0, units=8, layers=1, channels=4, bins=0)
IMAGE, VECTOR = spaces.Box(0, 255, (9, 8, 1), np.uint8), spaces.Box(-1e9, 1e9, (5,))


def vae(space, extractor="auto"):
    return VAE(KEY, EnvironmentSpec("test", space, spaces.Discrete(2)), 3, SIZES, extractor)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("space", "extractor"), [(IMAGE, "auto"), (IMAGE, "flatten"), (VECTOR, "auto")], ids=["image", "flat", "vector"]
)
def test_the_error_is_summed_over_all_that_is_observed(space, extractor):
    """Vectors on a scale of logarithms, images by convolutions from 0 to 1, flattened ones as vectors."""
    made, rng = vae(space, extractor), np.random.default_rng(0)
    seen = rng.integers(0, 256, (6, 9, 8, 1), np.uint8) if space is IMAGE else rng.normal(size=(6, 5)) * 100
    found = jax.jit(lambda seen: made(jnp.asarray(seen)))(seen)
    assert found.mean.shape == found.log_std.shape == (6, 3)
    image = space is IMAGE and extractor == "auto"
    target = seen / 255 if space is IMAGE else seen
    target = target if image else np.sign(target) * np.log1p(abs(target)).reshape(target.shape)
    (drawn,) = (made.decoder.images[0](found.mean),) if image else (made.decoder.vector(found.mean),)
    assert (made.decoder.vector is None) == image
    expected = ((np.asarray(drawn).reshape(6, -1) - target.reshape(6, -1)) ** 2).sum(axis=-1)
    np.testing.assert_allclose(jax.jit(lambda *given: made.error(*given))(found.mean, seen), expected, rtol=1e-5)
