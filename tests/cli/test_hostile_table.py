"""Every command that reads runs, and every way to damage one: a line in reply, in bounds, and nothing else touched."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from cli.hostile import (
    ANY_FILE,
    DONE,
    EITHER,
    GONE,
    LAST_GOOD,
    NEWEST,
    OLDER,
    REFUSED,
    Case,
    Damage,
    blob,
    configured,
    database,
    ended,
    met,
    replaced,
    stated,
    without_blob,
)

LOADING = ("evaluate", "watch", "resume", "load")
METRICS = ("compare", "export", "tensorboard")
ALL = (*LOADING, *METRICS, "list", "best", "snapshot", "arena", "train")
OF_NEWEST = [f"checkpoints/{NEWEST}/{name}" for name in ("manifest.json", "learner.safetensors")]
OF_NEWEST += [f"checkpoints/{NEWEST}/environments.safetensors"]
SHARE = 7  #: of the table, one case in so many is tested each time, and the others by ``make test-long``


@pytest.fixture
def outcome(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Damages a copy of the run, runs the command in a folder of its own, and says what is wrong with what it did."""

    def check(case: Case) -> list[str]:
        return met(case, finished, tmp_path / "place", monkeypatch, lambda case: ended(case, capsys))

    return check


def of_every_file() -> Iterator[Case]:
    """Each file of a run, each damage, and the commands that the file matters to, and some to which it does not."""
    for number, (kind, damage) in enumerate(ANY_FILE.items()):
        whole = not ("flipped" in kind or "cut" in kind or kind == "empty")
        for command in ("load", "compare", "export", "play", ("evaluate", "resume", "watch")[number % 3]):
            yield Case("config.toml", kind, damage, command, REFUSED if whole and command != "play" else EITHER)
        for command in ("list", "train")[: 1 + (number % 5 == 0)]:
            yield Case("config.toml", kind, damage, command, DONE)
        yield Case("status.json", kind, damage, "list", DONE)
        yield Case("status.json", kind, damage, ("evaluate", "resume")[number % 2], EITHER)
        irregular = kind in ("folder", "pipe", "endless device", "link", "hard link", "broken link", "link to itself")
        yield Case("lock", kind, damage, "resume", REFUSED if irregular else DONE)
        for command in ("compare", "export", "tensorboard", "list"):
            yield Case("metrics.sqlite", kind, damage, command, DONE if command == "list" else EITHER)
        yield Case("metrics.sqlite", kind, damage, ("resume", "evaluate")[number % 2], (EITHER, DONE)[number % 2])
        for turn, file in enumerate(OF_NEWEST):
            yield Case(file, kind, damage, "load", OLDER)
            yield Case(file, kind, damage, ("evaluate", "resume", "watch")[(number + turn) % 3], OLDER)
        yield Case(OF_NEWEST[1], kind, damage, "compare", DONE)
        for turn, file in enumerate(("manifest.json", "learner.safetensors")):
            yield Case(f"best/{LAST_GOOD}/{file}", kind, damage, "best", REFUSED)
            if number % 4 == turn:
                yield Case(f"best/{LAST_GOOD}/{file}", kind, damage, "resume", DONE)
                yield Case(f"snapshots/000000002000/{file}", kind, damage, "snapshot", REFUSED)


def of_folders() -> Iterator[Case]:
    """What is no folder in place of one, and files that are none in place of what is written."""
    kinds = {name: ANY_FILE[name] for name in ("missing", "pipe", "endless device", "link", "broken link")}
    away = "link to a folder", partial(replaced, make=lambda file: file.symlink_to(file.parents[5] / "outside"))
    for kind, damage in [*kinds.items(), away]:
        for command in (*LOADING, "list", "compare"):
            expected = REFUSED if command in LOADING else DONE
            if command == "resume" and kind == "missing":
                expected = DONE
            yield Case("checkpoints", kind, damage, command, expected)
        yield Case("best", kind, damage, "best", REFUSED)
        yield Case("best", kind, damage, "resume", EITHER)
        yield Case("snapshots", kind, damage, "snapshot", REFUSED)
    for kind, damage in (*kinds.items(), away):
        for file in ("replays", "replays/2000-seed-0.gif", "replays/2000-seed-0.png"):
            if kind != "missing":
                yield Case(file, kind, partial(_put, damage=damage), "watch", EITHER)
        if kind != "missing":
            yield Case("curve.png", kind, partial(_put, damage=damage), "resume", DONE)


