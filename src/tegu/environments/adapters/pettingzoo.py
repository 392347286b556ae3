"""PettingZoo's environments of several agents in the shape of Gymnasium's: the spaces are Dicts by agent."""

import sys
from collections.abc import Collection, Mapping, Sequence
from reprlib import repr as shorten
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from tegu.core.errors import TeguError
from tegu.core.step import PyTree
from tegu.environments.adapters.contract import RESET, STEP, check_reset, flag_of, parts
from tegu.spaces.features import ACTION_MASK, zeros
from tegu.spaces.observations import nothing_legal


class ParallelEnvironment(gymnasium.Env):
    """A PettingZoo environment whose agents act at once; observations, actions, rewards and flags are dicts by agent.

    An agent that has left stays in the dicts: it observes zeros, is paid 0 and counts as terminated, so that its
    future is worth nothing. So does one that has yet to come, until the step in which it arrives. Who was said to have
    ended acts no more, also if it stays in ``agents``; who leaves without being said to have ended is cut. The episode
    is over when nobody is left.
    """

    def __init__(self, parallel: Any):
        """``parallel``: a ``pettingzoo.ParallelEnv``, or an ``AECEnv``, which is converted."""
        self.parallel = as_parallel(parallel)
        check_reset(self.parallel)
        self.possible_agents = _possible_agents(self.parallel)
        self._spaces = _spaces(self.parallel, "observation_space", self.possible_agents)
        self.observation_space = spaces.Dict(self._spaces)
        self.action_space = spaces.Dict(_spaces(self.parallel, "action_space", self.possible_agents))
        self.metadata = {"render_fps": 10} | getattr(self.parallel, "metadata", {})
        self.render_mode = getattr(self.parallel, "render_mode", None)
        self._absent = zeros(self.observation_space)
        self._gone: set[str] = set()  # who has ended in this episode

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[PyTree, dict[str, Any]]:
        observation, info = parts(self.parallel.reset(seed=seed, options=options), *RESET)
        self._gone = set()
        if not self._here():
            raise TeguError("reset() of the environment must begin an episode: nobody is in agents, expected who acts")
        _require_each(observation, self._here(), "reset", "observation")
        self._check_legal(observation)
        return self._seen(observation, self.parallel.agents), info

    def step(self, action: PyTree) -> tuple[PyTree, Any, Any, Any, dict[str, Any]]:
        """Act with the agents that are still there."""
        here = self._here()  # before the step: who leaves is often taken out of the very same list
        returned = parts(self.parallel.step({agent: action[agent] for agent in here}), *STEP)
        for name, by_agent in zip(STEP[1][:4], returned, strict=False):
            _require_each(by_agent, here, "step", name)
        observation, reward, terminated, truncated, info = returned
        ended = {agent for agent in here if flag_of(terminated[agent]) or flag_of(truncated[agent])}
        self._gone |= ended
        there = self._here()
        _require_each(observation, there, "step", "observation")
        self._check_legal(observation)
        cut = set(here) - ended - set(there)  # they left, and nobody said why
        return (
            self._seen(observation, [*here, *there]),
            {agent: reward[agent] if agent in here else 0.0 for agent in self.possible_agents},
            {
                agent: flag_of(terminated[agent]) if agent in here else agent not in there
                for agent in self.possible_agents
            },
            {agent: agent in cut or (agent in here and flag_of(truncated[agent])) for agent in self.possible_agents},
            info,
        )

    def render(self) -> Any:
        return self.parallel.render()

    def close(self) -> None:
        self.parallel.close()

    def _here(self) -> list[str]:
        """Who acts next."""
        agents = getattr(self.parallel, "agents", None)
        if not isinstance(agents, Collection) or isinstance(agents, str):
            raise TeguError(f"agents of the environment must be a list of who acts next, got {shorten(agents)}")
        here = [agent for agent in agents if agent not in self._gone]
        if unknown := [agent for agent in here if agent not in self._spaces]:
            raise TeguError(f"agents of the environment holds {unknown[0]!r}, which possible_agents does not name")
        return here

    def _check_legal(self, observation: PyTree) -> None:
        """Raise ``TeguError`` where the mask of one who acts next leaves no legal action."""
        for agent in self._here():
            space, seen = self._spaces[agent], observation.get(agent)
            has_mask = isinstance(space, spaces.Dict) and ACTION_MASK in space.spaces
            if has_mask and isinstance(seen, Mapping) and not np.any(seen.get(ACTION_MASK, True)):
                raise nothing_legal(f"the {ACTION_MASK} of {agent!r}", "its part of the episode")

    def _seen(self, observation: PyTree, here: list[str]) -> PyTree:
        """What all agents observe; zeros for those who are not ``here``."""
        return {agent: observation[agent] if agent in here else absent for agent, absent in self._absent.items()}


def _require_each(by_agent: Any, agents: Sequence[str], method: str, name: str) -> None:
    """Raise ``TeguError`` unless there is an entry for each of ``agents`` in what ``method`` returned as ``name``."""
    expected = f"{method}() of the environment must return {name} of each agent that acts, in a dict"
    if not isinstance(by_agent, Mapping):
        raise TeguError(f"{expected}: got {type(by_agent).__name__}")
    if missing := [agent for agent in agents if agent not in by_agent]:
        raise TeguError(f"{expected}: {missing[0]!r} lacks")


def is_pettingzoo(environment: Any) -> bool:
    """Whether an object is an environment of PettingZoo's, which is not imported to find out."""
    module = sys.modules.get("pettingzoo")
    return module is not None and isinstance(environment, module.ParallelEnv | module.AECEnv)


def as_parallel(environment: Any) -> Any:
    """An environment whose agents act at once, through PettingZoo's own conversion where they act in turn."""
    from pettingzoo import AECEnv
    from pettingzoo.utils.conversions import aec_to_parallel

    if not isinstance(environment, AECEnv):
        return environment
    try:
        return aec_to_parallel(environment)
    except AssertionError as error:  # PettingZoo refuses environments in which order matters
        raise TeguError(
            f"in {environment} agents act one after the other, and it does not say that they could act at once "
            '(metadata["is_parallelizable"])'
        ) from error


def _possible_agents(parallel: Any) -> list[str]:
    agents = getattr(parallel, "possible_agents", None)
    if not agents or not all(isinstance(agent, str) and agent.isprintable() for agent in agents):
        expected = "must name all agents there can ever be in possible_agents, as printable text"
        raise TeguError(f"{parallel} {expected}: got {shorten(agents)}")
    if len(set(agents)) < len(agents):
        raise TeguError(f"{parallel} must name each agent once in possible_agents: got {shorten(agents)}")
    return list(agents)


def _spaces(parallel: Any, name: str, agents: list[str]) -> dict[str, spaces.Space]:
    """The space of each agent."""
    of_agent: Any = getattr(parallel, name, None)
    found: dict[str, spaces.Space] = {}
    for agent in agents:
        space = of_agent(agent) if callable(of_agent) else None
        if not isinstance(space, spaces.Space):
            got = shorten(space if callable(of_agent) else of_agent)
            raise TeguError(f"{name}({agent!r}) of {parallel} must return a space of Gymnasium's: got {got}")
        found[agent] = space
    return found
