"""The distributions policies draw actions from. Every method works on any batch shape ``[...]``.

``kl_divergence(other)`` is the Kullback-Leibler divergence ``[...]`` of ``other``, one of the same kind over the same
actions, from this one: the mean under this one of how much likelier it makes the action, in nats.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from gymnasium import spaces

from tegu.exploration import masked


class Categorical(NamedTuple):
    """One choice among ``n``: logits ``[..., n]``, actions int32 ``[...]`` counted from ``start``."""

    logits: jax.Array
    start: int = 0

    def sample(self, key: jax.Array) -> jax.Array:
        return jax.random.categorical(key, self.logits).astype(jnp.int32) + self.start

    def mode(self) -> jax.Array:
        return jnp.argmax(self.logits, axis=-1).astype(jnp.int32) + self.start

    def log_prob(self, action: jax.Array) -> jax.Array:
        chosen = jax.nn.one_hot(action - self.start, self.logits.shape[-1])
        return (jax.nn.log_softmax(self.logits) * chosen).sum(-1)

    def entropy(self) -> jax.Array:
        log_prob = jax.nn.log_softmax(self.logits)
        return -(jnp.exp(log_prob) * log_prob).sum(-1)

    def kl_divergence(self, other: Any) -> jax.Array:
        log_prob = jax.nn.log_softmax(self.logits)
        return (jnp.exp(log_prob) * (log_prob - jax.nn.log_softmax(other.logits))).sum(-1)


class MultiCategorical(NamedTuple):
    """Independent choices: one ``Categorical`` per component of a MultiDiscrete action ``[..., k]``."""

    parts: tuple[Categorical, ...]

    def sample(self, key: jax.Array) -> jax.Array:
        keys = jax.random.split(key, len(self.parts))
        return jnp.stack([part.sample(k) for part, k in zip(self.parts, keys, strict=True)], axis=-1)

    def mode(self) -> jax.Array:
        return jnp.stack([part.mode() for part in self.parts], axis=-1)

    def log_prob(self, action: jax.Array) -> jax.Array:
        return sum((part.log_prob(action[..., i]) for i, part in enumerate(self.parts)), jnp.zeros(()))

    def entropy(self) -> jax.Array:
        return sum((part.entropy() for part in self.parts), jnp.zeros(()))

    def kl_divergence(self, other: Any) -> jax.Array:
        pairs = zip(self.parts, other.parts, strict=True)
        return sum((one.kl_divergence(another) for one, another in pairs), jnp.zeros(()))


class Bernoulli(NamedTuple):
    """Independent coins, the last axis is one action: logits ``[..., k]``, actions int8 ``[..., k]``."""

    logits: jax.Array

    def sample(self, key: jax.Array) -> jax.Array:
        return jax.random.bernoulli(key, jax.nn.sigmoid(self.logits)).astype(jnp.int8)

    def mode(self) -> jax.Array:
        return (self.logits > 0).astype(jnp.int8)

    def log_prob(self, action: jax.Array) -> jax.Array:
        return -jax.nn.softplus(jnp.where(action == 1, -self.logits, self.logits)).sum(-1)

    def entropy(self) -> jax.Array:
        p = jax.nn.sigmoid(self.logits)
        return (jax.nn.softplus(self.logits) - p * self.logits).sum(-1)

    def kl_divergence(self, other: Any) -> jax.Array:
        p = jax.nn.sigmoid(self.logits)
        normalisers = jax.nn.softplus(other.logits) - jax.nn.softplus(self.logits)
        return (p * (self.logits - other.logits) + normalisers).sum(-1)


class DiagonalGaussian(NamedTuple):
    """Independent normals, the last axis is one action: mean and log standard deviation ``[..., k]``."""

    mean: jax.Array
    log_std: jax.Array

    def sample(self, key: jax.Array) -> jax.Array:
        return self.mean + jnp.exp(self.log_std) * jax.random.normal(key, self.mean.shape)

    def mode(self) -> jax.Array:
        return self.mean

    def shifted(self, noise: jax.Array) -> "DiagonalGaussian":
        """The same around a mean that is ``noise`` ``[..., k]`` away."""
        return self._replace(mean=self.mean + noise)

    def log_prob(self, action: jax.Array) -> jax.Array:
        z = (action - self.mean) * jnp.exp(-self.log_std)
        return -(0.5 * z**2 + self.log_std + 0.5 * math.log(2 * math.pi)).sum(-1)

    def entropy(self) -> jax.Array:
        return (jnp.broadcast_to(self.log_std, self.mean.shape) + 0.5 * math.log(2 * math.pi * math.e)).sum(-1)

    def kl_divergence(self, other: Any) -> jax.Array:
        wider = other.log_std - self.log_std
        apart = (self.mean - other.mean) * jnp.exp(-other.log_std)
        return (wider + 0.5 * (jnp.exp(-2 * wider) + apart**2 - 1)).sum(-1)


class SquashedGaussian(NamedTuple):
    """The hyperbolic tangent of independent normals: actions ``[..., k]`` within (-1, 1).

    ``mean`` and ``log_std`` ``[..., k]`` are those of the normals. Its entropy has no closed form.
    """

    mean: jax.Array
    log_std: jax.Array

    @property
    def normal(self) -> DiagonalGaussian:
        return DiagonalGaussian(self.mean, self.log_std)

    def sample(self, key: jax.Array) -> jax.Array:
        return jnp.tanh(self.normal.sample(key))

    def mode(self) -> jax.Array:
        """What the normals' mode becomes; in a wide distribution others are likelier."""
        return jnp.tanh(self.mean)

    def shifted(self, noise: jax.Array) -> "SquashedGaussian":
        """The same of normals around a mean that is ``noise`` ``[..., k]`` away."""
        return self._replace(mean=self.mean + noise)

    def sample_and_log_prob(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """An action ``[..., k]`` and its log-density ``[...]``, which is exact also where the action rounds to +-1."""
        normal = self.normal.sample(key)
        return jnp.tanh(normal), self.log_prob_before(normal)

    def log_prob(self, action: jax.Array) -> jax.Array:
        return self.log_prob_before(jnp.arctanh(action))

    def log_prob_before(self, normal: jax.Array) -> jax.Array:
        """The log-density ``[...]`` of the action that the numbers ``normal`` ``[..., k]`` become (Haarnoja et al.
        2018a, equation 21, with ``log(1 - tanh^2 u) = 2 (log 2 - u - softplus(-2u))``)."""
        slope = 2 * (math.log(2) - normal - jax.nn.softplus(-2 * normal))
        return self.normal.log_prob(normal) - slope.sum(-1)


class Reshaped(NamedTuple):
    """A distribution over vectors ``[..., k]``, seen as one over arrays ``[..., *shape]`` of as many numbers."""

    vectors: Any  #: MultiCategorical, Bernoulli or DiagonalGaussian
    shape: tuple[int, ...]

    def sample(self, key: jax.Array) -> jax.Array:
        return self._shaped(self.vectors.sample(key))

    def mode(self) -> jax.Array:
        return self._shaped(self.vectors.mode())

    def shifted(self, noise: jax.Array) -> "Reshaped":
        """That of the vectors, which must be normals: ``noise`` is ``[..., k]``."""
        return self._replace(vectors=self.vectors.shifted(noise))

    def log_prob(self, action: jax.Array) -> jax.Array:
        return self.vectors.log_prob(action.reshape((*action.shape[: action.ndim - len(self.shape)], -1)))

    def entropy(self) -> jax.Array:
        return self.vectors.entropy()

    def kl_divergence(self, other: Any) -> jax.Array:
        return self.vectors.kl_divergence(other.vectors)

    def _shaped(self, vector: jax.Array) -> jax.Array:
        return vector.reshape((*vector.shape[:-1], *self.shape))


Distribution = Categorical | MultiCategorical | Bernoulli | DiagonalGaussian | Reshaped


def n_parameters(space: spaces.Space) -> int:
    """How many network outputs a policy over ``space`` needs (a Gaussian's spread is kept apart from them)."""
    match space:
        case spaces.Discrete():
            return int(space.n)
        case spaces.MultiDiscrete():
            return int(space.nvec.sum())
        case _:
            return math.prod(space.shape or ())


def distribution(
    space: spaces.Space, outputs: jax.Array, log_std: jax.Array, mask: jax.Array | None = None
) -> Distribution:
    """The policy over ``space`` for network outputs ``[..., n_parameters]``; ``mask`` marks legal actions."""
    if isinstance(space, spaces.Discrete):
        return Categorical(masked(outputs, mask), int(space.start))
    vectors = _over_vectors(space, outputs, log_std, mask)
    return vectors if len(space.shape or ()) == 1 else Reshaped(vectors, space.shape or ())


def _over_vectors(
    space: spaces.Space, outputs: jax.Array, log_std: jax.Array, mask: jax.Array | None
) -> MultiCategorical | Bernoulli | DiagonalGaussian:
    match space:
        case spaces.MultiDiscrete():
            cuts = space.nvec.cumsum()[:-1].tolist()
            parts = jnp.split(masked(outputs, mask), cuts, axis=-1)
            return MultiCategorical(
                tuple(Categorical(p, int(s)) for p, s in zip(parts, space.start.ravel(), strict=True))
            )
        case spaces.MultiBinary():
            return Bernoulli(outputs)
        case _:
            return DiagonalGaussian(outputs, log_std)
