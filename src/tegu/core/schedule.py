"""The progress of training, and hyper-parameters that follow it."""

from typing import TYPE_CHECKING, Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

_LARGEST = 2**31 - 1


class Clock(NamedTuple):
    """The progress of training, for ``Algorithm.at``."""

    steps: Any  #: int32 scalar: environment steps so far, over all environments; stays at 2**31 - 1 from there on
    progress: Any  #: float32 scalar: fraction of the steps planned, in [0, 1]

    @classmethod
    def of(cls, steps: int, total: int) -> "Clock":
        """After ``steps`` of ``total``, in NumPy."""
        return cls(np.int32(min(steps, _LARGEST)), np.float32(min(steps / max(total, 1), 1.0)))


class StepCount(NamedTuple):
    """Environment steps as a 64-bit number in two words, since JAX has 32-bit integers: ``high * 2**32 + low``."""

    high: Any  #: uint32 scalar
    low: Any  #: uint32 scalar

    @classmethod
    def of(cls, steps: int) -> "StepCount":
        """In NumPy."""
        return cls(np.uint32(steps >> 32), np.uint32(steps & 0xFFFFFFFF))

    def plus(self, steps: int) -> "StepCount":
        """``steps`` later, fewer than 2**32."""
        low = self.low + jnp.uint32(steps)
        return StepCount(self.high + (low < self.low), low)

    def clock(self, total: "StepCount") -> Clock:
        """The clock after so many of ``total`` steps."""
        saturated = (self.high > 0) | (self.low > _LARGEST)
        steps = jnp.where(saturated, _LARGEST, self.low.astype(jnp.int32))
        return Clock(steps, jnp.minimum(_as_float(self) / _as_float(total), 1.0))


class Linear(eqx.Module):
    """A value that changes linearly from ``initial`` to ``final`` over the first ``fraction`` of training."""

    initial: float
    final: float = 0.0
    fraction: float = 1.0

    def __call__(self, progress: jax.Array) -> jax.Array:
        share = jnp.where(self.fraction > 0, jnp.clip(progress / jnp.maximum(self.fraction, 1e-9), 0.0, 1.0), 1.0)
        return self.initial + share * (self.final - self.initial)


if TYPE_CHECKING:
    Schedule = Any  # ``Algorithm.at`` makes a number of it, which no type checker can know
else:
    Schedule = float | Linear


def _as_float(count: StepCount) -> jax.Array:
    return count.high.astype(jnp.float32) * 2.0**32 + count.low.astype(jnp.float32)
