"""A player as a GTP program: the protocol's own words, GNU Go's board, and lines that mean nothing."""

import io
import re
from collections import Counter

import jax
import numpy as np
import pytest
from gnu_go import GNU_GO, needs_gnu_go
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tegu.arena.gtp.engine import Engine
from tegu.arena.gtp.handicap import fixed, most_fixed
from tegu.arena.gtp.text import Command, Refused, parsed
from tegu.arena.players import MinimaxPlayer, RandomPlayer
from tegu.cli.gtp import serve
from tegu.core.errors import TeguError
from tegu.environments.games.go import Go
from tegu.gtp.program import Program

KEY = jax.random.key(0)


class Likes:
    """Plays the first legal one of the points that it likes, else it passes; remembers what it saw."""

    name = "likes"

    def __init__(self, game, *names):
        self.game, self.names, self.seen = game, names, []

    def act(self, positions, key):
        self.seen.append(positions)
        (mask,) = positions["action_mask"]
        actions = [self.game.action_of(name) for name in (*self.names, "pass")]
        return np.array([next(action for action in actions if mask[action])])


def engine(size=5, make=lambda game: RandomPlayer(), **options):
    return Engine(make, Go(size=size, id=f"go-{size}x{size}", **options), KEY, "1.2.3")


class Next:
    """Input of which another line has come already, after ``patience`` questions for one."""

    ended = False

    def __init__(self, patience=0):
        self.patience = patience

    def came(self, seconds):
        self.patience -= 1
        return self.patience < 0


def answered(program, line, patience=0):
    return "".join(program.answers(line, Next(patience)))


def told(program, *lines):
    """What is answered to lines, without the end of each answer."""
    answers = [answered(program, line) for line in lines]
    assert all(answer.endswith("\n\n") and "\n\n" not in answer[:-2] for answer in answers)
    return [answer[:-2] for answer in answers]


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("play b C3\n", Command("", "play", ["b", "C3"])),
        ("12 play\tb   C3  # a comment\r\n", Command("12", "play", ["b", "C3"])),
        ("  007  name  ", Command("007", "name", [])),
        ("na\x00me\x07\x7f", Command("", "name", [])),
        ("\n", None),
        (" \t \r\n", None),
        ("# play b C3\n", None),
        ("5 # nothing\n", None),
        ("name\xe9 \xff\n", Command("", "name\xe9", ["\xff"])),
        ("-3 name", Command("", "-3", ["name"])),
    ],
)
def test_lines_are_read_as_the_protocol_says(line, command):
    assert parsed(line) == command


def test_a_conversation():
    assert told(
        engine(),
        "1 protocol_version",
        "2 name",
        "version",
        "known_command genmove",
        "known_command dance",
        "3 dance",
        "known_command",
        "boardsize 20",
        "boardsize 1",
        "boardsize five",
        "4 boardsize 99999999999999999999",
        "komi many",
        "komi 1e9999",
        "komi 1e5",
        "komi -0.5",
        "play b",
        "play red C3",
        "play b I3",
        "play b F6",
        "play B c3",
        "play w C3",
        "undo",
        "5 undo",
        "time_settings 60 10 5",
        "time_settings 60 10",
        "time_left w 55 0",
        "time_left w soon 0",
        "genmove",
        "final_score",
        "6 quit",
    ) == [
        *("=1 2", "=2 Tegu random", "= 1.2.3", "= true", "= false", "?3 unknown command", "? syntax error"),
        *("? unacceptable size", "? unacceptable size", "? syntax error", "?4 syntax error"),
        *("? syntax error", "? syntax error", "? unacceptable komi", "="),
        *("? syntax error", "? syntax error", "? syntax error", "? syntax error", "=", "? illegal move"),
        *("=", "?5 cannot undo", "=", "? syntax error", "=", "? syntax error", "? syntax error", "= B+0.5", "=6"),
    ]


def test_it_knows_what_it_lists():
    program = engine()
    (listed,) = told(program, "list_commands")
    names = listed.removeprefix("= ").splitlines()
    required = "protocol_version name version known_command list_commands quit boardsize clear_board komi play genmove"
    assert set(required.split()) <= set(names)
    assert told(program, *(f"known_command {name}" for name in names)) == ["= true"] * len(names)
    assert "? unknown command" not in told(program, *names)
    assert not program.open


def test_the_same_colour_may_play_again_and_after_two_passes():
    players = []

    def make(game):
        players.append(Likes(game, "A1", "A2"))
        return players[-1]

    program = engine(make=make)
    lines = ["play w C3", "play w C4", "play b pass", "play w pass", "play w D4", "genmove w", "genmove w", "genmove w"]
    assert told(program, *lines) == ["=", "=", "=", "=", "=", "= A1", "= A2", "= pass"]
    assert [position["passed"][0] for position in players[0].seen] == [0, 0, 0]
    assert [position["to_play"][0] for position in players[0].seen] == [1, 1, 1]
    assert (players[0].seen[-1]["board"] == -1).sum() == 5
    told(program, "play b pass", "genmove w")
    assert players[0].seen[-1]["passed"][0] == 1  # it may end the game
    assert told(program, "undo", "undo", "undo", "undo", "reg_genmove w", "reg_genmove w") == ["="] * 4 + ["= A2"] * 2


