"""Running mean and variance, kept as part of a learner."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class RunningMoments(NamedTuple):
    """Mean and variance of everything seen, merged batch by batch (Chan et al. 1979)."""

    mean: jax.Array
    variance: jax.Array
    n: jax.Array  #: how many were seen; starts a little above 0, as in Stable-Baselines3

    @classmethod
    def start(cls, shape: tuple[int, ...] = ()) -> "RunningMoments":
        return cls(jnp.zeros(shape), jnp.ones(shape), jnp.full((), 1e-4, jnp.float32))

    def merge(self, batch: jax.Array) -> "RunningMoments":
        """Take in a batch ``[..., *shape]``."""
        axes = tuple(range(batch.ndim - self.mean.ndim))
        size = batch.size // max(self.mean.size, 1)
        n = self.n + size
        delta = batch.mean(axes) - self.mean
        spread = self.variance * self.n + batch.var(axes) * size + delta**2 * self.n * size / n
        return RunningMoments(self.mean + delta * size / n, spread / n, n)

    def normalize(self, value: jax.Array, clip: float = 10.0) -> jax.Array:
        """Shift and scale to mean 0 and variance 1, then clip."""
        return jnp.clip((value - self.mean) / jnp.sqrt(self.variance + 1e-8), -clip, clip)

    def scale(self, value: jax.Array, clip: float = 10.0) -> jax.Array:
        """Scale to variance 1 without moving zero, then clip: for rewards."""
        return jnp.clip(value / jnp.sqrt(self.variance + 1e-8), -clip, clip)


Moments = RunningMoments | tuple[()]  #: of observations; (): they stay as they are


def standardised(moments: Moments, observation: Any) -> Any:
    """Observations ``[..., *shape]`` as networks see them."""
    return moments.normalize(observation) if isinstance(moments, RunningMoments) else observation


def merged(moments: Moments, observation: Any) -> Moments:
    """The moments of all before and of the observations ``[..., *shape]``."""
    return moments.merge(observation) if isinstance(moments, RunningMoments) else moments
