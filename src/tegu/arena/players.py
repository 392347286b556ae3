"""Players: random, minimax, plain Monte Carlo tree search, and trained agents."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np

from tegu.agents.agent import Agent
from tegu.algorithms.base import Algorithm
from tegu.algorithms.hyper_parameters import settings_of
from tegu.algorithms.registry import unknown
from tegu.arena.base import ExpectedEnd, Explanation
from tegu.arena.solve import solve
from tegu.arena.uct import search
from tegu.core.code import is_code
from tegu.core.errors import TeguError
from tegu.environments.games.base import Game, Position
from tegu.search.planning import Search

_NODES = 2**20  # tree nodes held at once by ``MCTSPlayer``: about 150 MB for Connect Four


class RandomPlayer:
    """Any legal action, all with the same probability; some action where none is legal."""

    name = "random"

    def act(self, positions: Position, key: jax.Array) -> np.ndarray:
        return _any_of(np.asarray(positions["action_mask"], bool), key)


class MinimaxPlayer:
    """Perfect play in a small game, which is solved once: any of the best actions, all with the same probability.

    Of several wins it does not prefer the quickest. Raises ``TeguError`` for games larger than ``tegu.arena.solve``
    takes on.
    """

    name = "minimax"

    def __init__(self, game: Game):
        self._solution = solve(game)

    def act(self, positions: Position, key: jax.Array) -> np.ndarray:
        return _any_of(_is_best(self._solution.action_values(positions)), key)

    def explain(self, position: Position, key: jax.Array) -> Explanation:
        """The policy is what ``act`` draws from; values are exact."""
        (values,) = self._solution.action_values(_one(position))
        best = _is_best(values)
        return Explanation(best / best.sum(), float(values.max()), np.where(np.isinf(values), np.nan, values))


class MCTSPlayer:
    """Plain UCT with ``rollouts`` random rollouts for each move (``tegu.arena.uct``); the most visited action."""

    def __init__(self, game: Game, rollouts: int):
        if rollouts < 1:
            raise TeguError(f"mcts needs at least 1 rollout, got {rollouts}")
        self.name = f"mcts:{rollouts}"
        self._game, self._rollouts = game, rollouts

    def act(self, positions: Position, key: jax.Array) -> np.ndarray:
        parts = -(-len(positions["to_play"]) * self._rollouts // _NODES)
        visits = [
            np.asarray(search(self._game, part, self._rollouts, jax.random.fold_in(key, number))[0])
            for number, part in enumerate(_split(positions, parts))
        ]
        return _any_of(_is_best(np.concatenate(visits)), key)

    def explain(self, position: Position, key: jax.Array) -> Explanation:
        """The policy is the fraction of visits, an action's value the mean result of its rollouts."""
        searched = search(self._game, _one(position), self._rollouts, jax.random.fold_in(key, 0))
        visits, wins = (np.asarray(array)[0] for array in searched)
        values = 2 * wins / np.where(visits > 0, visits, np.nan) - 1
        value = float(2 * wins.sum() / visits.sum() - 1)
        return Explanation(visits / visits.sum(), value, values, visits.astype(int))


@runtime_checkable
class Plans(Protocol):
    """An algorithm that searches before it acts, as ``AlphaZero`` does."""

    simulations: int  #: of each search

    def plan(self, learner: Any, positions: Position, key: jax.Array, *, simulations: int, explore: bool) -> Search:
        """What a search of positions ``[B, ...]`` finds."""
        ...


@runtime_checkable
class LearnsEnd(Protocol):
    """An algorithm that learns what the board will be at the end of a game, as ``AlphaZero`` may."""

    def expected_end(self, learner: Any, positions: Position) -> dict[str, jax.Array]:
        """``"ownership"`` ``[B, H, W]`` and ``"score"`` ``[B]`` for the player to move, where they are learned."""
        ...


