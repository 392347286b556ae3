"""Runs from somebody else: links that lead out, what is no file, fields of the wrong kind, text that terminals obey."""

import os
import sqlite3

import pytest

from tegu.core.errors import TeguError
from tegu.runs import CheckpointError, MetricsError, Run, RunError, checkpoint
from tegu.runs.run import refuse_links

GOOD = {"steps": 100, "n_envs": 1, "seeds": [0], "log_interval": 1, "checkpoint_every": 30.0, "hyper_parameters": {}}
WRONG = [
    (field, value)
    for field, values in {
        "steps": [0, -1, 1.5, "10", True, 10**12, [1], {}],
        "n_envs": [0, -1, 2.0, "1", True, 10**9, [1], {}],
        "seeds": [[], [-1], [2**31], ["0"], [0, 0], [1.5], [True], [[0]], "0", 0, {}],
        "log_interval": [0, -1, "1", 1.5, True, []],
        "checkpoint_every": [-1, float("nan"), "30", True, []],
        "eval_every": [-1, "1", 0.5, True, []],
        "eval_episodes": [0, -1, "1", 0.5, True, []],
        "backend": ["cuda", "", 1, True, []],
        "environment_options": [[], "x", 1, True, {"\x1b[2J": 1}, {"a": 2**70}],
        "hyper_parameters": [
            [],
            "x",
            1,
            {"net_arch": [0]},
            {"net_arch": [-8]},
            {"net_arch": [10**9]},
            {"net_arch": ["8"]},
            {"net_arch": [[8]]},
            {"net_arch": [1] * 101},
            {"a": float("nan")},
            {"a": "\x1b[2J"},
            {"a": "x" * 10**6},
        ],
        "phases": [{}, 1, ["x"], [{}], [{"environment": "a"}]],
    }.items()
    for value in values
]


@pytest.fixture
def run(tmp_path):
    return Run.create(tmp_path / "runs", "CartPole-v1", "ppo", GOOD)


def refused(error, call):
    with pytest.raises(error) as caught:
        call()
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 2100
    return message


def locked(run):
    with run.lock():
        pass


@pytest.mark.parametrize(("field", "value"), WRONG)
def test_each_field_has_a_type_and_a_range(tmp_path, field, value):
    run = Run.create(tmp_path, "CartPole-v1", "ppo", GOOD | {field: value})
    assert field in refused(RunError, lambda: run.settings)


def test_a_good_configuration_passes(run):
    assert run.settings == run.config


@pytest.mark.parametrize("name", ["config.toml", "status.json", "lock", "metrics.sqlite", "metrics.sqlite-wal"])
@pytest.mark.parametrize("kind", ["link", "hard link", "pipe", "folder", "device"])
def test_only_regular_files_are_used_and_nothing_outside_changes(run, tmp_path, name, kind):
    with run.metrics() as metrics:
        metrics.write(1, {0: {"a": 1.0}})
    outside, file = tmp_path / "outside", run.path / name
    outside.write_text("mine")
    file.unlink(missing_ok=True)
    make = {"link": lambda: file.symlink_to(outside), "hard link": lambda: os.link(outside, file)}
    make |= {"pipe": lambda: os.mkfifo(file), "folder": file.mkdir, "device": lambda: file.symlink_to("/dev/zero")}
    make[kind]()
    if name == "config.toml":
        refused(RunError, lambda: Run.open(run.path).settings)
    elif name == "status.json":
        assert run.status.message == "status.json is damaged"
        if kind != "folder":
            run.set_status("running")
    elif name == "lock":
        refused(RunError, lambda: locked(run))
    else:
        refused(MetricsError, run.metrics)
        refused(MetricsError, lambda: run.metrics(read_only=True))
    assert outside.read_text() == "mine"


def test_no_checkpoint_is_written_or_removed_through_a_link(run, tmp_path):
    checkpoint.save(tmp_path / "outside", 1, {}, {})
    run.checkpoints.symlink_to(tmp_path / "outside")
    refused(CheckpointError, lambda: checkpoint.save(run.checkpoints, 2, {}, {}, keep=1))
    run.checkpoints.unlink()
    run.checkpoints.mkdir()
    for name in (".tegu-999999999-removing-x", "000000000002.replaced"):
        (run.checkpoints / name).symlink_to(tmp_path / "outside" / "000000000001")
    locked(run)
    for _ in range(2):
        checkpoint.save(run.checkpoints, 2, {}, {}, keep=1)
    assert checkpoint.load_latest(tmp_path / "outside").step == 1


def test_what_a_killed_process_left_is_removed_at_the_next_start(run):
    saved = checkpoint.save(run.checkpoints, 1, {}, {})
    saved.rename(run.checkpoints / ".tegu-999999999-removing-000000000001")
    locked(run)
    assert list(run.checkpoints.iterdir()) == []


