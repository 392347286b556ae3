"""How the policy of soft actor-critic learns, and how much its entropy is worth."""

from functools import partial
from typing import Any

import jax

from tegu.algorithms.action_kinds import action_kind
from tegu.algorithms.soft_values import Critics, combined
from tegu.core.auto import Auto
from tegu.core.step import PyTree
from tegu.nn.batch_norm import WARM_UP, fitted, with_statistics
from tegu.nn.mlp import with_dropout
from tegu.nn.optimizers import adam, descend
from tegu.spaces.features import action_mask

POLICY = ("actor", "actor_optimizer", "log_ent_coef", "ent_coef_optimizer")  #: what a delay holds back


def policy_update(
    algorithm: Any, learner: Any, critics: Critics, seen: PyTree, ent_coef: jax.Array | float, key: jax.Array
) -> tuple[dict[str, Any], dict[str, jax.Array]]:
    """The fields ``POLICY`` of SAC's learner after one gradient step of actor and coefficient, up the ``critics`` and
    by observations as networks see them, and their metrics (Haarnoja et al. 2018b, equations 7 and 18)."""
    kind = action_kind(learner.actor.spaces.action)
    critics = with_dropout(critics, algorithm.critic_dropout, jax.random.fold_in(key, 0))

    def actor_loss(actor: Any) -> tuple[jax.Array, tuple[jax.Array, Any]]:
        policy, after = fitted(actor, learner.updates >= WARM_UP, seen)
        value, entropy = kind.expected(critics, partial(combined, algorithm), seen, policy, key)
        return -(value + ent_coef * entropy).mean(), (entropy.mean(), after)

    def ent_coef_loss(log_ent_coef: jax.Array) -> jax.Array:
        mask = action_mask(learner.actor.spaces.observation, seen)
        auto = isinstance(algorithm.target_entropy, Auto)
        return log_ent_coef * (entropy - (kind.target_entropy(mask) if auto else algorithm.target_entropy))

    (loss, (entropy, after)), gradient = jax.value_and_grad(actor_loss, has_aux=True)(learner.actor)
    actor, actor_optimizer = algorithm.descend(learner.actor, gradient, learner.actor_optimizer)
    log_ent_coef, ent_coef_optimizer = learner.log_ent_coef, learner.ent_coef_optimizer
    metrics = {"actor_loss": loss, "entropy": entropy}
    if isinstance(algorithm.ent_coef, Auto):
        metrics["ent_coef_loss"], gradient = jax.value_and_grad(ent_coef_loss)(log_ent_coef)
        given = adam(), algorithm.learning_rate, log_ent_coef, gradient, ent_coef_optimizer
        log_ent_coef, ent_coef_optimizer = descend(*given)
    changed = with_statistics(actor, after), actor_optimizer, log_ent_coef, ent_coef_optimizer
    return dict(zip(POLICY, changed, strict=True)), metrics
