"""What networks make of images and of entities before the layers that all observations go through."""

from collections.abc import Callable, Iterator
from typing import NamedTuple, Self

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from tegu.core.errors import TeguError
from tegu.nn.attention import WINDOW, EntityAttention, entities, is_ring
from tegu.nn.cnn import CNN, EXTRACTORS
from tegu.nn.mlp import MLP, normalized
from tegu.spaces.features import n_features, one_line, parts

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


ATTENTION = "attention"  #: the extractor for lists of entities
RAW = "raw"  #: after the name of another: pixels are not scaled
CHOICES = ("auto", "flatten", *EXTRACTORS, ATTENTION)
"""All but "flatten" may say how wide a layer follows the convolutions of each image, or the attention: "nature:256".
"attention" may name parts that are rings of distances: "attention+lidar", "attention+lidar+sonar:256". With the others
pixels may stay as they are: "nature+raw:256"."""


class Choice(NamedTuple):
    """What ``features_extractor`` says."""

    name: str
    more: tuple[str, ...]  #: what follows it: names of rings, or ``RAW``
    width: int | None  #: of the layer that follows: None without one, 0 where that is no number

    @classmethod
    def of(cls, extractor: str) -> Self:
        names, colon, width = extractor.partition(":")
        name, *more = names.split("+")
        return cls(name, tuple(more), (int(width) if width.isdecimal() else 0) if colon else None)


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
        """Observations in ``space``; ``extractor`` is one of ``CHOICES``, with what may follow it. ``gain``: as for
        ``Conv``. ``scaled``: by the bounds of the space, unless features come standardised."""
        extractor, more, width = Choice.of(extractor)
        found = () if extractor in ("flatten", ATTENTION) else tuple(images(space, raw=RAW in more))
        self.images = found if scaled else tuple(image._replace(low=0.0, high=1.0) for image in found)
        self.names = tuple(chosen(extractor, image) for image in self.images)
        self.inputs = n_features(space)
        # other networks are drawn from parts of the same key, of which none is this one
        key = jax.random.fold_in(key, _APART)
        self.networks = tuple(
            EXTRACTORS[name].make(jax.random.fold_in(key, image.start), image.size[-1], gain, layer_norm)
            for name, image in zip(self.names, self.images, strict=True)
        )
        self.attention = EntityAttention(key, space, rings=more) if extractor == ATTENTION else None
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
    given, (extractor, more, width) = extractor, Choice.of(extractor)
    beyond = (extractor == "flatten" and (more or width is not None)) or (extractor != ATTENTION and set(more) - {RAW})
    if extractor not in CHOICES or beyond:
        raise TeguError(f"{title}: features_extractor must be one of {', '.join(CHOICES)}, got {given!r}")
    if width is not None and width < 1:
        raise TeguError(f"{title}: features_extractor {given!r} must end in the width of a layer, such as nature:256")
    if extractor == ATTENTION:
        _check_entities(title, space)
        _check_rings(f"{title}: features_extractor {given}", more, space)
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


def _check_rings(title: str, names: tuple[str, ...], space: gymnasium.Space) -> None:
    """Raise ``TeguError`` in one line unless parts of ``space`` have these names, and are rings of distances."""
    for name in names:
        named = [part for called, part, _ in parts(space) if called == name]
        if not named:
            raise TeguError(f"{title}: there is no part {name!r} in the observations, which are {one_line(space)}")
        for part in named:
            if not is_ring(part):
                raise TeguError(
                    f"{title}: {name!r} must be a Box of one dimension with at least {WINDOW} distances, one after the "
                    f"other around the agent, got {one_line(part)}"
                )


def attends(extractor: str) -> bool:
    """Whether an extractor is attention over entities, whatever its rings and its width."""
    return Choice.of(extractor).name == ATTENTION


def _size(network: Callable[[jax.Array], jax.Array], shape: tuple[int, ...]) -> int:
    """How many numbers a network makes of an image or of features of this shape."""
    return eqx.filter_eval_shape(network, jax.ShapeDtypeStruct(shape, jnp.float32)).size


def chosen(extractor: str, image: Image) -> str:
    """The extractor of an image; of ``auto``, the Nature CNN if the image is large enough for it."""
    if extractor != "auto":
        return extractor
    height, width, _ = image.size
    return "nature" if min(height, width) >= EXTRACTORS["nature"].smallest else "minatar"


def images(space: gymnasium.Space, *, raw: bool = False) -> Iterator[Image]:
    """The images of ``space`` in their order; their pixels scaled, unless they shall stay ``raw``."""
    for _, part, start in parts(space):
        if isinstance(part, gymnasium.spaces.Box) and len(part.shape) == 3:
            image = Image(start, part.shape, channels_first(part.shape), *(unscaled(part) if raw else scale(part)))
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


def unscaled(box: gymnasium.spaces.Box) -> tuple[float, float]:
    """The values of features that become 0 and 1 where pixels stay as they are."""
    return 0.0, 1 / 255 if box.dtype == np.uint8 else 1.0
