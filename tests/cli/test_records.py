"""Records of games: written by ``tegu arena`` and ``tegu export``, looked at by ``tegu watch``."""

from pathlib import Path

import numpy as np
import pytest
from arena.conftest import Fixed, Planner, known, untrained
from cli.conftest import Command, one_line
from cli.test_gtp import program

from tegu.arena.go_board import score, score_text
from tegu.arena.sgf.record import read
from tegu.arena.sgf.replay import replay
from tegu.environments.games.go import Go

GAME = Go(size=5, id="go-5x5")


@pytest.fixture
def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A saved agent that plays Go on 5x5, with ``tic-tac-toe`` beside it."""
    known(monkeypatch)
    untrained(Planner(), GAME).save(tmp_path / "go")
    untrained(Fixed()).save(tmp_path / "tic-tac-toe")
    return tmp_path / "go"


@pytest.mark.slow
def test_the_games_of_a_match(tegu: Command, go: Path, tmp_path: Path) -> None:
    """Both colours; played through, each ends with the result that it names."""
    answer = tegu("arena", go, "random", "--games", "4", "--sgf", "games", "--json")
    assert answer.data["sgf"] == "games"
    records = [read(path) for path in sorted((tmp_path / "games").iterdir())]
    assert [path.name for path in sorted((tmp_path / "games").iterdir())] == [f"game-00{n}.sgf" for n in (1, 2, 3, 4)]
    assert [(record.black, record.white) for record in records] == [(str(go), "random")] * 2 + [("random", str(go))] * 2
    for record in records:
        assert (record.komi, record.rules) == (7.5, "Chinese")
        assert record.result == score_text(score(GAME, replay(GAME, record).last))
    results = answer.data["matches"][0]["total"]
    wins = sum(record.result[0] == "BW"[record.white == str(go)] for record in records)
    assert results["wins"] == wins
    openings = [[move.action for move in record.moves[:4]] for record in records]
    assert openings[:2] == openings[2:]


def test_how_a_game_was_given_up(tegu: Command, tmp_path: Path) -> None:
    words = ("--game", "go-5x5", "--games", "2", "--openings", "1")
    answer = tegu("arena", "random", program("resigns"), program("plays nowhere"), *words, "--sgf", "games")
    assert "records of all games: games" in answer.out.splitlines()
    records = {path.name: read(path) for path in (tmp_path / "games").iterdir()}
    assert {name: record.result for name, record in records.items() if not name.startswith("2-3")} == {
        "1-2-game-001.sgf": "B+R",
        "1-2-game-002.sgf": "W+R",
        "1-3-game-001.sgf": "B+F",
        "1-3-game-002.sgf": "W+F",
    }
    assert all(len(record.moves) in (1, 2) for record in records.values())


def test_a_run_against_itself(tegu: Command, go: Path, tmp_path: Path) -> None:
    answer = tegu("export", f"{go}@4", "--sgf", "new/games", "--games", "3", "--openings", "2", "--json")
    assert answer.data == {"run": f"{go}@4", "format": "sgf", "path": "new/games", "games": 3}
    records = [read(path) for path in sorted((tmp_path / "new/games").iterdir())]
    assert len(records) == 3
    assert {record.black for record in records} == {record.white for record in records} == {f"{go}@4"}
    assert len({tuple(record.moves[:2]) for record in records}) > 1
    liked = untrained(Planner(), GAME).learner(0).scores
    for record in records:  # after the opening it plays the legal point that it likes best
        position = replay(GAME, record).before[2]
        mask = position["action_mask"][0]
        assert record.moves[2].action == np.where(mask, liked, -np.inf).argmax()


def test_a_game_is_looked_at(tegu: Command, go: Path, tmp_path: Path) -> None:
    """The stand-in says 0.08 of every position, so that each move seems to lose a little to whoever made it."""
    (tmp_path / "game.sgf").write_text("(;SZ[5]KM[0.5]PB[Ada]RE[W+R];B[cc];W[dd];B[])", encoding="utf-8")
    answer = tegu("watch", "game.sgf", "--run", go, "--mistake", "0.05")
    assert answer.status == 0, answer.err
    lines = answer.out.splitlines()
    assert lines[0] == "Ada against White, W+R: 3 moves on 5x5, komi 0.5"
    assert [line.split()[:7] for line in lines[4:7]] == [
        [f"{number}", side, move, "54%", "46%", "+8%", "?"]
        for number, side, move in ((1, "Black", "C3"), (2, "White", "D2"), (3, "Black", "pass"))
    ]
    assert lines[-1] == f"moves that gave away 5% or more, as {go} sees it: Black 2, White 1"
    exactly = tegu("watch", "game.sgf", "--run", f"{go}@20", "--mistake", "0.2", "--json").data
    assert exactly["mistakes"] == [2, 1]
    data = tegu("watch", "game.sgf", "--run", f"{go}@20", "--json").data
    assert [data[name] for name in ("game", "komi", "names", "result", "mistakes")] == [
        "go-5x5",
        0.5,
        ["Ada", ""],
        "W+R",
        [2, 1],
    ]
    liked = untrained(Planner(), GAME).learner(0).scores.argmax()
    assert data["moves"][0] == {
        "number": 1,
        "player": "black",
        "move": "C3",
        "before": pytest.approx(0.6),
        "after": pytest.approx(0.4),
        "loss": pytest.approx(0.2),
        "mistake": True,
        "best": [{"move": GAME.action_name(int(liked)), "win_rate": 0.75, "share": 1.0}],
    }


def test_pictures_of_a_game(tegu: Command, go: Path, tmp_path: Path) -> None:
    (tmp_path / "game.sgf").write_text("(;SZ[5];B[cc];W[dd])", encoding="utf-8")
    data = tegu("watch", "game.sgf", "--run", go, "--out", "drawn", "--format", "gif", "--json").data
    assert (data["animation"], data["frame_strip"]) == ("drawn/game.gif", "drawn/game.png")
    assert (tmp_path / "drawn/game.gif").stat().st_size > 1000
    assert (tmp_path / "drawn/game.png").is_file()


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        ("watch missing.sgf --run go", 1, "missing.sgf: No such file or directory"),
        ("watch bad.sgf --run go", 1, "bad.sgf: move 2, W C3, is illegal"),
        ("watch broken.sgf --run go", 1, "broken.sgf: broken game record in line 1, at the end of the file"),
        ("watch nine.sgf --run go", 1, "nine.sgf: a game on 9x9, expected 5x5"),
        ("watch bad.sgf --run tic-tac-toe", 1, "tic-tac-toe plays tic-tac-toe, not Go"),
        ("watch good.sgf --run random", 1, "random cannot review a game: it does not search"),
        ("watch good.sgf --run gtp:gnugo", 2, "gtp:gnugo cannot review a game: expected a run, or mcts:1000"),
        ("watch good.sgf --run go --mistake 2", 2, "--mistake must be above 0 and at most 1, got 2"),
        ("watch go --run go", 2, "--run, --mistake and --seed are for a game record: expected game.sgf, got go"),
        ("watch good.sgf", 1, "there is no run 'last'"),
        ("arena random minimax --game tic-tac-toe --sgf x", 2, "--sgf is for games of Go, not of tic-tac-toe"),
        ("arena random random --game go-5x5 --sgf good.sgf", 1, "--sgf good.sgf: File exists"),
        ("export tic-tac-toe --sgf x", 2, "--sgf is for games of Go, not of tic-tac-toe"),
        ("export random --sgf x", 2, "random is no run: its games are those of tegu arena --sgf"),
        ("export go --sgf x --games 0", 2, "--games must be at least 1"),
        ("export go --sgf x --csv y", 2, "not allowed with argument"),
    ],
)
def test_mistakes_are_one_line(words: str, status: int, says: str, tegu: Command, go: Path, tmp_path: Path) -> None:
    texts = {"good": "(;SZ[5];B[cc])", "bad": "(;SZ[5];B[cc];W[cc])", "broken": "(;SZ[5]", "nine": "(;SZ[9])"}
    for name, text in texts.items():
        (tmp_path / f"{name}.sgf").write_text(text, encoding="utf-8")
    assert says in one_line(tegu(*words.split()), status)
