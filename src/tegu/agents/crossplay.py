"""Cross-play: one team of an environment played by one agent, the other team by another agent."""

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

Teams = Mapping[str, tuple[str, ...]]  #: two teams by name: every agent of the environment is in one of them


class CrossPlay(eqx.Module):
    """What an evaluation takes for an ``Algorithm``: it asks each player for all actions and takes those of its team.

    Learners and recurrent states are pairs, one of each player.
    """

    players: tuple[Algorithm, ...]
    teams: tuple[tuple[str, ...], ...] = eqx.field(static=True)

    def at(self, clock: Clock) -> Self:
        """Unchanged: each player has a clock of its own."""
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
        for index, (player, team) in enumerate(zip(self.players, self.teams, strict=True)):
            own_key = jax.random.fold_in(key, index)
            decision = player.act(learners[index], observation, memory[index], own_key, explore=explore)
            action |= {agent: decision.action[agent] for agent in team}
            memories.append(decision.memory)
        return Decision(action, tuple(memories))


def crossplay(
    agents: Sequence[Agent], teams: Teams, *, episodes: int = 1000, seed: int = 0, deterministic: bool = True
) -> dict[tuple[int, int], Evaluation]:
    """Every agent on the first of the ``teams`` against every agent on the second, itself included.

    Each pair of seeds, the i-th of one agent and the i-th of the other, plays ``episodes`` episodes from the same
    first states as every other pair. Returns evaluations ``[seeds, episodes]`` by the indices of the two agents.
    """
    environment = shared_environment(agents)
    n_seeds = min(len(agent.seeds) for agent in agents)
    seeds = tuple(range(seed, seed + n_seeds))
    evaluation = JaxEvaluator(None, environment, seeds, episodes, deterministic)
    learners = [jax.tree.map(lambda leaf: leaf[:n_seeds], agent.learners) for agent in agents]
    found = {}
    for i, one in enumerate(agents):
        for j, other in enumerate(agents):
            players = one.algorithm.at(one.clock), other.algorithm.at(other.clock)
            evaluation.algorithm = CrossPlay(players, tuple(teams.values()))
            found[i, j] = evaluation((learners[i], learners[j]), one.clock)
    return found


def shared_environment(agents: Sequence[Agent]) -> Environment:
    """The environment that all agents were trained in. Raises ``TeguError`` if they differ, or if it is not in JAX."""
    first = agents[0]
    for agent in agents:
        environment = agent.source.native if agent.source is not None else None
        if environment is None:
            raise TeguError(f"cross-play needs an environment in JAX, {agent.spec.id} is not")
        if isinstance(environment, Game):
            raise TeguError(f"{agent.spec.id} is a board game: use tegu arena")
        if not environment.agents:
            raise TeguError(f"cross-play needs a multi-agent environment, {agent.spec.id} has one agent")
        if not _same(first, agent):
            raise TeguError(
                f"{_name(first)} and {_name(agent)} were not trained in the same environment: name or options differ"
            )
    assert first.source is not None
    assert first.source.native is not None
    return first.source.native


def teams_of(environment: Environment, given: Sequence[Sequence[str]] = ()) -> Teams:
    """The two teams: the environment's own, or ``given`` ones (one team against all others, or both)."""
    agents = environment.agents
    if not given:
        if len(environment.teams) != 2:
            raise TeguError(
                f"{environment.id} defines no teams: name the agents of one team, out of {', '.join(agents)}"
            )
        return environment.teams
    for name in (name for team in given for name in team):
        if name not in agents:
            near = difflib.get_close_matches(name, agents, n=1)
            hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(agents)}"
            raise TeguError(f"{environment.id} has no agent {name!r}: {hint}")
    teams = [tuple(team) for team in given]
    if len(teams) == 1:
        teams.append(tuple(agent for agent in agents if agent not in teams[0]))
    together = [agent for team in teams for agent in team]
    if len(teams) != 2 or sorted(together) != sorted(agents) or not all(teams):
        raise TeguError(f"the two teams must contain each of {', '.join(agents)} once, got {_described(teams)}")
    return {"+".join(team): team for team in teams}


def _same(one: Agent, other: Agent) -> bool:
    environments = [agent.source.native for agent in (one, other) if agent.source is not None]
    spaces = [(agent.spec.observation_space, agent.spec.action_space) for agent in (one, other)]
    return spaces[0] == spaces[1] and bool(eqx.tree_equal(*environments))


def _name(agent: Agent) -> str:
    return agent.run.name if agent.run is not None else repr(agent)


def _described(teams: Sequence[Any]) -> str:
    return " against ".join(",".join(team) or "no agent" for team in teams)
