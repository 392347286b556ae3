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
        return Openings(openings(game, n, plies, key), plies, balanced=plies == 0)
    solution = _solution(game)
    for fewer in range(PLIES, 0, -1):
        try:
            return Openings(openings(game, n, fewer, key, solution), fewer, solution is not None)
        except TeguError:  # hardly any game gets that far
            continue
    return Openings(begin(game, n), 0, balanced=True)


def openings(game: Game, n: int, plies: int, key: jax.Array, solution: SolvedGame | None = None) -> Position:
    """``n`` positions after ``plies`` random moves, the game not over in any: where it was, they are drawn again.

    With the game's ``solution`` so are those that are worth more or less to the first player than the start.
    """
    found = begin(game, n)
    missing = np.arange(n)
    for attempt in range(_ATTEMPTS):
        positions, live = begin(game, n), np.ones(n, bool)
        for ply in range(plies):
            move_key = jax.random.fold_in(jax.random.fold_in(key, attempt), ply)
            timestep = play(game, positions, RandomPlayer().act(positions, move_key))
            positions, live = timestep.state, live & ~timestep.terminated
        good = missing[live[missing]]
        if solution is not None:
            good = good[_balanced(game, solution, {name: leaf[good] for name, leaf in positions.items()})]
        for name, leaf in found.items():
            leaf[good] = positions[name][good]
        missing = np.setdiff1d(missing, good)
        if len(missing) == 0:
            return found
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
