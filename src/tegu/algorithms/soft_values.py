"""What the critics of soft actor-critic say, what they should say, and which of SAC's options go together."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from gymnasium import spaces

from tegu.algorithms.action_kinds import action_kind
from tegu.algorithms.action_noise import check_noise
from tegu.algorithms.base import check_standardised
from tegu.algorithms.critics import bootstrapped, check_layers, fitted_values, lowest, subset, truncated
from tegu.algorithms.return_distributions.base import aligned, midpoints, quantile_huber_loss
from tegu.algorithms.value_expansion import expanded
from tegu.core.auto import Auto
from tegu.core.errors import TeguError
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import PyTree, Step
from tegu.nn.batch_norm import WARM_UP
from tegu.nn.mlp import with_dropout
from tegu.nn.moments import standardised
from tegu.spaces.features import require

ACTOR_VALUES = ("min", "mean")

Critics = Any  #: a tuple of networks
ValuesAndTargets = tuple[jax.Array, jax.Array, Critics]
"""What critics say, what they should, and the critics with the batch's statistics (batch norm)."""


def check_options(algorithm: Any, spec: EnvironmentSpec) -> None:
    """Raise ``TeguError`` where options exclude each other, or the spaces or a person's own network."""
    title = algorithm.title
    check_noise(algorithm, spec)
    if isinstance(algorithm.target_entropy, Auto) and algorithm.target_entropy.initial is not None:
        raise TeguError(f"{title}: target_entropy must be a number or auto, got {algorithm.target_entropy}")
    if algorithm.n_quantiles:
        if isinstance(spec.action_space, spaces.Discrete):
            raise TeguError(f"{title}: n_quantiles needs a Box action space")
        if algorithm.top_quantiles_to_drop_per_net >= algorithm.n_quantiles:
            most, got = algorithm.n_quantiles, algorithm.top_quantiles_to_drop_per_net
            raise TeguError(f"{title}: top_quantiles_to_drop_per_net must be below n_quantiles, {most}, got {got}")
    if algorithm.actor_value not in ACTOR_VALUES:
        raise TeguError(f"{title}: actor_value must be one of {', '.join(ACTOR_VALUES)}, got {algorithm.actor_value!r}")
    if algorithm.target_subset > algorithm.n_critics:
        most, got = algorithm.n_critics, algorithm.target_subset
        raise TeguError(f"{title}: target_subset must be at most n_critics, {most}, got {got}")
    if algorithm.normalize_observation:
        check_standardised(title, spec.observation_space)
    if algorithm.batch_norm:
        require(f"{title} with batch_norm", "action", spec.action_space, spaces.Box)
        if algorithm.model_steps:
            raise TeguError(f"{title}: model_steps cannot be used with batch_norm, which has no target networks")
    of_layers = {
        "critic_layer_norm": algorithm.critic_layer_norm,
        "critic_dropout": algorithm.critic_dropout is not None,
        "use_sde": algorithm.use_sde,
    }
    check_layers(algorithm, of_layers, ["normalize_observation"] if algorithm.normalize_observation else [])


def values_and_targets(
    algorithm: Any, learner: Any, steps: Step, ent_coef: jax.Array | float, key: jax.Array
) -> Callable[[Critics], ValuesAndTargets]:
    """A function of the critics: what they say of the steps ``[B]`` and, with ``model_steps``, of imagined ones, and
    what they should."""
    compared = _without_target_critics if algorithm.batch_norm else _by_target_critics
    return compared(algorithm, learner, steps, ent_coef, key)


def _by_target_critics(
    algorithm: Any, learner: Any, steps: Step, ent_coef: jax.Array | float, key: jax.Array
) -> Callable[[Critics], ValuesAndTargets]:
    """The target is that of the target critics."""
    kind = action_kind(learner.actor.spaces.action)
    observation, action, target = soft_targets(algorithm, learner, steps, ent_coef, key)
    seen = standardised(learner.observation_moments, observation)

    def of_critics(critics: Critics) -> ValuesAndTargets:
        thinned = with_dropout(critics, algorithm.critic_dropout, jax.random.fold_in(key, 2))
        return kind.values(thinned, seen, action), target, critics

    return of_critics


