"""One side of a world played by one agent, the other by another."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, Self

import equinox as eqx
import jax

from tegu.acting.evaluation import Evaluation, JaxEvaluator
from tegu.agents.agent import Agent
from tegu.algorithms.base import Algorithm, Learner
from tegu.core.errors import TeguError
from tegu.core.schedule import Clock
from tegu.core.step import Decision, PyTree
from tegu.environments.base import Environment
from tegu.environments.games.base import Game

Sides = Mapping[str, tuple[str, ...]]  #: two groups of agents by name, of which everybody is in one


class CrossPlay(eqx.Module):
    """What an evaluation takes for an ``Algorithm``: it asks each player for all actions and takes those of its side.

    Learners and memories are pairs, one of each player.
    """

    players: tuple[Algorithm, ...]
    sides: tuple[tuple[str, ...], ...] = eqx.field(static=True)

    def at(self, clock: Clock) -> Self:
        """As it is: each player has a clock of its own."""
        return self

    def begin(self, learners: tuple[Learner, ...], key: jax.Array, n: int) -> PyTree:
        return tuple(
            player.begin(learner, jax.random.fold_in(key, index), n)
            for index, (player, learner) in enumerate(zip(self.players, learners, strict=True))
        )

    def act(
        self, learners: tuple[Learner, ...], observation: PyTree, memory: PyTree, key: jax.Array, *, explore: bool
    ) -> Decision:
        action: dict[str, jax.Array] = {}
        memories = []
        for index, (player, side) in enumerate(zip(self.players, self.sides, strict=True)):
            own_key = jax.random.fold_in(key, index)
            decision = player.act(learners[index], observation, memory[index], own_key, explore=explore)
            action |= {agent: decision.action[agent] for agent in side}
            memories.append(decision.memory)
        return Decision(action, tuple(memories))


def crossplay(
    agents: Sequence[Agent], sides: Sides, *, episodes: int = 1000, seed: int = 0, deterministic: bool = True
) -> dict[tuple[int, int], Evaluation]:
    """Every agent on the first of the ``sides`` against every agent on the second, itself included.

    Each pair of seeds, the i-th of one agent and the i-th of the other, plays the same ``episodes`` fresh beginnings,
    whoever the agents are. Returns evaluations ``[seeds, episodes]`` by the indices of the two agents.
    """
    environment = arena_of(agents)
    n_seeds = min(len(agent.seeds) for agent in agents)
    seeds = tuple(range(seed, seed + n_seeds))
    evaluation = JaxEvaluator(None, environment, seeds, episodes, deterministic)
    learners = [jax.tree.map(lambda leaf: leaf[:n_seeds], agent.learners) for agent in agents]
    found = {}
    for i, one in enumerate(agents):
        for j, other in enumerate(agents):
            players = one.algorithm.at(one.clock), other.algorithm.at(other.clock)
            evaluation.algorithm = CrossPlay(players, tuple(sides.values()))
            found[i, j] = evaluation((learners[i], learners[j]), one.clock)
    return found


def arena_of(agents: Sequence[Agent]) -> Environment:
    """The environment that all agents were trained in. Raises ``TeguError`` if it is not one, or not ours."""
    first = agents[0]
    for agent in agents:
        environment = agent.source.native if agent.source is not None else None
        if environment is None:
            raise TeguError(f"cross-play needs an environment in JAX, {agent.spec.id} is none")
        if isinstance(environment, Game):
            raise TeguError(f"{agent.spec.id} is a board game: let its players meet in tegu arena")
        if not environment.agents:
            raise TeguError(f"{agent.spec.id} has one agent alone, there is nobody to cross")
        if not _same(first, agent):
            raise TeguError(
                f"{_name(first)} and {_name(agent)} were not trained in the same world: name or options differ"
            )
    assert first.source is not None
    assert first.source.native is not None
    return first.source.native


def sides_of(environment: Environment, given: Sequence[Sequence[str]] = ()) -> Sides:
    """The environment's own two sides, or those that are ``given``: one against all others, or two."""
    agents = environment.agents
    if not given:
        if len(environment.sides) != 2:
            raise TeguError(f"{environment.id} has no two sides: say who plays together, of {', '.join(agents)}")
        return environment.sides
    for name in (name for side in given for name in side):
        if name not in agents:
            near = difflib.get_close_matches(name, agents, n=1)
            hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(agents)}"
            raise TeguError(f"{environment.id} has no agent {name!r}: {hint}")
    sides = [tuple(side) for side in given]
    if len(sides) == 1:
        sides.append(tuple(agent for agent in agents if agent not in sides[0]))
    together = [agent for side in sides for agent in side]
    if len(sides) != 2 or sorted(together) != sorted(agents) or not all(sides):
        raise TeguError(f"two sides must have each of {', '.join(agents)} once, got {_described(sides)}")
    return {"+".join(side): side for side in sides}


def _same(one: Agent, other: Agent) -> bool:
    environments = [agent.source.native for agent in (one, other) if agent.source is not None]
    spaces = [(agent.spec.observation_space, agent.spec.action_space) for agent in (one, other)]
    return spaces[0] == spaces[1] and bool(eqx.tree_equal(*environments))


def _name(agent: Agent) -> str:
    return agent.run.name if agent.run is not None else repr(agent)


def _described(sides: Sequence[Any]) -> str:
    return " against ".join(",".join(side) or "nobody" for side in sides)
