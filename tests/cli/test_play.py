"""``tegu play``: a person who types is played by a list of words."""

import argparse
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np
import pytest
from arena.conftest import Fixed, Planner, known, untrained
from cli.conftest import Answer, Command, one_line

from tegu.algorithms.alphazero import AlphaZero
from tegu.arena.base import ExpectedEnd
from tegu.cli.common import console
from tegu.cli.human_game import HumanGame
from tegu.environments.games.base import Position
from tegu.environments.games.go import Go

Person = Callable[..., Answer]


@pytest.fixture
def person(tegu: Command, monkeypatch: pytest.MonkeyPatch) -> Person:
    """``person("b2 quit", "tic-tac-toe")`` types words in answer to ``tegu play``; after the last one, Ctrl-D."""

    def play(typed: str, *words: str | Path) -> Answer:
        answers: Iterator[str] = iter(typed.split())

        def answer(prompt: str = "") -> str:
            word = next(answers, "Ctrl-D")
            print(prompt)
            if word == "Ctrl-D":
                raise EOFError
            if word == "Ctrl-C":
                raise KeyboardInterrupt
            return word

        monkeypatch.setattr("builtins.input", answer)
        return tegu("play", *words)

    return play


@pytest.fixture
def agents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two saved agents for tic-tac-toe."""
    known(monkeypatch)
    untrained(Fixed()).save(tmp_path / "fixed")
    untrained(Planner()).save(tmp_path / "planner")
    return tmp_path


def test_a_whole_game(person: Person) -> None:
    """Somebody who tries one square after the other does not beat perfect play."""
    answer = person("a3 b3 c3 a2 b2 c2 a1 b1 c1", "tic-tac-toe", "--opponent", "minimax", "--seed", "3")
    assert answer.status == 0
    lines = answer.out.splitlines()
    assert lines[0] == "tic-tac-toe against minimax. Type a move, hint, score, undo, resign or quit."
    assert lines[2] == "  ┌───┬───┬───┐"
    assert "your move (X)> " in answer.out
    assert "minimax plays " in answer.out
    assert lines[-1].startswith(("minimax wins after", "a draw after"))


def test_a_game_won_in_json(person: Person, agents: Path) -> None:
    """The agent's taste is known, and so is a line that it leaves open."""
    scores = untrained(Fixed()).learner(0).scores
    liked = [f"{'abc'[square % 3]}{3 - square // 3}" for square in (-scores).argsort().tolist()]
    data = person("quit", agents / "fixed", "--side", "second", "--json").data
    assert (data["side"], data["moves"], data["result"]) == ("second", [liked[0]], None)
    assert data.keys() == {"game", "opponent", "side", "moves", "result"}
    for line in (["a3", "b3", "c3"], ["a2", "b2", "c2"], ["a1", "b1", "c1"], ["a3", "a2", "a1"], ["b3", "b2", "b1"]):
        replies = [square for square in liked if square not in line]
        data = person(" ".join(line), agents / "fixed", "--json").data
        assert data["moves"][::2] == line[: len(data["moves"][::2])]
        if data["result"] == "won":
            assert data["moves"] == [line[0], replies[0], line[1], replies[1], line[2]]
            return
    pytest.fail("no line was left open")


def test_moves_that_are_not_legal_are_explained(person: Person, agents: Path) -> None:
    answer = person("d4 b2 b2 hello", agents / "fixed")
    assert "expected a square from a1 (bottom left) to c3 (top right), got 'd4'" in answer.out
    assert "b2 is not legal now: expected one of " in answer.out
    assert "got 'hello'" in answer.out
    assert answer.out.splitlines()[-1] == "left after 2 moves"


def test_moves_are_taken_back(person: Person, agents: Path) -> None:
    words = (agents / "fixed", "--json")
    assert person("undo quit", *words).data["moves"] == []
    assert len(person("b2 quit", *words).data["moves"]) == 2
    assert person("b2 undo quit", *words).data["moves"] == []
    assert person("b2 undo a1 quit", *words).data["moves"][0] == "a1"
    second = person("undo b3 u a2 quit", *words, "--side", "second").data["moves"]
    assert len(second) == 3
    assert "b3" not in second[:2]
    assert "you have made no move to take back" in person("undo", agents / "fixed").out


