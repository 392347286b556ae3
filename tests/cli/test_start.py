"""Help, versions and wrong commands come at once: nothing heavy is imported for them."""

import subprocess
import sys
from pathlib import Path

import pytest
from cli.conftest import Command, one_line

from tegu import __version__
from tegu.cli import COMMANDS

HEAVY = ("jax", "gymnasium", "numpy")


def imported(words: list[str], folder: Path) -> set[str]:
    """What a fresh process imports for a command."""
    program = (
        "import contextlib, io, sys\n"
        "from tegu.cli import main\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):\n"
        "    main(sys.argv[1:])\n"
        "print(*sys.modules)"
    )
    command = [sys.executable, "-c", program, *words]
    return set(subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.parametrize("words", [["--help"], ["trian"], ["train", "--help"], ["watch", "--help"]])
def test_imports_nothing_heavy(words: list[str], tmp_path: Path) -> None:
    assert not imported(words, tmp_path).intersection(HEAVY)


@pytest.mark.parametrize("words", [["list", "runs"], ["compare", "lizard"], ["export", "--csv", "a.csv"]])
def test_looking_at_runs_starts_no_jax(words: list[str], runs: Path, tmp_path: Path) -> None:
    assert "jax" not in imported([*words, "--runs", str(runs)], tmp_path)


def test_help_names_every_command(tegu: Command) -> None:
    answer = tegu("--help")
    assert answer.status == 0
    assert all(f"  {command} " in answer.out for command in COMMANDS)
    assert tegu() == answer


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, tegu: Command) -> None:
    answer = tegu(command, "--help")
    assert answer.status == 0
    assert answer.out.startswith(f"usage: tegu {command} ")
    assert all(flag in answer.out for flag in ("--json", "--quiet", "--help"))


def test_version(tegu: Command) -> None:
    assert tegu("--version").out == f"tegu {__version__}\n"


def test_wrong_command_names_the_nearest(tegu: Command) -> None:
    assert one_line(tegu("trian"), 2) == "tegu: there is no command 'trian': did you mean train?"
    assert "expected one of train, resume" in one_line(tegu("xyz"), 2)


def test_words_of_other_libraries(tegu: Command) -> None:
    assert tegu("enjoy", "--help").out == tegu("watch", "--help").out