def _without_target_critics(
    algorithm: Any, learner: Any, steps: Step, ent_coef: jax.Array | float, key: jax.Array
) -> Callable[[Critics], ValuesAndTargets]:
    """Without target critics the critics see the steps and the next ones in one batch, whose statistics
    normalise both (Bhatt et al. 2024, section 3)."""
    kind: Any = action_kind(learner.actor.spaces.action)
    as_seen = partial(standardised, learner.observation_moments)
    seen, next_seen = as_seen(steps.observation), as_seen(steps.next_observation)
    next_action, entropy = kind.drawn(learner.actor(next_seen), key)
    now, later = (seen, *kind.seen(steps.action)), (next_seen, next_action)
    both = jax.tree.map(lambda *parts: jnp.concatenate(parts), now, later)

    def of_critics(critics: Critics) -> ValuesAndTargets:
        outputs, after = fitted_values(critics, learner.updates >= WARM_UP, *both)
        value, next_value = jnp.split(outputs, 2, axis=1)
        future = combined_in_target(algorithm, key, jax.lax.stop_gradient(next_value))
        future = future + ent_coef * aligned(entropy, future)
        return value, bootstrapped(steps.reward, future, steps.terminated, algorithm.gamma), after

    return of_critics


def soft_targets(
    algorithm: Any, learner: Any, steps: Step, ent_coef: jax.Array | float, key: jax.Array
) -> tuple[PyTree, jax.Array, jax.Array]:
    """Observations and actions, and what the critics should say of them (Haarnoja et al. 2018b, equations 2 and 3): of
    the steps ``[B]`` and, with ``model_steps``, of imagined ones; or quantiles ``[..., n]``."""
    value = partial(soft_value, algorithm, learner, ent_coef)
    if learner.dynamics:
        policy = partial(paid_policy, learner, ent_coef)
        return expanded(algorithm, learner, steps, jax.random.fold_in(key, 3), policy, value)
    next_value = value(steps.next_observation, key)
    target = bootstrapped(steps.reward, next_value, steps.terminated, algorithm.gamma)
    return steps.observation, steps.action, target


def soft_value(
    algorithm: Any, learner: Any, ent_coef: jax.Array | float, observation: PyTree, key: jax.Array
) -> jax.Array:
    """What the target critics and the entropy of the policy say of observations ``[B, ...]`` (equation 3): ``[B]``, or
    quantiles ``[B, n]``."""
    kind, seen = action_kind(learner.actor.spaces.action), standardised(learner.observation_moments, observation)
    critics = with_dropout(learner.target_critics, algorithm.critic_dropout, jax.random.fold_in(key, 1))
    combine = partial(combined_in_target, algorithm, key)
    future, entropy = kind.expected(critics, combine, seen, learner.actor(seen), key)
    return future + ent_coef * aligned(entropy, future)


def paid_policy(
    learner: Any, ent_coef: jax.Array | float, observation: PyTree, key: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The environment's actions ``[B, ...]``, drawn from the policy, and what it is paid ``[B]`` for its entropy."""
    kind, seen = action_kind(learner.actor.spaces.action), standardised(learner.observation_moments, observation)
    action, entropy = kind.sampled(learner.actor(seen), key)
    return action, ent_coef * entropy


def combined_in_target(algorithm: Any, key: jax.Array, outputs: jax.Array) -> jax.Array:
    """What the target makes of the critics' ``outputs`` ``[critics, ...]``."""
    outputs = subset(outputs, algorithm.target_subset, jax.random.fold_in(key, 0))
    return truncated(outputs, algorithm.top_quantiles_to_drop_per_net) if algorithm.n_quantiles else lowest(outputs)


def combined(algorithm: Any, outputs: jax.Array) -> jax.Array:
    """What the actor makes of the critics' ``outputs`` ``[critics, ...]``; of quantiles always their mean."""
    if algorithm.n_quantiles:
        return outputs.mean(axis=(0, -1))
    return outputs.mean(axis=0) if algorithm.actor_value == "mean" else lowest(outputs)


def soft_critic_loss(algorithm: Any, outputs: jax.Array, target: jax.Array) -> jax.Array:
    """How far all critics are from the ``target``: equation 5 of the paper, or quantile regression."""
    if not algorithm.n_quantiles:
        return 0.5 * ((outputs - target) ** 2).mean(axis=1).sum()
    losses = [quantile_huber_loss(each, target, midpoints(algorithm.n_quantiles), 1.0) for each in outputs]
    return jnp.stack(losses).mean() / algorithm.n_quantiles
