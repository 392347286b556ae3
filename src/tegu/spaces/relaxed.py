"""Actions as vectors that a critic can be differentiated by: continuous ones scaled to [-1, 1], choices relaxed."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from tegu.spaces.bounds import from_unit, to_unit
from tegu.spaces.features import features

RELAXATIONS = ("soft", "straight_through")


def action_features(space: Any, action: Any) -> jax.Array:
    """Actions ``[..., *shape]`` of a Discrete space or a Box as vectors ``[..., n]``: one-hot, or scaled to [-1, 1]."""
    if isinstance(space, spaces.Discrete):
        return features(space, action)
    unit = to_unit(space, jnp.asarray(action))
    return unit.reshape((*unit.shape[: unit.ndim - len(space.shape)], -1))


@dataclass(frozen=True)
class RelaxedActions:
    """How a policy network's output ``[B, n]`` becomes an action vector ``[B, n]``, and that an action.

    A choice is relaxed: logits with Gumbel noise through a softmax (Jang et al. 2017). Where the space is a Box of
    several numbers from 0 to 1 the relaxed choice is the action, where it is Discrete the largest entry is. Any other
    Box has a tanh for a vector, which critics see and Gaussian noise is added to; the bounds come after.
    """

    space: Any  #: Discrete or Box
    relax: str = "soft"  #: soft, or straight_through: one-hot with the soft gradient
    word_after: int = 5  #: a relaxed action longer than this is two choices

    def __hash__(self) -> int:  # spaces have equality but no hash, and this is part of a network's static structure
        return hash((repr(self.space), self.relax, self.word_after))

    @property
    def is_choice(self) -> bool:
        """Whether an action is one of several, as such or relaxed to shares of 1."""
        space = self.space
        return isinstance(space, spaces.Discrete) or bool(
            space.low.size > 1 and np.all(space.low == 0) and np.all(space.high == 1)
        )

    def choose(self, out: jax.Array, key: jax.Array | None = None, noise: float | jax.Array = 0.0) -> jax.Array:
        """Action vectors, differentiable in ``out``; random if there is a ``key``.

        ``noise`` is the standard deviation of a Box's noise in half ranges, clipped at 2.5 times that.
        """
        if not self.is_choice:
            unit = jnp.tanh(out)
            if key is not None:
                unit = jnp.clip(unit + noise * jnp.clip(jax.random.normal(key, out.shape), -2.5, 2.5), -1, 1)
            return unit
        if key is not None:
            out = out + jax.random.gumbel(key, out.shape)
        soft = jnp.concatenate([jnp.exp(jax.nn.log_softmax(head)) for head in self.heads(out)], axis=-1)
        if self.relax == "soft":
            return soft
        hard = [jax.nn.one_hot(head.argmax(axis=-1), head.shape[-1]) for head in self.heads(out)]
        return soft + jax.lax.stop_gradient(jnp.concatenate(hard, axis=-1) - soft)

    def negative_log_likelihood(self, out: jax.Array, taken: jax.Array, entropy_coef: float = 0.0) -> jax.Array:
        """Negative log-likelihood of action vectors ``taken``, less the entropy: mean over the batch, a scalar.

        A relaxed choice counts for each action with its share. For a Box that is no choice it is the squared error.
        """
        if not self.is_choice:
            return ((self.choose(out) - taken) ** 2).mean()
        total = jnp.zeros(())
        for head, part in zip(self.heads(out), self.heads(taken), strict=True):
            log = jax.nn.log_softmax(head)
            total += (-(part * log).sum(axis=-1) + entropy_coef * (jnp.exp(log) * log).sum(axis=-1)).mean()
        return total

    def heads(self, vectors: jax.Array) -> list[jax.Array]:
        """The choices in ``[B, n]``: one, or in a long relaxed action a move and a word."""
        several = isinstance(self.space, spaces.Box) and vectors.shape[-1] > self.word_after
        return jnp.split(vectors, [self.word_after], axis=-1) if several else [vectors]

    def to_action(self, vectors: jax.Array) -> jax.Array:
        """What the environment gets."""
        if isinstance(self.space, spaces.Discrete):
            return vectors.argmax(axis=-1).astype(jnp.int32) + int(self.space.start)
        numbers = vectors.reshape((*vectors.shape[:-1], *self.space.shape))
        return (numbers if self.is_choice else from_unit(self.space, numbers)).astype(jnp.float32)

    def from_action(self, action: jax.Array) -> jax.Array:
        """What a critic sees of an action taken."""
        return features(self.space, action) if self.is_choice else action_features(self.space, action)
