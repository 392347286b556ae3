"""What MuZero learns from: windows of steps as targets of a model that is unrolled along them."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from tegu.algorithms.latent_model import LatentModel
from tegu.core.step import Step
from tegu.returns import n_step, next_values


class Searched(NamedTuple):
    """What a search said of a step's observation."""

    policy: jax.Array  #: ``[..., A]``
    value: jax.Array  #: ``[...]``: for the player to move


class Targets(NamedTuple):
    """What is to be predicted of ``K + 1`` states of an unroll, ``[K + 1, B, ...]`` each."""

    policy: jax.Array  #: ``[K + 1, B, A]``
    value: jax.Array
    reward: jax.Array  #: of the action that led there; of the first state 0
    goes_on: jax.Array  #: bool: whether the episode does; otherwise there is no policy to learn
    known: jax.Array  #: bool: whether the value is known: as long as no time limit has cut the episode
    reward_known: jax.Array  #: bool


def targets(steps: Step, next_value: jax.Array, unroll_steps: int, n_steps: int, gamma: float | jax.Array) -> Targets:
    """Targets along windows of steps ``[K + n_steps, B, ...]``, whose extras are ``Searched``.

    The value is that of ``n_steps`` rewards and of what follows them (Schrittwieser et al. 2020, appendix H), worth
    ``next_value`` ``[K + n_steps, B]``. A state after the task has ended is absorbing: it pays and is worth nothing.
    Nothing is known of what comes after a time limit.
    """
    k = unroll_steps
    ended = steps.terminated | steps.truncated
    goes_on = jnp.cumprod(jnp.concatenate([jnp.ones_like(ended[:1]), ~ended[:k]]), axis=0).astype(bool)
    ends_here = jnp.concatenate([jnp.zeros_like(ended[:1]), goes_on[:k] & steps.terminated[:k]])
    absorbed = jnp.cumsum(ends_here, axis=0) > 0
    known = goes_on | absorbed
    # what came of an action is known where the state before it is
    reward_known = jnp.concatenate([jnp.zeros_like(known[:1]), known[:k]])
    paid = jnp.where(goes_on[:k], steps.reward[:k], 0.0)
    returns = n_step_returns(steps, next_value, k + 1, n_steps, gamma)
    return Targets(
        policy=steps.extras.policy[: k + 1],
        value=jnp.where(goes_on, returns, 0.0),
        reward=jnp.concatenate([jnp.zeros_like(paid[:1]), paid]),
        goes_on=goes_on,
        known=known,
        reward_known=reward_known,
    )


def n_step_returns(
    steps: Step, next_value: jax.Array, length: int, n_steps: int, gamma: float | jax.Array
) -> jax.Array:
    """``n_steps`` rewards and the value that follows, of the first ``length`` steps ``[length, B]`` of windows."""
    # each step with those that follow it, as one long step; what comes next is only a value here
    small = Step((), (), steps.reward, next_value, steps.terminated, steps.truncated)
    windows = jax.tree.map(
        lambda leaf: jnp.stack([leaf[start : start + length].ravel() for start in range(n_steps)]), small
    )
    long, discount = n_step(windows, gamma)
    return (long.reward + jnp.where(long.terminated, 0.0, discount * long.next_observation)).reshape(length, -1)


def following_values(network: LatentModel, steps: Step, n_steps: int | None = None) -> jax.Array:
    """What each of the steps' next observations is worth, ``[T, B]``: by the search that was made of it, or by the
    ``network`` where there was none. With ``n_steps`` by the network, too, where so many steps have gone before."""
    asked = steps.truncated if n_steps is None else steps.truncated.at[n_steps - 1 :].set(True)
    return next_values(network.expected, steps.next_observation, steps.extras.value, asked)


def unroll_losses(network: LatentModel, steps: Step, targets: Targets) -> tuple[dict[str, jax.Array], jax.Array]:
    """The losses of policy, value and reward, each ``[K + 1, B]``, and the value predicted of the first state ``[B]``.

    Cross-entropies, 0 where there is nothing to learn (Schrittwieser et al. 2020, equation 1).
    """
    first = network.represent(jax.tree.map(lambda leaf: leaf[0], steps.observation))

    def forwards(state: jax.Array, action: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        state, reward = network.step(scaled_gradient(state, 0.5), action)
        return state, (state, reward)

    _, (later, rewards) = jax.lax.scan(forwards, first, steps.action[: len(targets.value) - 1])
    states = jnp.concatenate([first[None], later])
    rewards = jnp.concatenate([jnp.zeros_like(rewards[:1]), rewards])
    logits, value = network.predict(states)
    cross_entropy = optax.softmax_cross_entropy
    losses = {
        "policy_loss": jnp.where(targets.goes_on, cross_entropy(logits, targets.policy), 0.0),
        "value_loss": jnp.where(targets.known, cross_entropy(value, network.distribution(targets.value)), 0.0),
        "reward_loss": jnp.where(
            targets.reward_known, cross_entropy(rewards, network.distribution(targets.reward)), 0.0
        ),
    }
    return losses, network.scalar(value[0])


def unroll_weights(unroll_steps: int) -> jax.Array:
    """How much each state of an unroll counts, ``[K + 1, 1]``: the first as much as all that follow (appendix G)."""
    return jnp.full((unroll_steps + 1, 1), 1 / max(unroll_steps, 1), jnp.float32).at[0].set(1.0)


def scaled_gradient(x: jax.Array, scale: float) -> jax.Array:
    """``x``, through which the gradient goes ``scale`` times as large."""
    return scale * x + jax.lax.stop_gradient((1 - scale) * x)
