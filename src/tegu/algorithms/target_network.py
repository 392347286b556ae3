"""A target network that follows the online network every so many environment steps."""

from typing import Any, TypeVar

import jax.numpy as jnp

from tegu.core.step import Step
from tegu.nn.optimizers import follow

Learner = TypeVar("Learner", bound=Any)  #: with the fields ``online``, ``target`` and ``since_sync``


def count(learner: Learner, steps: Step) -> Learner:
    """The learner after ``steps`` ``[T, B, ...]`` more since its target last followed."""
    return learner._replace(since_sync=learner.since_sync + steps.action.size)


def sync(learner: Learner, algorithm: Any) -> Learner:
    """The learner, whose target follows by ``tau`` if ``target_update_interval`` steps have passed."""
    due = learner.since_sync >= algorithm.target_update_interval
    target = follow(learner.target, learner.online, jnp.where(due, algorithm.tau, 0.0))
    return learner._replace(target=target, since_sync=learner.since_sync % algorithm.target_update_interval)
