"""Checks of Gymnasium environments."""

import copy
import inspect
import math
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import gymnasium
import jax
import numpy as np
from gymnasium import spaces, wrappers

from tegu.environments.check_findings import Facts, Findings, Halt, Report, episode_facts
from tegu.environments.check_spaces import check_mask, check_value, declared_spaces, describe, form
from tegu.spaces import ACTION_MASK
from tegu.step import PyTree


class _Outcome(NamedTuple):
    observation: PyTree
    reward: float = 0.0
    terminated: bool = False
    truncated: bool = False


_Episode = list[tuple[Any, dict[str, bytes]]]  #: each action and the content of its outcome; a reset comes first


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
            facts |= _Trial(inner, findings, observation_space, action_space, limit, keywords).facts(steps, seed)
            _check_picture(inner, findings)
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
    """Which of ``seed`` and ``options`` the environment takes, below all of its wrappers: it should take both."""
    with findings.calling("reset()"):
        signature = inspect.signature(environment.unwrapped.reset)
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in signature.parameters.values()):
        return ["seed", "options"]
    missing = [name for name in ("seed", "options") if name not in signature.parameters]
    if missing:
        findings.error(
            "reset()",
            f"takes no {' and no '.join(missing)}",
            "reset(self, *, seed=None, options=None)",
            f"reset{signature}",
            "begin with super().reset(seed=seed) and draw random numbers from self.np_random",
        )
    return [name for name in ("seed", "options") if name not in missing]


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


def _check_picture(environment: gymnasium.Env, findings: Findings) -> None:
    if environment.render_mode == "rgb_array":
        with findings.calling("render()"):
            picture: Any = environment.render()
        if not re.fullmatch(r"uint8\[\d+, \d+, 3\]", form(picture)):
            findings.error("render()", "is not a picture", "uint8[height, width, 3]", form(picture))