class AgentPlayer:
    """An agent that plays greedily, by what it has learned so far. ``index`` chooses among its seeds.

    ``simulations`` lets it search longer or shorter than in training, and ``settings`` are other values of its
    hyper-parameters. Raises ``TeguError`` if it plays another game, has fewer seeds, or does not search.
    """

    def __init__(
        self,
        agent: Agent,
        game: Game,
        name: str,
        *,
        index: int = 0,
        simulations: int | None = None,
        settings: Mapping[str, Any] = MappingProxyType({}),
    ):
        spaces = agent.spec.observation_space, agent.spec.action_space
        other = agent.spec.id != game.id and not is_code(agent.spec.id)  # code has an id of its own
        if other or spaces != (game.observation_space, game.action_space):
            raise TeguError(f"{name} plays {agent.spec.id}, not {game.id}")
        if not 0 <= index < len(agent.seeds):
            raise TeguError(f"{name}: seed_index must lie in 0..{len(agent.seeds) - 1}, got {index}")
        self.name = name
        self._agent, self._index, self._algorithm = agent, index, agent.algorithm
        if simulations is not None:
            if not isinstance(agent.algorithm, Plans):
                raise TeguError(f"{name} was trained with {agent.algorithm.name}, which does not search")
            settings = {"simulations": simulations, **settings}
        if settings:
            self._algorithm = _with_settings(agent, settings, name)
        self._act, self._plan = jax.jit(self._greedy), jax.jit(self._search)
        learns = self._algorithm if isinstance(self._algorithm, LearnsEnd) else None
        self._end = None if learns is None else jax.jit(lambda *given: learns.expected_end(*given))

    def act(self, positions: Position, key: jax.Array) -> np.ndarray:
        return np.asarray(self._act(self._agent.learner(self._index), positions, key))

    def explain(self, position: Position, key: jax.Array) -> Explanation | None:
        """What its search finds; None if it does not search."""
        if not isinstance(self._algorithm, Plans):
            return None
        found = self._plan(self._agent.learner(self._index), _one(position), key)
        found = jax.tree.map(lambda leaf: np.asarray(leaf)[0], found)
        end = self.expected_end(position)
        explanation = Explanation(found.policy, float(found.value), prior=found.prior, end=end)
        if not found.visits.any():  # a policy alone
            return explanation
        values = np.where(found.visits > 0, found.action_values, np.nan)
        return explanation._replace(action_values=values, visits=found.visits, lines=found.lines)

    def expected_end(self, position: Position) -> ExpectedEnd:
        if self._end is None:
            return ExpectedEnd()
        end = self._end(self._agent.learner(self._index), _one(position))
        score = float(end["score"][0]) if "score" in end else None
        return ExpectedEnd(score, np.asarray(end["ownership"])[0] if "ownership" in end else None)

    def _greedy(self, learner: Any, positions: Position, key: jax.Array) -> jax.Array:
        memory = self._algorithm.begin(learner, key, len(positions["to_play"]))
        return self._algorithm.act(learner, positions, memory, key, explore=False).action

    def _search(self, learner: Any, positions: Position, key: jax.Array) -> Search:
        assert isinstance(self._algorithm, Plans)
        return self._algorithm.plan(learner, positions, key, simulations=self._algorithm.simulations, explore=False)


def _with_settings(agent: Agent, settings: Mapping[str, Any], name: str) -> Algorithm:
    """The agent's algorithm with other values of some hyper-parameters, for acting with what was learned.

    Raises ``TeguError``, naming the player, where they do not fit, or need another learner.
    """
    known, wanted = settings_of(type(agent.algorithm)), dict[str, Any]()
    for key, value in settings.items():
        if key not in known:
            raise TeguError(unknown(key, known, f"{name}: {agent.algorithm.name}"))
        wanted[key] = known[key].parse(value, f"{name}: {key}")
    algorithm = replace(agent.algorithm, **wanted)
    algorithm.validate(agent.spec)
    before, after = (
        jax.eval_shape(partial(each.init, spec=agent.spec), jax.random.key(0)) for each in (agent.algorithm, algorithm)
    )
    if (jax.tree.structure(before), jax.tree.leaves(before)) != (jax.tree.structure(after), jax.tree.leaves(after)):
        raise TeguError(f"{name}: {' and '.join(settings)} cannot be changed any more: the learner would be another")
    return algorithm


def _any_of(choices: np.ndarray, key: jax.Array) -> np.ndarray:
    """One of the columns that are true in each row of ``choices`` ``[B, A]``, all with the same probability."""
    random = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    return np.where(choices, random.random(choices.shape), -1).argmax(axis=1)


def _is_best(values: np.ndarray) -> np.ndarray:
    return values == values.max(axis=-1, keepdims=True)


def _one(position: Position) -> Position:
    """A batch of one."""
    return {name: np.asarray(leaf)[None] for name, leaf in position.items()}


def _split(positions: Position, parts: int) -> list[Position]:
    """A batch in ``parts`` parts of nearly the same size."""
    n = len(positions["to_play"])
    return [{name: leaf[rows] for name, leaf in positions.items()} for rows in np.array_split(np.arange(n), parts)]
