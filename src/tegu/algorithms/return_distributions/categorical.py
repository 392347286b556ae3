"""Probabilities of fixed returns: C51 (Bellemare et al. 2017)."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax

from tegu.algorithms.return_distributions.base import ReturnDistribution, td_targets


@dataclass(frozen=True)
class Categorical(ReturnDistribution):
    """Outputs are logits of ``n`` returns at equal distances, the atoms."""

    n: int
    v_min: Any  #: the lowest of them
    v_max: Any  #: the highest

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.n,)

    @property
    def atoms(self) -> jax.Array:
        """``[n]``."""
        return self.v_min + (self.v_max - self.v_min) * jnp.linspace(0.0, 1.0, self.n)

    def mean(self, outputs: jax.Array) -> jax.Array:
        return (jax.nn.softmax(outputs) * self.atoms).sum(axis=-1)

    def target(
        self, outputs: jax.Array, reward: jax.Array, terminated: jax.Array, gamma: float | jax.Array
    ) -> jax.Array:
        """The probabilities ``[B, n]`` of the atoms."""
        return self.project(td_targets(self.atoms, reward, terminated, gamma), jax.nn.softmax(outputs))

    def expected(self, target: jax.Array) -> jax.Array:
        return (target * self.atoms).sum(axis=-1)

    def project(self, returns: jax.Array, probabilities: jax.Array) -> jax.Array:
        """Distributions over any ``returns`` ``[B, m]`` as distributions over the atoms ``[B, n]`` (equation 7).

        Each return's probability is shared by the two atoms around it, the more the nearer.
        """
        step = (self.v_max - self.v_min) / (self.n - 1)
        distance = jnp.abs(jnp.clip(returns, self.v_min, self.v_max)[:, None, :] - self.atoms[:, None]) / step
        return (jnp.clip(1 - distance, 0, 1) * probabilities[:, None, :]).sum(axis=-1)

    def loss(self, prediction: jax.Array, target: jax.Array, *fractions: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The Kullback-Leibler divergence of the target from the prediction, which is also the error."""
        divergence = optax.losses.kl_divergence(jax.nn.log_softmax(prediction), target)
        return divergence, divergence
