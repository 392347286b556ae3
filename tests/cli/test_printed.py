"""What README and the first steps show is what the command prints now."""

import re
from pathlib import Path

import pytest
from cli.conftest import Command

ROOT = Path(__file__).parents[2]


def numbers(text: str) -> list[list[float]]:
    """Of each row of a Q-table."""
    rows = re.findall(r"^(?:\d crickets?|empty \d) .*$", text, re.MULTILINE)
    return [[float(number) for number in re.findall(r"-?\d+\.\d\d", row)] for row in rows]


def test_the_lizard_in_the_documentation(tegu: Command) -> None:
    printed = tegu("train", "lizard", "--show").out
    shown, now = (numbers(text) for text in ((ROOT / "README.md").read_text(encoding="utf-8"), printed))
    assert len(now) == 8
    for row, current in zip(shown, now, strict=True):
        assert row == pytest.approx(current, abs=0.011)
    first_steps = (ROOT / "docs/first-steps.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```text\n(step .*?)^```", first_steps, re.MULTILINE | re.DOTALL)
    assert block in printed