class _Trial:
    """Random actions and what came of them, every call of the environment looked at."""

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
        self.latest: tuple[PyTree, dict[str, bytes]] = ((), {})  # observation, and its content when it was returned

    def facts(self, steps: int, seed: int) -> Facts:
        """Walk ``steps`` steps, begin from a few more seeds, then do the first episode again."""
        episode, facts = self._walk(steps, seed)
        (_, first), *_ = episode
        differ = any(_content(self.reset(other)) != first for other in range(seed + 1, seed + 4))
        return {
            "steps_per_second": round(self.taken / self.seconds),
            **facts,
            "first_observation": "depends on the seed" if differ else "the same for 4 seeds",
            "deterministic": "yes" if self._repeats(episode, seed) else "no",
        }

    def _walk(self, steps: int, seed: int) -> tuple[_Episode, Facts]:
        """Returns the first episode, and facts about all of them."""
        self.action_space.seed(seed)
        outcome = self.reset(seed)
        episode: _Episode = [(None, _content(outcome))]
        rewards: list[float] = []
        ended: list[bool] = []
        episodes = clock = 0
        for _ in range(steps):
            action = self._random_action(outcome.observation)
            outcome = self.step(action)
            clock += 1
            if episodes == 0:
                episode.append((action, _content(outcome)))
            rewards.append(outcome.reward)
            ended.append(outcome.terminated or outcome.truncated or clock == self.limit)
            if ended[-1]:
                episodes, clock = episodes + 1, 0
                outcome = self.reset(seed + episodes, " after an episode")
        if self.limit is None and episodes == 0:
            self.findings.warning(
                "step()",
                "no episode ended, and there is no time limit",
                f"terminated or truncated within {steps} steps",
                "neither",
                "register with max_episode_steps=..., or wrap in gymnasium.wrappers.TimeLimit",
            )
        return episode, episode_facts(rewards, ended)

    def _repeats(self, episode: _Episode, seed: int) -> bool:
        """Whether the same seed and actions give the same once more, bit for bit."""
        for number, (action, before) in enumerate(episode):
            now = _content(self.step(action) if number else self.reset(seed))
            different = [name for name in now if now[name] != before.get(name)]
            if different:
                self.findings.warning(
                    f"step() -> {different[0]}" if number else f"reset(seed={seed}) -> {different[0]}",
                    "the same seed and actions give another result",
                    "the same, bit for bit",
                    f"a difference at step {number}" if number else "a difference in the first observation",
                    "draw from self.np_random only; else a resumed run begins its unfinished episodes anew",
                )
                return False
        return True

    def _random_action(self, observation: PyTree) -> Any:
        """A legal one where the observation has a mask; a plain int for a Discrete space, as the loops give it."""
        action = self.action_space.sample()
        if not isinstance(self.action_space, spaces.Discrete):
            return action
        if isinstance(observation, Mapping) and np.any(observation.get(ACTION_MASK)):
            legal = np.flatnonzero(observation[ACTION_MASK])
            action = self.action_space.start + self.action_space.np_random.choice(legal)
        return int(action)

    def reset(self, seed: int, when: str = "") -> _Outcome:
        keywords: dict[str, Any] = {"seed": seed, "options": None}
        with self.findings.calling(f"reset(){when}"):
            result = self.environment.reset(**{name: keywords[name] for name in self.keywords})
            self._check_latest("reset()")
            two = isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], dict)
            if not two:
                hint = "return observation, {}"
                self.findings.error(
                    "reset()", "does not return two values", "(observation, info dict)", form(result), hint
                )
            observation = result[0] if isinstance(result, tuple) and result else result
            self._check_observation(observation, "reset() -> observation", when)
        return _Outcome(observation)

    def step(self, action: Any) -> _Outcome:
        """The outcome in clean types, whatever the environment returned."""
        given = copy.deepcopy(action)
        with self.findings.calling("step()"):
            started = time.perf_counter()
            result = self.environment.step(given)
            self.seconds += time.perf_counter() - started
            self.taken += 1
            self._check_latest("step()")
            if _content(given) != _content(action):
                self.findings.warning(
                    "step(action)",
                    "the environment changes the action that it is given",
                    "the action stays as it was",
                    f"{action} became {given}",
                    "begin with action = action.copy(), or do not write into it",
                )
            return self._clean(result)

    def _clean(self, result: Any) -> _Outcome:
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
        self._check_flags({"terminated": terminated, "truncated": truncated}, when)
        if not isinstance(info, dict):
            self.findings.error("step() -> info", "is not a dict", "a dict, maybe empty", form(info) + when, "{}")
        return _Outcome(observation, self._checked_reward(reward, when), *ended)

    def _checked_reward(self, reward: Any, when: str) -> float:
        where = "step() -> reward"
        if not isinstance(reward, int | float | np.integer | np.floating):
            hint = "reward.item()" if isinstance(reward, np.ndarray) else "return a number"
            self.findings.error(where, "is not a number", "a float", form(reward) + when, hint)
            return math.nan
        if not np.isfinite(reward):
            self.findings.error(where, "is not finite", "a finite float", f"{reward}{when}")
        return float(reward)

    def _check_flags(self, flags: dict[str, Any], when: str) -> None:
        for name, flag in flags.items():
            if not isinstance(flag, bool | np.bool_):
                got = f"{form(flag)} {flag!r}{when}"
                self.findings.error(f"step() -> {name}", "is not a bool", "True or False", got, f"bool({name})")

    def _check_observation(self, observation: PyTree, where: str, when: str = "", masked: bool = True) -> None:
        check_value(self.findings, self.observation_space, observation, where, when)
        if masked and isinstance(observation, Mapping) and ACTION_MASK in observation:
            check_mask(self.findings, observation[ACTION_MASK], where)
        self.latest = observation, _content(observation)

    def _check_latest(self, where: str) -> None:
        """Has this call written into the observation that the call before it returned?"""
        observation, content = self.latest
        now = _content(observation)
        for name in (name for name in now if now[name] != content[name]):
            self.findings.warning(
                f"observation{name}",
                "an array returned earlier changes afterwards",
                "a new array from every call",
                f"one that {where} writes into again",
                "return a copy; else the last observation of an episode is overwritten before anything learns from it",
            )


def _content(tree: PyTree) -> dict[str, bytes]:
    """All values byte for byte, by their names."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {
        jax.tree_util.keystr(path).lstrip(".").replace("'", '"'): np.asarray(leaf).tobytes() for path, leaf in leaves
    }
