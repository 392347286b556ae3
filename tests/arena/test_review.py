"""What a player thinks of the moves of a game."""

import jax
import numpy as np
import pytest

from tegu.arena.base import Explanation
from tegu.arena.players import RandomPlayer
from tegu.arena.sgf.record import from_text
from tegu.arena.sgf.review import review
from tegu.core.errors import TeguError
from tegu.environments.games.go import Go

GAME, KEY = Go(size=5, komi=0.5, id="go-5x5"), jax.random.key(0)


class Counts:
    """Thinks that Black is the better off the more stones he has, and that A5 is best and then B5."""

    name = "counts"

    def explain(self, position, key):
        ahead = position["board"].sum() / 10 * (1 if position["to_play"] == 0 else -1)
        visits = np.zeros(26, int)
        visits[:2] = 6, 2
        values = np.where(visits > 0, ahead, np.nan)
        values[1] = -0.5
        return Explanation(visits / 8, float(ahead), values, visits)


def test_win_rates_are_those_of_who_moves():
    """Five black stones, and White takes none: with each of his moves Black has 0.05 more of the win rate."""
    moves = review(GAME, from_text("(;SZ[5];B[cc];W[];B[dd];W[aa];W[ab];B[];W[])"), Counts(), KEY)
    expected = [
        *((0, 0.5, 0.55), (1, 0.45, 0.45), (0, 0.55, 0.6), (1, 0.4, 0.45), (1, 0.45, 0.5), (0, 0.5, 0.5)),
        (1, 0.5, 1.0),  # both have passed: White has two stones, Black two, and nobody the rest; the komi decides
    ]
    found = [(move.colour, move.before, move.after) for move in moves]
    np.testing.assert_allclose(found, expected)
    assert moves[2].loss == pytest.approx(-0.05)
    assert [each[0] for each in moves[0].best] == [0, 1]
    np.testing.assert_allclose([each[1:] for each in moves[0].best], [(0.5, 0.75), (0.25, 0.25)])


def test_the_last_move_of_a_game_that_goes_on():
    (move,) = review(GAME, from_text("(;SZ[5];B[cc])"), Counts(), KEY)
    assert (move.before, move.after) == (0.5, 0.55)
    assert review(GAME, from_text("(;SZ[5])"), Counts(), KEY) == []


def test_who_cannot_review():
    with pytest.raises(TeguError, match="random cannot review a game: it does not search"):
        review(GAME, from_text("(;SZ[5];B[cc])"), RandomPlayer(), KEY)
    with pytest.raises(TeguError, match="move 2, W C3, is illegal"):
        review(GAME, from_text("(;SZ[5];B[cc];W[cc])"), Counts(), KEY)
