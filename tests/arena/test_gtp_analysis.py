"""Analyses for graphical boards: the words that these look for, and when an analysis begins, goes on and ends."""

import re

import numpy as np
import pytest
from arena.test_gtp_engine import Next, answered, engine, told

from tegu.arena.base import ExpectedEnd, Explanation
from tegu.arena.gtp.analysis import Wanted, merged, ranked, same, wanted
from tegu.arena.gtp.text import Refused
from tegu.arena.players import MCTSPlayer
from tegu.environments.games.go import Go

GAME = Go(size=5, id="go-5x5")


def explanation(names, visits, values, prior=None, lines=None, value=0.5):
    """Of a search that looked at a few points."""
    actions = [GAME.action_of(name) for name in names]
    counts, means = np.zeros(26, int), np.full(26, np.nan)
    counts[actions], means[actions] = visits, values
    chances = None
    if prior is not None:
        chances = np.zeros(26)
        chances[actions] = prior
    follow = np.full((26, 3), -1)
    for action, line in zip(actions, lines or [], strict=lines is not None):
        follow[action, : len(line)] = [GAME.action_of(name) for name in line]
    return Explanation(counts / counts.sum(), value, means, counts, chances, None if lines is None else follow)


class Explaining:
    """Says one explanation after the other, and then the last one again."""

    name = "explaining"

    def __init__(self, *found):
        self.found, self.asked = list(found), []

    def act(self, positions, key):
        raise AssertionError("not asked for")

    def explain(self, position, key):
        self.asked.append(position)
        return self.found.pop(0) if len(self.found) > 1 else self.found[0]


FOUND = explanation(
    ["C3", "D4", "pass"], [5, 8, 1], [0.25, 0.5, -1.0], [0.5, 0.375, 0.125], [["C3"], ["D4", "C3", "pass"], ["pass"]]
)


def analysed(words, *found, patience=9, lines=()):
    """The lines of an answer, without the empty one, and the player."""
    player = Explaining(*found)
    program = engine(make=lambda game: player)
    told(program, *lines)
    answer = answered(program, words, patience)
    assert answer.endswith("\n\n")
    assert "\n\n" not in answer[:-2]
    return answer[:-2].split("\n"), player, program


def test_the_words_of_leela_zero():
    (first, line), player, _ = analysed("7 lz-analyze b 50", FOUND)
    assert first == "=7"
    assert line == (
        "info move D4 visits 8 winrate 7500 prior 3750 order 0 pv D4 C3 pass "
        "info move C3 visits 5 winrate 6250 prior 5000 order 1 pv C3 "
        "info move pass visits 1 winrate 0 prior 1250 order 2 pv pass"
    )
    assert len(player.asked) == 2  # the second one found the same


def test_the_words_of_katago():
    """Numbers have a decimal point, by which Sabaki tells these from Leela Zero's."""
    (first, line), _, _ = analysed("kata-analyze 50 maxmoves 2 rootInfo true ownership true", FOUND)
    assert first == "="
    assert line == (
        "info move D4 visits 8 winrate 0.750000 prior 0.375000 order 0 pv D4 C3 pass "
        "info move C3 visits 5 winrate 0.625000 prior 0.500000 order 1 pv C3 "
        "rootInfo visits 14 winrate 0.750000"
    )


def test_what_is_expected_of_the_end_is_said_where_it_is_asked_for():
    expected = FOUND._replace(end=ExpectedEnd(-2.5, np.linspace(-1, 1, 25).reshape(5, 5)))
    (_, line), _, _ = analysed("kata-analyze 50 maxmoves 0 rootInfo true ownership true", expected)
    root, owners = line.split(" ownership ")
    assert root == "rootInfo visits 14 winrate 0.750000 scoreLead -2.500000"
    np.testing.assert_allclose([float(word) for word in owners.split(" ")], np.linspace(-1, 1, 25), atol=1e-6)
    (_, line), _, _ = analysed("kata-analyze 50 maxmoves 1 ownership false", expected)
    assert line.endswith("pv D4 C3 pass")
    (_, line), _, _ = analysed("lz-analyze 50 maxmoves 1 rootInfo true ownership true", expected)
    assert line.endswith("pv D4 C3 pass")


def test_what_is_not_known_is_left_out():
    (_, line), _, _ = analysed("kata-analyze w 50", explanation(["C3"], [3], [0.0]))
    assert line == "info move C3 visits 3 winrate 0.500000 order 0 pv C3"


def test_the_side_that_is_asked_for_is_to_move():
    for words, side in (
        ("lz-analyze w", 1),
        ("lz-analyze 10", 1),
        ("lz-analyze B 10", 0),
        ("lz-analyze interval 5", 1),
    ):
        _, player, program = analysed(words, FOUND, lines=["play b A1"])
        assert player.asked[0]["to_play"] == side
        assert player.asked[0]["board"].sum() == 1
        assert told(program, "undo", "undo") == ["=", "? cannot undo"]  # nothing was played


