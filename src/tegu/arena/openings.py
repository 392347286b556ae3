"""Openings: the random moves with which games begin, so that players who never vary do not repeat one game."""

from typing import NamedTuple

import jax
import numpy as np

from tegu.arena.players import RandomPlayer
from tegu.arena.positions import begin, play
from tegu.arena.solve import SolvedGame, solve
from tegu.core.errors import TeguError
from tegu.environments.games.base import Game, Position

PLIES = 4  #: random moves before the players take over
_SMALL = 5_000  # positions of a game that is solved in a moment; tic-tac-toe has 4,520
_ATTEMPTS = 100  # times that openings which will not do are drawn again


class Openings(NamedTuple):
    """Where the games of a match begin."""

    positions: Position  #: ``[N, ...]``, the game not over in any
    plies: int  #: random moves that led there
    balanced: bool  #: whether perfect play ends from each as it ends from the start of the game
    moves: np.ndarray  #: int32 ``[N, plies]``: the actions that led there

    def __str__(self) -> str:
        if not self.plies:
            return "no random opening"
        moves = f"{self.plies} random move{'s' * (self.plies > 1)}"
        return f"{moves} that leave the result of perfect play as it was" if self.balanced else moves


def draw(game: Game, n: int, plies: int | None, key: jax.Array) -> Openings:
    """``n`` openings of so many random moves, whatever they lead to.

    ``None``: of ``PLIES``, or of fewer where games are that short; and if the game is small enough to be solved, of
    those only that are balanced, as a perfect player would lose the others.
    """
    if plies is not None:
        positions, moves = _drawn(game, n, plies, key)
        return Openings(positions, plies, plies == 0, moves)
    solution = _solution(game)
    for fewer in range(PLIES, 0, -1):
        try:
            positions, moves = _drawn(game, n, fewer, key, solution)
            return Openings(positions, fewer, solution is not None, moves)
        except TeguError:  # hardly any game gets that far
            continue
    return Openings(begin(game, n), 0, True, np.zeros((n, 0), np.int32))


def openings(game: Game, n: int, plies: int, key: jax.Array) -> Position:
    """``n`` positions after ``plies`` random moves, the game not over in any: where it was, they are drawn again."""
    return _drawn(game, n, plies, key)[0]


def _drawn(
    game: Game, n: int, plies: int, key: jax.Array, solution: SolvedGame | None = None
) -> tuple[Position, np.ndarray]:
    """The same with the moves, int32 ``[n, plies]``.

    With the game's ``solution``, those that are worth more or less to the first player than the start are drawn again.
    """
    found, moves = begin(game, n), np.zeros((n, plies), np.int32)
    missing = np.arange(n)
    for attempt in range(_ATTEMPTS):
        positions, live, tried = begin(game, n), np.ones(n, bool), np.zeros_like(moves)
        for ply in range(plies):
            move_key = jax.random.fold_in(jax.random.fold_in(key, attempt), ply)
            tried[:, ply] = RandomPlayer().act(positions, move_key)
            timestep = play(game, positions, tried[:, ply])
            positions, live = timestep.state, live & ~timestep.terminated
        good = missing[live[missing]]
        if solution is not None:
            good = good[_balanced(game, solution, {name: leaf[good] for name, leaf in positions.items()})]
        for name, leaf in found.items():
            leaf[good] = positions[name][good]
        moves[good] = tried[good]
        missing = np.setdiff1d(missing, good)
        if len(missing) == 0:
            return found, moves
    raise TeguError(f"{game.id} is nearly always over after {plies} random moves: openings must be shorter")


def _balanced(game: Game, solution: SolvedGame, positions: Position) -> np.ndarray:
    """Whether each of some positions is worth to the first player what the start is."""
    (start,) = solution.values(begin(game, 1))
    return solution.values(positions) * np.where(positions["to_play"] == 0, 1, -1) == start


def _solution(game: Game) -> SolvedGame | None:
    """What positions are worth, if the game is small enough to find out."""
    try:
        return solve(game, _SMALL)
    except TeguError:
        return None