def _put(file: Path, damage: Damage) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text("x")
    damage(file)


VALUES = [-1, 0, 1.5, 10**30, "x", "\x1b[2J", "x" * 10**6, True, [], {}, [[]], ["x"] * 10**5]
STATE = [
    *("environment", "algorithm", "hyper_parameters", "observation_space", "action_space", "n_envs", "agents", "seeds"),
    *("phase", "elapsed", "loop", "steps", "schedule_steps", "total", "backend", "environment_options"),
]
RESUMED = ("phase", "elapsed", "loop", "steps", "schedule_steps", "total")
SPACES = [
    {"kind": "discrete", "n": 2**70, "start": 0},
    {"kind": "discrete", "n": 2**62, "start": 0},
    {"kind": "discrete", "n": -3, "start": 0},
    {"kind": "discrete", "n": 9, "start": 2**63},
    {"kind": "box", "shape": [10**6, 10**6], "dtype": "float32", "low": "0", "high": "1"},
    {"kind": "box", "shape": [2**62, 2**62], "dtype": "float32", "low": "0", "high": "1"},
    {"kind": "box", "shape": [2] * 100, "dtype": "float32", "low": "0", "high": "1"},
    {"kind": "box", "shape": [2], "dtype": "object", "low": "0", "high": "1"},
    {"kind": "box", "shape": [2], "dtype": "f4," * 10**4, "low": "0", "high": "1"},
    {"kind": "box", "shape": [2], "dtype": "float32", "low": "nan", "high": "nan"},
    {"kind": "box", "shape": "22", "dtype": "float32", "low": ["1"] * 10**5, "high": "1"},
    {"kind": "multi-discrete", "nvec": [[2], [2, 3]], "start": [0]},
    {"kind": "multi-discrete", "nvec": [2**70], "start": [0]},
    {"kind": "multi-binary", "n": 10**12},
    {"kind": "multi-binary", "n": [10**6, 10**6]},
    {"kind": "dict", "spaces": [["\x1b[2J" * 1000, {"kind": "\x1b[2J"}]]},
    {"kind": "dict", "spaces": [["a"], [["\x1b"], {"kind": "discrete", "n": 2, "start": 0}]]},
    {"kind": "dict", "spaces": [[[1, "\x1b[2J" * 1000], {"kind": "discrete", "n": 2, "start": 0}]]},
    {"kind": "\x1b" * 1000},
    {"kind": ["box"]},
]


def _nested(depth: int) -> dict:
    found: dict = {"kind": "discrete", "n": 2, "start": 0}
    for _ in range(depth):
        found = {"kind": "dict", "spaces": [["a", found]]}
    return found


def of_manifests() -> Iterator[Case]:
    """Manifests whose digests are right and whose content is not: each entry of the state, of every wrong kind."""
    for field in STATE:
        for number, value in enumerate([GONE, *VALUES]):
            change = partial(stated, **{field: value})
            yield Case("", f"{field} is wrong, {number}", change, "resume" if field in RESUMED else "load", EITHER)
    for number, space in enumerate([*SPACES, _nested(100), _nested(300)]):
        for field in ("observation_space", "action_space"):
            yield Case("", f"{field} {number}", partial(stated, **{field: space}), "load", REFUSED)
    for number, loop in enumerate(
        [{}, {"stored": 1}, {"stored": "x", "cuts": 0}, {"stored": -1, "cuts": 2**70}, {"stored": [], "cuts": {}}]
    ):
        yield Case("", f"loop {number}", partial(stated, loop=loop, steps=3000), "resume", REFUSED)
    for number, options in enumerate(
        [{"x": 1}, {"render_mode": "human"}, {"max_episode_steps": -1}, {"max_episode_steps": "x"}]
    ):
        yield Case("", f"options {number}", partial(stated, environment_options=options), "resume", EITHER)
    for number, hyper in enumerate(
        [
            {"gamma": 7},
            {"gamma": "\x1b" * 900},
            {"x" * 900: 1},
            {"gamma": {"initial": 1, "x" * 900: 2}},
            {"gamma": None},
        ]
    ):
        for command in ("load", "arena"):
            yield Case("", f"hyper {number}", partial(stated, hyper_parameters=hyper), command, REFUSED)
    for mean in ("x", None, [], 10**400):
        yield Case("", f"mean {str(mean)[:9]}", partial(stated, where="best", mean_reward=mean), "resume", EITHER)
    for name, mean in (("gone", GONE),):
        yield Case("", f"mean {name}", partial(stated, where="best", mean_reward=mean), "resume", DONE)


