"""Returns at any quantile fraction: implicit quantile networks, IQN (Dabney et al. 2018b)."""

from dataclasses import dataclass
from typing import Any

import jax

from tegu.algorithms.return_distributions.base import (
    Fractions,
    ReturnDistribution,
    midpoints,
    quantile_huber_loss,
    td_targets,
)


@dataclass(frozen=True)
class ImplicitQuantiles(ReturnDistribution):
    """Outputs are the returns at the fractions for which the network is asked, as many as there are."""

    n: int  #: random fractions for the online network, N in the paper
    n_target: int  #: random fractions for the target network, N'
    n_acting: int  #: fixed fractions for the mean, K
    kappa: Any  #: errors smaller than this count less
    cosines: int  #: of which a fraction's embedding is made

    @property
    def shape(self) -> tuple[int, ...]:
        return (-1,)

    def mean(self, outputs: jax.Array) -> jax.Array:
        return outputs.mean(axis=-1)

    def target(
        self, outputs: jax.Array, reward: jax.Array, terminated: jax.Array, gamma: float | jax.Array
    ) -> jax.Array:
        return td_targets(outputs, reward, terminated, gamma)

    def loss(self, prediction: jax.Array, target: jax.Array, *fractions: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The quantile Huber loss (equation 3), which is also the error."""
        (asked,) = fractions
        found = quantile_huber_loss(prediction, target, asked, self.kappa)
        return found, found

    def acting_fractions(self) -> Fractions:
        return (midpoints(self.n_acting),)

    def fractions(self, key: jax.Array, batch_size: int) -> Fractions:
        return (jax.random.uniform(key, (batch_size, self.n)),)

    def target_fractions(self, key: jax.Array, batch_size: int) -> Fractions:
        return (jax.random.uniform(key, (batch_size, self.n_target)),)
