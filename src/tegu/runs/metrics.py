"""The metrics of a run: one SQLite file, written by its trainer and readable by anyone meanwhile."""

import errno
import math
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.parse import quote

import numpy as np

from tegu.core.errors import TeguError
from tegu.core.text import printable
from tegu.runs import disk

_APPLICATION = 0x54454755  # "TEGU", in the file's header
_FORMAT = 1
# The key begins with the name because readers ask for one curve at a time. SQLite has no NaN, so NULL stands for it.
_TABLES = f"""
PRAGMA application_id = {_APPLICATION};
PRAGMA user_version = {_FORMAT};
CREATE TABLE names (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE writes (step INTEGER PRIMARY KEY, time REAL NOT NULL);
CREATE TABLE metrics (
    name INTEGER NOT NULL REFERENCES names (id), seed INTEGER NOT NULL, step INTEGER NOT NULL, value REAL,
    PRIMARY KEY (name, seed, step)
) WITHOUT ROWID;
"""


_FILES = ("", "-wal", "-shm", "-journal")  # of SQLite, after the database's name
# A journal ends so (https://sqlite.org/fileformat2.html, super-journal) where several databases change together.
_NAMES_ANOTHER = bytes.fromhex("d9d505f920a163d7")
# Reading everything takes about three instructions of SQLite's machine for each byte of the file.
_INSTRUCTIONS, _PER_BYTE, _LEAST_ALLOWED = 100_000, 30, 100
_CREATION = 2.0  #: seconds from a file's creation until its tables are in it, at most
_MOST_BYTES = 10_000  #: of one value, such as a name
_MOST_ROWS = 10_000_000  #: of one curve


class MetricsError(TeguError):
    """Metrics could not be written or read; says what, where and why in one line."""


class MetricRow(NamedTuple):
    """One stored number, and when it was written (seconds since 1970)."""

    step: int
    seed: int
    name: str
    value: float
    time: float