def test_a_board_does_not_come_again():
    """A ko, after moves that a simple ko would be satisfied with: Black passes in between."""
    stones = ["b B3", "w C3", "b C4", "w D4", "b C2", "w E3", "w D2", "b D3"]  # D3 takes C3
    players = []

    def make(game):
        players.append(Likes(game, "C3", "A5"))
        return players[-1]

    program = engine(make=make)
    assert told(program, *(f"play {stone}" for stone in stones)) == ["="] * 8
    assert told(program, "play w C3") == ["? illegal move"]
    lines = ["play w pass", "play b pass", "play w C3", "reg_genmove w", "genmove w"]
    assert told(program, *lines) == ["=", "=", "? illegal move", "= A5", "= A5"]
    assert told(program, "play b pass", "play w C3") == ["=", "="]  # A5 makes it another board
    assert not told(program, "play b D3")[0].startswith("? syntax")


def test_a_player_alone_never_repeats_a_board():
    """On two by two points, where little else is left; far beyond the moves that a game has."""
    program, seen = engine(2, superko=True, max_moves=1), Counter()
    for turn in range(120):
        (answer,) = told(program, f"genmove {'bw'[turn % 2]}")
        board = told(program, "showboard")[0].rpartition("\n")[0]
        seen[board] += answer != "= pass"
    assert max(seen.values()) == 1
    assert len(seen) > 8


def test_a_size_makes_a_player_of_its_own():
    made = []

    def make(game):
        if game.size > 7:
            raise TeguError("too large")
        made.append((game.size, game.komi))
        return RandomPlayer()

    program = engine(make=make)
    lines = ["play b C3", "boardsize 9", "komi 6.5", "komi 6.5", "play b C3", "boardsize 7", "play b G7", "boardsize 7"]
    answers = ["=", "? unacceptable size", "=", "=", "? illegal move", "=", "=", "="]
    assert told(program, *lines) == answers
    assert told(program, "genmove w", "final_score")[1] == "= W+55.5"  # all of the board, and the komi
    assert made == [(5, 7.5), (7, 6.5)]


def test_who_has_solved_a_game_solves_it_anew_for_another_komi():
    program = engine(2, MinimaxPlayer, max_moves=4)
    assert told(program, "genmove b", "clear_board")[0].startswith("= ")
    assert told(program, "komi 0.5", "genmove b")[1].startswith("= ")


def test_a_player_is_told_the_komi_by_the_position():
    """Also in the middle of a game; that takes no player of its own, which would have to be compiled."""
    made, seen = [], []

    class Watching(RandomPlayer):
        def act(self, positions, key):
            seen.append(positions["komi"].tolist())
            return super().act(positions, key)

    def make(game):
        made.append(game)
        return Watching()

    program = engine(make=make)
    assert set(told(program, "komi 3.5", "play b C3", "play w C4", "komi -2.5", "undo")) == {"="}
    assert [told(program, line, "genmove b")[1][0] for line in ("komi 0", "undo", "komi 6.5")] == ["=", "=", "="]
    assert seen == [[0.0], [0.0], [6.5]]
    assert len(made) == 1


def test_a_player_that_breaks_the_rules_is_said_so():
    class Stubborn:
        name = "stubborn"

        def act(self, positions, key):
            return np.array([0])

    program = engine(make=lambda game: Stubborn())
    answers = told(program, "7 genmove b", "8 genmove w", "name")
    assert answers == ["=7 A5", "?8 stubborn wants A5, which is illegal", "= Tegu stubborn"]


def test_scores_and_states_count_every_stone():
    program = engine()
    told(program, "komi 0", *(f"play b {point}" for point in ("C1", "C2", "C3", "C4", "C5")), "play w A1")
    assert told(program, "final_score", "final_status_list dead", "final_status_list seki") == ["= B+14", "=", "="]
    assert told(program, "final_status_list alive") == ["= C5 C4 C3 C2 C1\nA1"]
    assert told(program, "final_status_list", "final_status_list x") == ["? syntax error"] * 2
    told(program, "clear_board", "play b A1", "play w E5")
    assert told(program, "final_score") == ["= 0"]


def test_a_board_is_shown_in_plain_letters():
    program = engine(9)
    told(program, "play b D4", "play w F6")
    (board,) = told(program, "showboard")
    assert board.isascii()
    assert " 4 . . . X . . . . . 4\n" in board
    assert " 6 . . . . . O . . . 6\n" in board
    assert board.endswith("black to play, komi 7.5")


