"""PettingZoo's environments of several agents in the shape of Gymnasium's: the spaces are Dicts by agent."""

import sys
from collections.abc import Callable
from typing import Any

import gymnasium
from gymnasium import spaces

from tegu.errors import TeguError
from tegu.spaces import zeros
from tegu.step import PyTree


class ParallelEnvironment(gymnasium.Env):
    """A PettingZoo environment whose agents act at once; observations, actions, rewards and flags are dicts by agent.

    An agent that has left stays in the dicts: it observes zeros, is paid 0 and counts as terminated, so that its
    future is worth nothing. The episode is over when all have left.
    """

    def __init__(self, parallel: Any):
        """``parallel``: a ``pettingzoo.ParallelEnv``, or an ``AECEnv``, which is converted."""
        self.parallel = _parallel(parallel)
        self.possible_agents = list(self.parallel.possible_agents)
        self.observation_space = spaces.Dict({a: self.parallel.observation_space(a) for a in self.possible_agents})
        self.action_space = spaces.Dict({a: self.parallel.action_space(a) for a in self.possible_agents})
        self.metadata = {"render_fps": 10} | dict(self.parallel.metadata)
        self.render_mode = getattr(self.parallel, "render_mode", None)
        self._absent = zeros(self.observation_space)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[PyTree, dict[str, Any]]:
        observation, info = self.parallel.reset(seed=seed, options=options)
        return self._absent | observation, info

    def step(self, action: PyTree) -> tuple[PyTree, Any, Any, Any, dict[str, Any]]:
        """Act with the agents that are still there."""
        here = self.parallel.agents
        observation, reward, terminated, truncated, info = self.parallel.step({agent: action[agent] for agent in here})
        return (
            self._absent | observation,
            {agent: reward.get(agent, 0.0) for agent in self.possible_agents},
            {agent: agent not in here or terminated[agent] for agent in self.possible_agents},
            {agent: agent in here and truncated[agent] for agent in self.possible_agents},
            info,
        )

    def render(self) -> Any:
        return self.parallel.render()

    def close(self) -> None:
        self.parallel.close()


def is_pettingzoo(environment: Any) -> bool:
    """Whether an object is an environment of PettingZoo's, which is not imported to find out."""
    module = sys.modules.get("pettingzoo")
    return module is not None and isinstance(environment, module.ParallelEnv | module.AECEnv)


def _parallel(environment: Any) -> Any:
    from pettingzoo import AECEnv
    from pettingzoo.utils.conversions import aec_to_parallel

    if not isinstance(environment, AECEnv):
        return environment
    try:
        return aec_to_parallel(environment)
    except AssertionError as error:  # PettingZoo refuses environments in which order matters
        raise TeguError(f"{environment} cannot be converted to agents that act at once: {error}") from error


def mpe2(name: str) -> Callable[..., Any]:
    """The maker of the particle world ``name`` in the package that ours follow."""
    from importlib import import_module

    try:
        return import_module(f"mpe2.{name}").parallel_env
    except ImportError as error:
        raise TeguError(f"{name} of PettingZoo needs tegu[pettingzoo]: pip install 'tegu[pettingzoo]'") from error
