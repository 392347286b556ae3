"""How actions are chosen while learning."""

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
    return epsilon_greedy_with(epsilon_noise(key, values.shape), values, epsilon, mask)


def epsilon_noise(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """The random numbers ``[..., A + 1]`` of ``epsilon_greedy`` for values of the ``shape`` ``[..., A]``."""
    return jax.random.uniform(key, (*shape[:-1], shape[-1] + 1))


def epsilon_greedy_with(
    noise: jax.Array, values: jax.Array, epsilon: jax.Array | float, mask: jax.Array | None = None
) -> jax.Array:
    """``epsilon_greedy`` with random numbers that were drawn before by ``epsilon_noise``."""
    greedy = jnp.argmax(masked(values, mask), axis=-1)
    random = jnp.argmax(masked(noise[..., 1:], mask), axis=-1)
    return jnp.where(noise[..., 0] < epsilon, random, greedy)


def epsilon_greedy_probabilities(values: jax.Array, epsilon: jax.Array | float) -> jax.Array:
    """The probability of each action ``[..., A]`` in ``epsilon_greedy``, all of them being legal."""
    n_actions = values.shape[-1]
    return epsilon / n_actions + (1 - epsilon) * jax.nn.one_hot(jnp.argmax(values, axis=-1), n_actions)


def choose(
    key: jax.Array, values: jax.Array, epsilon: jax.Array | float, mask: jax.Array | None = None, *, explore: bool
) -> jax.Array:
    """Actions ``[B]`` for values ``[B, A]``: epsilon-greedy, or without exploration the best legal one."""
    return epsilon_greedy(key, values, epsilon, mask) if explore else jnp.argmax(masked(values, mask), axis=-1)


def ornstein_uhlenbeck(noise: jax.Array, shock: jax.Array, theta: float | jax.Array) -> jax.Array:
    """The noise of the next step ``[B, *shape]``: a share ``theta`` is forgotten, and ``shock``, normal with mean 0, is
    new (Uhlenbeck & Ornstein 1930, in steps of 1). Its variance comes to ``1 / (1 - (1 - theta)^2)`` times the shock's.
    """
    return (1 - theta) * noise + shock
