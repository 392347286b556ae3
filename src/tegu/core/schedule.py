"""How far training has come, and hyper-parameters that follow it."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp


class Clock(NamedTuple):
    """How far training has come. The loops set it before each collection; schedules read it."""

    steps: jax.Array  #: int32 scalar: environment steps so far, over all environments
    total: jax.Array  #: int32 scalar: environment steps planned

    @classmethod
    def start(cls) -> "Clock":
        return cls(jnp.zeros((), jnp.int32), jnp.ones((), jnp.int32))

    @property
    def progress(self) -> jax.Array:
        """Share of the training done, in [0, 1], float32."""
        return jnp.minimum(self.steps.astype(jnp.float32) / self.total.astype(jnp.float32), 1.0)


class Linear(eqx.Module):
    """A value that falls linearly from ``initial`` to ``final`` over the first ``fraction`` of training."""

    initial: float
    final: float = 0.0
    fraction: float = 1.0

    def __call__(self, progress: jax.Array) -> jax.Array:
        share = jnp.clip(progress / self.fraction, 0.0, 1.0)
        return self.initial + share * (self.final - self.initial)


Schedule = float | Linear


def scheduled(value: Schedule, clock: Clock) -> jax.Array | float:
    """The value of a hyper-parameter now: itself if it is a number, else the schedule at ``clock``."""
    return value(clock.progress) if isinstance(value, Linear) else value
