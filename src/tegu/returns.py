"""Returns and advantages. Termination ends the future; truncation only ends the record of it."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from tegu.core.step import PyTree, Step, flatten_time


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


def bootstrapped_returns(
    rewards: jax.Array,
    next_values: jax.Array,
    terminated: jax.Array,
    truncated: jax.Array,
    gamma: float | jax.Array,
) -> jax.Array:
    """Discounted sums of all rewards that follow in the episode, as far as a rollout goes (Sutton & Barto 2018,
    equation 7.4: of as many steps as there are).

    All arguments are ``[T, B]`` in time order. What lies beyond a time limit, or beyond the rollout, is worth
    ``next_values`` there; elsewhere they are not used. Returns ``[T, B]``.
    """
    beyond = jnp.where(truncated.at[-1].set(True), next_values, 0.0)
    return gae(rewards, jnp.zeros_like(rewards), beyond, terminated, truncated, gamma, 1.0)


def lambda_returns(
    rewards: jax.Array, discounts: jax.Array, next_values: jax.Array, lambdas: jax.Array | float, last: jax.Array
) -> jax.Array:
    """Sums of rewards that are mixed at each step with the value of what comes next (Sutton & Barto 2018, equation
    12.18): ``G = r + d ((1 - l) v' + l G')``.

    ``rewards``, ``discounts`` (0 where nothing follows) and ``next_values`` are ``[T, B]``, and ``lambdas`` may be.
    ``last`` ``[B]`` stands for the sum of all that follows them. Returns ``[T, B]``.
    """

    def backwards(later: jax.Array, step: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
        reward, discount, value, share = step
        total = reward + discount * ((1 - share) * value + share * later)
        return total, total

    shares = jnp.broadcast_to(jnp.asarray(lambdas, rewards.dtype), rewards.shape)
    return jax.lax.scan(backwards, last, (rewards, discounts, next_values, shares), reverse=True)[1]


def next_values(
    value: Callable[[PyTree], jax.Array], next_observations: PyTree, values: jax.Array, truncated: jax.Array
) -> jax.Array:
    """Values ``[T, B]`` of the true next observations of a rollout, whose observations are worth ``values`` ``[T, B]``.

    Most are the values of the step that follows. ``value`` is computed where there is none, at the end of the rollout,
    and where the step that follows begins another episode although the task had not ended: where it was ``truncated``.
    At terminated steps, which have no future, what is returned means nothing.
    """
    last = value(jax.tree.map(lambda leaf: leaf[-1], next_observations))
    found = jnp.concatenate([values[1:], last[None]]).ravel()
    flat = flatten_time(next_observations)
    wanted = truncated.at[-1].set(False).ravel()
    size = truncated.shape[1]  # as many at a time as there are environments
    (index,) = jnp.nonzero(wanted, size=wanted.size, fill_value=wanted.size)

    def compute(block: jax.Array, found: jax.Array) -> jax.Array:
        where = jax.lax.dynamic_slice_in_dim(index, block * size, size)
        computed = value(jax.tree.map(lambda leaf: leaf[where], flat))
        return found.at[where].set(computed, mode="drop")

    blocks = (wanted.sum() + size - 1) // size
    return jax.lax.fori_loop(0, blocks, compute, found).reshape(values.shape)


def n_step(window: Step, gamma: float | jax.Array) -> tuple[Step, jax.Array]:
    """``n`` consecutive steps ``[n, B, ...]`` as one long step ``[B, ...]`` (Sutton & Barto 2018, equation 7.1).

    The long step pays the discounted sum of the rewards and ends where the window does, or earlier, with the episode.
    Returns it and the discount ``[B]`` of what follows it: gamma to the power of the steps taken.
    """
    done = window.terminated | window.truncated
    running = jnp.cumprod(~done[:-1], axis=0).astype(bool)  # whether the episode reaches steps 1, ..., n - 1
    last = running.sum(axis=0)  # [B], index of the last step that counts
    discounts = gamma ** jnp.arange(len(done))
    counts = jnp.concatenate([jnp.ones_like(done[:1]), running])
    total = (discounts[:, None] * counts * window.reward).sum(axis=0)

    index = last, jnp.arange(len(last))
    first = jax.tree.map(lambda leaf: leaf[0], window)
    end = jax.tree.map(lambda leaf: leaf[index], (window.next_observation, window.terminated, window.truncated))
    long_step = first._replace(reward=total, next_observation=end[0], terminated=end[1], truncated=end[2])
    return long_step, gamma ** (last + 1)


def outcomes(reward: jax.Array, terminated: jax.Array, truncated: jax.Array, value: jax.Array) -> jax.Array:
    """How a game of two players in turn went on from each position, for the player to move (Silver et al. 2018: z).

    All arguments are ``[T, B]`` in time order; ``reward`` is what the player to move got for the move. One's gain is
    the other's loss, so the sign turns with every move. A game that was cut, or that goes on after the last move,
    counts as the ``value`` of the last position that is known.
    """

    def backwards(later: jax.Array, move: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
        reward, terminated, truncated, value = move
        outcome = jnp.where(terminated, reward, jnp.where(truncated, value, reward - later))
        return outcome, outcome

    # the last position's own value stands for what follows it
    _, found = jax.lax.scan(backwards, -value[-1], (reward, terminated, truncated, value), reverse=True)
    return found


def td_target(reward: jax.Array, next_value: jax.Array, terminated: jax.Array, gamma: float | jax.Array) -> jax.Array:
    """One-step target ``r + gamma V(s')`` (Sutton & Barto 2018, equation 6.2), without a future after termination."""
    return reward + gamma * jnp.where(terminated, 0.0, next_value)


def discounted_sums(rewards: jax.Array, done: jax.Array, gamma: float | jax.Array) -> jax.Array:
    """Discounted sums of the rewards so far in each episode, for scaling rewards (Engstrom et al. 2020, section 2).

    ``rewards`` and ``done`` are ``[T, B]``; episodes that began earlier are summed from the first step on. Returns the
    sums after each step ``[T, B]``.
    """

    def forwards(total: jax.Array, step: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        reward, done = step
        total = gamma * total + reward
        return jnp.where(done, 0.0, total), total

    _, sums = jax.lax.scan(forwards, jnp.zeros_like(rewards[0]), (rewards, done))
    return sums


def rescaled(value: jax.Array, eps: float = 1e-3) -> jax.Array:
    """Values that large returns do not make large: h(x) = sign(x) (sqrt(|x| + 1) - 1) + eps x (Pohlen et al. 2018,
    section 3.2)."""
    return jnp.sign(value) * (jnp.sqrt(jnp.abs(value) + 1) - 1) + eps * value


def unscaled(value: jax.Array, eps: float = 1e-3) -> jax.Array:
    """The inverse of ``rescaled`` (Pohlen et al. 2018, proposition A.2)."""
    size = jnp.abs(value)
    # the root of |x| + 1 less 1, written so that nothing cancels out near 0
    root = 2 * size / (jnp.sqrt(1 + 4 * eps * (size + 1 + eps)) + 1 + 2 * eps)
    return jnp.sign(value) * root * (root + 2)
