"""Checks of Gymnasium environments."""

import copy
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces, wrappers

from tegu.check.calls import (
    Latest,
    check_action_kept,
    check_flag,
    check_picture,
    checked_reward,
    random_action,
    reset_keywords,
)
from tegu.check.findings import Facts, Findings, Halt, Report
from tegu.check.spaces import check_frames, check_mask, check_value, declared_spaces, describe, form
from tegu.check.trial import StepResult, facts_of
from tegu.core.step import PyTree
from tegu.spaces.features import ACTION_MASK
from tegu.spaces.frames import has_frame_stacks


def check_gymnasium(environment: gymnasium.Env, steps: int, seed: int) -> Report:
    findings = Findings()
    inner, limit = _without_standard_wrappers(environment), _time_limit(environment)
    facts: Facts = {"kind": "Gymnasium"}
    with suppress(Halt):
        observation_space, action_space = declared_spaces(inner, findings)
        facts["observation_space"], facts["action_space"] = describe(observation_space), describe(action_space)
        facts["time_limit"] = limit or "none"
        _check_metadata(inner, findings)
        keywords = _reset_keywords(inner, findings)
        if action_space is not None:
            trial = _Trial(inner, findings, observation_space, action_space, limit, keywords)
            trial.action_space.seed(seed)
            facts |= facts_of(trial, steps, seed)
            check_picture(inner, findings)
    spec = environment.spec
    return Report(spec.id if spec else type(environment.unwrapped).__name__, findings.all(), facts)


def _time_limit(environment: gymnasium.Env) -> int | None:
    limits = []
    while isinstance(environment, gymnasium.Wrapper):
        if isinstance(environment, wrappers.TimeLimit):
            limits.append(environment._max_episode_steps)
        environment = environment.env
    return min(limits, default=None)


def _without_standard_wrappers(environment: gymnasium.Env) -> gymnasium.Env:
    """Take off what ``gymnasium.make`` wraps around, which would answer mistakes with exceptions of its own."""
    while isinstance(environment, wrappers.TimeLimit | wrappers.OrderEnforcing | wrappers.PassiveEnvChecker):
        environment = environment.env
    return environment


def _reset_keywords(environment: gymnasium.Env, findings: Findings) -> list[str]:
    """Which of ``seed`` and ``options`` the environment takes, below all of its wrappers."""
    with findings.calling("reset()"):
        return reset_keywords(
            environment.unwrapped.reset,
            findings,
            "reset(self, *, seed=None, options=None)",
            "begin with super().reset(seed=seed) and draw random numbers from self.np_random",
        )


def _check_metadata(environment: gymnasium.Env, findings: Findings) -> None:
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


class _Trial:
    """One environment, every call of which is looked at; see ``check_trial``."""

    how_to_end = "register with max_episode_steps=..., or wrap in gymnasium.wrappers.TimeLimit"
    how_to_repeat = "draw from self.np_random only"

    def __init__(
        self,
        environment: gymnasium.Env,
        findings: Findings,
        observation_space: spaces.Space | None,
        action_space: spaces.Space,
        limit: int | None,
        keywords: list[str],
    ):
        self.environment, self.findings, self.limit, self.keywords = environment, findings, limit, keywords
        self.observation_space = observation_space
        self.action_space = copy.deepcopy(action_space)  # the environment may draw from its own
        self.seconds = 0.0
        self.taken = 0  # steps, over all episodes
        self.latest = Latest(findings)
        self._before: PyTree = None  # a copy of the latest observation, where that stacks frames

    def random_action(self, observation: PyTree) -> Any:
        return random_action(self.action_space, observation)

    def reset(self, seed: int, when: str = "") -> StepResult:
        keywords: dict[str, Any] = {"seed": seed, "options": None}
        with self.findings.calling(f"reset(){when}"):
            result = self.environment.reset(**{name: keywords[name] for name in self.keywords})
            self.latest.check("reset()")
            two = isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], dict)
            if not two:
                hint = "return observation, {}"
                self.findings.error(
                    "reset()", "does not return two values", "(observation, info dict)", form(result), hint
                )
            observation = result[0] if isinstance(result, tuple) and result else result
            self._before = None
            self._check_observation(observation, "reset() -> observation", when)
        return StepResult(observation)

    def step(self, action: Any) -> StepResult:
        """The outcome in clean types, whatever the environment returned."""
        given = copy.deepcopy(action)
        with self.findings.calling("step()"):
            started = time.perf_counter()
            result = self.environment.step(given)
            self.seconds += time.perf_counter() - started
            self.taken += 1
            self.latest.check("step()")
            check_action_kept(self.findings, action, given)
            return self._clean(result)

    def _clean(self, result: Any) -> StepResult:
        expected = "(observation, reward, terminated, truncated, info)"
        if isinstance(result, tuple) and len(result) == 4:
            hint = "split done: terminated where the task itself ended, truncated where only the time ran out"
            self.findings.error("step()", "returns 4 values, as in the old Gym API", expected, form(result), hint)
            result = (*result[:3], False, result[3])
        if not (isinstance(result, tuple) and len(result) == 5):
            self.findings.error("step()", "does not return five values", expected, form(result))
            raise Halt
        observation, reward, terminated, truncated, info = result
        when = f" at step {self.taken}"
        ended = bool(np.any(terminated)), bool(np.any(truncated))
        self._check_observation(observation, "step() -> observation", when, masked=not any(ended))
        for name, flag in (("terminated", terminated), ("truncated", truncated)):
            check_flag(self.findings, flag, f"step() -> {name}", when)
        if not isinstance(info, dict):
            self.findings.error("step() -> info", "is not a dict", "a dict, maybe empty", form(info) + when, "{}")
        return StepResult(observation, checked_reward(self.findings, reward, "step() -> reward", when), *ended)

    def _check_observation(self, observation: PyTree, where: str, when: str = "", masked: bool = True) -> None:
        check_value(self.findings, self.observation_space, observation, where, when)
        if masked and isinstance(observation, Mapping) and ACTION_MASK in observation:
            check_mask(self.findings, observation[ACTION_MASK], where)
        space = self.observation_space
        if space is not None and has_frame_stacks(space) and observation in space:
            check_frames(self.findings, space, observation, self._before, where, when)
            self._before = copy.deepcopy(observation)
        self.latest.now(observation)
