"""The contract of environments written in pure JAX, as far as tracing alone can tell."""

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np
from gymnasium import spaces
from jax.tree_util import keystr, tree_flatten_with_path

from tegu.check.agents import check_agents, check_measures, check_rewards
from tegu.check.findings import Findings, Halt
from tegu.check.games import check_positions
from tegu.check.goals import check_goals
from tegu.check.spaces import form, given_spaces, has_form, is_supported
from tegu.core.errors import TeguError
from tegu.core.step import PyTree
from tegu.environments.base import Environment, Timestep
from tegu.environments.games.base import Game
from tegu.environments.goals.base import GoalEnvironment
from tegu.spaces.features import zeros

# What to write instead of Python that cannot see a traced value. The first that fits counts.
_INSTEAD: dict[type[Exception], str] = {
    jax.errors.TracerBoolConversionError: "`if`: jnp.where or jax.lax.cond; `while`: jax.lax.while_loop; "
    "`and`, `or`, `not`: &, |, ~",
    jax.errors.TracerArrayConversionError: "NumPy cannot compute with a traced value: use jax.numpy, e.g. jnp.sin(x)",
    jax.errors.TracerIntegerConversionError: "a traced value cannot index a list or end a range(): "
    "jnp.asarray(table)[i], jax.lax.fori_loop",
    jax.errors.NonConcreteBooleanIndexError: "x[mask] has no fixed shape: jnp.where(mask, x, 0)",
    jax.errors.ConcretizationTypeError: "float(x), int(x) and x.item() need a known value: x.astype(...)",
    jax.errors.UnexpectedTracerError: "a value of an earlier call was kept outside: hand it along in the state",
    dataclasses.FrozenInstanceError: "an environment never changes itself: what changes belongs into the state",
}


def require_contract(environment: Environment) -> None:
    """Raise ``TeguError`` with the first thing that breaks the contract, found by tracing alone: in milliseconds.

    Which spaces and which bounds of actions will do is for an algorithm to say.
    """
    with refused(environment) as findings:
        observation_space, action_space = given_spaces(environment, findings)
        if observation_space is not None and action_space is not None:
            check_agents(environment, observation_space, action_space, findings)
            if is_supported(observation_space) and is_supported(action_space):
                check_contract(environment, observation_space, action_space, findings)


def require_spaces(environment: Environment) -> None:
    """Raise ``TeguError`` unless an environment has both spaces."""
    with refused(environment) as findings:
        given_spaces(environment, findings)


@contextmanager
def refused(environment: Environment) -> Iterator[Findings]:
    """Raise ``TeguError`` with the first of the errors that are found within."""
    findings, cause = Findings(explain), None
    try:
        yield findings
    except Halt as halt:
        cause = halt.__cause__
    if broken := [finding for finding in findings.all() if finding.level == "error"]:
        more = f"; {len(broken) - 1} more, tegu check shows all" if len(broken) > 1 else ""
        raise TeguError(f"the environment {environment.id} is not sound: {broken[0].line}{more}") from cause


def explain(error: Exception) -> str:
    """What to write instead of what raised an error."""
    return next((hint for kind, hint in _INSTEAD.items() if isinstance(error, kind)), "")


def check_contract(
    environment: Environment, space: spaces.Space, action_space: spaces.Space, findings: Findings
) -> None:
    """Shapes and dtypes of everything returned, found by tracing alone. Halts where a rollout makes no sense."""
    key, action = jax.random.key(0), zeros(action_space)
    with findings.calling("reset()"):
        begun = jax.eval_shape(environment.reset, key)
    if not (isinstance(begun, tuple) and len(begun) == 2):
        findings.error("reset()", "does not return two values", "(state, observation)", form(begun))
        raise Halt
    state, observation = begun
    fits = has_form(findings, space, observation, "reset() -> observation")

    with findings.calling("step()"):
        timestep = jax.eval_shape(environment.step, state, action, key)
    if not isinstance(timestep, Timestep):
        expected = f"Timestep({', '.join(Timestep._fields)})"
        findings.error("step()", "does not return a Timestep", expected, form(timestep))
        raise Halt
    fits &= has_form(findings, space, timestep.observation, "step() -> observation")
    fits &= _state_stays(findings, state, timestep.state)
    fits &= check_rewards(timestep.reward, environment.agents, findings)
    by_agent = tree_flatten_with_path(timestep.reward, is_leaf=lambda part: not isinstance(part, Mapping))
    for path, reward in by_agent[0]:
        _check_scalar(findings, f"step() -> reward{name_of(path)}", reward, np.float32, "jnp.float32(reward)")
        fits &= getattr(reward, "shape", None) == ()
    for name in ("terminated", "truncated"):
        hint = "a comparison such as x > limit, without axes of length 1"
        fits &= _check_scalar(findings, f"step() -> {name}", getattr(timestep, name), np.bool_, hint)
    if not fits or not check_measures(environment, state, findings):
        raise Halt
    if isinstance(environment, Game):
        check_positions(environment, action_space, findings)
    if isinstance(environment, GoalEnvironment):
        check_goals(environment, space, findings)


def _state_stays(findings: Findings, before: PyTree, after: PyTree) -> bool:
    """Whether a step keeps structure, shapes and dtypes of the state."""
    old = {name_of(path): form(leaf) for path, leaf in tree_flatten_with_path(before)[0]}
    new = {name_of(path): form(leaf) for path, leaf in tree_flatten_with_path(after)[0]}
    problem = "differs from the state that reset() returns"
    hint = "a compiled loop carries the state along: its structure, shapes and dtypes never change"
    changed = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    for name in changed:
        findings.error(f"step() -> state{name}", problem, old.get(name, "absent"), new.get(name, "absent"), hint)
    expected: Any = jax.tree.structure(before)
    got: Any = jax.tree.structure(after)
    same = bool(expected == got)  # they may be written differently: MJX hides arrays in them
    if not changed and not same:
        findings.error("step() -> state", problem, str(expected), str(got), hint)
    return same and not changed


def _check_scalar(findings: Findings, where: str, value: Any, dtype: type[np.generic], hint: str) -> bool:
    expected, got = f"{np.dtype(dtype)}[]", form(value)
    if got != expected:
        findings.error(where, "is not the scalar it should be", expected, got, hint)
    return got == expected


def name_of(path: Any) -> str:
    """A place in a tree as a person writes it."""
    return keystr(path).replace("'", '"')
