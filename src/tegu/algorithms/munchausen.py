"""Munchausen reinforcement learning (Vieillard et al. 2020): a soft policy, whose log-probability is a reward."""

import jax
import jax.numpy as jnp

from tegu.algorithms.return_distributions.base import aligned, over_actions
from tegu.exploration import masked

Number = float | jax.Array


def log_policy(values: jax.Array, mask: jax.Array | None, temperature: Number) -> jax.Array:
    """``log pi`` ``[B, A]`` of the policy ``softmax(q / tau)`` over legal actions, for values ``[B, A]``."""
    return jax.nn.log_softmax(masked(values, mask) / temperature)


def soft_outputs(outputs: jax.Array, log_policy: jax.Array, temperature: Number) -> jax.Array:
    """Soft values ``sum pi(a|s) (outputs - tau log pi(a|s))`` ``[B, ...]`` of outputs ``[B, A, ...]`` (section 2)."""
    return over_actions(outputs - aligned(temperature * log_policy, outputs), jnp.exp(log_policy))
