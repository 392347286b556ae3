"""Networks that predict what an action leads to (Chua et al. 2018; Nagabandi et al. 2018), several side by side."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from tegu.nn.mlp import ACTIVATIONS


class Prediction(NamedTuple):
    """Normal distributions of what was to be predicted ``[E, N, n]``, and the logit of the end ``[E, N]``."""

    mean: jax.Array
    log_variance: jax.Array
    end: jax.Array


class Ensemble(eqx.Module):
    """``E`` multi-layer perceptrons of equal shape, each for a batch of its own.

    They predict ``n`` numbers with their variances, and whether the episode ends.
    """

    weights: tuple[jax.Array, ...]  #: ``[E, inputs, outputs]``
    biases: tuple[jax.Array, ...]  #: ``[E, 1, outputs]``
    max_log_variance: jax.Array  #: ``[n]``, learned
    min_log_variance: jax.Array  #: ``[n]``, learned
    activation: str = eqx.field(static=True)

    def __init__(
        self, key: jax.Array, members: int, inputs: int, net_arch: Sequence[int], predicted: int, activation: str
    ):
        """Weights are normal within two standard deviations of 1 / (2 sqrt(inputs)), biases 0, as in the authors'
        code; variances are bounded by exp(-10) and exp(0.5) at the start."""
        shapes = list(pairwise((inputs, *net_arch, 2 * predicted + 1)))
        keys = jax.random.split(key, len(shapes))
        self.weights = tuple(
            jax.random.truncated_normal(key, -2, 2, (members, *shape)) / (2 * shape[0] ** 0.5)
            for key, shape in zip(keys, shapes, strict=True)
        )
        self.biases = tuple(jnp.zeros((members, 1, outputs)) for _, outputs in shapes)
        self.max_log_variance = jnp.full(predicted, 0.5, float)
        self.min_log_variance = jnp.full(predicted, -10.0, float)
        self.activation = activation

    def __call__(self, x: jax.Array) -> Prediction:
        """Predictions for inputs ``[E, N, inputs]``."""
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            x = ACTIVATIONS[self.activation](x @ weight + bias)
        x = x @ self.weights[-1] + self.biases[-1]
        n = self.max_log_variance.size
        # Bounded softly from both sides (Chua et al. 2018, appendix A.1)
        log_variance = self.max_log_variance - jax.nn.softplus(self.max_log_variance - x[..., n : 2 * n])
        log_variance = self.min_log_variance + jax.nn.softplus(log_variance - self.min_log_variance)
        return Prediction(x[..., :n], log_variance, x[..., 2 * n])

    @property
    def members(self) -> int:
        return self.weights[0].shape[0]


def negative_log_likelihood(found: Prediction, target: jax.Array, beta: float | jax.Array = 0.0) -> jax.Array:
    """Of a target ``[..., n]`` under normal distributions, without the constant, summed over what is predicted: twice
    the equation of Chua et al. 2018, section 4.

    ``beta`` above 0 weights each number by its variance to that power, which has no gradient (Seitzer et al. 2022,
    equation 10): otherwise what is predicted best already has by far the largest gradients.
    """
    each = (found.mean - target) ** 2 * jnp.exp(-found.log_variance) + found.log_variance
    return (each * jnp.exp(beta * jax.lax.stop_gradient(found.log_variance))).sum(axis=-1)
