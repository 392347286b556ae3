"""No distribution: the expected return alone, as in DQN (Mnih et al. 2015)."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import optax

from tegu.algorithms.return_distributions.base import ReturnDistribution
from tegu.returns import td_target


@dataclass(frozen=True)
class Expectation(ReturnDistribution):
    """Outputs are expected returns themselves."""

    @property
    def shape(self) -> tuple[int, ...]:
        return ()

    def mean(self, outputs: jax.Array) -> jax.Array:
        return outputs

    def target(
        self, outputs: jax.Array, reward: jax.Array, terminated: jax.Array, gamma: float | jax.Array
    ) -> jax.Array:
        return td_target(reward, outputs, terminated, gamma)

    def loss(self, prediction: jax.Array, target: jax.Array, *fractions: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Huber's loss, and the absolute error."""
        return optax.huber_loss(prediction, target), jnp.abs(prediction - target)
