"""What TD-MPC2 learns from windows of steps (Hansen et al. 2024, equations 3 to 5)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from tegu.algorithms.critics import lowest
from tegu.algorithms.dreamer_losses import Losses, ReturnRange
from tegu.algorithms.tdmpc2_model import LatentDynamics, drawn_critics, joined, logits_of, policy_of
from tegu.core.step import Step
from tegu.nn.mlp import MLP
from tegu.returns import td_target


class Unrolled(NamedTuple):
    """What is known after the model's loss."""

    states: jax.Array  #: ``[H + 1, B, n]``: the first is encoded, the others are predicted
    value: jax.Array  #: ``[H, B]``: mean of what the critics say of the actions taken


def goes_on(steps: Step) -> jax.Array:
    """Whether the episode with which windows ``[H, B, ...]`` begin has got to each of their ``H + 1`` states."""
    ended = steps.terminated | steps.truncated
    return jnp.cumprod(jnp.concatenate([jnp.ones_like(ended[:1]), ~ended]), axis=0).astype(bool)


def over_time(errors: jax.Array, counts: jax.Array, rho: float | jax.Array) -> jax.Array:
    """The mean of errors ``[T, B]`` with weights rho^t, 0 where they do not count."""
    weight = rho ** jnp.arange(len(errors), dtype=errors.dtype)
    return (weight[:, None] * jnp.where(counts, errors, 0.0)).mean()


def value_targets(
    model: LatentDynamics,
    policy: MLP,
    target_critics: MLP,
    steps: Step,
    next_state: jax.Array,
    gamma: float | jax.Array,
    key: jax.Array,
) -> jax.Array:
    """``[H, B]``: the reward and what follows, by the lower of two target critics drawn at random, without dropout."""
    action_key, critic_key = jax.random.split(key)
    action = policy_of(policy, next_state).sample(action_key)
    logits = logits_of(drawn_critics(target_critics, critic_key), next_state, action)
    return td_target(steps.reward, lowest(model.scalar(logits)), steps.terminated, gamma)


def model_losses(
    model: LatentDynamics,
    steps: Step,
    next_state: jax.Array,
    target: jax.Array,
    rho: float | jax.Array,
    dropout: float | jax.Array | None,
    key: jax.Array,
) -> tuple[Losses, Unrolled]:
    """The parts of equation 3, each before its coefficient, of a model that is unrolled along windows ``[H, B, ...]``.

    ``next_state`` ``[H, B, n]`` encodes what was observed, ``target`` ``[H, B]`` is that of the values.
    """
    action, alive = model.action_features(steps.action), goes_on(steps)[:-1]
    first = model.encode(jax.tree.map(lambda leaf: leaf[0], steps.observation))

    def forwards(state: jax.Array, action: jax.Array) -> tuple[jax.Array, jax.Array]:
        state = model.next(state, action)
        return state, state

    _, later = jax.lax.scan(forwards, first, action)
    states = jnp.concatenate([first[None], later])
    before = states[:-1]
    logits = logits_of(model.critics, before, action, dropout, key)
    rewards = model.reward(joined(before, action))
    losses = {
        "consistency_loss": over_time(((later - next_state) ** 2).mean(axis=-1), alive, rho),
        "reward_loss": over_time(model.cross_entropy(rewards, steps.reward), alive, rho),
        "value_loss": over_time(model.cross_entropy(logits, target).mean(axis=0), alive, rho),
    }
    if model.termination is not None:
        ends = model.termination(later)[..., 0]
        errors = optax.sigmoid_binary_cross_entropy(ends, steps.terminated.astype(ends.dtype))
        losses["termination_loss"] = over_time(errors, alive, 1.0)
    return losses, Unrolled(states, model.scalar(logits).mean(axis=0))


class PolicyFound(NamedTuple):
    """What is known after the policy's loss."""

    entropy: jax.Array  #: mean, nats
    return_range: ReturnRange


def policy_loss(
    policy: MLP,
    model: LatentDynamics,
    states: jax.Array,
    counts: jax.Array,
    return_range: ReturnRange,
    ent_coef: float | jax.Array,
    rho: float | jax.Array,
    dropout: float | jax.Array | None,
    key: jax.Array,
) -> tuple[jax.Array, PolicyFound]:
    """Equation 4, with entropy: of states ``[H + 1, B, n]``, through which no gradient may go, where they count.

    The value is the mean of two critics drawn at random, over how far apart the percentiles of those of the first
    states are.
    """
    action_key, critic_key, dropout_key = jax.random.split(key, 3)
    action, log_prob = policy_of(policy, states).sample_and_log_prob(action_key)
    logits = logits_of(drawn_critics(model.critics, critic_key), states, action, dropout, dropout_key)
    value = model.scalar(logits).mean(axis=0)
    return_range = return_range.merge(jax.lax.stop_gradient(value[0]))
    loss = over_time(-(value / return_range.scale - ent_coef * log_prob), counts, rho)
    return loss, PolicyFound(-log_prob.mean(where=counts), return_range)
