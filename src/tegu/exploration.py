"""How actions are chosen from values while learning."""

import jax
import jax.numpy as jnp

ILLEGAL = -1e9  #: value or logit of an action that may not be chosen; finite, so that no gradient becomes NaN


def masked(values: jax.Array, mask: jax.Array | None) -> jax.Array:
    """Values or logits ``[..., A]`` with illegal actions pushed below every legal one."""
    return values if mask is None else jnp.where(mask, values, ILLEGAL)


def epsilon_greedy(
    key: jax.Array, values: jax.Array, epsilon: jax.Array | float, mask: jax.Array | None = None
) -> jax.Array:
    """Greedy actions ``[B]`` for values ``[B, A]``, replaced by a random legal action with probability epsilon.

    Sutton & Barto 2018, section 2.2. Ties go to the first action.
    """
    noise = jax.random.uniform(key, (*values.shape[:-1], values.shape[-1] + 1))
    greedy = jnp.argmax(masked(values, mask), axis=-1)
    random = jnp.argmax(masked(noise[..., 1:], mask), axis=-1)
    return jnp.where(noise[..., 0] < epsilon, random, greedy)
