"""Checks of Gymnasium environments."""

import copy
import inspect
import math
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import gymnasium
import jax
import numpy as np
from gymnasium import spaces, wrappers

from tegu.environments.check_findings import Facts, Findings, Halt, Report, mean_return
from tegu.environments.check_spaces import check_mask, check_value, declared_spaces, describe, form, is_supported
from tegu.spaces import ACTION_MASK
from tegu.step import PyTree


class _Outcome(NamedTuple):
    observation: PyTree
    reward: Any
    terminated: Any
    truncated: Any


class _Moment(NamedTuple):
    """An action and, byte for byte, the values that it led to, by their names."""

    action: Any
    values: dict[str, bytes]


def check_gymnasium(environment: gymnasium.Env, steps: int, seed: int) -> Report:
    findings = Findings()
    inner, limit = _without_standard_wrappers(environment)
    facts: Facts = {"kind": "Gymnasium"}
    with suppress(Halt):
        observation_space, action_space = declared_spaces(inner, findings)
        facts["observation_space"], facts["action_space"] = describe(observation_space), describe(action_space)
        facts["time_limit"] = limit or "none"
        _check_signature(inner, findings)
        if action_space is not None:
            facts |= _Trial(inner, findings, observation_space, action_space, limit).facts(steps, seed)
    with suppress(Halt):
        _check_rendering(inner, findings)
    spec = environment.spec
    return Report(spec.id if spec else type(environment.unwrapped).__name__, findings.all(), facts)


def _without_standard_wrappers(environment: gymnasium.Env) -> tuple[gymnasium.Env, int | None]:
    """Take off what ``gymnasium.make`` wraps around, which would answer mistakes with exceptions of its own.

    Returns the environment and the time limit.
    """
    limit = None
    while isinstance(environment, wrappers.TimeLimit | wrappers.OrderEnforcing | wrappers.PassiveEnvChecker):
        if isinstance(environment, wrappers.TimeLimit):
            limit = min(environment._max_episode_steps, limit or math.inf)
        environment = environment.env
    return environment, limit


def _accepted(environment: gymnasium.Env) -> list[str]:
    """Which of the keywords of ``reset`` the environment takes, below all of its wrappers."""
    parameters = inspect.signature(environment.unwrapped.reset).parameters
    anything = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    return [name for name in ("seed", "options") if anything or name in parameters]


def _check_signature(environment: gymnasium.Env, findings: Findings) -> None:
    missing = [name for name in ("seed", "options") if name not in _accepted(environment)]
    if missing:
        findings.error(
            "reset()",
            f"takes no {' and no '.join(missing)}",
            "reset(self, *, seed=None, options=None)",
            f"reset{inspect.signature(environment.unwrapped.reset)}",
            "begin with super().reset(seed=seed) and draw random numbers from self.np_random",
        )


def _check_rendering(environment: gymnasium.Env, findings: Findings) -> None:
    metadata, mode = environment.metadata, environment.render_mode
    modes = metadata.get("render_modes", []) if isinstance(metadata, dict) else None
    if not isinstance(modes, list | tuple):
        expected = '{"render_modes": ["rgb_array"], "render_fps": 30}'
        findings.warning("metadata", "does not say how the environment renders", expected, repr(metadata))
    elif mode is not None and mode not in modes:
        hint = f'add "{mode}" to metadata["render_modes"]'
        findings.warning("render_mode", "is not among the declared ones", f"one of {list(modes)}", repr(mode), hint)
    elif modes and not metadata.get("render_fps"):
        hint = "videos need to know how many steps make a second"
        findings.warning('metadata["render_fps"]', "is missing", "e.g. 30", repr(metadata.get("render_fps")), hint)
    if mode == "rgb_array":
        with findings.calling("render()"):
            picture = environment.render()
        if form(picture)[:6] != "uint8[" or picture.ndim != 3 or picture.shape[2] != 3:
            findings.error("render()", "is not a picture", "uint8[height, width, 3]", form(picture))


class _Trial:
    """A walk with random actions, every call of the environment looked at."""

    def __init__(
        self,
        environment: gymnasium.Env,
        findings: Findings,
        observation_space: spaces.Space | None,
        action_space: spaces.Space,
        limit: int | None,
    ):
        self.environment, self.findings, self.limit = environment, findings, limit
        self.observation_space = observation_space
        self.action_space = copy.deepcopy(action_space)  # the environment may draw from its own
        self.keywords = _accepted(environment)
        self.seconds = 0.0
        self.taken = 0  # steps, over all episodes
        self.returned: tuple[PyTree, dict[str, bytes]] = ((), {})  # the latest observation, and as it was then

    def facts(self, steps: int, seed: int) -> Facts:
        """Walk, then walk the first episode again."""
        first, first_episode, walked = self._walk(steps, seed)
        starts = [first, *(_values(self.reset(seed + other)) for other in range(1, 4))]
        differ = any(start != first for start in starts)
        return {
            "steps_per_second": round(self.taken / self.seconds),
            **walked,
            "deterministic": "yes" if self._repeats(seed, first, first_episode) else "no",
            "first_observation": "depends on the seed" if differ else "the same for seeds tried",
        }

    def _walk(self, steps: int, seed: int) -> tuple[dict[str, bytes], list[_Moment], Facts]:
        """Returns the first observation, the first episode, and what became of all episodes."""
        self.action_space.seed(seed)
        observation = self.reset(seed)
        first, first_episode = _values(observation), []
        rewards, ended, clock = [], [], 0
        for _ in range(steps):
            action = self._random_action(observation)
            outcome = self.step(action)
            clock += 1
            if not any(ended):
                first_episode.append(_Moment(action, _values(outcome)))
            rewards.append(_number(outcome.reward))
            ended.append(bool(outcome.terminated) or bool(outcome.truncated) or clock == self.limit)
            observation = outcome.observation
            if ended[-1]:
                observation, clock = self.reset(seed + sum(ended), "reset() after an episode"), 0
        return first, first_episode, self._episodes(rewards, ended)
