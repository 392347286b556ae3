"""Checks of environments written in pure JAX."""

import copy
import time
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from jax.tree_util import tree_flatten_with_path

from tegu.check.agents import check_agents, check_masks, legal, masks
from tegu.check.contract import check_contract, explain, name_of, refused
from tegu.check.findings import Facts, Findings, Halt, Report, episode_facts
from tegu.check.games import check_game
from tegu.check.goals import check_payments
from tegu.check.spaces import check_frames, check_ranges, declared_spaces, describe, is_supported
from tegu.core.step import PyTree
from tegu.environments.base import Environment, Timestep
from tegu.environments.games.base import Game
from tegu.environments.goals.base import GoalEnvironment
from tegu.spaces.frames import has_frame_stacks

_COPIES = 8
_STEPS_REQUIRED = 10  # in each copy, where training begins


class _Rollout(NamedTuple):
    """Random actions in ``N`` copies and what came of them, ``[T, N, ...]``."""

    action: PyTree
    observation: PyTree  #: the true next observation
    reward: PyTree
    terminated: jax.Array
    measures: dict[str, jax.Array]
    ended: jax.Array  #: terminated, truncated, or the time limit reached


def check_jax(environment: Environment, steps: int, seed: int) -> Report:
    findings = Findings(explain)
    facts: Facts = {"kind": "JAX"}
    with suppress(Halt):
        observation_space, action_space = declared_spaces(environment, findings)
        facts["observation_space"], facts["action_space"] = describe(observation_space), describe(action_space)
        facts["time_limit"] = environment.time_limit or "none"
        if observation_space is not None and action_space is not None and is_supported(action_space):
            facts |= check_agents(environment, observation_space, action_space, findings)
            check_contract(environment, observation_space, action_space, findings)
            actions = _random_actions(action_space, (steps, _COPIES), seed)
            facts |= _try_out(environment, observation_space, actions, seed, findings)
            if isinstance(environment, Game):
                facts |= check_game(environment, findings, steps, seed)
                if "step" in str(facts["random_numbers_in"]):
                    hint = "what chance decides in the course of a game cannot be searched"
                    findings.error("step()", "draws random numbers", "nothing left to chance", "", hint)
    return Report(environment.id, findings.all(), facts)


def _random_actions(space: spaces.Space, shape: tuple[int, int], seed: int) -> PyTree:
    """``[T, N, ...]``"""
    space = copy.deepcopy(space)
    space.seed(seed)
    samples = [space.sample() for _ in range(shape[0] * shape[1])]
    return jax.tree.map(lambda *leaves: jnp.asarray(np.stack(leaves)).reshape(*shape, *np.shape(leaves[0])), *samples)


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
    if isinstance(environment, GoalEnvironment):
        check_payments(environment, rollout, findings)
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
    _check_stacks(findings, space, first, rollout)
    check_masks(findings, space, first, "reset() -> observation")
    going_on = jax.tree.map(lambda leaf: leaf[~rollout.ended], rollout.observation)
    check_masks(findings, space, going_on, "step() -> observation")
    for name, values in rollout.measures.items():
        if not np.isfinite(values).all():
            findings.error(f'measures() -> "{name}"', "is not finite", "finite numbers", str(_first_odd(values)))
    for path, reward in tree_flatten_with_path(rollout.reward)[0]:
        if not np.isfinite(reward).all():
            where = f"step() -> reward{name_of(path)}"
            findings.error(where, "is not finite", "finite numbers", str(_first_odd(reward)))


def _check_stacks(findings: Findings, space: spaces.Space, first: PyTree, rollout: _Rollout) -> None:
    """Whether stacks of frames begin and go on as they promise."""
    if has_frame_stacks(space):
        check_frames(findings, space, first, None, "reset() -> observation")
        onward = ~rollout.ended[:-1]
        before, after = (
            jax.tree.map(lambda leaf, part=part: np.asarray(leaf)[part][onward], rollout.observation)
            for part in (slice(None, -1), slice(1, None))
        )
        check_frames(findings, space, after, before, "step() -> observation")
        if not findings.all():  # the very first step, too
            after = jax.tree.map(lambda leaf: leaf[0], rollout.observation)
            check_frames(findings, space, after, first, "step() -> observation")


def require_frames(environment: Environment) -> None:
    """Raise ``TeguError`` where an environment that observes stacks of frames breaks what they promise, in a few
    steps."""
    space, action_space = environment.observation_space, environment.action_space
    if has_frame_stacks(space):
        with refused(environment) as findings:
            actions = _random_actions(action_space, (_STEPS_REQUIRED, _COPIES), 0)
            keys = jax.random.split(jax.random.key(0), _COPIES)
            step_keys = jax.random.split(jax.random.key(1), (_STEPS_REQUIRED, _COPIES))
            first, rollout = jax.device_get(jax.jit(partial(_rollout, environment))(keys, step_keys, actions))
            _check_stacks(findings, space, first, rollout)


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
        where + name_of(path): np.asarray(leaf)
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
