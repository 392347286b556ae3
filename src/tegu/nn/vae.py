"""The variational autoencoder (Kingma & Welling 2014) of observations: images, vectors, or both."""

import equinox as eqx
import jax
import jax.numpy as jnp

from tegu.core.spec import EnvironmentSpec, Spaces
from tegu.core.step import PyTree
from tegu.nn.distributions import DiagonalGaussian
from tegu.nn.encoder import Encoder
from tegu.nn.mlp import MLP
from tegu.nn.rssm import ACTIVATION
from tegu.nn.world_model import Decoder, Sizes, decoder_targets, encode, vector_features


class VAE(eqx.Module):
    """Observations as a few numbers, from which they can be drawn again. Vectors are on a scale of logarithms."""

    encoder: Encoder
    posterior: MLP
    decoder: Decoder
    spaces: Spaces = eqx.field(static=True)

    def __init__(self, key: jax.Array, spec: EnvironmentSpec, size: int, sizes: Sizes, features_extractor: str):
        """Latent vectors of ``size`` numbers; of ``sizes`` units, layers and channels count."""
        encoder_key, posterior_key, decoder_key = jax.random.split(key, 3)
        self.encoder = Encoder(encoder_key, spec.observation_space, features_extractor)
        hidden = [sizes.units] * sizes.layers
        self.posterior = MLP(posterior_key, (self.encoder.outputs, *hidden, 2 * size), ACTIVATION, layer_norm=True)
        vector = len(vector_features(self.encoder))
        self.decoder = Decoder(decoder_key, size, vector, self.encoder.images, sizes)
        self.spaces = spec.spaces

    def __call__(self, observation: PyTree) -> DiagonalGaussian:
        """Distributions of the latent vectors ``[..., Z]`` of observations ``[..., *shape]``."""
        outputs = self.posterior(encode(self.encoder, self.spaces.observation, observation))
        return DiagonalGaussian(*jnp.split(outputs, 2, axis=-1))

    def error(self, latent: jax.Array, observation: PyTree) -> jax.Array:
        """The sum of squared errors ``[...]`` of the ``observation`` that is drawn from a ``latent`` ``[..., Z]``."""
        return self.decoder.error(latent, decoder_targets(self.encoder, self.spaces.observation, observation))
