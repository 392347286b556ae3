"""A game of Go as a record in the Smart Game Format (https://www.red-bean.com/sgf/go.html)."""

import math
import os
import re
import stat
import string
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tegu.analysis.output import written
from tegu.arena.sgf.syntax import Node, decoded, main_line, simple_text, written_node
from tegu.core.errors import TeguError
from tegu.core.text import printable

COLOURS = ("B", "W")  #: in the order of the players
SMALLEST, LARGEST = 2, 19  #: points on a side
_MOST_BYTES = 4 << 20  # a record with the analysis of another program in it may take hundreds of kilobytes
_MOST_MOVES, _MOST_SETUPS = 5_000, 50
MOST_KOMI = 1000.0  #: points, for either side
_LETTERS = string.ascii_lowercase


class Move(NamedTuple):
    """A stone, or a pass."""

    colour: int  #: 0 black, 1 white
    action: int  #: of ``Go``: the point row by row from the top left, or the number of points for a pass


class Setup(NamedTuple):
    """Stones that are put on the board, or taken off it, without being played."""

    black: tuple[int, ...] = ()
    white: tuple[int, ...] = ()
    empty: tuple[int, ...] = ()
    to_play: int | None = None  #: who moves next, if that is said


class GameRecord(NamedTuple):
    """The main line of a game."""

    size: int  #: points on a side
    steps: tuple[Move | Setup, ...] = ()  #: what happened, in its order
    komi: float | None = None  #: None where the record does not say
    handicap: int = 0  #: stones; where they lie is a ``Setup``
    black: str = ""  #: the player's name
    white: str = ""
    result: str = ""  #: such as B+3.5, W+R (resigned), 0 (a draw)
    rules: str = ""  #: such as Chinese, Japanese; as the record calls them

    @property
    def moves(self) -> tuple[Move, ...]:
        return tuple(step for step in self.steps if isinstance(step, Move))


def read(path: Path | str) -> GameRecord:
    """The record in a file. Raises ``TeguError`` that names the file, and the move where one is wrong."""
    with naming(path):
        try:
            with open(path, "rb", opener=_open_without_waiting) as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise TeguError("expected a file")
                data = file.read(_MOST_BYTES + 1)
        except OSError as error:
            raise TeguError(str(error.strerror)) from error
        except ValueError as error:  # a name with a NUL in it
            raise TeguError(str(error)) from error
        if len(data) > _MOST_BYTES:
            raise TeguError(f"expected a game record of at most {_MOST_BYTES >> 20} MiB")
        return from_text(decoded(data))


@contextmanager
def naming(path: Path | str) -> Iterator[None]:
    """Errors say which file they are about."""
    try:
        yield
    except TeguError as error:
        raise TeguError(f"{printable(path, 200)}: {error}") from error


def from_text(text: str) -> GameRecord:
    """The first game in ``text``. Raises ``TeguError`` where it is broken, is no game of Go, or is too large."""
    root, *others = main_line(text)
    if (game := _one(root, "GM", "1")) != "1":
        raise TeguError(f"GM[{game}] is another game: expected GM[1], Go")
    size = _size(_one(root, "SZ", "19"))
    steps, moves, setups = list[Move | Setup](), 0, 0
    for node in [root, *others]:
        where = f"move {moves + 1}: "
        if {"AB", "AW", "AE", "PL"} & node.keys():
            steps.append(_setup(node, size, where))
            setups += 1
        if "B" in node and "W" in node:
            raise TeguError(f"{where}Black and White move at the same time")
        for number, colour in enumerate(COLOURS):
            if colour in node:
                steps.append(Move(number, _action(_one(node, colour), size, f"{where}{colour}")))
                moves += 1
        if moves > _MOST_MOVES or setups > _MOST_SETUPS:
            raise TeguError(f"more than {_MOST_MOVES:,} moves, or {_MOST_SETUPS} times stones that are set up")
    komi = _real(_one(root, "KM"), "KM", MOST_KOMI) if "KM" in root else None
    handicap = int(_real(_one(root, "HA", "0"), "HA", size**2))
    names = [_one(root, name) for name in ("PB", "PW", "RE", "RU")]
    return GameRecord(size, tuple(steps), komi, handicap, *names)


