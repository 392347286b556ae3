"""Checks of PettingZoo's environments, in which several agents act at once."""

import copy
import time
import warnings
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
from gymnasium import spaces

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
from tegu.check.spaces import (
    check_actions,
    check_mask,
    check_mask_space,
    check_value,
    checked_space,
    describe,
    describe_each,
    form,
)
from tegu.check.trial import StepResult, facts_of
from tegu.core.step import PyTree
from tegu.environments.adapters.pettingzoo import as_parallel
from tegu.spaces.features import ACTION_MASK

_RETURNED = ("observation", "reward", "terminated", "truncated", "info")


def check_pettingzoo(environment: Any, steps: int, seed: int) -> Report:
    """``environment``: a ``ParallelEnv``, or an ``AECEnv`` that says that it can be converted to one."""
    parallel, findings = as_parallel(environment), Findings()
    facts: Facts = {"kind": "PettingZoo"}
    with suppress(Halt):
        agents = _possible_agents(parallel, findings)
        facts["agents"] = ", ".join(agents)
        observation, action = (_spaces(parallel, kind, agents, findings) for kind in ("observation", "action"))
        check_actions(findings, "action_space", spaces.Dict(action))
        for agent in agents:
            check_mask_space(findings, f'observation_space("{agent}")', observation[agent], action[agent])
        facts |= {"observation_spaces": describe_each(observation), "action_spaces": describe_each(action)}
        _check_metadata(parallel, findings)
        trial = _Trial(parallel, findings, observation, action, seed)
        facts |= facts_of(trial, steps, seed)
        facts["leave_early"] = ", ".join(agent for agent in agents if agent in trial.early) or "nobody"
        check_picture(parallel, findings)
    return Report(str(environment), findings.all(), facts)


def _possible_agents(parallel: Any, findings: Findings) -> list[str]:
    """The names of all agents. Halts without them."""
    agents, hint = getattr(parallel, "possible_agents", None), 'possible_agents = ["first", "second"]'
    expected = "a list of names, of all agents there can ever be"
    if not isinstance(agents, list | tuple) or not agents:
        findings.error("possible_agents", "does not name the agents", expected, repr(agents), hint)
    elif not all(isinstance(agent, str) for agent in agents):
        findings.error("possible_agents", "holds what is not text", expected, repr(agents), hint)
    elif len(set(agents)) < len(agents):
        findings.error("possible_agents", "names an agent twice", expected, repr(agents))
    else:
        return list(agents)
    raise Halt


def _spaces(parallel: Any, kind: str, agents: list[str], findings: Findings) -> dict[str, spaces.Space]:
    """The space of every agent. Halts where one is missing."""
    found = {}
    for agent in agents:
        where = f'{kind}_space("{agent}")'
        with findings.calling(where), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PettingZoo's about its dicts of spaces, which serve as well
            space, again = (getattr(parallel, f"{kind}_space")(agent) for _ in range(2))
        declared = checked_space(findings, where, space, "return a gymnasium.spaces.Box(...) or Discrete(n)")
        if space != again:
            findings.error(where, "is another one at every call", describe(space), describe(again))
        if declared is not None:
            found[agent] = declared
    if len(found) < len(agents):
        raise Halt
    return found


def _check_metadata(parallel: Any, findings: Findings) -> None:
    metadata, mode = getattr(parallel, "metadata", None), getattr(parallel, "render_mode", None)
    if not isinstance(metadata, dict) or "name" not in metadata:
        expected = '{"name": "tag_v0", "render_modes": ["rgb_array"], "render_fps": 10}'
        findings.warning("metadata", "does not name the environment", expected, repr(metadata))
    elif mode is not None and mode not in metadata.get("render_modes", []):
        expected, hint = f"one of {metadata.get('render_modes', [])}", f'add "{mode}" to metadata["render_modes"]'
        findings.warning("render_mode", "is not among the declared ones", expected, repr(mode), hint)


