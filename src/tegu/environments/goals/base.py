"""Environments whose task is a goal that is observed, and what reaching one pays."""

import jax
import jax.numpy as jnp

from tegu.environments.base import Environment


class GoalEnvironment(Environment):
    """An environment in JAX that shows which goal is desired and which one is achieved, as Gymnasium-Robotics does it.

    Observations are a Dict of ``"observation"``, ``"achieved_goal"`` and ``"desired_goal"``, of which the last two have
    the same shape. What ``step`` pays, and whether it terminates the task, follows from the two goals in the
    observation that it returns, by the functions below, so that both can be computed anew for any other goal.
    """

    def compute_reward(self, achieved_goal: jax.Array, desired_goal: jax.Array) -> jax.Array:
        """What a step pays that leads to ``achieved_goal`` where ``desired_goal`` is desired: float32 scalar."""
        raise AttributeError(f"{type(self).__name__} must define compute_reward")

    def compute_terminated(self, achieved_goal: jax.Array, desired_goal: jax.Array) -> jax.Array:
        """Whether such a step ends the task: bool scalar. By default no goal does."""
        return jnp.zeros((), bool)