def test_handicap():
    program = engine(9)
    assert told(program, "set_free_handicap C3 G7 E5", "genmove w")[0] == "= C3 G7 E5"
    assert told(program, "fixed_handicap 2", "undo", "undo") == ["? board not empty", "=", "? cannot undo"]
    wrong = ["C3", "C3 c3", "C3 pass", "C3 Z9", ""]
    assert told(engine(9), *(f"set_free_handicap {words}" for words in wrong)) == ["? bad vertex list"] * 5
    everything = " ".join(f"{letter}{row}" for letter in "ABCDE" for row in range(1, 6))
    assert told(engine(), f"set_free_handicap {everything}") == ["? bad vertex list"]
    assert told(engine(9), "fixed_handicap 1", "place_free_handicap 81") == ["? invalid number of stones"] * 2
    assert told(engine(9), "place_free_handicap 30")[0].count(" ") == 9
    white = engine(9, make=lambda game: Likes(game, "C3", "A1"))
    assert told(white, "fixed_handicap 9", "genmove w", "final_score") == [
        "= C3 G7 C7 G3 C5 G5 E7 E3 E5",
        "= A1",
        "= B+0.5",
    ]


@pytest.fixture
def gnu_go():
    program = Program(f"{GNU_GO} --mode gtp --positional-superko --forbid-suicide", 60)
    yield program
    program.close()


def judged(program, line):
    """Whether GNU Go agrees, and what it says."""
    try:
        return True, program.ask(line)
    except Refused as error:
        return False, str(error)


@needs_gnu_go
def test_handicap_stones_lie_where_gnu_go_puts_them(gnu_go):
    for size in range(5, 20):
        for stones in range(1, 11):
            gnu_go.ask(f"boardsize {size}")
            gnu_go.ask("clear_board")
            game = Go(size=size)
            good, points = judged(gnu_go, f"fixed_handicap {stones}")
            assert good == (2 <= stones <= most_fixed(game))
            assert not good or {game.action_name(action) for action in fixed(game, stones)} == set(points.split())


@needs_gnu_go
@pytest.mark.parametrize("size", [3, 5])
def test_gnu_go_agrees_about_any_moves(size, gnu_go):
    """Colours and points at random, so that most rules come up: legal or not, the stones after it, undone or not."""
    random, program = np.random.default_rng(size), engine(size)
    letters, counts = "ABCDE"[:size], Counter()
    gnu_go.ask(f"boardsize {size}")
    gnu_go.ask("clear_board")
    for _ in range(400):
        line = f"play {random.choice(['b', 'w'])} {random.choice(list(letters))}{random.integers(1, size + 1)}"
        chance = random.random()
        line = "undo" if chance < 0.05 else "play b pass" if chance < 0.1 else line
        (own,) = told(program, line)
        good, message = judged(gnu_go, line)
        assert own == ("=" if good else f"? {message}"), line
        counts[own] += 1
        board = told(program, "showboard")[0]
        for colour, mark in (("black", "X"), ("white", "O")):
            assert len(gnu_go.ask(f"list_stones {colour}").split()) == board.count(mark)
    assert min(counts["="], counts["? illegal move"]) > 50


WORDS = st.one_of(
    st.sampled_from(sorted(engine()._names())),
    st.sampled_from(
        [
            "b",
            "w",
            "black",
            "WHITE",
            "pass",
            "resign",
            "A1",
            "c3",
            "E5",
            "I9",
            "Z99",
            "-1",
            "0",
            "2",
            "3",
            "5",
            "20",
            "1e400",
            "nan",
            "inf",
            "7.5",
            "dead",
            "alive",
            "#",
            "=",
        ]
    ),
    st.text(max_size=8),
    st.integers().map(str),
)
ANSWER = re.compile(r"[=?][0-9]*( [^\n]+| ?\n[^\n]+)?(\n[^\n]+)*\n\n", re.ASCII)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.lists(st.lists(WORDS, max_size=5).map(" ".join), max_size=12))
@example(["loadsgf \u0100"])
def test_any_words_are_answered_or_mean_nothing(lines):
    program = engine()
    for line in lines:
        answer = answered(program, re.sub("boardsize 0*[0-9]+", "boardsize 5", line))  # others would be compiled
        assert not answer or ANSWER.fullmatch(answer), (line, answer)


