"""Games of GNU Go to learn from."""

import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

import tegu
from tegu.core.errors import TeguError
from tegu.environments.games.go import Go
from tegu.environments.games.recorded import legal_moves
from tegu.gtp import expert

GAME = Go(size=3, id="go-3x3")
needs_gnu_go = pytest.mark.skipif(expert.gnu_go() is None, reason=f"needs GNU Go: {expert.INSTALL}")
ASKED = {"n": 4, "level": 0, "opening": 2, "seed": 3}

# A program that answers each genmove with the next of the words it is started with, then with passes.
PROGRAM = """
import sys
words = iter(sys.argv[1:sys.argv.index("--seed")])
for line in sys.stdin:
    said = next(words, "pass") if line.startswith("genmove") else ""
    print("? no\\n" if line.startswith("komi") and "refuses" in sys.argv else f"= {said}\\n", flush=True)
"""


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "tegu" / "games"


def command(tmp_path: Path, *words: str) -> str:
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    return shlex.join([sys.executable, "-S", "-E", str(script), *words])


@pytest.mark.parametrize(
    ("words", "played"),
    [
        (["B2"], [4, 9, 9]),
        (["B2", "A1", "resign"], [4, 6]),
        (["B2", "B2"], [4]),
    ],
)
def test_a_record_ends_with_the_game_or_before_what_is_no_move(tmp_path, words, played) -> None:
    """After two passes, where the program resigns, and before an illegal move."""
    records = expert.self_play(GAME, command(tmp_path, *words), [[], []], 0)
    assert records.moves.shape == (2, GAME.most_moves)
    for row in records.moves:
        assert row[: len(played)].tolist() == played
        assert (row[len(played) :] == -1).all()


def test_a_program_that_refuses_is_named(tmp_path) -> None:
    with pytest.raises(TeguError, match="refuses to play go-3x3: no"):
        expert.self_play(GAME, command(tmp_path, "refuses"), [[]], 0)


@pytest.mark.slow
def test_openings_are_random_and_legal() -> None:
    openings = expert.random_openings(GAME, 40, 3, 0)
    assert {len(moves) for moves in openings} == {0, 1, 2, 3}
    moves = np.array([[*each, *[-1] * (3 - len(each))] for each in openings])
    np.testing.assert_array_equal(legal_moves(GAME, moves), [len(each) for each in openings])
    assert (moves < GAME.points).all(), "no pass"
    assert len({tuple(each) for each in openings}) > 10
    assert openings == expert.random_openings(GAME, 40, 3, 0) != expert.random_openings(GAME, 40, 3, 1)
    assert expert.random_openings(GAME, 2, 0, 0) == [[], []]


def test_neither_openings_nor_passes_that_give_up_are_learned_from(tmp_path) -> None:
    """The last two passes are: they end the game."""
    words = ["pass", "B2", "pass", "A1", "pass", "pass"]
    records = expert.self_play(GAME, command(tmp_path, *words), [[8], []], 0)
    assert records.moves[0, :7].tolist() == [8, 9, 4, 9, 6, 9, 9]
    assert records.expert[0, :8].tolist() == [False, False, True, False, True, True, True, False]
    assert records.expert[1, :7].tolist() == [False, True, False, True, True, True, False]


@pytest.mark.slow
@needs_gnu_go
def test_gnu_go_plays_once(cache, monkeypatch, capsys) -> None:
    """The same games for the same seed, also with one core; and then never again."""
    games = expert.expert_games(GAME, None, **ASKED)
    assert "GNU Go plays 4 games of go-3x3" in capsys.readouterr().err
    (file,) = cache.iterdir()
    file.rename(cache / "kept")
    monkeypatch.setattr(expert, "cores", lambda: 1)
    again = expert.expert_games(GAME, None, **ASKED)
    other = expert.expert_games(GAME, None, **ASKED | {"seed": 4})
    monkeypatch.setattr(expert, "gnu_go", lambda: None)
    cached = expert.expert_games(GAME, None, **ASKED)
    for found in (again, cached):
        np.testing.assert_array_equal(found.moves, games.moves)
        np.testing.assert_array_equal(found.expert, games.expert)
    assert (other.moves.shape, other.moves.tolist()) != (games.moves.shape, games.moves.tolist())
    assert games.expert.any(axis=1).all()


def test_without_gnu_go_one_line_says_how_to_get_it(monkeypatch) -> None:
    monkeypatch.setattr(expert, "gnu_go", lambda: None)
    with pytest.raises(TeguError, match=r"GNU Go, which is not installed \(apt-get install gnugo\)") as error:
        tegu.train("go-5x5", "alphago", steps=100, folder=None)
    assert "\n" not in str(error.value)


def test_a_file_that_is_missing_is_named(tmp_path) -> None:
    with pytest.raises(TeguError, match=r"cannot read the recorded games .*none.npz: No such file"):
        tegu.train("go-5x5", "alphago", steps=100, folder=None, expert_games=str(tmp_path / "none.npz"))
