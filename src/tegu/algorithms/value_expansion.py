"""Model-based value expansion (Feinberg et al. 2018): critics learn from returns that a learned model imagines.

What DDPG and SAC share: their ``model_steps``, ``td_k``, ``model_arch`` and ``model_learning_rate``, and the field
``dynamics`` of their learners, which is ``()`` with no ``model_steps``.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from tegu.algorithms.base import Imagined
from tegu.algorithms.critics import bootstrapped
from tegu.algorithms.learned_dynamics import (
    LearnedDynamics,
    Settings,
    check_dynamics,
    deterministic,
    imagined,
    learned,
    new_dynamics,
    open_loop,
    with_moments,
)
from tegu.algorithms.return_distributions.base import aligned
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Step, where
from tegu.nn.mlp import check_network

FOLD = 1_000_000  #: makes the model's keys of others: beyond all that a key is split into

Model = LearnedDynamics | tuple[()]  #: (): there is none

Policy = Callable[[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]
"""Of observations ``[B, o]`` and a key: the environment's actions ``[B, ...]``, and what a policy is paid ``[B]`` for
them beside the reward, such as for its entropy."""

Value = Callable[[jax.Array, jax.Array], jax.Array]
"""Of observations ``[B, o]`` and a key: what follows, as values ``[B]`` or quantiles ``[B, n]``."""


def check_expansion(algorithm: Any, spec: EnvironmentSpec) -> None:
    """Raise ``TeguError`` unless a model can be learned, where ``model_steps`` ask for one."""
    if algorithm.model_steps:
        check_dynamics(algorithm.title, spec)
        check_network("relu", algorithm.model_arch, "model_arch")


def new_model(algorithm: Any, key: jax.Array, spec: EnvironmentSpec) -> Model:
    """A model that knows nothing, where ``model_steps`` ask for one."""
    if not algorithm.model_steps:
        return ()
    return new_dynamics(jax.random.fold_in(key, FOLD), spec, model_settings(algorithm))


def model_settings(algorithm: Any) -> Settings:
    return deterministic(algorithm.model_arch, algorithm.model_learning_rate)


def model_taken(learner: Any, steps: Step) -> Any:
    """The learner, whose model has taken fresh steps ``[..., o]`` into its statistics."""
    if not learner.dynamics:
        return learner
    return learner._replace(dynamics=with_moments(learner.dynamics, learner.actor.spaces.action, steps))


def model_learned(algorithm: Any, learner: Any, steps: Step, key: jax.Array) -> tuple[Any, dict[str, jax.Array]]:
    """The learner after a gradient step of its model on ``steps`` ``[B, ...]``, and metrics."""
    if not learner.dynamics:
        return learner, {}
    space, settings = learner.actor.spaces.action, model_settings(algorithm)
    dynamics, metrics = learned(learner.dynamics, space, steps, jax.random.fold_in(key, FOLD), settings)
    return learner._replace(dynamics=dynamics), metrics


def model_open_loop(algorithm: Any, learner: Any, observation: jax.Array, actions: jax.Array) -> Imagined | None:
    """What ``Algorithm.imagine`` returns."""
    if not learner.dynamics:
        return None
    space, settings = learner.actor.spaces.action, model_settings(algorithm)
    return open_loop(learner.dynamics, space, observation, actions, settings)


def expanded(
    algorithm: Any, learner: Any, steps: Step, key: jax.Array, policy: Policy, value: Value
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """What critics are to learn of ``steps`` ``[B, ...]``: observations, actions and targets (equation 3 and the TD-k
    trick, section 3.1).

    From the next observation on the ``policy`` plays H = ``model_steps`` steps in the model; after them ``value`` says
    what follows. The target of every step on the way, the real one first, is what was earned from it on: its own
    reward, then rewards and what the policy was paid beside them. With ``td_k`` all H + 1 are learned,
    ``[(H + 1) B, ...]``, else the real step alone.
    """
    space, settings = learner.actor.spaces.action, model_settings(algorithm)

    def play(carry: Any, key: jax.Array) -> Any:
        observation, alive = carry
        policy_key, model_key = jax.random.split(key)
        action, bonus = policy(observation, policy_key)
        outcome, following = imagined(learner.dynamics, space, model_key, action[None], observation[None], settings)
        reward, terminated = outcome.reward[0], outcome.terminated[0]
        return (following[0], alive & ~terminated), (observation, action, alive, (reward, terminated, bonus))

    value_key, *keys = jax.random.split(key, 1 + algorithm.model_steps)
    start = steps.next_observation, ~steps.terminated
    (last, _), (observations, actions, alive, earned) = jax.lax.scan(play, start, jnp.stack(keys))

    def backwards(later: jax.Array, earned: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
        reward, terminated, bonus = earned
        target = bootstrapped(reward, later, terminated, algorithm.gamma)
        return target + aligned(bonus, target), target

    later, targets = jax.lax.scan(backwards, value(last, value_key), earned, reverse=True)
    target = bootstrapped(steps.reward, later, steps.terminated, algorithm.gamma)
    if not algorithm.td_k:
        return steps.observation, steps.action, target

    def with_imagined(real: jax.Array, later: jax.Array) -> jax.Array:
        """Real steps and those that follow; what is imagined after an end is no step: the real one counts again."""
        return jnp.concatenate([real[None], where(alive, later, real)]).reshape((-1, *real.shape[1:]))

    seen = with_imagined(steps.observation, observations)
    return seen, with_imagined(steps.action, actions), with_imagined(target, targets)
