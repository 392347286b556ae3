"""Boards of Go on which more may happen than in a game: what records and the Go Text Protocol allow.

Either side may move at any time, also twice in a row and after two passes, and stones may be set up. Positions are
batches of one.
"""

from collections.abc import Mapping
from dataclasses import replace

import jax
import numpy as np

from tegu.arena.positions import begin, play
from tegu.core.errors import TeguError
from tegu.environments.games.base import Position
from tegu.environments.games.go import Go
from tegu.environments.games.go_rules import areas, board_hash

_areas = jax.jit(areas)


def with_to_play(game: Go, position: Position, side: int) -> Position:
    """The position with ``side`` (0 black, 1 white) to move, as if nothing had happened."""
    if position["to_play"][0] == side:
        return position
    return after(game, position, game.points) | {"passed": np.zeros(1, np.int32)}


def after(game: Go, position: Position, action: int) -> Position:
    """After a move that is legal. The game goes on, also after two passes and at its last move."""
    rules = replace(game, komi=0.0)  # it does not matter here, and every other one would be compiled
    moves = np.minimum(position["moves"], game.most_moves - 2)
    before = position | {"passed": np.zeros(1, np.int32), "moves": moves.astype(np.int32)}
    return play(rules, before, np.array([action])).state


def laid(game: Go, stones: Mapping[int, int], side: int) -> Position:
    """A game that begins with ``stones``, points to colours (0 black, 1 white), and ``side`` to move.

    Raises ``TeguError`` where stones have no liberty. As all have one in the end, none is taken on the way there.
    """
    position = begin(game, 1)
    for point, colour in sorted(stones.items(), key=lambda stone: stone[1]):
        position = with_to_play(game, position, colour)
        legal = position["action_mask"][0, point]
        position = after(game, position, point) if legal else position
    colours = np.array([stones.get(point, -1) for point in range(game.points)])
    board = np.select([colours == 0, colours == 1], [1, -1])
    if (board != position["board"][0].ravel()).any():
        raise TeguError("stones are set up that have no liberty")
    start = {name: leaf for name, leaf in begin(game, 1).items() if name in ("moves", "passed", "history")}
    if "history" in start:
        start["history"][0, 0] = board_hash(position["board"][0])
    return with_to_play(game, position, side) | start


def score(game: Go, position: Position) -> float:
    """Black's area less White's and the komi; every stone counts as alive."""
    black, white = _areas(position["board"][0])
    return int(black) - int(white) - game.komi


def score_text(score: float) -> str:
    """As in ``B+3.5``; 0 is a draw."""
    return f"{'B' if score > 0 else 'W'}+{abs(score):.10g}" if score else "0"
