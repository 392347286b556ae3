"""The networks of DreamerV3 (Hafner et al. 2023, equations 1 and 4): a world model, an actor and a critic."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from tegu.core.spec import EnvironmentSpec, Spaces
from tegu.core.step import PyTree
from tegu.exploration import masked
from tegu.nn.conv import Conv
from tegu.nn.distributions import Categorical, DiagonalGaussian
from tegu.nn.encoder import Encoder, Image, images
from tegu.nn.mlp import ACTIVATIONS, MLP, normalized
from tegu.nn.rssm import ACTIVATION, RSSM, mixed
from tegu.nn.symlog import symexp, symlog
from tegu.spaces.bounds import from_unit
from tegu.spaces.features import features, n_features
from tegu.spaces.relaxed import action_features

MIN_STD, MAX_STD = 0.1, 1.0  #: of the normal distribution of continuous actions
SMALLEST = 8  #: pixels of an image's shorter side from which it is drawn: halved until it is no longer


class Sizes(NamedTuple):
    """How large the networks are."""

    deterministic: int  #: D
    categoricals: int  #: S
    classes: int  #: C
    units: int  #: of each hidden layer
    layers: int  #: hidden ones of encoder, decoder, actor and critic; the others have one
    channels: int  #: that the image decoder's last convolution sees
    bins: int  #: of rewards and values


class ImageDecoder(eqx.Module):
    """Images ``[..., H, W, C]``: a small one by a linear layer, doubled by repeating pixels before each convolution."""

    first: MLP
    layers: tuple[Conv, ...]
    size: tuple[int, int, int] = eqx.field(static=True)  #: H, W and C
    small: tuple[int, int, int] = eqx.field(static=True)  #: before it is doubled

    def __init__(self, key: jax.Array, inputs: int, size: tuple[int, int, int], channels: int):
        height, width, _ = size
        doublings = max(math.ceil(math.log2(min(height, width) / SMALLEST)), 1)
        self.size, widths = size, [*(channels * 2**i for i in reversed(range(doublings))), size[-1]]
        self.small = -(-height // 2**doublings), -(-width // 2**doublings), widths[0]
        first, *keys = jax.random.split(key, 1 + doublings)
        self.first = MLP(first, (inputs, math.prod(self.small)), ACTIVATION)
        self.layers = tuple(Conv(k, *pair, None) for k, pair in zip(keys, pairwise(widths), strict=True))

    def __call__(self, x: jax.Array) -> jax.Array:
        x = self.first(x)
        x = x.reshape((*x.shape[:-1], *self.small))
        for layer in self.layers:
            x = layer(ACTIVATIONS[ACTIVATION](normalized(x)).repeat(2, axis=-2).repeat(2, axis=-3))
        height, width, _ = self.size
        return x[..., :height, :width, :]


class DecoderTargets(NamedTuple):
    """What the decoder is to predict of observations."""

    vector: jax.Array  #: symlog of all features that are no pixels ``[..., n]``
    images: tuple[jax.Array, ...]  #: ``[..., H, W, C]`` each


class Decoder(eqx.Module):
    """What was observed, by the state's features."""

    vector: MLP | None
    images: tuple[ImageDecoder, ...]

    def __init__(self, key: jax.Array, inputs: int, vector: int, images: Sequence[Image], sizes: Sizes):
        keys = jax.random.split(key, 1 + len(images))
        hidden = [sizes.units] * sizes.layers
        self.vector = MLP(keys[0], (inputs, *hidden, vector), ACTIVATION, layer_norm=True) if vector else None
        self.images = tuple(
            ImageDecoder(k, inputs, image.size, sizes.channels) for k, image in zip(keys[1:], images, strict=True)
        )

    def error(self, x: jax.Array, seen: DecoderTargets) -> jax.Array:
        """The sum of squared errors ``[...]`` of what was ``seen``, where the features are ``x`` ``[..., n]``."""
        pairs = zip(self.images, seen.images, strict=True)
        errors = [((decoder(x) - image) ** 2).sum(axis=(-3, -2, -1)) for decoder, image in pairs]
        if self.vector is not None:
            errors.append(((self.vector(x) - seen.vector) ** 2).sum(axis=-1))
        return sum(errors, jnp.zeros(()))


class WorldModel(eqx.Module):
    """What follows from what: encoder, recurrent state-space model, and what states tell of observations, rewards and
    whether the episode goes on."""

    encoder: Encoder
    embedding: MLP
    rssm: RSSM
    decoder: Decoder
    reward: MLP  #: logits of the bins of symexp
    goes_on: MLP  #: the logit of the paper's continue flag
    spaces: Spaces = eqx.field(static=True)
    n_actions: int = eqx.field(static=True)  #: length of the features of an action

    def __init__(self, key: jax.Array, spec: EnvironmentSpec, sizes: Sizes, features_extractor: str):
        keys = jax.random.split(key, 6)
        hidden = [sizes.units] * sizes.layers
        self.encoder = Encoder(keys[0], spec.observation_space, features_extractor)
        self.embedding = MLP(keys[5], (self.encoder.outputs, *hidden), ACTIVATION, layer_norm=True)
        shape = sizes.categoricals, sizes.classes
        self.n_actions = n_features(spec.action_space)
        self.rssm = RSSM(keys[1], sizes.units, self.n_actions, sizes.deterministic, shape, sizes.units)
        self.spaces, images = spec.spaces, self.encoder.images
        vector = len(vector_features(self.encoder))
        self.decoder = Decoder(keys[2], self.rssm.n_features, vector, images, sizes)
        self.reward = head(keys[3], (self.rssm.n_features, sizes.units, sizes.bins), 0.0)
        self.goes_on = head(keys[4], (self.rssm.n_features, sizes.units, 1))

    def seen(self, observation: PyTree) -> DecoderTargets:
        """Observations ``[..., *shape]`` as they are predicted."""
        return decoder_targets(self.encoder, self.spaces.observation, observation)

    def embed(self, observation: PyTree) -> jax.Array:
        """What the recurrent model sees of observations ``[..., *shape]``: ``[..., units]``."""
        encoded = encode(self.encoder, self.spaces.observation, observation)
        return ACTIVATIONS[ACTIVATION](normalized(self.embedding(encoded)))

    def action_features(self, action: Any) -> jax.Array:
        """What it sees of the environment's actions: ``[..., A]``."""
        return action_features(self.spaces.action, action)


