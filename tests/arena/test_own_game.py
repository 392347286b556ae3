"""The example of a board game of one's own, which does not come with Tegu."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tegu.arena.positions import begin
from tegu.arena.solve import solve
from tegu.check import check
from tegu.cli import main

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_board_game.py"


@pytest.fixture(scope="module")
def apart():
    spec = importlib.util.spec_from_file_location("own_board_game", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Apart


@pytest.mark.slow
def test_it_is_solved_as_known(apart):
    """On n squares it is Dawson's Kayles with n + 1 pins, lost where https://oeis.org/A002187 is 0: 1, 5, 9, 15, ..."""
    lost = [length for length in range(1, 11) if solve(apart(length)).values(begin(apart(length), 1)) < 0]
    assert lost == [4, 8]


@pytest.mark.slow
def test_it_is_a_sound_environment(apart):
    assert check(apart()).ok


def test_it_can_be_played_in_the_terminal(capsys, monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLE.parent)
    answers = iter(["10", "5", "quit"])
    monkeypatch.setattr("builtins.input", lambda prompt: next(answers))
    assert main(["play", "own_board_game:Apart", "--opponent", "minimax"]) == 0
    assert "expected a square from 1 to 9, got '10'" in capsys.readouterr().out
    assert main(["arena", "random", "minimax", "--game", "own_board_game:Apart", "--games", "4"]) == 0
    assert "apart, 4 games" in capsys.readouterr().out


@pytest.mark.slow
def test_what_it_prints(tmp_path):
    done = subprocess.run([sys.executable, EXAMPLE], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    search, chance = done.stdout.splitlines()
    assert float(search.split()[2]) == 0.5  # as perfect as its opponent
    assert float(chance.split()[2]) < 0.45
