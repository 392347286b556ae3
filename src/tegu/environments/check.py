"""Is an environment what its spaces and its contract promise? ``check`` says what is not, where, and how to mend it."""

import gymnasium

from tegu.environments.base import Environment
from tegu.environments.check_findings import Finding, Report
from tegu.environments.check_gymnasium import check_gymnasium
from tegu.environments.check_jax import check_jax
from tegu.errors import TeguError

__all__ = ["Finding", "Report", "check"]


def check(environment: Environment | gymnasium.Env, *, steps: int = 200, seed: int = 0) -> Report:
    """Try an environment with random actions and report everything that is wrong with it, not only the first thing.

    Nothing that the environment does is raised: its exceptions become findings. A Gymnasium environment takes ``steps``
    steps and is left somewhere in an episode; a JAX environment takes ``steps`` steps in each of 8 copies.
    """
    if steps < 1:
        raise TeguError(f"a check needs at least 1 step, not {steps}")
    if isinstance(environment, Environment):
        return check_jax(environment, steps, seed)
    if isinstance(environment, gymnasium.Env):
        return check_gymnasium(environment, steps, seed)
    kind = environment.__name__ if isinstance(environment, type) else type(environment).__name__
    called = " itself: call it first" if isinstance(environment, type) else ""
    raise TeguError(f"cannot check {kind}{called}; expected a tegu.Environment or a gymnasium.Env, as an object")