def test_searches_count_together_until_something_comes():
    second = explanation(["C3", "E5"], [10, 2], [1.0, 0.0], value=0.0)
    (_, *lines), player, _ = analysed("kata-analyze 0", FOUND, second, FOUND, second, FOUND, patience=4)
    assert len(player.asked) == len(lines) == 4
    assert lines[1].startswith("info move C3 visits 15 winrate 0.875000 prior 0.500000 order 0")
    assert "info move D4 visits 8 winrate 0.750000" in lines[1]
    assert "info move E5 visits 2 winrate 0.500000" in lines[1]
    assert "info move C3 visits 30 winrate 0.875000" in lines[3]


def test_an_interval_keeps_lines_apart():
    many = [explanation(["C3"], [1], [number / 10]) for number in range(9)]
    lines, player, _ = analysed("kata-analyze 360000", *many, patience=8)
    assert (len(lines), len(player.asked)) == (2, 8)


def test_another_line_that_has_come_is_answered_at_once():
    lines, player, _ = analysed("3 kata-analyze b 1", FOUND, patience=0)
    assert (lines, player.asked) == (["=3"], [])


def test_at_the_end_of_the_input_there_is_one_search():
    end = Next()
    end.ended = True
    player = Explaining(FOUND)
    answer = "".join(engine(make=lambda game: player).answers("kata-analyze b 1", end))
    assert (answer.count("\n"), answer.count("visits"), len(player.asked)) == (3, 3, 1)


@pytest.mark.parametrize("kind", ["lz-", "kata-"])
def test_a_move_with_its_analysis(kind):
    (first, line, last), player, program = analysed(f"4 {kind}genmove_analyze b 50", FOUND)
    assert (first, last) == ("=4", "play D4")
    assert line.startswith("info move D4 visits 8 winrate ")
    assert len(player.asked) == 1
    assert told(program, "play w D4", "undo", "play w D4") == ["? illegal move", "=", "="]


def test_a_board_does_not_come_again_here_either():
    stones = ["b B3", "w C3", "b C4", "w D4", "b C2", "w E3", "w D2", "b D3", "w pass", "b pass"]
    found = explanation(["C3", "A5"], [8, 2], [0.5, 0.0])
    setup = [f"play {stone}" for stone in stones]
    (_, line), _, _ = analysed("lz-analyze w", found, lines=setup)
    assert line == "info move A5 visits 2 winrate 5000 order 0 pv A5"
    (_, line, last), _, _ = analysed("lz-genmove_analyze w", found, lines=setup)
    assert last == "play A5"
    only = explanation(["C3"], [8], [0.5])
    assert analysed("lz-analyze w", only, lines=setup)[0] == ["="]  # nothing to say, and no empty line


def test_players_without_numbers():
    program = engine()
    assert told(program, "lz-analyze", "kata-analyze") == ["="] * 2  # another line has come already
    assert answered(program, "5 kata-analyze b 10", 3) == "?5 random cannot analyze: it does not search\n\n"
    moved = answered(program, "kata-genmove_analyze w 10")
    assert re.fullmatch(r"=\nplay ([A-E][1-5]|pass)\n\n", moved)


@pytest.mark.parametrize(
    "words",
    [
        "b w",
        "red 10",
        "b -5",
        "b 1e999",
        "b 10 interval",
        "b 10 dance 3",
        "avoid b C3 1",
        "maxmoves x",
        "interval x",
        "b é",
    ],
)
def test_wrong_arguments(words):
    for name in ("lz-analyze", "kata-genmove_analyze"):
        assert told(engine(make=lambda game: Explaining(FOUND)), f"{name} {words}") == ["? syntax error"]


def test_arguments():
    assert wanted([]) == Wanted(None, 1.0)
    assert wanted(["W", "25", "minmoves", "3", "maxmoves", "0"]) == Wanted(1, 0.25, 0)
    assert wanted(["interval", "7", "rootInfo", "false"]) == Wanted(None, 0.07)
    with pytest.raises(Refused):
        wanted(["b", "w"])


def test_searches_as_one():
    """Means weighted by visits, whatever the order."""
    rng = np.random.default_rng(0)

    def searched():
        visits = rng.integers(0, 3, 26)
        values = np.where(visits > 0, rng.uniform(-1, 1, 26), np.nan)
        return Explanation(visits / visits.sum(), float(rng.uniform(-1, 1)), values, visits)

    each = [searched() for _ in range(3)]
    both = merged(merged(each[0], each[1]), each[2])
    sums = np.nansum([found.visits * found.action_values for found in each], axis=0)
    visits = np.sum([found.visits for found in each], axis=0)
    np.testing.assert_array_equal(both.visits, visits)
    np.testing.assert_allclose(both.action_values[visits > 0], (sums / np.maximum(visits, 1))[visits > 0])
    assert np.isnan(both.action_values[visits == 0]).all()
    np.testing.assert_allclose(both.policy, visits / visits.sum())
    assert both.value == pytest.approx(np.average([f.value for f in each], weights=[f.visits.sum() for f in each]))
    assert [same(each[0], found) for found in (each[0], each[1], both)] == [True, False, False]
    assert both.visits[ranked(both)].tolist() == sorted(visits[visits > 0].tolist(), reverse=True)


@pytest.mark.slow
def test_rollouts_add_up():
    program = engine(3, make=lambda game: MCTSPlayer(game, 20))
    lines = answered(program, "lz-analyze b 0", 4).split("\n")
    totals = [sum(map(int, re.findall("visits ([0-9]+)", line))) for line in lines[1:-2]]
    assert totals == [20, 40, 60, 80]
