"""Checks of environments whose goals are observed: does what they pay follow from the goals, as hindsight assumes?"""

from typing import Any

import jax
import numpy as np
from gymnasium import spaces

from tegu.check.findings import Findings, Halt
from tegu.check.spaces import describe, form
from tegu.core.step import PyTree
from tegu.environments.goals.base import GoalEnvironment
from tegu.spaces.features import ACHIEVED_GOAL, DESIRED_GOAL, zeros


def check_goals(environment: GoalEnvironment, space: spaces.Space, findings: Findings) -> None:
    """Whether goals are observed, and what the functions of them return, by tracing alone. Halts where not."""
    parts = dict(space.items()) if isinstance(space, spaces.Dict) else {}
    keys = ("observation", ACHIEVED_GOAL, DESIRED_GOAL)
    if not parts.keys() >= set(keys) or parts[ACHIEVED_GOAL].shape != parts[DESIRED_GOAL].shape:
        expected = f"a Dict of {', '.join(keys)}, the last two of the same shape"
        findings.error("observation_space", "is not that of a GoalEnvironment", expected, describe(space))
        raise Halt
    goals = zeros(parts[ACHIEVED_GOAL]), zeros(parts[DESIRED_GOAL])
    for name, expected in (("compute_reward", "float32[]"), ("compute_terminated", "bool[]")):
        with findings.calling(f"{name}()"):
            got = form(jax.eval_shape(getattr(environment, name), *goals))
        if got != expected:
            findings.error(f"{name}()", "is not the scalar it should be", expected, got)
            raise Halt


def check_payments(environment: GoalEnvironment, rollout: Any, findings: Findings) -> None:
    """Whether steps ``[T, N, ...]`` were paid, and terminated, as the functions of their goals say."""
    goals = rollout.observation[ACHIEVED_GOAL], rollout.observation[DESIRED_GOAL]
    reward, terminated = jax.device_get(
        [jax.vmap(jax.vmap(f))(*goals) for f in (environment.compute_reward, environment.compute_terminated)]
    )
    hint = "it may depend on nothing but the two goals in the observation that step() returns"
    if (wrong := ~np.isclose(reward, rollout.reward, rtol=1e-3, atol=1e-4)).any():
        _report(findings, "reward", "compute_reward()", reward, rollout.reward, wrong, hint)
    if (wrong := terminated & ~rollout.terminated).any():
        _report(findings, "terminated", "compute_terminated()", terminated, rollout.terminated, wrong, hint)


def _report(findings: Findings, part: str, by: str, ours: PyTree, got: PyTree, wrong: np.ndarray, hint: str) -> None:
    problem = f"is not what {by} says of its goals"
    findings.error(f"step() -> {part}", problem, str(ours[wrong][0]), str(got[wrong][0]), hint)
