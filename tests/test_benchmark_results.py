"""The committed figures of the benchmarks are files that any JSON reader reads, made by commands for any machine."""

import importlib
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "benchmarks/results").glob("*.json"))


def _refused(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_figures_are_strict_json(file: Path) -> None:
    assert json.loads(file.read_text(), parse_constant=_refused)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (["--only", "a", "--runs", "/somewhere/runs", "--seeds", "3"], "python -m x --only a --seeds 3"),
        (["--output=/somewhere", "--toy"], "python -m x --toy"),
        ([], "python -m x"),
    ],
)
def test_commands_name_no_place_on_a_machine(given: list[str], kept: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT)
    monkeypatch.setattr("sys.argv", ["x", *given])
    assert importlib.import_module("benchmarks.machine").command("x") == kept


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_no_figures_were_made_by_a_command_with_an_absolute_path(file: Path) -> None:
    command = json.loads(file.read_text()).get("command", "")
    assert not any(word.partition("=")[2].startswith("/") or word.startswith("/") for word in command.split())
