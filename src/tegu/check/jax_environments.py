"""Checks of environments written in pure JAX."""

import copy
import dataclasses
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from jax.tree_util import keystr, tree_flatten_with_path

from tegu.check.agents import check_agents, check_masks, check_measures, check_rewards, legal, masks
from tegu.check.findings import Facts, Findings, Halt, Report, episode_facts
from tegu.check.games import check_game, check_positions
from tegu.check.spaces import check_ranges, declared_spaces, describe, form, given_spaces, has_form, is_supported
from tegu.core.errors import TeguError
from tegu.core.step import PyTree
from tegu.environments.base import Environment, Timestep
from tegu.environments.games.base import Game
from tegu.spaces.features import zeros

_COPIES = 8

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


class _Rollout(NamedTuple):
    """Random actions in ``N`` copies and what came of them, ``[T, N, ...]``."""

    action: PyTree
    observation: PyTree  #: the true next observation
    reward: PyTree
    terminated: jax.Array
    measures: dict[str, jax.Array]
    ended: jax.Array  #: terminated, truncated, or the time limit reached


def check_jax(environment: Environment, steps: int, seed: int) -> Report:
    findings = Findings(_explain)
    facts: Facts = {"kind": "JAX"}
    with suppress(Halt):
        observation_space, action_space = declared_spaces(environment, findings)
        facts["observation_space"], facts["action_space"] = describe(observation_space), describe(action_space)
        facts["time_limit"] = environment.time_limit or "none"
        if observation_space is not None and action_space is not None and is_supported(action_space):
            facts |= check_agents(environment, observation_space, action_space, findings)
            _check_contract(environment, observation_space, action_space, findings)
            actions = _random_actions(action_space, (steps, _COPIES), seed)
            facts |= _try_out(environment, observation_space, actions, seed, findings)
            if isinstance(environment, Game):
                facts |= check_game(environment, findings, steps, seed)
                if "step" in str(facts["random_numbers_in"]):
                    hint = "what chance decides in the course of a game cannot be searched"
                    findings.error("step()", "draws random numbers", "nothing left to chance", "", hint)
    return Report(environment.id, findings.all(), facts)


def require_contract(environment: Environment) -> None:
    """Raise ``TeguError`` with the first thing that breaks the contract, found by tracing alone: in milliseconds.

    Which spaces and which bounds of actions will do is for an algorithm to say.
    """
    with _refused(environment) as findings:
        observation_space, action_space = given_spaces(environment, findings)
        if observation_space is not None and action_space is not None:
            check_agents(environment, observation_space, action_space, findings)
            if is_supported(observation_space) and is_supported(action_space):
                _check_contract(environment, observation_space, action_space, findings)


def require_spaces(environment: Environment) -> None:
    """Raise ``TeguError`` unless an environment has both spaces."""
    with _refused(environment) as findings:
        given_spaces(environment, findings)


@contextmanager
def _refused(environment: Environment) -> Iterator[Findings]:
    """Raise ``TeguError`` with the first of the errors that are found within."""
    findings, cause = Findings(_explain), None
    try:
        yield findings
    except Halt as halt:
        cause = halt.__cause__
    if broken := [finding for finding in findings.all() if finding.level == "error"]:
        more = f"; {len(broken) - 1} more, tegu check shows all" if len(broken) > 1 else ""
        raise TeguError(f"the environment {environment.id} is not sound: {broken[0].line}{more}") from cause


def _explain(error: Exception) -> str:
    return next((hint for kind, hint in _INSTEAD.items() if isinstance(error, kind)), "")


def _random_actions(space: spaces.Space, shape: tuple[int, int], seed: int) -> PyTree:
    """``[T, N, ...]``"""
    space = copy.deepcopy(space)
    space.seed(seed)
    samples = [space.sample() for _ in range(shape[0] * shape[1])]
    return jax.tree.map(lambda *leaves: jnp.asarray(np.stack(leaves)).reshape(*shape, *np.shape(leaves[0])), *samples)