def of_blobs() -> Iterator[Case]:
    """Blobs whose digests are right and whose content is not."""
    changes = {
        "NaN": lambda arrays: {name: np.full_like(array, np.nan) for name, array in arrays.items()},
        "infinite": lambda arrays: {name: np.full_like(array, np.inf) for name, array in arrays.items()},
        "text name": lambda arrays: {**arrays, "\x1b[2J" + "x" * 10**5: np.zeros(1)},
        "nothing": lambda arrays: {},
        "other shape": lambda arrays: {name: np.zeros((0, 2**20)) for name in arrays},
        "other type": lambda arrays: {name: array.astype(np.int8) for name, array in arrays.items()},
        "large": lambda arrays: {name: np.zeros(2**22) for name in arrays},
    }
    for kind, change in changes.items():
        for command in (*LOADING, "arena"):
            yield Case("", f"learner {kind}", partial(blob, name="learner", change=change), command, REFUSED)
        if kind not in ("NaN", "infinite"):
            damage = partial(blob, name="environments", change=change)
            yield Case("", f"environments {kind}", damage, "resume", REFUSED)
    for name in ("learner", "environments"):
        yield Case("", f"no {name}", partial(without_blob, name=name), "resume", REFUSED)


CONFIG = {
    "steps": "steps =",
    "n_envs": "n_envs =",
    "log_interval": "log_interval =",
    "checkpoint_every": "checkpoint_every =",
    "eval_every": "eval_every =",
    "eval_episodes": "eval_episodes =",
    "backend": "backend =",
    "environment": "environment =",
    "algorithm": "algorithm =",
    "created": "created =",
}
LITERALS = ["-1", "0", "1.5", "nan", "inf", "1e999", "9" * 3000, "0x" + "f" * 10**5, '"x"', '"\\u001b[2J"']
LITERALS += [f'"{"x" * 10**5}"', "true", "[]", "{}", "1979-05-27T07:32:00Z", "[1, [2, [3]]]", "0001-01-01"]


def of_configurations() -> Iterator[Case]:
    """Configurations that are TOML, each field of every wrong kind, and TOML that takes long to read."""
    for field, start in CONFIG.items():
        for number, literal in enumerate(LITERALS):
            change = partial(configured, line=f"{field} = {literal}", instead_of=start)
            yield Case("", f"{field} {number}", change, ("load", "compare", "list", "resume")[number % 4], EITHER)
    texts = {
        "nested lists": "x = " + "[" * 10**5,
        "nested tables": "x = " + "{a=" * 10**5,
        "dotted key": ".".join(["a"] * 10**5) + " = 1",
        "dotted quoted keys": "\n".join(f"{number}" + '."a"' * 3000 + " = 1" for number in range(10)),
        "dotted table": "[" + ".".join(["a"] * 20000) + "]",
        "twice": "steps = 1\nsteps = 2",
        "escapes": 'x = "\\u001b[2J"',
        "unknown dates": "x = 1979-05-27",
        "early": 'created = "0001-01-01T00:00:00+14:00"',
        "late": 'created = "9999-12-31T23:59:59-14:00"',
        "key of escapes": '"\\u001b[2J" = 1',
        "options of escapes": 'environment_options = {"a" = "\\u001b[2J"}',
    }
    for kind, text in texts.items():
        for command in ("list", "load", "compare", "resume"):
            start = "created" if kind in ("early", "late") else "[environment_options" if "options" in kind else ""
            yield Case("", kind, partial(configured, line=text, instead_of=start), command, EITHER)