def test_a_hint_shows_the_numbers(person: Person, agents: Path) -> None:
    out = person("a1 hint", "tic-tac-toe", "--opponent", "minimax").out
    rows = [line.split() for line in out.splitlines() if "%" in line]
    assert len(rows) == 7
    assert sum(int(percent.removesuffix("%")) for _, percent, _ in rows) == pytest.approx(100, abs=4)
    assert {value for _, _, value in rows} <= {"-1.00", "0.00", "+1.00"}
    assert "this position: " in out
    out = person("hint", f"{agents / 'planner'}@32").out
    rows = [line.split() for line in out.splitlines() if "%" in line]
    assert [len(row) for row in rows] == [3] + [2] * 8  # a value where the search has been
    assert rows[0][2] == "+0.50"
    assert "this position: +0.32" in out
    assert "random cannot explain its moves" in person("hint", "tic-tac-toe", "--opponent", "random").out
    assert "fixed cannot explain its moves" in person("hint", agents / "fixed").out


@pytest.mark.slow
def test_the_score_as_it_is_and_as_it_is_expected(person: Person, tmp_path: Path) -> None:
    algorithm = AlphaZero(network="mlp", width=4, blocks=1, simulations=2, ownership_weight=1.0, score_weight=1.0)
    untrained(algorithm, Go(size=5, id="go-5x5")).save(tmp_path / "heads")
    out = person("score", tmp_path / "heads", "--seed", "0").out
    assert "if the game ended here: ○ leads by 7.5" in out  # an empty board, and the komi
    assert len(re.findall(r"expects: (?:[●○] leads by \d+\.\d|even)\n", out)) == 1
    assert out.count("expects these points") == 1
    assert "tic-tac-toe is not about points" in person("score", "tic-tac-toe", "--opponent", "minimax").out


class Expects:
    """Plays in the middle, and knows how the game ends."""

    name = "somebody"

    def act(self, positions: Position, key: jax.Array) -> np.ndarray:
        return np.array([4])

    def expected_end(self, position: Position) -> ExpectedEnd:
        owners = np.array([[-0.9, -0.6, 0.2], [0.7, 0.1, -0.2], [1.0, 0.6, -1.0]])
        return ExpectedEnd(2.25, owners)


def test_what_is_expected_is_told_of_the_player_it_is_about(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second player is to move: what is its own is White's."""
    words = iter(["score", "resign"])
    monkeypatch.setattr("builtins.input", lambda prompt: next(words))
    args = argparse.Namespace(side="second", seed=0, quiet=True)
    reward = HumanGame(Go(size=3, komi=0.5), Expects(), console(sys.stdout), args).play()
    assert reward == -1
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines[-1] == "you resign"
    assert "if the game ended here: ● leads by 8.5" in lines  # a stone in the middle of 3 x 3
    start = lines.index("somebody expects: ○ leads by 2.2")
    assert [line.split()[1:-1] for line in lines[start + 3 : start + 6]] == [
        ["●", "●", "·"],
        ["○", "+", "·"] if "+" in lines[start + 4] else ["○", "·", "·"],
        ["○", "○", "●"],
    ]


@pytest.mark.parametrize("ending", ["quit", "q", "exit", "Ctrl-C", "Ctrl-D"])
def test_leaving(ending: str, person: Person) -> None:
    answer = person(f"b2 {ending}", "tic-tac-toe", "--opponent", "random")
    assert (answer.status, answer.err) == (0, "")
    assert answer.out.splitlines()[-1] == "left after 2 moves"


def test_the_opponent_begins_where_one_plays_second(person: Person) -> None:
    out = person("quit", "connect-four", "--side", "second", "--opponent", "mcts:50", "--seed", "0").out
    assert "mcts:50 plays " in out
    assert "your move (○)> " in out


def test_a_game_alone_is_played_against_search(person: Person) -> None:
    assert person("quit", "tic-tac-toe", "--json").data["opponent"] == "mcts:1000"


def test_quiet(person: Person) -> None:
    answer = person("b2 quit", "tic-tac-toe", "--opponent", "random", "--quiet")
    assert (answer.status, answer.out.strip(), answer.err) == (0, "", "")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        ("", 1, "there is no run or game 'last': there is no run 'last' in runs: there are 0 runs; or name a game"),
        ("conect-four", 1, "there is no run or game 'conect-four': did you mean connect-four?"),
        ("random", 2, "name the game with --game"),
        ("tic-tac-toe --opponent minmax", 1, "there is no player 'minmax': did you mean minimax?"),
        ("tic-tac-toe --side third", 2, "invalid choice: 'third'"),
        ("connect-four --opponent minimax", 1, "connect-four is too large to be solved"),
    ],
)
def test_mistakes_are_answered_with_one_line(words: str, status: int, says: str, tegu: Command) -> None:
    assert says in one_line(tegu("play", *words.split()), status)
