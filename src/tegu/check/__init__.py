"""Is an environment what its spaces and its contract promise? ``check`` says what is not, where, and how to mend it."""

from typing import Any

import gymnasium

from tegu.check.findings import Finding, Report
from tegu.check.gymnasium_environments import check_gymnasium
from tegu.check.jax_environments import check_jax
from tegu.check.pettingzoo_environments import check_pettingzoo
from tegu.core.errors import TeguError
from tegu.environments.adapters.pettingzoo import ParallelEnvironment, is_pettingzoo
from tegu.environments.base import Environment

__all__ = ["Finding", "Report", "check"]


def check(environment: Any, *, steps: int = 200, seed: int = 0) -> Report:
    """Try an environment with random actions and report everything that is wrong with it, not only the first thing.

    ``environment`` is a ``tegu.Environment`` (board games included), a ``gymnasium.Env``,
    or one of PettingZoo's. Nothing that it
    does is raised: its exceptions become findings. One on the host takes ``steps`` steps and is left somewhere in an
    episode; one in JAX takes ``steps`` steps in each of 8 copies.
    """
    if steps < 1:
        raise TeguError(f"a check needs at least 1 step, not {steps}")
    if isinstance(environment, Environment):
        return check_jax(environment, steps, seed)
    if isinstance(environment, gymnasium.Env) and isinstance(environment.unwrapped, ParallelEnvironment):
        environment = environment.unwrapped.parallel
    if is_pettingzoo(environment):
        return check_pettingzoo(environment, steps, seed)
    if isinstance(environment, gymnasium.Env):
        return check_gymnasium(environment, steps, seed)
    kind = environment.__name__ if isinstance(environment, type) else type(environment).__name__
    called = " itself: call it first" if isinstance(environment, type) else ""
    expected = "a tegu.Environment, a gymnasium.Env or an environment of PettingZoo's, as an object"
    raise TeguError(f"cannot check {kind}{called}; expected {expected}")