def to_text(record: GameRecord) -> str:
    """The record in FF[4], a move on each line."""
    size, steps = record.size, list(record.steps)
    root = [("FF", ["4"]), ("GM", ["1"]), ("CA", ["UTF-8"]), ("SZ", [f"{size}"])]
    root.append(("KM", [] if record.komi is None else [f"{record.komi:.10g}"]))
    root.append(("HA", [f"{record.handicap}"] if record.handicap else []))
    texts = (("PB", record.black), ("PW", record.white), ("RE", record.result), ("RU", record.rules))
    root += [(name, [text] if text else []) for name, text in texts]
    if steps and isinstance(steps[0], Setup):
        root += _properties(steps.pop(0), size)
    nodes = "\n".join(written_node(node) for node in [root, *(_properties(step, size) for step in steps)])
    return f"({nodes})\n"


def write(path: Path | str, record: GameRecord) -> None:
    """Write a record, in the place of the file if there is one. Raises ``TeguError``."""
    with written(Path(path)) as temporary:
        temporary.write_text(to_text(record), encoding="utf-8")


def write_all(folder: Path, records: Iterable[GameRecord], beginning: str = "") -> None:
    """Write each record as ``game-001.sgf`` and so on, with a ``beginning`` before it. Raises ``TeguError``."""
    for number, record in enumerate(records, start=1):
        write(folder / f"{beginning}game-{number:03}.sgf", record)


def _open_without_waiting(path: str, flags: int) -> int:
    """For ``open``: a pipe that nobody writes to would keep us waiting."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _one(node: Node, name: str, default: str = "") -> str:
    """The first value of a property, as text."""
    return simple_text(node[name][0]) if name in node else default


def _size(text: str) -> int:
    columns, _, rows = text.partition(":")
    size = int(columns) if re.fullmatch("[0-9]{1,4}", columns) else 0
    if not SMALLEST <= size <= LARGEST or rows not in ("", columns):
        raise TeguError(f"SZ[{printable(text, 40)}] is no size: expected a square board from {SMALLEST} to {LARGEST}")
    return size


def _real(text: str, name: str, most: float) -> float:
    number = float(text) if re.fullmatch(r"[+-]?([0-9]{1,9}\.?[0-9]*|\.[0-9]+)", text) else math.inf
    if abs(number) > most:
        raise TeguError(f"{name}[{printable(text, 40)}]: expected a number of at most {most:g}")
    return number


def _action(text: str, size: int, where: str) -> int:
    """A point in the letters of the format, column before row; a pass is empty, or tt as in FF[3]."""
    if text in ("", "tt"):
        return size**2
    return _point(text, size, where)


def _point(text: str, size: int, where: str) -> int:
    letters = _LETTERS[:size]
    if len(text) != 2 or not set(text) <= set(letters):
        raise TeguError(f"{where}[{printable(text, 40)}] is no point of a board of size {size}")
    return letters.index(text[1]) * size + letters.index(text[0])


def _setup(node: Node, size: int, where: str) -> Setup:
    black, white, empty = (_points(node.get(name, []), size, f"{where}{name}") for name in ("AB", "AW", "AE"))
    if len({*black, *white, *empty}) < len(black) + len(white) + len(empty):
        raise TeguError(f"{where}AB, AW and AE name a point twice")
    turn = _one(node, "PL").upper()[:1]
    if "PL" in node and turn not in COLOURS:
        raise TeguError(f"{where}PL[{printable(turn)}]: expected B or W")
    return Setup(black, white, empty, COLOURS.index(turn) if turn else None)


def _points(values: Iterable[str], size: int, where: str) -> tuple[int, ...]:
    """Points, and rectangles of points as in ``aa:bc``."""
    found = list[int]()
    for value in values:
        first, colon, last = simple_text(value).partition(":")
        (top, left), (bottom, right) = (
            divmod(_point(end, size, where), size) for end in (first, last if colon else first)
        )
        found += [row * size + column for row in range(top, bottom + 1) for column in range(left, right + 1)]
        if len(found) > size**2:
            raise TeguError(f"{where} names a point twice")
    return tuple(found)


def _properties(step: Move | Setup, size: int) -> list[tuple[str, list[str]]]:
    if isinstance(step, Setup):
        places = [("AB", step.black), ("AW", step.white), ("AE", step.empty)]
        turn = [] if step.to_play is None else [COLOURS[step.to_play]]
        return [*((name, [_letters(point, size) for point in points]) for name, points in places), ("PL", turn)]
    return [(COLOURS[step.colour], ["" if step.action == size**2 else _letters(step.action, size)])]


def _letters(point: int, size: int) -> str:
    row, column = divmod(point, size)
    return _LETTERS[column] + _LETTERS[row]
