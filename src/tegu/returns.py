"""Returns and advantages. Termination ends the future; truncation only ends the record of it."""

import jax
import jax.numpy as jnp


def gae(
    rewards: jax.Array,
    values: jax.Array,
    next_values: jax.Array,
    terminated: jax.Array,
    truncated: jax.Array,
    gamma: float | jax.Array,
    gae_lambda: float | jax.Array,
) -> jax.Array:
    """Generalised advantage estimation (Schulman et al. 2016, equation 16).

    All arguments are ``[T, B]`` in time order; ``next_values`` are the values of the true next observations. At a
    terminated step the future is worth nothing, at a truncated one it is worth ``next_values``; after both, the sum
    of later residuals starts anew. Returns advantages ``[T, B]``.
    """
    residual = rewards + gamma * jnp.where(terminated, 0.0, next_values) - values
    decay = gamma * gae_lambda * jnp.where(terminated | truncated, 0.0, 1.0)

    def backwards(advantage: jax.Array, step: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        residual, decay = step
        advantage = residual + decay * advantage
        return advantage, advantage

    _, advantages = jax.lax.scan(backwards, jnp.zeros_like(residual[0]), (residual, decay), reverse=True)
    return advantages


def td_target(reward: jax.Array, next_value: jax.Array, terminated: jax.Array, gamma: float | jax.Array) -> jax.Array:
    """One-step target ``r + gamma V(s')`` (Sutton & Barto 2018, equation 6.2), without a future after termination."""
    return reward + gamma * jnp.where(terminated, 0.0, next_value)


def discounted_sums(
    start: jax.Array, rewards: jax.Array, done: jax.Array, gamma: float | jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Discounted sums of the rewards so far in each episode, for scaling rewards (Engstrom et al. 2020, section 2).

    ``start`` are the sums ``[B]`` carried over from the last rollout, ``rewards`` and ``done`` are ``[T, B]``. Returns
    the sums after each step ``[T, B]`` and those to carry on with ``[B]``.
    """

    def forwards(total: jax.Array, step: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        reward, done = step
        total = gamma * total + reward
        return jnp.where(done, 0.0, total), total

    last, sums = jax.lax.scan(forwards, start, (rewards, done))
    return sums, last
