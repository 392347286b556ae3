"""``tegu gtp``, and programs as players of ``tegu arena`` and ``tegu play``."""

import io
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from arena.conftest import Fixed, Planner, known, untrained
from cli.conftest import Answer, Command, one_line

from tegu.environments.games.go import Go

Talk = Callable[..., Answer]


@pytest.fixture
def talk(tegu: Command, monkeypatch: pytest.MonkeyPatch) -> Talk:
    """``talk("name\\nquit", "random")`` is ``tegu gtp random`` with these lines as its input."""

    def call(lines: str, *words: str | Path) -> Answer:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(lines.encode("latin-1"))))
        return tegu("gtp", *words)

    return call


@pytest.fixture
def agents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with saved agents: ``go`` plays on 5x5, ``other`` tic-tac-toe."""
    known(monkeypatch)
    untrained(Planner(), Go(size=5, id="go-5x5")).save(tmp_path / "go")
    untrained(Fixed()).save(tmp_path / "other")
    return tmp_path


def program(manner: str) -> str:
    script = Path(__file__).parents[1] / "arena/gtp_program.py"
    return "gtp:" + shlex.join([sys.executable, "-S", "-E", str(script), manner])


def test_a_run_plays_on_its_board(talk: Talk, agents: Path) -> None:
    lines = "name\nboardsize 9\nboardsize 5\nkomi 0.5\ngenmove b\nplay w A1\nfinal_score\nquit\nname\n"
    answer = talk(lines, f"{agents / 'go'}@4", "--seed-index", "1")
    assert (answer.status, answer.err) == (0, "")
    each = answer.out.split("\n\n")
    assert each[:4] == [f"= Tegu {agents / 'go'}@4", "? unacceptable size", "=", "="]
    liked = untrained(Planner(), Go(size=5)).learner(1).scores.argmax()
    assert each[4:] == [f"= {Go(size=5).action_name(int(liked))}", "=", "= W+0.5", "=", ""]


def test_the_end_of_the_input_is_the_end(talk: Talk) -> None:
    assert talk("", "random") == (0, "", "")
    assert talk("1 protocol_version", "mcts:5") == (0, "=1 2\n\n", "")


def test_the_seed_decides_the_moves(talk: Talk) -> None:
    lines, words = "genmove b\ngenmove w\nboardsize 3\nshowboard", ("random", "--game", "go-5x5", "--seed")
    first, again, other = (talk(lines, *words, seed).out for seed in ("1", "1", "2"))
    assert first == again != other
    assert "   A B C\n 3 . . . 3\n" in first


def test_json_comes_alone(talk: Talk) -> None:
    """Then the answers are on stderr."""
    answer = talk("name\n\n7 name", "random", "--json")
    assert answer.data == {"player": "random", "answers": 2}
    assert answer.err == "= Tegu random\n\n=7 Tegu random\n\n"


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        ("other", 1, "tic-tac-toe is not Go, which is what the Go Text Protocol is for"),
        ("random --game connect-four", 1, "connect-four is not Go"),
        ("go --game go-9x9", 1, "does not have the observations and actions that the agent was trained with"),
        ("gtp:gnugo", 2, "gtp:gnugo speaks the Go Text Protocol already"),
        ("nobody", 1, "there is no run 'nobody'"),
        ("randon", 1, "there is no player 'randon': did you mean random?"),
    ],
)
def test_mistakes_are_answered_with_one_line(words: str, status: int, says: str, talk: Talk, agents: Path) -> None:
    assert says in one_line(talk("name\n", *words.split()), status)


def test_programs_in_the_arena(tegu: Command) -> None:
    words = ("arena", "random", program("resigns"), "--game", "go-5x5", "--games", "2", "--openings", "2")
    answer = tegu(*words)
    assert answer.out.splitlines()[-1] == f"games that {program('resigns')} lost before their end: 2 resigned"
    data = tegu(*words, "--json").data
    assert data["matches"][0]["score"] == 1
    assert data["forfeits"] == [{"player": program("resigns"), "resigned": 2}]


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (f"random {shlex.quote(program('crashes'))} --game go-5x5", 1, "crashes ended when asked 'genmove "),
        ("random gtp:no-such-program --game go-5x5", 1, "gtp:no-such-program cannot be started: No such file"),
        ("random gtp:x --game tic-tac-toe", 1, "gtp:x plays Go, not tic-tac-toe"),
        ("random gtp: --game go-5x5", 1, "expected a program after gtp:, as in 'gtp:gnugo --mode gtp'"),
        ("random gtp:x --game go-5x5 --timeout 0", 2, "expected more than 0 seconds, got '0'"),
    ],
)
def test_what_programs_do_wrong_is_one_line(words: str, status: int, says: str, tegu: Command) -> None:
    assert says in one_line(tegu("arena", *shlex.split(words), "--games", "2"), status)


def test_a_person_plays_a_program(tegu: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    typed = iter(["C3", "undo", "C4", "pass"])
    monkeypatch.setattr("builtins.input", lambda prompt="": next(typed))
    words = ("play", "random", "--game", "go-5x5", "--json")
    data = tegu(*words, "--opponent", program("passes")).data
    assert (data["moves"], data["result"]) == (["C4", "pass", "pass"], "won")
    typed = iter(["C3"])
    answer = tegu(*words[:-1], "--opponent", program("resigns"))
    assert answer.out.splitlines()[-2:] == [f"{program('resigns')} gives up", "you win after 1 moves"]


# Real pipes

PROGRAM = """
import sys, time
import tegu.cli, tegu.cli.players
from arena.test_gtp_analysis import FOUND, Explaining

