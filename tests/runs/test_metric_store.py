"""Metrics come back as they were written, also to another process meanwhile, and every failure is one line."""

import math
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from tegu.runs import MetricsError, MetricStore, metrics


@pytest.fixture
def path(tmp_path):
    return tmp_path / "metrics.sqlite"


def one_line(caught):
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("cannot ")
    return str(caught.value)


def test_every_float_comes_back(path):
    values = [0.1, 0.0, 5e-324, 1.7e308, math.inf, -math.inf, math.nan, float(np.float32(0.1)), 3]
    with MetricStore(path) as store:
        for step, value in enumerate(values):
            store.write(step, {7: {"train/loss": value}})
    with MetricStore(path, read_only=True) as store:
        steps, stored = store.read("train/loss", 7)
    assert steps.dtype == np.int64
    assert stored.dtype == np.float64
    assert steps.tolist() == list(range(len(values)))
    assert stored.tobytes() == np.array(values, float).tobytes()


def test_numpy_numbers_are_taken(path):
    with MetricStore(path) as store:
        store.write(np.int64(5), {np.int32(1): {"a": np.float32(1.5), "b": np.array(2.0)}})
        assert store.read("a")[1].tolist() == [1.5]
        assert store.last_step() == 5


def test_names_seeds_and_order(path):
    with MetricStore(path) as store:
        assert (store.names(), store.seeds(), store.last_step()) == ([], [], None)
        assert [array.tolist() for array in store.read("nothing")] == [[], []]
        for step in (10, 20):
            store.write(step, {3: {"b": step + 0.3, "a": 1}, -1: {"b": step - 0.1}})
        store.write(10, {3: {"b": 99}})
        assert (store.names(), store.seeds(), store.last_step()) == (["a", "b"], [-1, 3], 20)
        assert [array.tolist() for array in store.read("b")] == [[10, 10, 20, 20], [9.9, 99, 19.9, 20.3]]
        assert [array.tolist() for array in store.read("b", 3)] == [[10, 20], [99, 20.3]]
        assert [row[:4] for row in store.rows(3)] == [
            (10, 3, "a", 1),
            (10, 3, "b", 99),
            (20, 3, "a", 1),
            (20, 3, "b", 20.3),
        ]


def test_truncation_forgets_what_came_later(path):
    with MetricStore(path) as store:
        for step in range(10):
            store.write(step, {0: {"early": 1} if step < 5 else {"late": 1}})
        store.truncate(4)
        assert (store.names(), store.last_step()) == (["early"], 4)
        assert store.read("early")[0].tolist() == [0, 1, 2, 3, 4]
        store.write(5, {0: {"early": 2}})
        store.truncate(-1)
        assert (store.names(), store.seeds(), store.last_step()) == ([], [], None)


WRITER = """
import sys
from itertools import count
from tegu.runs import MetricStore
with MetricStore(sys.argv[1]) as store:
    for step in count():
        store.write(step, {seed: {"a": step + seed, "b": -step} for seed in range(3)})
        print(step, flush=True)
"""


def test_another_process_reads_while_one_writes_until_it_is_killed(path):
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as writer:
        writer.stdout.readline()
        lengths = []
        with MetricStore(path, read_only=True) as store:
            while len(lengths) < 30 or lengths[-1] < 50:
                steps, values = store.read("a")
                assert len(steps) % 3 == 0  # a step is there for all seeds or for none
                assert np.array_equal(values, steps + np.arange(len(steps)) % 3)
                lengths.append(len(steps))
        writer.send_signal(signal.SIGKILL)
        acknowledged = int(writer.stdout.read().split()[-1])
    assert lengths == sorted(lengths)
    with MetricStore(path) as store:
        assert store.last_step() in (acknowledged, acknowledged + 1)
        assert len(store.read("a")[0]) == len(store.read("b")[0]) == 3 * (store.last_step() + 1)


def test_a_disk_full_is_one_line_and_the_rest_stays(path):
    with MetricStore(path) as store:
        store.write(1, {0: {"a": 1}})
        store._connection.execute("PRAGMA max_page_count = 1")  # SQLite's own way of running out of space
        with pytest.raises(MetricsError) as caught:
            store.write(2, {0: {f"name {i} " * 20: 1 for i in range(1000)}})
        assert "disk is full" in one_line(caught)
        store._connection.execute("PRAGMA max_page_count = 100000")
        assert store.last_step() == 1
        store.write(2, {0: {"a": 2}})
        assert store.read("a")[0].tolist() == [1, 2]


def test_a_lock_held_by_another_is_one_line(path):
    with MetricStore(path) as store, MetricStore(path, timeout=0.05) as second:
        store._connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(MetricsError) as caught:
            second.write(1, {0: {"a": 1}})
        assert "locked" in one_line(caught)
        store._connection.rollback()
        second.write(1, {0: {"a": 1}})


