"""Returns at fixed quantile fractions: QR-DQN (Dabney et al. 2018a)."""

from dataclasses import dataclass
from typing import Any

import jax

from tegu.algorithms.return_distributions.base import ReturnDistribution, midpoints, quantile_huber_loss, td_targets


@dataclass(frozen=True)
class Quantiles(ReturnDistribution):
    """Outputs are the returns at the midpoints of ``n`` equal parts of [0, 1]."""

    n: int
    kappa: Any  #: errors smaller than this count less

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.n,)

    def mean(self, outputs: jax.Array) -> jax.Array:
        return outputs.mean(axis=-1)

    def target(
        self, outputs: jax.Array, reward: jax.Array, terminated: jax.Array, gamma: float | jax.Array
    ) -> jax.Array:
        return td_targets(outputs, reward, terminated, gamma)

    def loss(self, prediction: jax.Array, target: jax.Array, *fractions: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The quantile Huber loss (equation 10), which is also the error."""
        found = quantile_huber_loss(prediction, target, midpoints(self.n), self.kappa)
        return found, found
