"""What networks make of images and of entities before the layers that all observations go through."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from tegu.core.errors import TeguError
from tegu.nn.attention import EntityAttention, entities
from tegu.nn.conv import Conv
from tegu.nn.mlp import MLP, normalized
from tegu.spaces.features import ACTION_MASK, in_order, n_features, one_line

_APART = 2**30  #: no key is split into so many, and a split is the fold of its number
SMALLEST_IMAGE = 8  #: pixels; a Box of three dimensions with a shorter side is no image


class Image(NamedTuple):
    """Where an image lies among the features, and how it is laid out."""

    start: int  #: index of its first feature
    shape: tuple[int, int, int]  #: as in the space
    channels_first: bool
    low: float  #: what becomes 0, and
    high: float  #: what becomes 1 when pixels are scaled; 0 and 1 if they stay as they are

    @property
    def size(self) -> tuple[int, int, int]:
        """Height, width and channels."""
        first, second, third = self.shape
        return (second, third, first) if self.channels_first else self.shape

    @property
    def stop(self) -> int:
        return self.start + int(np.prod(self.shape))

    def of(self, x: jax.Array) -> jax.Array:
        """The image ``[..., H, W, C]`` among the features ``[..., n]``."""
        pixels = x[..., self.start : self.stop].reshape((*x.shape[:-1], *self.shape))
        pixels = jnp.moveaxis(pixels, -3, -1) if self.channels_first else pixels
        return pixels if (self.low, self.high) == (0, 1) else (pixels - self.low) / (self.high - self.low)


class PlainCNN(eqx.Module):
    """Convolutions without padding, each followed by a ReLU."""

    layers: tuple[Conv, ...]
    layer_norm: bool = eqx.field(static=True, default=False)  #: whether the channels of each pixel are normalised first

    def __call__(self, x: jax.Array) -> jax.Array:
        for layer in self.layers:
            x = layer(x)
            x = jax.nn.relu(normalized(x) if self.layer_norm else x)
        return x


class ImpalaResNet(eqx.Module):
    """Three stages: a convolution, a maximum over 3x3 pixels at every second, two residual blocks (Espeholt et al.
    2018, figure 3, right)."""

    stages: tuple[tuple[Conv, tuple[tuple[Conv, Conv], ...]], ...]

    def __call__(self, x: jax.Array) -> jax.Array:
        batch = x.shape[:-3]
        x = x.reshape((-1, *x.shape[-3:]))
        for first, blocks in self.stages:
            x = jax.lax.reduce_window(first(x), -jnp.inf, jax.lax.max, (1, 3, 3, 1), (1, 2, 2, 1), "SAME")
            for inner, outer in blocks:
                x = x + outer(jax.nn.relu(inner(jax.nn.relu(x))))
        return jax.nn.relu(x).reshape((*batch, *x.shape[1:]))


CNN = PlainCNN | ImpalaResNet


def nature_cnn(key: jax.Array, channels: int, gain: float | None, layer_norm: bool) -> CNN:
    """32 filters of 8x8 at every fourth pixel, 64 of 4x4 at every second, 64 of 3x3 (Mnih et al. 2015, methods)."""
    keys, sizes = jax.random.split(key, 3), ((channels, 32, 8, 4), (32, 64, 4, 2), (64, 64, 3, 1))
    layers = (
        Conv(k, inputs, outputs, gain, size=size, stride=stride, padding="VALID")
        for k, (inputs, outputs, size, stride) in zip(keys, sizes, strict=True)
    )
    return PlainCNN(tuple(layers), layer_norm)


def minatar_cnn(key: jax.Array, channels: int, gain: float | None, layer_norm: bool) -> CNN:
    """16 filters of 3x3 (Young & Tian 2019, section 3)."""
    return PlainCNN((Conv(key, channels, 16, gain, padding="VALID"),), layer_norm)


def impala_resnet(key: jax.Array, channels: int, gain: float | None, layer_norm: bool) -> CNN:
    """Stages of 16, 32 and 32 filters. Their sums of residuals are not normalised."""
    stages, inputs = [], channels
    for stage, outputs in zip(jax.random.split(key, 3), (16, 32, 32), strict=True):
        first, *rest = jax.random.split(stage, 5)
        a, b, c, d = (Conv(k, outputs, outputs, gain) for k in rest)
        stages.append((Conv(first, inputs, outputs, gain), ((a, b), (c, d))))
        inputs = outputs
    return ImpalaResNet(tuple(stages))


class Extractor(NamedTuple):
    title: str
    make: Callable[[jax.Array, int, float | None, bool], CNN]
    smallest: int  #: pixels that a side must have


EXTRACTORS = {
    "nature": Extractor("Nature CNN", nature_cnn, 36),
    "impala": Extractor("IMPALA ResNet", impala_resnet, 8),
    "minatar": Extractor("MinAtar CNN", minatar_cnn, 3),
}
ATTENTION = "attention"  #: the extractor for lists of entities
CHOICES = ("auto", "flatten", *EXTRACTORS, ATTENTION)
"""All but "flatten" may say how wide a layer follows the convolutions of each image, or the attention: "nature:256"."""


class Encoder(eqx.Module):
    """Features ``[..., n]`` to features ``[..., m]``: each image among them goes through a network of its own, or all
    that is observed through attention.

    Without either it has no parameters and changes nothing.
    """

    networks: tuple[CNN, ...]
    attention: EntityAttention | None
    layers: tuple[MLP, ...]  #: for each network, or the attention, a layer that follows, if any
    images: tuple[Image, ...] = eqx.field(static=True)
    names: tuple[str, ...] = eqx.field(static=True)  #: of the extractors
    inputs: int = eqx.field(static=True)  #: the length of features

    def __init__(
        self,
        key: jax.Array,
        space: gymnasium.Space,
        extractor: str,
        gain: float | None = None,
        layer_norm: bool = False,
        scaled: bool = True,
    ):
        """Observations in ``space``; ``extractor`` is one of ``CHOICES``. ``gain``: as for ``Conv``. ``scaled``: by the
        bounds of the space, unless features come standardised."""
        extractor, width = named_and_wide(extractor)
        found = () if extractor in ("flatten", ATTENTION) else tuple(images(space))
        self.images = found if scaled else tuple(image._replace(low=0.0, high=1.0) for image in found)
        self.names = tuple(chosen(extractor, image) for image in self.images)
        self.inputs = n_features(space)
        # other networks are drawn from parts of the same key, of which none is this one
        key = jax.random.fold_in(key, _APART)
        self.networks = tuple(
            EXTRACTORS[name].make(jax.random.fold_in(key, image.start), image.size[-1], gain, layer_norm)
            for name, image in zip(self.names, self.images, strict=True)
        )
        self.attention = EntityAttention(key, space) if extractor == ATTENTION else None
        self.layers = ()
        if width is not None:
            sizes = [_size(network, image.size) for network, image in zip(self.networks, self.images, strict=True)]
            sizes += [] if self.attention is None else [_size(self.attention, (self.inputs,))]
            keys = jax.random.split(jax.random.fold_in(key, _APART), len(sizes))
            gains = None if gain is None else (gain,)
            self.layers = tuple(
                MLP(own, (size, width), "relu", gains, layer_norm) for own, size in zip(keys, sizes, strict=True)
            )

    def __call__(self, x: jax.Array) -> jax.Array:
        if self.attention is not None:
            return self._layer(0, self.attention(x))
        if not self.images:
            return x
        parts, stop = [], 0
        for i, (image, network) in enumerate(zip(self.images, self.networks, strict=True)):
            seen = network(image.of(x)).reshape((*x.shape[:-1], -1))
            parts += [x[..., stop : image.start], self._layer(i, seen)]
            stop = image.stop
        return jnp.concatenate([*parts, x[..., stop:]], axis=-1)

    def _layer(self, i: int, seen: jax.Array) -> jax.Array:
        """What the layer after network ``i`` makes of ``[..., n]``, if there is one."""
        if not self.layers:
            return seen
        seen = self.layers[i](seen)
        return jax.nn.relu(normalized(seen) if self.layers[i].layer_norm else seen)

    @property
    def outputs(self) -> int:
        """The length of what it makes of them."""
        x = jax.ShapeDtypeStruct((self.inputs,), jnp.float32)
        return eqx.filter_eval_shape(type(self).__call__, self, x).shape[-1]

    @property
    def title(self) -> str:
        """``Nature CNN 84x84x4`` for each image, or that of the attention; empty where there is neither."""
        titles = [
            f"{EXTRACTORS[name].title} {'x'.join(map(str, image.size))}"
            for name, image in zip(self.names, self.images, strict=True)
        ]
        titles += [] if self.attention is None else [self.attention.title]
        widths = [f"-{layer.biases[-1].shape[-1]}" for layer in self.layers] or [""] * len(titles)
        return " and ".join(map("".join, zip(titles, widths, strict=True)))


def check_extractor(title: str, extractor: str, space: gymnasium.Space) -> None:
    """Raise ``TeguError`` in one line unless the ``extractor`` can look at the images or entities of ``space``."""
    given, (extractor, width) = extractor, named_and_wide(extractor)
    if extractor not in CHOICES or (extractor == "flatten" and width is not None):
        raise TeguError(f"{title}: features_extractor must be one of {', '.join(CHOICES)}, got {given!r}")
    if width is not None and width < 1:
        raise TeguError(f"{title}: features_extractor {given!r} must end in the width of a layer, such as nature:256")
    if extractor == ATTENTION:
        _check_entities(title, space)
    if extractor not in EXTRACTORS:
        return
    found = list(images(space))
    if not found:
        raise TeguError(
            f"{title}: features_extractor {extractor} is for images, Boxes of three dimensions with sides of at least "
            f"{SMALLEST_IMAGE}; the observations are {one_line(space)}"
        )
    smallest = EXTRACTORS[extractor].smallest
    for image in found:
        height, width, _ = image.size
        if min(height, width) < smallest:
            raise TeguError(
                f"{title}: features_extractor {extractor} needs images of at least {smallest}x{smallest} pixels, got "
                f"{height}x{width}"
            )


def _check_entities(title: str, space: gymnasium.Space) -> None:
    """Raise ``TeguError`` in one line unless ``space`` has lists of entities, and no images beside them."""
    if not any(entities(space)):
        raise TeguError(
            f"{title}: features_extractor {ATTENTION} is for lists of entities, Boxes of two dimensions in a Dict; the "
            f"observations are {one_line(space)}"
        )
    if any(images(space)):
        raise TeguError(
            f"{title}: features_extractor {ATTENTION} needs observations without images; they are {one_line(space)}"
        )


def attends(extractor: str) -> bool:
    """Whether an extractor is attention over entities, whatever its width."""
    return named_and_wide(extractor)[0] == ATTENTION


def named_and_wide(extractor: str) -> tuple[str, int | None]:
    """The name of an extractor, and how wide the layer after it is: None without one, 0 where that is no number."""
    name, colon, width = extractor.partition(":")
    return name, (int(width) if width.isdecimal() else 0) if colon else None


def _size(network: Callable[[jax.Array], jax.Array], shape: tuple[int, ...]) -> int:
    """How many numbers a network makes of an image or of features of this shape."""
    return eqx.filter_eval_shape(network, jax.ShapeDtypeStruct(shape, jnp.float32)).size


def chosen(extractor: str, image: Image) -> str:
    """The extractor of an image; of ``auto``, the Nature CNN if the image is large enough for it."""
    if extractor != "auto":
        return extractor
    height, width, _ = image.size
    return "nature" if min(height, width) >= EXTRACTORS["nature"].smallest else "minatar"


def images(space: gymnasium.Space, start: int = 0) -> Iterator[Image]:
    """The images of ``space``, whose features begin at ``start``, in their order."""
    if isinstance(space, gymnasium.spaces.Dict):
        for name, part in in_order(space):
            if name != ACTION_MASK:
                yield from images(part, start)
                start += n_features(part)
    elif isinstance(space, gymnasium.spaces.Box) and len(space.shape) == 3:
        image = Image(start, space.shape, channels_first(space.shape), *scale(space))
        if min(image.size[:2]) >= SMALLEST_IMAGE:
            yield image


def channels_first(shape: tuple[int, int, int]) -> bool:
    """Whether an image is ``[C, H, W]``: its other two sides are equal, or the channels are fewer than its width."""
    first, second, third = shape
    return first != second and (second == third or first < third)


def scale(box: gymnasium.spaces.Box) -> tuple[float, float]:
    """The values of features that become 0 and 1: the bounds, if they are the same everywhere and not within [-1, 1].

    ``uint8`` is scaled when it becomes features.
    """
    low, high = float(box.low.min()), float(box.high.max())
    same = bool((box.low == low).all() and (box.high == high).all())
    small = low >= -1 and high <= 1
    if box.dtype == np.uint8 or small or not same or not np.isfinite([low, high]).all():
        return 0.0, 1.0
    return low, high
