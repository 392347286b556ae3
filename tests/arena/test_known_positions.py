"""The positions of Connect Four that the benchmarks count mistakes in: an independent search of late ones agrees."""

import csv
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import tegu
from tegu.arena.positions import begin, play, take

FILE = Path(__file__).parents[2] / "benchmarks/connect_four.csv"
HEIGHT, WIDTH = 6, 7


def rows():
    with FILE.open() as file:
        return list(csv.DictReader(file))


def won(stones):
    """Whether a set of (column, row) holds four in a row."""
    return any(
        all((column + step * right, row + step * up) in stones for step in range(4))
        for column, row in stones
        for right, up in ((1, 0), (0, 1), (1, 1), (1, -1))
    )


@cache
def worth(own, other):
    """What a position is worth to the player to move, as +1, 0 or -1: minimax without any refinement."""
    return max((each for each in after_moves(own, other) if each is not None), default=0)


def after_moves(own, other):
    heights = [sum(column == c for column, _ in own | other) for c in range(WIDTH)]
    return [
        None if height == HEIGHT else 1 if won(own | {(c, height)}) else -worth(other, own | {(c, height)})
        for c, height in enumerate(heights)
    ]


def test_all_phases_have_their_positions_and_none_comes_twice():
    phases, boards = {}, set()
    for row in rows():
        phases.setdefault(row["phase"], []).append(len(row["moves"]))
        heights, stones = [0] * WIDTH, []
        for number, move in enumerate(row["moves"]):
            stones.append((int(move), heights[int(move) - 1], number % 2))
            heights[int(move) - 1] += 1
        boards.add(tuple(sorted(stones)))
        full = {column for column in range(WIDTH) if heights[column] == HEIGHT}
        assert {column for column, value in enumerate(row["values"]) if value == "."} == full
    assert {name: len(plies) for name, plies in phases.items()} == {"opening": 1000, "middle": 500, "end": 500}
    assert [(min(plies), max(plies) <= most) for plies, most in zip(phases.values(), (13, 27, 41), strict=True)] == [
        (7, True),
        (14, True),
        (28, True),
    ]
    assert len(boards) == 2000


def test_an_exhaustive_search_finds_the_same_values():
    late = [row for row in rows() if len(row["moves"]) >= 31][:60]
    assert len(late) == 60
    for row in late:
        stones, heights = (set(), set()), [0] * WIDTH
        for number, move in enumerate(row["moves"]):
            column = int(move) - 1
            stones[number % 2].add((column, heights[column]))
            heights[column] += 1
        turn = len(row["moves"]) % 2
        found = after_moves(frozenset(stones[turn]), frozenset(stones[1 - turn]))
        assert "".join("." if each is None else "-=+"[each + 1] for each in found) == row["values"], row


@pytest.mark.parametrize("phase", ["opening", "middle", "end"])
def test_moves_that_win_at_once_are_known_to_win(phase):
    """By the rules of Tegu's own game, in which no position is over."""
    game, winning = tegu.make("connect-four"), 0
    for row in [row for row in rows() if row["phase"] == phase][:15]:
        position = begin(game, 1)
        for move in row["moves"]:
            timestep = play(game, position, np.array([int(move) - 1]))
            position = timestep.state
            assert not timestep.terminated[0]
        legal = np.flatnonzero(position["action_mask"][0])
        repeated = take(position, np.zeros(len(legal), int))
        reward = play(game, repeated, legal).reward[("first", "second")[len(row["moves"]) % 2]]
        assert {row["values"][action] for action in legal[reward == 1]} <= {"+"}
        winning += (reward == 1).sum()
    assert winning >= 2