SCHEMA = "PRAGMA writable_schema = ON; "
SCRIPTS = {
    "endless view": "DROP TABLE metrics; CREATE VIEW metrics AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL "
    "SELECT x+1 FROM n) SELECT 1 AS name, 0 AS seed, x AS step, 1.0 AS value FROM n",
    "view of itself": "DROP TABLE names; CREATE VIEW names AS SELECT * FROM names",
    "trigger": "CREATE TRIGGER t AFTER INSERT ON metrics BEGIN DELETE FROM writes; END",
    "column": "ALTER TABLE metrics ADD COLUMN more TEXT",
    "no table": "DROP TABLE writes",
    "version": "PRAGMA user_version = 999",
    "application": "PRAGMA application_id = 1",
    "huge name": "UPDATE names SET name = id || hex(zeroblob(5000000))",
    "long names": "UPDATE names SET name = name || hex(zeroblob(3000))",
    "names of escapes": "UPDATE names SET name = name || char(27) || '[2J'",
    "names of bytes": "UPDATE names SET name = x'ff' || id",
    "values of text": "UPDATE metrics SET value = 'x'",
    "values of bytes": "UPDATE metrics SET value = zeroblob(9000)",
    "huge values": "UPDATE metrics SET value = 1e308 * (1 + seed)",
    "infinite values": "UPDATE metrics SET value = 9e999",
    "no values": "UPDATE metrics SET value = NULL",
    "seeds of text": "UPDATE metrics SET seed = 'x' || seed",
    "negative seeds": "UPDATE metrics SET seed = -1 - seed",
    "negative steps": "UPDATE metrics SET step = -step",
    "huge steps": "UPDATE metrics SET step = 9223372036854775807 - step",
    "times of text": "UPDATE writes SET time = 'x'",
    "wide schema": SCHEMA + "UPDATE sqlite_master SET sql = sql || hex(zeroblob(3000000)) WHERE name = 'metrics'",
    "root of another": SCHEMA + "UPDATE sqlite_master SET rootpage = 1 WHERE name = 'metrics'",
    "many names": "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM n LIMIT 20000) INSERT INTO names "
    "SELECT NULL, 'name ' || x FROM n; INSERT INTO metrics SELECT id, 0, 1, 1.0 FROM names WHERE name LIKE 'name %'",
    "many seeds": "WITH RECURSIVE n(x) AS (SELECT 10 UNION ALL SELECT x+1 FROM n LIMIT 1000) INSERT INTO metrics "
    "SELECT 1, x, 1, 1.0 FROM n",
}


def of_databases() -> Iterator[Case]:
    """Databases of SQLite that are none of Tegu's, or hold what it does not write."""
    for kind, script in SCRIPTS.items():
        for command in (*METRICS, "list", "resume"):
            yield Case("", kind, partial(database, script=script), command, DONE if command == "list" else EITHER)


TABLES = [of_every_file, of_folders, of_manifests, of_blobs, of_configurations, of_databases]
CASES = {table.__name__: list(table()) for table in TABLES}


def parts(long: bool) -> Iterator[object]:
    for name, cases in CASES.items():
        for first in range(0, len(cases), 100):
            some = cases[first : first + 100]
            yield pytest.param([c for i, c in enumerate(some) if (i % 25 == 0) != long], id=f"{name} {first}")


def check_all(cases, outcome) -> None:
    found = [fault for case in cases for fault in outcome(case)]
    print("cases:", len(cases))
    assert not found, "\n".join(found)


@pytest.mark.parametrize("cases", list(parts(long=False)))
def test_a_part_of_the_table(cases: list[Case], outcome) -> None:
    check_all(cases, outcome)


@pytest.mark.long
@pytest.mark.parametrize("cases", list(parts(long=True)))
def test_the_rest_of_the_table(cases: list[Case], outcome) -> None:
    check_all(cases, outcome)