class MetricStore:
    """Numbers by step, seed and name. Every method raises ``MetricsError`` when the file cannot be used.

    ``read_only`` needs no write permission and creates nothing. ``timeout`` is how many seconds to wait for another
    process that is writing.
    """

    def __init__(self, path: Path | str, *, read_only: bool = False, timeout: float = 10.0) -> None:
        self.path = Path(path)
        with self._one_line("open"):
            self._connection = _open_to_read(self.path, timeout) if read_only else _open_to_write(self.path, timeout)
            self._connection.set_progress_handler(self._long, _INSTRUCTIONS)
            self._most = _LEAST_ALLOWED + disk.size(self.path) * _PER_BYTE // _INSTRUCTIONS

    def write(self, step: int, metrics: Mapping[int, Mapping[str, float]]) -> None:
        """Store ``{seed: {name: value}}`` for one step, all or nothing; values already there are replaced."""
        rows = [
            (int(seed), int(step), float(value), name)
            for seed, values in metrics.items()
            for name, value in values.items()
        ]
        with self._one_line("write"), self._connection as database:
            database.execute("INSERT OR REPLACE INTO writes VALUES (?, ?)", (int(step), time.time()))
            database.executemany("INSERT OR IGNORE INTO names (name) VALUES (?)", {(name,) for *_, name in rows})
            database.executemany("INSERT OR REPLACE INTO metrics SELECT id, ?, ?, ? FROM names WHERE name = ?", rows)

    def truncate(self, after_step: int) -> None:
        """Forget everything later than ``after_step``, as a resumed run will write it again."""
        with self._one_line("write"), self._connection as database:
            database.execute("DELETE FROM metrics WHERE step > ?", (after_step,))
            database.execute("DELETE FROM writes WHERE step > ?", (after_step,))

    def read(self, name: str, seed: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """One curve: steps (int64 ``[N]``, rising) and values (float64 ``[N]``); of all seeds by step, then seed."""
        query = """SELECT step, value FROM metrics WHERE name = (SELECT id FROM names WHERE name = ?1)
                   AND (?2 IS NULL OR seed = ?2) ORDER BY step, seed"""
        with self._one_line("read"):
            rows = self._connection.execute(query, (name, seed)).fetchmany(_MOST_ROWS)
            steps = np.array([_whole(step) for step, _ in rows], np.int64)
            return steps, np.array([_value(value) for _, value in rows], np.float64)

    def rows(self, seed: int | None = None, *, after: int = -1) -> Iterator[MetricRow]:
        """Everything ``after`` a step, or that of one seed, ordered by step, seed and name."""
        query = """SELECT step, seed, names.name, value, time FROM metrics JOIN names ON names.id = metrics.name
                   JOIN writes USING (step) WHERE (?1 IS NULL OR seed = ?1) AND step > ?2
                   ORDER BY step, seed, names.name"""
        with self._one_line("read"):
            for row in map(MetricRow._make, self._connection.execute(query, (seed, after))):
                _whole(row.step), _whole(row.seed)
                yield row._replace(name=str(row.name), value=_value(row.value), time=_value(row.time))

    def names(self) -> list[str]:
        """The sorted names that have values."""
        query = """SELECT name FROM names WHERE EXISTS (SELECT 1 FROM metrics WHERE metrics.name = names.id)
                   ORDER BY name"""
        return [str(name) for (name,) in self._select(query)]

    def seeds(self) -> list[int]:
        """The sorted seeds that have values."""
        seeds = self._select("SELECT DISTINCT seed FROM metrics ORDER BY seed")
        with self._one_line("read"):
            return [_whole(seed) for (seed,) in seeds]

    def last_step(self) -> int | None:
        """The highest step written, or ``None``."""
        return self._select("SELECT MAX(step) FROM writes")[0][0]

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _long(self) -> bool:
        """Whether a query has gone on for longer than any over a file of this size: its pages lead in circles."""
        self._done += 1
        return self._done > self._most

    def _select(self, query: str) -> list[tuple[Any, ...]]:
        with self._one_line("read"):
            return self._connection.execute(query).fetchmany(_MOST_ROWS)

    @contextmanager
    def _one_line(self, what: str) -> Iterator[None]:
        self._done = 0
        try:
            yield
        except (sqlite3.Error, OSError, ValueError) as error:
            raise MetricsError(
                " ".join(f"cannot {what} metrics in {self.path}: {printable(error, 200)}".split())
            ) from error


def _value(stored: Any) -> float:
    """A number of a column; SQLite would store anything there."""
    if not isinstance(stored, float | int | None):
        raise ValueError(f"it holds a {type(stored).__name__} where a number should be")
    return math.nan if stored is None else float(stored)


def _whole(stored: Any) -> int:
    if type(stored) is not int:
        raise ValueError(f"it holds a {type(stored).__name__} where a step or a seed should be")
    return stored


def _refuse_others(path: Path) -> None:
    """``OSError`` for a link, a pipe or anything else but a regular file in place of one of SQLite's, which follows."""
    for end in _FILES:
        file = path.with_name(f"{path.name}{end}")
        if disk.exists(file) and not disk.is_file(file):
            raise OSError(errno.EINVAL, "not a regular file of one name", str(file))
    journal = path.with_name(f"{path.name}-journal")
    with suppress(FileNotFoundError):  # none, or gone by now: another process is creating the file
        if disk.end(journal, len(_NAMES_ANOTHER)) == _NAMES_ANOTHER:
            raise OSError(errno.EINVAL, "a journal that names another file, which SQLite would remove", str(journal))


def _open_to_write(path: Path, timeout: float) -> sqlite3.Connection:
    """WAL lets others read while we write; NORMAL survives a killed process and never damages the file."""
    _refuse_others(path)
    connection = sqlite3.connect(path, timeout=timeout)
    try:
        # One immediate transaction, because two processes may find the file empty at the same time.
        connection.execute("BEGIN IMMEDIATE")
        if not connection.execute("SELECT 1 FROM sqlite_master").fetchone():
            for statement in _TABLES.split(";"):
                connection.execute(statement)
        connection.commit()
        _checked(connection)
        _write_ahead(connection, timeout)
        connection.execute("PRAGMA synchronous = NORMAL")
        return connection
    except BaseException:
        connection.close()
        raise


def _write_ahead(connection: sqlite3.Connection, timeout: float) -> None:
    """The file gets a write-ahead log. SQLite does not wait here for another that is about to write, so we do."""
    until = time.monotonic() + timeout
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
        time.sleep(0.01)


def _open_to_read(path: Path, timeout: float) -> sqlite3.Connection:
    _refuse_others(path)
    _wait_for_tables(path, min(timeout, _CREATION))
    address = f"file:{quote(str(path.absolute()))}?mode=ro"
    try:
        return _connect(address, timeout)
    except sqlite3.OperationalError:
        # Reading along with a writer needs a place for its shared memory. Where there is none, the file is complete
        # in itself unless a killed writer has left its log behind.
        log = path.with_name(f"{path.name}-wal")
        if not path.exists() or (log.exists() and log.stat().st_size):
            raise
        return _connect(f"{address}&immutable=1", timeout)


def _wait_for_tables(path: Path, timeout: float) -> None:
    """Another process may have created the file just now, which is empty until its tables are in it."""
    until = time.monotonic() + timeout
    with suppress(FileNotFoundError):
        while disk.size(path) == 0 and disk.age(path) < timeout and time.monotonic() < until:
            time.sleep(0.01)


def _connect(address: str, timeout: float) -> sqlite3.Connection:
    connection = sqlite3.connect(address, uri=True, timeout=timeout)
    try:
        return _checked(connection)
    except BaseException:
        connection.close()
        raise


def _checked(connection: sqlite3.Connection) -> sqlite3.Connection:
    """The connection, if the file is ours and of a format that we know."""
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MOST_BYTES)
    connection.execute("PRAGMA trusted_schema = OFF")
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (number,) = connection.execute("PRAGMA user_version").fetchone()
    if application != _APPLICATION:
        raise ValueError("it is not a metrics file of Tegu")
    if number != _FORMAT:
        raise ValueError(f"it has format {number} and this Tegu reads {_FORMAT}: update Tegu")
    with closing(sqlite3.connect(":memory:")) as own:
        own.executescript(_TABLES)
        if _schema(connection) != _schema(own):
            raise ValueError("it holds other tables than Tegu makes")
    return connection


def _schema(connection: sqlite3.Connection) -> list[Any]:
    """What a database holds: a view in place of a table could go on for ever."""
    return connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY name LIMIT 10").fetchall()