@pytest.mark.slow
def test_ten_thousand_lines_of_noise():
    """Bytes at random, commands with some of them wrong, and a few that are very long; every command has an answer."""
    random, program = np.random.default_rng(0), engine()
    commands = [name for name in program._names() if name not in ("quit", "boardsize")]
    lines = [b"9" * 10**6, b"play b " + b"C" * 10**6, b"boardsize " + b"9" * 10**5, b"komi " + b"9" * 10**5]
    lines += [b"1 name" + b" " * 10**6 + b"x", b"\x00" * 10**6, b"\xff\xfe name", b"name\x00", b"#" * 10**6]
    for _ in range(10_000):
        noise = random.integers(0, 256, random.integers(0, 30)).astype(np.uint8).tobytes()
        known = f"{random.choice(commands)} {random.choice(['b', 'w', 'C3', '', 'A1', '3'])} ".encode()
        lines.append(noise + b"\n" if random.random() < 0.5 else known + noise * (random.random() < 0.5))
    text = b"\n".join(lines) + b"\nprotocol_version"
    answers = io.StringIO()
    count = serve(program, io.BytesIO(text), answers)
    expected = sum(parsed(line[: 1 << 16].decode("latin-1")) is not None for line in text.split(b"\n"))
    assert count == expected > 5_000
    assert answers.getvalue().isascii()
    each = answers.getvalue().split("\n\n")
    assert each.pop() == ""
    assert len(each) == count
    assert all(ANSWER.fullmatch(answer + "\n\n") for answer in each)
    assert each[-1] == "= 2"
    assert len({answer[:1] for answer in each}) == 2


def test_nothing_is_read_after_quit():
    questions = io.BytesIO(b"name\nquit\nname\n")
    assert serve(engine(), questions, io.StringIO()) == 2
    assert questions.read() == b"name\n"


def test_a_record_is_loaded(tmp_path):
    path = tmp_path / "gäme.sgf"
    path.write_text("(;SZ[5]KM[0.5]HA[2]AB[bb][dd];W[cc];B[cd];W[];B[ca](;W[aa])(;W[ee]))", encoding="utf-8")
    name = str(path).encode().decode("latin-1")  # as it comes in a line of bytes
    program = engine(9)
    assert told(program, f"3 loadsgf {name}", "play w A5", "play b C3") == ["=3", "? illegal move", "? illegal move"]
    board = told(program, "showboard")[0]
    assert board.endswith("black to play, komi 0.5")
    assert [board.count(mark) for mark in "XO"] == [4, 2]
    assert told(program, *["undo"] * 6) == ["="] * 5 + ["? cannot undo"]
    assert told(program, "showboard")[0].endswith("white to play, komi 0.5")
    assert told(program, f"loadsgf {name} 2", "play w C3", "play b C2", "undo", "undo") == [
        *("=", "? illegal move", "=", "=", "="),
    ]
    assert told(program, f"loadsgf {name} 1", "undo") == ["=", "? cannot undo"]
    assert told(program, f"loadsgf {name} 999", "play b A5") == ["=", "? illegal move"]


def test_a_record_that_cannot_be_loaded_changes_nothing(tmp_path):
    (tmp_path / "bad.sgf").write_text("(;SZ[5];B[cc];W[cc])", encoding="utf-8")
    (tmp_path / "big.sgf").write_text("(;SZ[9])", encoding="utf-8")

    def small(game):
        if game.size > 5:
            raise TeguError("too large")
        return RandomPlayer()

    said = []
    program = Engine(small, Go(size=5, id="go-5x5"), KEY, "1", said.append)
    before = told(program, "play b A1", "showboard")[1]
    lines = ["bad.sgf", "big.sgf", "missing.sgf", "", "bad.sgf x"]
    answers = told(program, *(f"loadsgf {tmp_path}/{line}" if line else "loadsgf" for line in lines))
    assert answers == ["? cannot load file"] * 3 + ["? syntax error"] * 2
    bad, missing = f"{tmp_path}/bad.sgf: move 2, W C3, is illegal", f"{tmp_path}/missing.sgf: No such file or directory"
    assert said == [bad, "too large", missing]
    assert told(program, "showboard") == [before]
    assert told(program, f"loadsgf {tmp_path}/bad.sgf 2", "play w C3", "play w B3") == ["=", "? illegal move", "="]


@needs_gnu_go
def test_gnu_go_loads_the_same(gnu_go, tmp_path):
    path = tmp_path / "game.sgf"
    path.write_text("(;SZ[7]KM[3.5]AB[cc][ee]AW[ce];B[ec];W[ed];B[dd];W[];B[fd];W[de];B[gg])", encoding="utf-8")
    program = engine(5)
    for number in ("", 1, 2, 5, 7):
        assert told(program, f"loadsgf {path} {number}") == ["="]
        gnu_go.ask(f"loadsgf {path} {number}")
        board = told(program, "showboard")[0]
        for colour, mark in (("black", "X"), ("white", "O")):
            assert len(gnu_go.ask(f"list_stones {colour}").split()) == board.count(mark)
        assert board.endswith(f"komi {float(gnu_go.ask('get_komi')):g}")
