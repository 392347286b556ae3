"""Model-based value expansion (Feinberg et al. 2018): critics learn from returns that a model imagines."""

from typing import Any

import jax
import jax.numpy as jnp

from tegu.algorithms.learned_dynamics import imagined
from tegu.core.step import Step, where
from tegu.returns import td_target
from tegu.spaces.bounds import from_unit, to_unit


def expanded(algorithm: Any, learner: Any, steps: Step, key: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """What DDPG's critics are to learn of ``steps`` ``[B, ...]``: observations and actions scaled to [-1, 1], and the
    targets (equation 3 and the TD-k trick, section 3.1).

    From the next observation on the target actor plays H = ``model_steps`` steps in the model; after them the targets
    say what follows. The target of every step on the way, the real one first, is what was earned from it on. With
    ``td_k`` all H + 1 are learned, ``[(H + 1) B, ...]``, else the real step alone.
    """
    space, settings = learner.actor.spaces.action, algorithm.model_settings

    def play(carry: Any, key: jax.Array) -> Any:
        observation, alive = carry
        action = learner.target_actor(observation)
        in_model = from_unit(space, action)[None], observation[None]
        outcome, following = imagined(learner.dynamics, space, key, *in_model, settings)
        reward, terminated = outcome.reward[0], outcome.terminated[0]
        return (following[0], alive & ~terminated), (observation, action, reward, terminated, alive)

    value_key, *keys = jax.random.split(key, 1 + algorithm.model_steps)
    start = steps.next_observation, ~steps.terminated
    (last, _), on_the_way = jax.lax.scan(play, start, jnp.stack(keys))
    observations, actions, rewards, terminated, alive = on_the_way

    def backwards(value: jax.Array, given: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        value = td_target(given[0], value, given[1], algorithm.gamma)
        return value, value

    value = algorithm.next_value(learner, last, value_key)
    value, targets = jax.lax.scan(backwards, value, (rewards, terminated), reverse=True)
    target = td_target(steps.reward, value, steps.terminated, algorithm.gamma)
    action = to_unit(space, steps.action)
    if not algorithm.td_k:
        return steps.observation, action, target

    def with_imagined(real: jax.Array, later: jax.Array) -> jax.Array:
        """Real steps and those that follow; what is imagined after an end is no step: the real one counts again."""
        return jnp.concatenate([real[None], where(alive, later, real)]).reshape((-1, *real.shape[1:]))

    seen = with_imagined(steps.observation, observations)
    return seen, with_imagined(action, actions), with_imagined(target, targets)