@pytest.mark.parametrize("place", ["curve.png", "replays/1.gif", "events/seed-0/x"])
def test_files_of_a_run_are_not_written_through_links(run, tmp_path, place):
    refuse_links(run.path / place)
    first = run.path / place.partition("/")[0]
    first.symlink_to(tmp_path)
    refused(RunError, lambda: refuse_links(run.path / place))
    (tmp_path / "alias").symlink_to(run.path)
    refused(RunError, lambda: refuse_links(tmp_path / "alias" / place))
    refuse_links(tmp_path / "elsewhere.png")


@pytest.mark.parametrize(
    "harm",
    [
        "DROP TABLE metrics; CREATE VIEW metrics AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM n) "
        "SELECT 1 AS name, 0 AS seed, x AS step, 1.0 AS value FROM n",
        "CREATE TRIGGER t AFTER INSERT ON metrics BEGIN DELETE FROM writes; END",
        "ALTER TABLE metrics ADD COLUMN more TEXT",
        "DROP TABLE writes",
    ],
)
def test_a_database_of_other_tables_is_refused(run, harm):
    run.metrics().close()
    with sqlite3.connect(run.path / "metrics.sqlite") as database:
        database.executescript(harm)
    database.close()
    for read_only in (True, False):
        assert "other tables" in refused(MetricsError, lambda only=read_only: run.metrics(read_only=only))


@pytest.mark.parametrize(("column", "value"), [("seed", "../../x"), ("step", "x"), ("value", "x"), ("value", b"x")])
def test_a_database_holds_numbers(run, column, value):
    with run.metrics() as metrics:
        metrics.write(1, {0: {"a": 1.0}})
    with sqlite3.connect(run.path / "metrics.sqlite") as database:
        database.execute(f"UPDATE metrics SET {column} = ?", (value,))
    database.close()
    with run.metrics(read_only=True) as metrics:
        refused(MetricsError, lambda: (metrics.seeds(), metrics.read("a")))


def test_messages_escape_and_shorten():
    message = str(TeguError("\x1b[2J\u202e" + "x" * 10**6))
    assert message.startswith("\\x1b[2J\\u202e")
    assert len(message) < 2100


def test_a_journal_that_names_another_file_removes_nothing(run, tmp_path):
    """SQLite plays such a journal back and then removes the file that it names."""
    run.metrics().close()
    victim, magic = tmp_path / "victim", bytes.fromhex("d9d505f920a163d7")
    victim.write_text("mine")
    name, pages = str(victim).encode(), (run.path / "metrics.sqlite").stat().st_size // 4096
    header = magic + b"".join(number.to_bytes(4, "big") for number in (0, 1, pages, 512, 4096))
    named = b"".join(number.to_bytes(4, "big") for number in (len(name), sum(name)))
    journal = header.ljust(512, b"\0") + (2**30 // 4096 + 1).to_bytes(4, "big") + name + named + magic
    (run.path / "metrics.sqlite-journal").write_bytes(journal)
    for read_only in (True, False):
        assert "journal" in refused(MetricsError, lambda only=read_only: run.metrics(read_only=only))
    assert victim.read_text() == "mine"
    sqlite3.connect(run.path / "metrics.sqlite").execute("BEGIN IMMEDIATE")
    assert not victim.exists()  # so the danger is real


def test_a_database_whose_pages_lead_in_circles_ends(run):
    """An inner page whose children are all the same inner page, and so on: few pages and endless rows."""
    with run.metrics() as metrics:
        for step in range(400):
            metrics.write(step, {seed: {f"name {step}": 1.0} for seed in range(8)})
    with sqlite3.connect(run.path / "metrics.sqlite") as database:
        database.execute("PRAGMA journal_mode = DELETE")
        (root,) = database.execute("SELECT rootpage FROM sqlite_master WHERE name = 'metrics'").fetchone()
    database.close()
    file = run.path / "metrics.sqlite"
    content = bytearray(file.read_bytes())

    def inner(page):
        return content[(page - 1) * 4096] in (2, 5)

    def children(page):
        start = (page - 1) * 4096
        cells = int.from_bytes(content[start + 3 : start + 5], "big")
        return [
            start + int.from_bytes(content[start + 12 + 2 * i : start + 14 + 2 * i], "big") for i in range(cells)
        ] + [start + 8]

    assert inner(root)
    leaf = content[children(root)[0] : children(root)[0] + 4]
    spare = len(content) // 4096
    for depth in range(12):
        copy = content[(root - 1) * 4096 : root * 4096]
        content += copy
        page = spare + depth + 1
        child = leaf if depth == 0 else (page - 1).to_bytes(4, "big")
        for place in children(page):
            content[place : place + 4] = child
    for place in children(root):
        content[place : place + 4] = (spare + 12).to_bytes(4, "big")
    content[28:32] = (len(content) // 4096).to_bytes(4, "big")
    file.write_bytes(content)
    with run.metrics(read_only=True) as metrics:
        refused(MetricsError, lambda: list(metrics.rows()))
        refused(MetricsError, metrics.seeds)
