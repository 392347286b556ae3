"""What an algorithm knows of its environment."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Spaces:
    """What is observed and what is done: the part of a spec that a network's static structure holds."""

    observation: Any  #: a ``gymnasium.Space``
    action: Any  #: a ``gymnasium.Space``

    def __hash__(self) -> int:  # Gymnasium's spaces have equality but no hash
        return hash((repr(self.observation), repr(self.action)))


@dataclass(frozen=True)
class EnvironmentSpec:
    """What an algorithm may know of its environment before the first step."""

    id: str
    observation_space: Any  #: a ``gymnasium.Space``
    action_space: Any  #: a ``gymnasium.Space``
    n_envs: int = 1  #: environments stepped side by side, the ``B`` of every batch
    agents: tuple[str, ...] = ()  #: names by which rewards are paid where there are several agents
    model: Any = None  #: the environment itself, if it is in JAX: for planning
    goals: Any = None  #: where goals are observed, what reaching one pays, as ``GoalEnvironment`` has it
    reward: Any = None  #: a function of observation, action and next observation to reward and end, where it is known

    def __hash__(self) -> int:
        return hash((self.id, self.spaces, self.n_envs, self.agents))

    @property
    def spaces(self) -> Spaces:
        return Spaces(self.observation_space, self.action_space)

    def of_agent(self, agent: str) -> "EnvironmentSpec":
        """What one of several agents knows: its own spaces."""
        return EnvironmentSpec(self.id, self.observation_space[agent], self.action_space[agent], self.n_envs)
