"""Perfect play, against a plain minimax over tuples and what is known of tic-tac-toe."""

from functools import cache

import jax
import numpy as np
import pytest

from tegu.arena.players import MinimaxPlayer, RandomPlayer
from tegu.arena.positions import begin, play, take
from tegu.arena.solve import exhaustive, solve
from tegu.core.errors import TeguError
from tegu.environments.games.connect_four import ConnectFour
from tegu.environments.games.tic_tac_toe import TicTacToe

GAME, KEY = TicTacToe(), jax.random.key(0)
LINES = [(0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6)]


@cache
def value(board, stone):
    """What a board, a tuple of nine, is worth to the player of ``stone``, who is to move."""
    if any(board[a] == board[b] == board[c] == -stone for a, b, c in LINES):
        return -1
    free = [square for square in range(9) if not board[square]]
    return max((-value(after(board, square, stone), -stone) for square in free), default=0)


def after(board, square, stone):
    return (*board[:square], stone, *board[square + 1 :])


@pytest.fixture(scope="module")
def solution():
    return solve(GAME)


def every_position():
    """Those of tic-tac-toe in which the game goes on, more than once where moves may be transposed."""
    positions = begin(GAME, 1)
    while len(positions["to_play"]):
        yield positions
        rows, actions = np.nonzero(positions["action_mask"])
        timestep = play(GAME, take(positions, rows), actions)
        boards = timestep.state["board"].reshape(-1, 9)
        _, first = np.unique(boards, axis=0, return_index=True)
        positions = take(timestep.state, first[~timestep.terminated[first]])


def test_every_action_in_every_position_of_tic_tac_toe(solution):
    count = 0
    for positions in every_position():
        count += len(positions["to_play"])
        stones = 1 - 2 * positions["to_play"]
        found = solution.action_values(positions)
        boards = [tuple(board.ravel().tolist()) for board in positions["board"]]
        for board, stone, values in zip(boards, stones.tolist(), found, strict=True):
            expected = [
                -np.inf if board[square] else -value(after(board, square, stone), -stone) for square in range(9)
            ]
            assert values.tolist() == expected
    assert count == len(solution) == 5478 - 958
    assert solution.values(begin(GAME, 1)) == 0


def test_a_position_that_no_game_leads_to(solution):
    positions = begin(GAME, 1)
    positions["board"][0, 1, 1] = 1
    with pytest.raises(TeguError, match="no game of tic-tac-toe leads to"):
        solution.values(positions)


def test_large_games_are_refused():
    with pytest.raises(TeguError, match="connect-four is too large to be solved: it has more than 500 positions"):
        solve(ConnectFour(), limit=500)


def test_perfect_play_against_every_reply():
    player = MinimaxPlayer(GAME)
    for side in ("first", "second"):
        tally = exhaustive(GAME, player, side, KEY)
        assert tally.losses == 0
        assert tally.wins > tally.draws > 0


class InOrder:
    """Takes the first free square."""

    name = "in order"

    def act(self, positions, key):
        return positions["action_mask"].argmax(axis=1)


@pytest.mark.parametrize("side", [0, 1])
def test_every_reply_is_tried(side):
    """Against a count by recursion."""

    def count(board, stone):
        if any(board[a] == board[b] == board[c] == -stone for a, b, c in LINES):
            return np.array([1, 0, 0]) if stone == 2 * side - 1 else np.array([0, 0, 1])
        free = [square for square in range(9) if not board[square]]
        if not free:
            return np.array([0, 1, 0])
        moves = free[:1] if stone == 1 - 2 * side else free
        return sum(count(after(board, square, stone), -stone) for square in moves)

    tally = exhaustive(GAME, InOrder(), ("first", "second")[side], KEY)
    assert tally == tuple(count((0,) * 9, 1))


def test_chance_loses_to_some_replies():
    assert exhaustive(GAME, RandomPlayer(), "second", KEY).losses > 0
    with pytest.raises(TeguError, match="side must be first or second"):
        exhaustive(GAME, RandomPlayer(), "X", KEY)