class _Trial:
    """One environment, every call of which is looked at; see ``check_trial``."""

    limit: int | None = None
    how_to_end = "truncate all agents after some number of steps"
    how_to_repeat = "draw only from a generator that reset() makes: np.random.default_rng(seed)"

    def __init__(
        self,
        parallel: Any,
        findings: Findings,
        observation_spaces: dict[str, spaces.Space],
        action_spaces: dict[str, spaces.Space],
        seed: int,
    ):
        self.parallel, self.findings = parallel, findings
        self.observation_spaces, self.agents = observation_spaces, list(observation_spaces)
        self.action_spaces = copy.deepcopy(action_spaces)  # the environment may draw from its own
        for number, space in enumerate(self.action_spaces.values()):
            space.seed(seed + number)
        with findings.calling("reset()"):
            hint = "and draw from a generator made there: self.random = np.random.default_rng(seed)"
            expected = "reset(self, seed=None, options=None)"
            self.keywords = reset_keywords(parallel.unwrapped.reset, findings, expected, hint)
        self.seconds = 0.0
        self.taken = 0
        self.latest = Latest(findings)
        self.left: set[str] = set()  # in this episode
        self.early: set[str] = set()  # before the others, in any episode

    def random_action(self, observation: PyTree) -> Any:
        """For everybody who is there."""
        return {agent: random_action(self.action_spaces[agent], observation.get(agent)) for agent in self._here()}

    def reset(self, seed: int, when: str = "") -> StepResult:
        keywords: dict[str, Any] = {"seed": seed, "options": None}
        with self.findings.calling(f"reset(){when}"):
            result = self.parallel.reset(**{name: keywords[name] for name in self.keywords})
            self.latest.check("reset()")
        if not (isinstance(result, tuple) and len(result) == 2 and all(isinstance(part, dict) for part in result)):
            expected = "(observation, info), two dicts by agent"
            self.findings.error(f"reset(){when}", "does not return two dicts", expected, form(result))
            raise Halt
        self.left = set()
        if not self._here():
            self.findings.error("agents", f"is empty after reset(){when}", f"some of {self.agents}", "nobody")
            raise Halt
        return StepResult(self._seen(result[0], self._here(), "reset() -> observation", when))

    def step(self, action: Any) -> StepResult:
        """The outcome for all agents, those who have left at rest, as the loops see it."""
        given, here = copy.deepcopy(action), self._here()
        with self.findings.calling("step()"):
            started = time.perf_counter()
            result = self.parallel.step(given)
            self.seconds += time.perf_counter() - started
            self.taken += 1
            self.latest.check("step()")
            check_action_kept(self.findings, action, given)
        observation, reward, terminated, truncated = self._parts(result, here)
        when = f" at step {self.taken}"
        for name, flags in (("terminated", terminated), ("truncated", truncated)):
            for agent in here:
                check_flag(self.findings, flags[agent], f'step() -> {name}["{agent}"]', when)
        outcome = StepResult(
            {},
            dict.fromkeys(self.agents, 0.0) | {agent: self._pay(reward[agent], agent, when) for agent in here},
            dict.fromkeys(self.agents, True) | {agent: bool(np.any(terminated[agent])) for agent in here},
            dict.fromkeys(self.agents, False) | {agent: bool(np.any(truncated[agent])) for agent in here},
        )
        self._check_leaving(outcome, here, when)
        if not self._here():  # over, whatever the flags say
            outcome = outcome._replace(terminated=dict.fromkeys(self.agents, True))
        return outcome._replace(observation=self._seen(observation, here, "step() -> observation", when))

    def _here(self) -> list[str]:
        """Who is there, by what the environment says. Halts where it says nothing sensible."""
        agents = getattr(self.parallel, "agents", None)
        strangers = [] if agents is None else [agent for agent in agents if agent not in self.agents]
        if agents is None or strangers:
            problem = "is missing" if agents is None else "holds somebody who is not among possible_agents"
            got = "" if agents is None else repr(strangers[0])
            self.findings.error("agents", problem, f"a list of those of {self.agents} who are there", got)
            raise Halt
        return list(agents)

    def _parts(self, result: Any, here: list[str]) -> list[dict[str, Any]]:
        """What a step returned, without the infos. Halts where it cannot be read."""
        expected = f"({', '.join(_RETURNED)}), five dicts by agent"
        if not (isinstance(result, tuple) and len(result) == 5 and all(isinstance(part, dict) for part in result)):
            self.findings.error("step()", "does not return five dicts", expected, form(result))
            raise Halt
        for name, part in zip(_RETURNED[:4], result, strict=False):
            for agent in (agent for agent in here if agent not in part):
                where, got = f'step() -> {name}["{agent}"]', f"only {', '.join(part) or 'nobody'} at step {self.taken}"
                self.findings.error(where, "is missing", "an entry for everybody who acted", got)
            late = [agent for agent in part if agent in self.left and agent not in self._here()]
            if late:
                where, got = f'step() -> {name}["{late[0]}"]', f"one at step {self.taken}"
                problem, hint = "is given to an agent that has left", "nobody learns from it"
                self.findings.warning(where, problem, "no entry", got, hint)
        if any(agent not in part for part in result[:4] for agent in here):
            raise Halt
        return list(result[:4])

    def _pay(self, reward: Any, agent: str, when: str) -> float:
        return checked_reward(self.findings, reward, f'step() -> reward["{agent}"]', when)

    def _check_leaving(self, outcome: StepResult, here: list[str], when: str) -> None:
        """Whoever has ended leaves ``agents`` at once and for this episode; nobody else does."""
        after = self._here()
        for agent in here:
            ended = outcome.terminated[agent] or outcome.truncated[agent]
            name = "terminated" if outcome.terminated[agent] else "truncated"
            if ended and agent in after:
                expected, got = f"agents without {agent!r}", f"{name}{when}, and still in agents"
                hint = "take it out of self.agents in the step that ends it; else it is asked to act again"
                self.findings.error("agents", "an agent stays whose episode is over", expected, got, hint)
            elif not ended and agent not in after:
                where, expected = f'step() -> terminated["{agent}"]', "terminated or truncated where an agent leaves"
                hint = "terminated if its task is over, truncated if only the time is"
                self.findings.error(where, "an agent leaves without a reason", expected, f"neither{when}", hint)
        for agent in (agent for agent in after if agent in self.left):
            expected = "nobody comes back before reset()"
            self.findings.error("agents", "an agent that had left is back", expected, f"{agent!r}{when}")
        self.left |= set(here) - set(after)
        self.early |= self.left if after else set()

    def _seen(self, observation: PyTree, here: list[str], where: str, when: str) -> PyTree:
        """The observations of those who are ``here``."""
        for agent in here:
            place = f'{where}["{agent}"]'
            if agent not in observation:
                self.findings.error(place, "is missing", "an entry for everybody in agents", ", ".join(observation))
                raise Halt
            check_value(self.findings, self.observation_spaces[agent], observation[agent], place, when)
            if isinstance(observation[agent], Mapping) and ACTION_MASK in observation[agent] and agent in self._here():
                check_mask(self.findings, observation[agent][ACTION_MASK], place)
        seen = {agent: observation[agent] for agent in here}
        self.latest.now(seen)
        return seen
