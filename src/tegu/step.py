"""The words every part of Tegu shares: a step, a decision, and what an algorithm knows of its environment."""

from dataclasses import dataclass, field
from functools import reduce
from operator import and_, or_
from typing import Any, NamedTuple

import jax

# Calls run in the thread that makes them: acting on a small batch takes 30 us instead of 90 (PPO, 8 environments, 2
# cores). JAX reads this once, before its first computation, and knows no environment variable for it.
jax.config.update("jax_cpu_enable_async_dispatch", False)

PyTree = Any


class Step(NamedTuple):
    """One decision and what came of it. Stacked in time and over environments every leaf is ``[T, B, ...]``."""

    observation: PyTree  #: what the policy saw
    action: PyTree  #: what the policy chose, before the mapping to the environment's bounds
    reward: PyTree  #: float32; by agent where there are several
    next_observation: PyTree  #: the true next observation, never the one after an automatic reset
    terminated: PyTree  #: bool: the task ended, no reward follows; by agent where they may leave on their own
    truncated: PyTree  #: bool: only the clock ran out, bootstrap from ``next_observation``
    extras: PyTree = ()  #: what ``act`` wants ``update`` to see again


class Decision(NamedTuple):
    """What ``Algorithm.act`` returns for a batch of ``B`` observations."""

    action: PyTree  #: ``[B, ...]``
    memory: PyTree = ()  #: recurrent state to hand to the next call, ``[B, ...]``
    extras: PyTree = ()  #: kept in ``Step.extras``, ``[B, ...]``


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


def over(terminated: PyTree, truncated: PyTree) -> Any:
    """Whether an episode has ended: for every agent, where they end on their own. Works on JAX and NumPy arrays."""
    return reduce(and_, jax.tree.leaves(jax.tree.map(or_, terminated, truncated)))


def own(tree: PyTree, agent: str) -> Any:
    """An agent's own part of what is the same for all or given by agent."""
    return tree[agent] if isinstance(tree, dict) else tree
