"""Checks of Gymnasium environments."""

import copy
import inspect
import math
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
    reward: Any
    terminated: Any
    truncated: Any


_Episode = list[tuple[Any, dict[str, bytes]]]  #: each action and the content of its outcome; a reset comes first


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
    """Random actions and what came of them, every call of the environment looked at."""

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
        self.latest: tuple[PyTree, dict[str, bytes]] = ((), {})  # observation, and its content when it was returned

    def facts(self, steps: int, seed: int) -> Facts:
        """Walk ``steps`` steps, begin from a few more seeds, then do the first episode again."""
        episode, facts = self._walk(steps, seed)
        (_, first), *_ = episode
        differ = any([_content(self.reset(other)) != first for other in range(seed + 1, seed + 4)])
        return {
            "steps_per_second": round(self.taken / self.seconds),
            **facts,
            "first_observation": "depends on the seed" if differ else "the same for every seed",
            "deterministic": "yes" if self._repeats(episode, seed) else "no",
        }

    def _walk(self, steps: int, seed: int) -> tuple[_Episode, Facts]:
        """Returns the first episode, and facts about all of them."""
        self.action_space.seed(seed)
        outcome = self.reset(seed)
        episode: _Episode = [(None, _content(outcome))]
        rewards, ended, clock = [], [], 0
        for _ in range(steps):
            action = self._random_action(outcome.observation)
            outcome = self.step(action)
            clock += 1
            if not any(ended):
                episode.append((action, _content(outcome)))
            rewards.append(outcome.reward)
            ended.append(outcome.terminated or outcome.truncated or clock == self.limit)
            if ended[-1]:
                outcome, clock = self.reset(seed + sum(ended), "reset() after an episode"), 0
        if self.limit is None and not any(ended):
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

    def reset(self, seed: int, where: str = "reset()") -> _Outcome:
        keywords = {"seed": seed, "options": None}
        with self.findings.calling(where):
            result = self.environment.reset(**{name: keywords[name] for name in self.keywords})
            self._check_latest(where)
            two = isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], dict)
            if not two:
                hint = "return observation, {}"
                self.findings.error(
                    where, "does not return two values", "(observation, info dict)", _kinds(result), hint
                )
            observation = result[0] if isinstance(result, tuple) and result else result
            self._check_observation(observation, f"{where} -> observation", "")
        return _Outcome(observation, 0.0, False, False)

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
            self.findings.error("step()", "returns 4 values, as in the old Gym API", expected, _kinds(result), hint)
            result = (*result[:3], False, result[3])
        if not (isinstance(result, tuple) and len(result) == 5):
            self.findings.error("step()", "does not return five values", expected, _kinds(result))
            raise Halt
        observation, reward, terminated, truncated, info = result
        when = f" at step {self.taken}"
        self._check_observation(observation, "step() -> observation", when, ended=bool(np.any(terminated)))
        number = isinstance(reward, int | float | np.integer | np.floating)
        if not number:
            self.findings.error(
                "step() -> reward", "is not a number", "a float", _kinds(reward) + when, "float(reward)"
            )
        elif not np.isfinite(reward):
            self.findings.error("step() -> reward", "is not finite", "a finite float", f"{reward}{when}")
        for name, flag in {"terminated": terminated, "truncated": truncated}.items():
            if not isinstance(flag, bool | np.bool_):
                got = f"{_kinds(flag)} {flag!r}{when}"
                self.findings.error(f"step() -> {name}", "is not a bool", "True or False", got, f"bool({name})")
        if not isinstance(info, dict):
            self.findings.error("step() -> info", "is not a dict", "a dict, maybe empty", _kinds(info) + when, "{}")
        return _Outcome(observation, reward if number else 0.0, bool(np.any(terminated)), bool(np.any(truncated)))

    def _check_observation(self, observation: PyTree, where: str, when: str, ended: bool = False) -> None:
        check_value(self.findings, self.observation_space, observation, where, when)
        if not ended and isinstance(observation, Mapping) and ACTION_MASK in observation:
            check_mask(self.findings, observation[ACTION_MASK], where)
        self.latest = observation, _content(_Outcome(observation, 0.0, False, False))

    def _check_latest(self, where: str) -> None:
        """Has this call written into the observation that the call before it returned?"""
        observation, content = self.latest
        now = _content(_Outcome(observation, 0.0, False, False)) if content else {}
        for name in (name for name in now if now[name] != content[name]):
            self.findings.warning(
                f"step() -> {name}",
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


def _kinds(value: Any) -> str:
    """The type of a value, or those in a tuple."""
    return f"({', '.join(map(_kinds, value))})" if isinstance(value, tuple) else type(value).__name__
