"""Exact answers for small games: the value of every position, and a player against all possible replies."""

import math
from typing import NamedTuple

import jax
import numpy as np

from tegu.arena.base import GameResults, Player
from tegu.arena.positions import begin, play, take
from tegu.core.errors import TeguError
from tegu.environments.games.base import PLAYERS, Game, Position

LIMIT = 50_000  #: positions up to which a game is solved; tic-tac-toe has 4,520 in which the game goes on
_BATCH = 64  # positions shown to a player at once in ``exhaustive``: always as many, so that a search compiles once


class SolvedGame:
    """What every position of a game is worth under perfect play."""

    def __init__(self, game: Game, index: dict[bytes, int], action_values: np.ndarray):
        self.game, self._index, self._action_values = game, index, action_values

    def __len__(self) -> int:
        """Positions in which the game goes on."""
        return len(self._index)

    def action_values(self, positions: Position) -> np.ndarray:
        """What each action is worth to the player to move: 1, 0 or -1, ``-inf`` if illegal; float32 ``[B, A]``."""
        try:
            return self._action_values[[self._index[key] for key in _keys(positions)]]
        except KeyError:
            raise TeguError(f"no game of {self.game.id} leads to a position that was asked for") from None

    def values(self, positions: Position) -> np.ndarray:
        """What the positions are worth to the player to move: 1, 0 or -1; float32 ``[B]``."""
        return self.action_values(positions).max(axis=1)


class _Level(NamedTuple):
    """The positions after some number of plies, and what becomes of them. ``M`` moves are legal in all together."""

    rows: np.ndarray  #: int ``[M]``: in which position
    actions: np.ndarray  #: int ``[M]``
    rewards: np.ndarray  #: float32 ``[M]``: of the player who moved
    onward: np.ndarray  #: int ``[M]``: row of what comes next in the next level, -1 where the game is over


def solve(game: Game, limit: int = LIMIT) -> SolvedGame:
    """Find every position of ``game`` ply by ply, then value them from the end backwards.

    Raises ``TeguError`` as soon as there are more than ``limit``.
    """
    positions, levels, keys = begin(game, 1), list[_Level](), list[bytes]()
    while len(positions["to_play"]):
        keys += _keys(positions)
        if len(keys) > limit:
            raise TeguError(f"{game.id} is too large to be solved: it has more than {limit:,} positions")
        level, positions = _expand(game, positions)
        levels.append(level)
    action_values = _backwards(levels, positions["action_mask"].shape[1])
    return SolvedGame(game, {key: row for row, key in enumerate(keys)}, action_values)


def exhaustive(game: Game, player: Player, side: str, key: jax.Array) -> GameResults:
    """Let ``player`` play as ``side``, ``"first"`` or ``"second"``, against every sequence of replies there is.

    It is asked anew in each game, also where games meet in one position. Raises ``TeguError`` if more than ``LIMIT``
    games run side by side.
    """
    if side not in PLAYERS:
        raise TeguError(f"side must be first or second, got {side!r}")
    positions, results = begin(game, 1), GameResults()
    while n := len(positions["to_play"]):
        if n > LIMIT:
            raise TeguError(f"{game.id} is too large to try every reply: more than {LIMIT:,} games at once")
        if PLAYERS[positions["to_play"][0]] == side:
            key, act_key = jax.random.split(key)
            rows, actions = np.arange(n), _act_in_batches(player, positions, act_key)
        else:
            rows, actions = np.nonzero(positions["action_mask"])
        timestep = play(game, take(positions, rows), actions)
        results = results.plus(GameResults.of(timestep.reward[side][timestep.terminated]))
        positions = take(timestep.state, np.flatnonzero(~timestep.terminated))
    return results


def _expand(game: Game, positions: Position) -> tuple[_Level, Position]:
    """Every legal move in every position, and the distinct positions that come next."""
    rows, actions = np.nonzero(positions["action_mask"])
    timestep = play(game, take(positions, rows), actions)
    goes_on = np.flatnonzero(~timestep.terminated)
    number = dict[bytes, int]()
    onward = np.full(len(rows), -1)
    onward[goes_on] = [number.setdefault(key, len(number)) for key in _keys(take(timestep.state, goes_on))]
    _, first = np.unique(onward[goes_on], return_index=True)
    rewards = np.choose(positions["to_play"][rows], [timestep.reward[player] for player in PLAYERS])
    return _Level(rows, actions, rewards, onward), take(timestep.state, goes_on[first])


def _backwards(levels: list[_Level], n_actions: int) -> np.ndarray:
    """Action values ``[N, A]`` of the positions of all levels, one level after the other: negamax."""
    found, values = list[np.ndarray](), np.zeros(1, np.float32)
    for level in reversed(levels):
        action_values = np.full((level.rows[-1] + 1, n_actions), -np.inf, np.float32)
        action_values[level.rows, level.actions] = np.where(level.onward < 0, level.rewards, -values[level.onward])
        values = action_values.max(axis=1)
        found.append(action_values)
    return np.concatenate(found[::-1])


def _keys(positions: Position) -> list[bytes]:
    """Positions as bytes: the same for the same position."""
    leaves = [np.asarray(positions[name]) for name in sorted(positions)]
    n = len(leaves[0])
    flat = np.concatenate([leaf.reshape(n, math.prod(leaf.shape[1:])).astype(np.int32) for leaf in leaves], axis=1)
    return [row.tobytes() for row in flat]


def _act_in_batches(player: Player, positions: Position, key: jax.Array) -> np.ndarray:
    """The actions ``[B]`` of ``player``, who sees ``_BATCH`` positions at a time; the last ones are filled up."""
    n = len(positions["to_play"])
    actions = []
    for index, start in enumerate(range(0, n, _BATCH)):
        rows = np.minimum(np.arange(start, start + _BATCH), n - 1)
        actions.append(player.act(take(positions, rows), jax.random.fold_in(key, index)))
    return np.concatenate(actions)[:n]