class Searching(Explaining):
    def explain(self, position, key):
        time.sleep(0.01)
        return super().explain(position, key)._replace(value=time.monotonic())

    def act(self, positions, key):
        print("searches", file=sys.stderr, flush=True)
        time.sleep(1)
        return [0]

tegu.cli.players.make_player = lambda *words: Searching(FOUND)
sys.exit(tegu.cli.main())
"""
Process = subprocess.Popen[bytes]


@pytest.fixture
def started() -> Iterator[Callable[[], Process]]:
    """Starts ``tegu gtp`` as another program does, with pipes; it has begun an analysis."""
    processes: list[Process] = []
    places = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])

    def start() -> Process:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, "gtp", "random", "--game", "go-5x5"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": places},
        )
        processes.append(process)
        ask(process, b"lz-analyze b 1\n")
        assert process.stdout is not None
        assert [process.stdout.readline()[:10] for _ in range(4)] == [b"=\n", *[b"info move "] * 3]
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            with suppress(OSError):  # of what was not written
                stream.close()  # type: ignore[union-attr]


def ask(process: Process, lines: bytes) -> None:
    assert process.stdin is not None
    process.stdin.write(lines)
    process.stdin.flush()


def ended(process: Process) -> tuple[int, bytes]:
    """The exit status and what was printed on stderr."""
    assert process.stderr is not None
    return process.wait(timeout=60), process.stderr.read()


@pytest.mark.long
def test_a_controller_says_goodbye_and_leaves_its_pipes_open(started: Callable[[], Process]) -> None:
    process = started()
    ask(process, b"1 name\n\xff\xfe\n2 boardsize 99999999999\nkata-analyze\n3 quit\n4 name\n")
    assert ended(process) == (0, b"")
    assert process.stdout is not None
    answers = process.stdout.read().partition(b"\n=1 ")[2]  # after the last line of the analysis
    assert answers == b"Tegu explaining\n\n? unknown command\n\n?2 syntax error\n\n=\n\n=3\n\n"


@pytest.mark.long
def test_a_controller_closes_one_pipe_or_is_killed(started: Callable[[], Process]) -> None:
    """In the middle of an analysis, and of a search for a move."""
    left = started()
    out, err = left.communicate(timeout=60)  # closes its input
    assert (left.returncode, out[-1:], err) == (0, b"\n", b"")
    for searching in (False, True):
        process = started()
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        if searching:
            ask(process, b"genmove b\n")
            assert process.stderr.readline() == b"searches\n"
            process.stdin.close()
        process.stdout.close()
        assert ended(process) == (141, b"")