class Actor(eqx.Module):
    """The actor: a distribution over actions by the state's features."""

    layers: MLP
    spaces: Spaces = eqx.field(static=True)

    def __init__(self, key: jax.Array, inputs: int, spec: EnvironmentSpec, sizes: Sizes):
        per_action = 1 if isinstance(spec.action_space, spaces.Discrete) else 2
        outputs = per_action * n_features(spec.action_space)
        self.layers = head(key, (inputs, *[sizes.units] * sizes.layers, outputs), 0.01)
        self.spaces = spec.spaces

    def __call__(self, x: jax.Array, mask: jax.Array | None = None) -> Categorical | DiagonalGaussian:
        """Of one-hot or scaled actions, for features ``[..., n]``; ``mask`` ``[..., A]`` marks the legal ones.

        A normal distribution's mean is within (-1, 1), its standard deviation between ``MIN_STD`` and ``MAX_STD``.
        """
        outputs = self.layers(x)
        if isinstance(self.spaces.action, spaces.Discrete):
            return Categorical(masked(mixed(outputs), mask))
        mean, spread = jnp.split(outputs, 2, axis=-1)
        std = MIN_STD + (MAX_STD - MIN_STD) * jax.nn.sigmoid(spread + 2)
        return DiagonalGaussian(jnp.tanh(mean), jnp.log(std))

    def as_features(self, action: jax.Array) -> jax.Array:
        """A distribution's actions as the world model sees them, ``[..., A]``."""
        discrete = isinstance(self.spaces.action, spaces.Discrete)
        return jax.nn.one_hot(action, n_features(self.spaces.action)) if discrete else action

    def to_space(self, action: jax.Array) -> jax.Array:
        """A distribution's actions as the environment takes them, ``[B, *shape]``; a Box's may exceed its bounds."""
        space = self.spaces.action
        if isinstance(space, spaces.Discrete):
            return action + int(space.start)
        return from_unit(space, action.reshape((*action.shape[:-1], *space.shape)))


class Networks(eqx.Module):
    """All that is learned."""

    world: WorldModel
    actor: Actor
    critic: MLP  #: logits of the bins of symexp

    def __init__(self, key: jax.Array, spec: EnvironmentSpec, sizes: Sizes, features_extractor: str):
        world, actor, critic = jax.random.split(key, 3)
        self.world = WorldModel(world, spec, sizes, features_extractor)
        inputs = self.world.rssm.n_features
        self.actor = Actor(actor, inputs, spec, sizes)
        self.critic = head(critic, (inputs, *[sizes.units] * sizes.layers, sizes.bins), 0.0)

    @property
    def parts(self) -> tuple[tuple[str, Any], ...]:
        world = self.world
        rest: Any = eqx.tree_at(lambda model: model.encoder, world, None)
        shown = [("", world.encoder), ("model", rest)] if world.encoder.title else [("model", world)]
        return (*shown, ("actor", self.actor.layers), ("critic", self.critic))


def head(key: jax.Array, sizes: Sequence[int], gain: float = 1.0) -> MLP:
    """Normalised layers whose last one is scaled by ``gain`` at first: by 0, that it says nothing."""
    layers = MLP(key, sizes, ACTIVATION, layer_norm=True)
    weights, biases = ((*each[:-1], each[-1] * jnp.float32(gain)) for each in (layers.weights, layers.biases))
    return eqx.tree_at(lambda mlp: (mlp.weights, mlp.biases), layers, (weights, biases))


def decoder_targets(encoder: Encoder, space: spaces.Space, observation: PyTree) -> DecoderTargets:
    """Observations ``[..., *shape]`` in a ``space`` as they are predicted."""
    x = features(space, observation)
    return DecoderTargets(symlog(x[..., vector_features(encoder)]), tuple(image.of(x) for image in encoder.images))


def first_image(space: spaces.Space) -> Image | None:
    """The first image that is observed in a ``space``, if any."""
    return next(images(space), None)


def drawn(decoder: Decoder, image: Image, x: jax.Array) -> jax.Array:
    """How the decoder draws the ``first_image``, ``[..., H, W, C]``, by features ``x`` ``[..., n]``; also where it is
    flattened, one among the numbers that are predicted."""
    if decoder.images:
        return decoder.images[0](x)
    assert decoder.vector is not None
    return image.of(symexp(decoder.vector(x)))


def encode(encoder: Encoder, space: spaces.Space, observation: PyTree) -> jax.Array:
    """What an encoder makes ``[..., n]`` of observations ``[..., *shape]`` in a ``space``, on the same scale."""
    x, index = features(space, observation), vector_features(encoder)
    return encoder(x.at[..., index].set(symlog(x[..., index])) if encoder.images else symlog(x))


def vector_features(encoder: Encoder) -> np.ndarray:
    """Where among the features those are that are no pixels."""
    pixels = [np.arange(image.start, image.stop) for image in encoder.images]
    return np.setdiff1d(np.arange(encoder.inputs), np.concatenate(pixels) if pixels else [])