def _check_contract(
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
    for path, reward in tree_flatten_with_path(timestep.reward)[0]:
        _check_scalar(findings, f"step() -> reward{_name(path)}", reward, np.float32, "jnp.float32(reward)")
        fits &= reward.shape == ()
    for name in ("terminated", "truncated"):
        hint = "a comparison such as x > limit, without axes of length 1"
        fits &= _check_scalar(findings, f"step() -> {name}", getattr(timestep, name), np.bool_, hint)
    if not fits or not check_measures(environment, state, findings):
        raise Halt
    if isinstance(environment, Game):
        check_positions(environment, action_space, findings)


def _state_stays(findings: Findings, before: PyTree, after: PyTree) -> bool:
    """Whether a step keeps structure, shapes and dtypes of the state."""
    old = {_name(path): form(leaf) for path, leaf in tree_flatten_with_path(before)[0]}
    new = {_name(path): form(leaf) for path, leaf in tree_flatten_with_path(after)[0]}
    problem = "differs from the state that reset() returns"
    hint = "a compiled loop carries the state along: its structure, shapes and dtypes never change"
    changed = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    for name in changed:
        findings.error(f"step() -> state{name}", problem, old.get(name, "absent"), new.get(name, "absent"), hint)
    expected, got = str(jax.tree.structure(before)), str(jax.tree.structure(after))
    if not changed and got != expected:
        findings.error("step() -> state", problem, expected, got, hint)
    return got == expected and not changed


def _check_scalar(findings: Findings, where: str, value: Any, dtype: type[np.generic], hint: str) -> bool:
    expected, got = f"{np.dtype(dtype)}[]", form(value)
    if got != expected:
        findings.error(where, "is not the scalar it should be", expected, got, hint)
    return got == expected


def _try_out(environment: Environment, space: spaces.Space, actions: PyTree, seed: int, findings: Findings) -> Facts:
    """Run compiled and uncompiled, and look at the values."""
    steps, copies = jax.tree.leaves(actions)[0].shape[:2]
    reset_keys = jax.random.split(jax.random.key(seed), copies)
    step_keys = jax.random.split(jax.random.key(seed + 1), (steps, copies))
    with findings.calling("jit(vmap(step))"):
        run = jax.jit(partial(_rollout, environment)).lower(reset_keys, step_keys, actions).compile()
        first, rollout = jax.device_get(run(reset_keys, step_keys, actions))
        started = time.perf_counter()
        jax.block_until_ready(run(reset_keys, step_keys, actions))
        seconds = time.perf_counter() - started
    _check_values(findings, space, first, rollout)
    if not rollout.ended.any() and environment.time_limit is None:
        expected = f"terminated or truncated within {steps} steps"
        hint = "give the environment max_episode_steps"
        findings.warning("step()", "no episode ended, and there is no time limit", expected, "neither", hint)
    with np.errstate(invalid="ignore"):  # infinities of both signs have been reported
        played = episode_facts(np.mean(jax.tree.leaves(rollout.reward), axis=0), rollout.ended)
    start, moment = jax.tree.map(lambda x: x[0], first), jax.tree.map(lambda x: x[0, 0], rollout)
    keys = reset_keys[0], step_keys[0, 0]
    pure = _is_pure(findings, environment, keys, jax.tree.map(jnp.asarray, moment.action), _results(start, moment))
    return {
        "steps_per_second": round(steps * copies / seconds),
        **played,
        "random_numbers_in": _key_users(environment, actions),
        "deterministic": "yes, given the key" if pure else "no",
    }


def _rollout(
    environment: Environment, reset_keys: jax.Array, step_keys: jax.Array, actions: PyTree
) -> tuple[PyTree, _Rollout]:
    """The first observations, and what followed. Episodes that end begin anew; where there is a mask it decides."""
    action_space = environment.action_space
    limit = environment.time_limit or np.inf

    def begin(keys: jax.Array) -> tuple[PyTree, PyTree]:
        state, observation = jax.vmap(environment.reset)(keys)
        return observation, (state, masks(environment, observation), jnp.zeros(keys.shape, jnp.int32))

    def advance(carry: PyTree, inputs: PyTree) -> tuple[PyTree, _Rollout]:
        state, mask, clock = carry
        action, keys = inputs
        action = legal(action_space, mask, action, keys)
        timestep = jax.vmap(environment.step)(state, action, keys)
        ended = timestep.terminated | timestep.truncated | (clock + 1 >= limit)
        onward = (timestep.state, masks(environment, timestep.observation), clock + 1)
        carry = jax.tree.map(partial(_where, ended), begin(keys)[1], onward)
        measures = jax.vmap(environment.measures)(timestep.state)
        return carry, _Rollout(action, timestep.observation, timestep.reward, timestep.terminated, measures, ended)

    first, carry = begin(reset_keys)
    return first, jax.lax.scan(advance, carry, (actions, step_keys))[1]


def _where(condition: jax.Array, new: jax.Array, old: jax.Array) -> jax.Array:
    return jnp.where(condition.reshape(condition.shape + (1,) * (new.ndim - condition.ndim)), new, old)


def _check_values(findings: Findings, space: spaces.Space, first: PyTree, rollout: _Rollout) -> None:
    check_ranges(findings, space, first, "reset() -> observation")
    check_ranges(findings, space, rollout.observation, "step() -> observation")
    check_masks(findings, space, first, "reset() -> observation")
    going_on = jax.tree.map(lambda leaf: leaf[~rollout.ended], rollout.observation)
    check_masks(findings, space, going_on, "step() -> observation")
    for name, values in rollout.measures.items():
        if not np.isfinite(values).all():
            findings.error(f'measures() -> "{name}"', "is not finite", "finite numbers", str(_first_odd(values)))
    for path, reward in tree_flatten_with_path(rollout.reward)[0]:
        if not np.isfinite(reward).all():
            where = f"step() -> reward{_name(path)}"
            findings.error(where, "is not finite", "finite numbers", str(_first_odd(reward)))


def _first_odd(values: jax.Array) -> jax.Array:
    """The first number that is not finite."""
    return values[~np.isfinite(values)][0]


def _is_pure(
    findings: Findings,
    environment: Environment,
    keys: tuple[jax.Array, jax.Array],
    action: PyTree,
    compiled: dict[str, np.ndarray],
) -> bool:
    """Whether a reset and a step, uncompiled, give the same twice, and the same as when they were compiled."""

    def uncompiled() -> dict[str, np.ndarray]:
        with findings.calling("reset() without jit"):
            state, observation = environment.reset(keys[0])
        with findings.calling("step() without jit"):
            timestep = environment.step(state, action, keys[1])
        return _results(observation, timestep)

    once, again = uncompiled(), uncompiled()
    hint = "only the arguments may matter: no counter, clock or NumPy random number; what changes goes into the state"
    same = True
    for where, value in once.items():
        if value.tobytes() != again[where].tobytes():
            got = f"first {value}, then {again[where]}"
            findings.error(where, "equal arguments give different results", "the same, bit for bit", got, hint)
            same = False
        elif not np.allclose(value, compiled[where], rtol=1e-3, atol=1e-4, equal_nan=True):
            got = f"{value} uncompiled, {compiled[where]} compiled"
            findings.error(where, "compiling changes the result", "the same but for rounding", got, hint)
            same = False
    return same


def _results(first: PyTree, timestep: Timestep | _Rollout) -> dict[str, np.ndarray]:
    """The values of a reset and of a step, by their places."""
    trees = {"reset() -> observation": first}
    trees |= {f"step() -> {name}": getattr(timestep, name) for name in ("observation", "reward", "terminated")}
    return {
        where + _name(path): np.asarray(leaf)
        for where, tree in trees.items()
        for path, leaf in tree_flatten_with_path(tree)[0]
    }


def _key_users(environment: Environment, actions: PyTree) -> str:
    """Which of the two functions draw random numbers."""
    key = jax.random.key(0)
    state, _ = jax.eval_shape(environment.reset, key)
    action = jax.tree.map(lambda x: x[0, 0], actions)
    programs = {
        "reset": jax.make_jaxpr(environment.reset)(key),
        "step": jax.make_jaxpr(environment.step)(state, action, key),
    }
    return " and ".join(name for name, program in programs.items() if _uses_key(program.jaxpr)) or "neither"


def _uses_key(program: Any) -> bool:
    key = program.invars[-1]
    return any(key is variable for equation in program.eqns for variable in equation.invars)


def _name(path: Any) -> str:
    return keystr(path).replace("'", '"')
