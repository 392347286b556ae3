"""One small trained run for all tests, and the command line called in this process."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tegu.cli import main

ESCAPE = re.compile(r"\x1b")


class Answer(NamedTuple):
    """What a command gave back."""

    status: int
    out: str
    err: str

    @property
    def data(self) -> dict[str, Any]:
        """The only line on stdout, a JSON object."""
        (line,) = self.out.splitlines()
        return json.loads(line)


Command = Callable[..., Answer]


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run of two seeds, ``lizard/q-learning/1``. Not to be written to."""
    folder = tmp_path_factory.mktemp("runs")
    words = ["train", "lizard", "--seeds", "2", "--steps", "4k", "--episodes", "0", "--quiet", "--runs", str(folder)]
    assert main(words) == 0
    return folder


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of runs with one run, which has two checkpoints, two snapshots and a best agent."""
    folder = tmp_path_factory.mktemp("finished") / "runs"
    words = "lizard --steps 2k --n-envs 2 --seeds 2 --episodes 0 --quiet --checkpoint-every 0 --log-interval 1000"
    kept = "--eval-every 1000 --eval-episodes 5 --snapshot-every 1000"
    assert main(["train", *words.split(), *kept.split(), "--runs", str(folder)]) == 0
    for name in ("shm", "wal"):
        (folder / f"lizard/q-learning/1/metrics.sqlite-{name}").unlink(missing_ok=True)
    return folder


@pytest.fixture
def tegu(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """``tegu("list", "runs")``, called in a folder of the test's own."""
    monkeypatch.chdir(tmp_path)

    def call(*words: str | Path) -> Answer:
        status = main([str(word) for word in words])
        out, err = capsys.readouterr()
        return Answer(status, out, err)

    return call


def one_line(answer: Answer, status: int) -> str:
    """The line of an error, which is all there is."""
    assert answer.status == status
    assert answer.out == ""
    (line,) = answer.err.splitlines()
    assert line.startswith("tegu: ")
    return line