def test_two_processes_may_open_a_new_file_at_once(path):
    code = """import sys; from tegu.runs import MetricStore
with MetricStore(sys.argv[1]) as store: store.write(int(sys.argv[2]), {0: {'a': 1}})"""
    processes = [subprocess.Popen([sys.executable, "-c", code, str(path), str(step)]) for step in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    with MetricStore(path, read_only=True) as store:
        assert store.read("a")[0].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("leaves", [True, False])
def test_opening_waits_for_another_that_is_about_to_write(path, monkeypatch, leaves):
    MetricStore(path).close()
    with closing(sqlite3.connect(path)) as another:
        another.execute("PRAGMA journal_mode = DELETE")
        check = metrics._checked

        def checked(connection):
            another.execute("BEGIN IMMEDIATE")
            return check(connection)

        monkeypatch.setattr(metrics, "_checked", checked)
        if leaves:
            monkeypatch.setattr(metrics.time, "sleep", lambda seconds: another.rollback())
            with MetricStore(path) as store:
                store.write(1, {0: {"a": 1}})
        else:
            with pytest.raises(MetricsError) as caught:
                MetricStore(path, timeout=0.05)
            assert "locked" in one_line(caught)


def test_reading_waits_for_another_that_is_creating_the_file(path, monkeypatch):
    path.touch()
    monkeypatch.setattr(metrics.time, "sleep", lambda seconds: MetricStore(path).close())
    with MetricStore(path, read_only=True) as store:
        assert store.last_step() is None


def test_nothing_is_created_by_reading(path):
    with pytest.raises(MetricsError) as caught:
        MetricStore(path, read_only=True)
    assert "unable to open" in one_line(caught)
    assert list(path.parent.iterdir()) == []
    with pytest.raises(MetricsError):
        MetricStore(path.parent / "missing" / "metrics.sqlite")


def test_foreign_files_are_refused_and_left_alone(path):
    for content in (b"", b"not a database " * 100, b"SQLite format 3\0" + bytes(2000)):
        path.write_bytes(content)
        os.utime(path, (0, 0))  # an empty one that is not new either
        with pytest.raises(MetricsError) as caught:
            MetricStore(path, read_only=True)
        one_line(caught)
    connection = sqlite3.connect(path := path.with_name("other.sqlite"))
    connection.execute("CREATE TABLE metrics (step, value)")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    for read_only in (False, True):
        with pytest.raises(MetricsError) as caught:
            MetricStore(path, read_only=read_only)
        assert "not a metrics file" in one_line(caught)
    assert path.read_bytes() == before


def test_a_newer_format_is_refused(path):
    with MetricStore(path) as store:
        store._connection.execute("PRAGMA user_version = 2")
    with pytest.raises(MetricsError, match="format 2"):
        MetricStore(path)


def test_damaged_files_give_one_line_or_data(path):
    with MetricStore(path) as store:
        for step in range(300):
            store.write(step, {0: {"a": step, "b": step}})
    good, rng = path.read_bytes(), random.Random(0)
    messages = []
    for trial in range(60):
        damaged = bytearray(good)
        if trial % 2:
            del damaged[rng.randrange(len(damaged)) :]
        else:
            start = rng.randrange(len(damaged))
            damaged[start : start + 4096] = rng.randbytes(4096)
        path.write_bytes(damaged)
        try:
            with MetricStore(path, read_only=True) as store:
                store.read("a")
                list(store.rows())
                store.names(), store.seeds(), store.last_step()
        except MetricsError as error:
            messages.append(str(error))
    assert len(messages) > 30
    assert not any("\n" in message for message in messages)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become someone who may not write")
def test_reading_without_write_permission(path):
    with MetricStore(path) as store:
        store.write(1, {0: {"a": 1}})
    folder = Path(tempfile.mkdtemp())
    try:
        shutil.copy(path, folder)
        folder.chmod(0o555)
        os.chown(folder, 0, 0)
        code = """import sys; from tegu.runs import MetricStore
import os; os.setuid(65534)
with MetricStore(sys.argv[1], read_only=True) as store: print(store.read("a")[1].tolist())"""
        command = [sys.executable, "-c", code, str(folder / path.name)]
        assert subprocess.check_output(command, text=True) == "[1.0]\n"
        (folder / "metrics.sqlite-wal").write_bytes(b"x" * 5000)
        process = subprocess.run(command, text=True, capture_output=True)
        assert "MetricsError: cannot open metrics" in process.stderr.splitlines()[-1]
    finally:
        shutil.rmtree(folder)
