"""The committed figures of the benchmarks are files that any JSON reader reads."""

import json
from pathlib import Path

import pytest

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"


def _refused(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


@pytest.mark.parametrize("file", sorted(RESULTS.glob("*.json")), ids=lambda file: file.name)
def test_figures_are_strict_json(file: Path) -> None:
    assert json.loads(file.read_text(), parse_constant=_refused)
