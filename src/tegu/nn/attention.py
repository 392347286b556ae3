"""Attention over lists of entities (Baker et al. 2019, appendix B): what an agent sees of things of several kinds;
and the convolution around a ring of distances that goes before it."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp

from tegu.nn.conv import GAIN
from tegu.nn.mlp import normalized
from tegu.nn.residual import Dense
from tegu.spaces.features import n_features, parts

WIDTH, HEADS, BLOCKS = 128, 4, 1  #: of embeddings, and of the attention over them (the paper's)
SMALL = 0.125**0.5  #: gain of the layers within a block, as in the authors' code: a block changes little at first
WINDOW, FILTERS = 3, 9  #: of the convolution: how many neighbours it sees at a time, and what it makes of them


class Entities(NamedTuple):
    """Where a list of entities of one kind lies among the features."""

    start: int  #: index of its first feature
    most: int  #: rows: so many entities at most
    width: int  #: features of each

    @property
    def stop(self) -> int:
        return self.start + self.most * self.width

    def of(self, x: jax.Array) -> jax.Array:
        """The entities ``[..., most, width]`` among the features ``[..., n]``."""
        return x[..., self.start : self.stop].reshape((*x.shape[:-1], self.most, self.width))


class Ring(NamedTuple):
    """Where distances in directions all around an agent lie among the features, one after the other."""

    start: int  #: index of the first
    rays: int  #: how many there are

    @property
    def stop(self) -> int:
        return self.start + self.rays


def entities(space: gymnasium.Space) -> Iterator[Entities]:
    """The lists of entities of ``space`` in their order: the Boxes of two dimensions in a Dict, at any depth."""
    for name, part, start in parts(space):
        if name is not None and isinstance(part, gymnasium.spaces.Box) and len(part.shape) == 2 and n_features(part):
            yield Entities(start, *part.shape)


def is_ring(part: gymnasium.Space) -> bool:
    return isinstance(part, gymnasium.spaces.Box) and len(part.shape) == 1 and n_features(part) >= WINDOW


def attention(query: jax.Array, key: jax.Array, value: jax.Array, present: jax.Array) -> jax.Array:
    """Scaled dot-product attention of ``[..., Q, heads, n]`` to ``[..., K, heads, n]`` (Vaswani et al. 2017,
    equation 1). Nothing attends to what is not ``present`` ``[..., K]``.
    """
    scores = jnp.einsum("...qhn,...khn->...hqk", query, key) * query.shape[-1] ** -0.5
    scores = jnp.where(present[..., None, None, :], scores, jnp.finfo(scores.dtype).min)
    return jnp.einsum("...hqk,...khn->...qhn", jax.nn.softmax(scores), value)


def mean_of_present(x: jax.Array, present: jax.Array) -> jax.Array:
    """The mean ``[..., n]`` of those of ``x`` ``[..., K, n]`` that are ``present`` ``[..., K]``, of which one is."""
    shares = present / present.sum(axis=-1, keepdims=True)
    return (x * shares[..., None]).sum(axis=-2)


class SelfAttention(eqx.Module):
    """A residual block: what attention with several heads adds to each embedding; the sum is normalised."""

    projection: Dense  #: to queries, keys and values
    output: Dense
    heads: int = eqx.field(static=True)

    def __init__(self, key: jax.Array, width: int, heads: int):
        """``heads`` divides ``width``."""
        projection, output = jax.random.split(key)
        self.projection = Dense(projection, width, 3 * width, SMALL, he_normal=True)
        self.output = Dense(output, width, width, SMALL, he_normal=True)
        self.heads = heads

    def __call__(self, x: jax.Array, present: jax.Array) -> jax.Array:
        """Embeddings ``[..., K, width]`` to as many, of which ``present`` ``[..., K]`` are attended to."""
        query, key, value = (
            part.reshape((*x.shape[:-1], self.heads, -1)) for part in jnp.split(self.projection(x), 3, axis=-1)
        )
        return normalized(x + self.output(attention(query, key, value, present).reshape(x.shape)))


class CircularConv(eqx.Module):
    """A convolution with a ReLU around a ring of distances: ``[..., rays]`` to ``[..., rays * FILTERS]``. The last is a
    neighbour of the first, so that a turned ring is the same, turned."""

    layer: Dense

    def __init__(self, key: jax.Array):
        self.layer = Dense(key, WINDOW, FILTERS, GAIN)

    def __call__(self, x: jax.Array) -> jax.Array:
        windows = jnp.stack([jnp.roll(x, 1, axis=-1), x, jnp.roll(x, -1, axis=-1)], axis=-1)
        return jax.nn.relu(self.layer(windows)).reshape((*x.shape[:-1], -1))


class EntityAttention(eqx.Module):
    """Features ``[..., n]`` to ``[..., 2 width]``: what an agent sees of itself, and what it makes of all entities.

    All features outside the lists are its own, those of rings after a convolution around each. Each entity is embedded
    together with them, by a layer of its kind. The agent itself and the entities then attend to each other, and their
    mean is joined to the embedding of its own features. An entity whose row is all zeros is absent: nothing attends to
    it, and it is not in the mean. The order of the entities of one kind makes no difference.
    """

    own: Dense
    kinds: tuple[Dense, ...]
    blocks: tuple[SelfAttention, ...]
    convolutions: tuple[CircularConv, ...]  #: one for each ring
    lists: tuple[Entities, ...] = eqx.field(static=True)
    rings: tuple[Ring, ...] = eqx.field(static=True)
    inputs: int = eqx.field(static=True)  #: the length of features

    def __init__(
        self,
        key: jax.Array,
        space: gymnasium.Space,
        width: int = WIDTH,
        heads: int = HEADS,
        blocks: int = BLOCKS,
        rings: Sequence[str] = (),
    ):
        """Observations in ``space``. ``heads`` divides ``width``. ``rings``: names of the parts that are rings."""
        self.lists, self.inputs = tuple(entities(space)), n_features(space)
        self.rings = tuple(Ring(start, n_features(part)) for name, part, start in parts(space) if name in rings)
        n_own = max(self.n_own + FILTERS * sum(ring.rays for ring in self.rings), 1)
        own, *keys = jax.random.split(key, 1 + len(self.lists) + blocks + len(self.rings))
        self.own = Dense(own, n_own, width, GAIN)
        self.kinds = tuple(Dense(k, n_own + kind.width, width, GAIN) for k, kind in zip(keys, self.lists, strict=False))
        keys = keys[len(self.lists) :]
        self.blocks = tuple(SelfAttention(k, width, heads) for k in keys[:blocks])
        self.convolutions = tuple(map(CircularConv, keys[blocks:]))

    @property
    def n_own(self) -> int:
        """How many features are in no list and no ring."""
        return self.inputs - sum(part.stop - part.start for part in self.apart)

    @property
    def apart(self) -> list[Entities | Ring]:
        """Lists and rings, in the order of the features."""
        both: tuple[Entities | Ring, ...] = (*self.lists, *self.rings)
        return sorted(both, key=lambda part: part.start)

    @property
    def title(self) -> str:
        """``entity attention 11+ring 12+1x11+2x14``: the agent's own features, those of each ring, and of each list."""
        rings, lists = (f"ring {ring.rays}" for ring in self.rings), (f"{a.most}x{a.width}" for a in self.lists)
        return "+".join([f"entity attention {self.n_own}", *rings, *lists])

    def __call__(self, x: jax.Array) -> jax.Array:
        own = self.own_features(x)
        myself = jax.nn.relu(self.own(own))
        embedded, present = [myself[..., None, :]], [jnp.ones((*x.shape[:-1], 1), bool)]
        for kind, embedding in zip(self.lists, self.kinds, strict=True):
            rows = kind.of(x)
            beside = jnp.broadcast_to(own[..., None, :], (*rows.shape[:-1], own.shape[-1]))
            embedded.append(jax.nn.relu(embedding(jnp.concatenate([beside, rows], axis=-1))))
            present.append((rows != 0).any(axis=-1))
        every, seen = jnp.concatenate(embedded, axis=-2), jnp.concatenate(present, axis=-1)
        for block in self.blocks:
            every = block(every, seen)
        return jnp.concatenate([myself, mean_of_present(every, seen)], axis=-1)

    def own_features(self, x: jax.Array) -> jax.Array:
        """The features in no list and no ring, ``[..., n_own]``, and what the convolutions make of each ring; where
        there are none, a 1: the embedding is learned all the same."""
        starts, stops = [0, *(part.stop for part in self.apart)], [*(part.start for part in self.apart), self.inputs]
        own = [x[..., start:stop] for start, stop in zip(starts, stops, strict=True)]
        rings = [x[..., ring.start : ring.stop] for ring in self.rings]
        own += [convolution(ring) for convolution, ring in zip(self.convolutions, rings, strict=True)]
        joined = jnp.concatenate(own, axis=-1)
        return joined if joined.shape[-1] else jnp.ones((*x.shape[:-1], 1), x.dtype)
