"""A part of the table of damaged runs, in processes of their own, whose time and memory the system limits."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from cli.hostile import (
    ANY_FILE,
    COMMANDS,
    DONE,
    EITHER,
    LAST_GOOD,
    NEWEST,
    OLDER,
    REFUSED,
    Case,
    blob,
    database,
    ended_alone,
    met,
)
from cli.test_hostile_table import CASES, SCRIPTS

SHARE = 90  #: of the table, one case in so many, by ``make test-long``
LARGE = partial(blob, name="learner", change=lambda arrays: {name: np.zeros(2**22) for name in arrays})

TABLE = [case for cases in CASES.values() for case in cases if case.command in COMMANDS]
EACH_TIME = [  # what could make a process hang or grow, one for each command that reads runs
    Case(file, kind, damage or ANY_FILE[kind], command, expected)
    for command, file, kind, damage, expected in (
        ("evaluate", f"checkpoints/{NEWEST}/learner.safetensors", "endless device", None, OLDER),
        ("best", f"best/{LAST_GOOD}/manifest.json", "a terabyte", None, REFUSED),
        ("watch", f"checkpoints/{NEWEST}/manifest.json", "pipe", None, OLDER),
        ("resume", "metrics.sqlite", "zeros", None, EITHER),
        ("compare", "", "endless view", partial(database, script=SCRIPTS["endless view"]), EITHER),
        ("list", "config.toml", "a terabyte", None, DONE),
        ("export", "", "huge name", partial(database, script=SCRIPTS["huge name"]), EITHER),
        ("tensorboard", "metrics.sqlite", "pipe", None, EITHER),
        ("play", "config.toml", "endless device", None, EITHER),
        ("arena", "", "learner large", LARGE, REFUSED),
        ("crossplay", "", "learner large", LARGE, REFUSED),
    )
]


@pytest.mark.parametrize("case", EACH_TIME, ids=[case.command for case in EACH_TIME])
def test_every_command_under_limits(
    case: Case, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not met(case, finished, tmp_path / "place", monkeypatch, ended_alone)


@pytest.mark.long
def test_a_sample_of_the_table_under_limits(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    some = TABLE[::SHARE]
    assert not [fault for case in some for fault in met(case, finished, tmp_path / "place", monkeypatch, ended_alone)]
