"""What an algorithm knows of its environment."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class EnvironmentSpec:
    """What an algorithm may know of its environment before the first step."""

    id: str
    observation_space: Any  #: a ``gymnasium.Space``
    action_space: Any  #: a ``gymnasium.Space``
    n_envs: int = 1  #: environments stepped side by side, the ``B`` of every batch
    agents: tuple[str, ...] = ()  #: names by which rewards are paid where there are several agents
    model: Any = field(
        default=None, compare=False, repr=False
    )  #: the environment itself, if it is in JAX: for planning

    def __hash__(self) -> int:  # spaces have equality but no hash, and a spec is part of a network's static structure
        return hash((self.id, repr(self.observation_space), repr(self.action_space), self.n_envs))

    def alone(self, agent: str) -> "EnvironmentSpec":
        """What one of several agents knows: its own spaces."""
        return EnvironmentSpec(self.id, self.observation_space[agent], self.action_space[agent], self.n_envs)
