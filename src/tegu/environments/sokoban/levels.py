"""Levels of Sokoban: the numbers of their cells, and files of them as text."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tegu.core.errors import TeguError

WALL, TARGET, BOX, PLAYER = 1, 2, 4, 8  #: what is in a cell; a cell is the sum, 0 the empty floor
DIRECTIONS = np.array([(-1, 0), (1, 0), (0, -1), (0, 1)], np.int32)  #: (rows, columns) of up, down, left and right

SYMBOLS = {
    "#": WALL,
    " ": 0,
    ".": TARGET,
    "$": BOX,
    "*": BOX | TARGET,
    "@": PLAYER,
    "+": PLAYER | TARGET,
}
"""The characters of the public text format, which Boxoban's files (Guez et al. 2018) have."""

_CHARACTERS = {cell: symbol for symbol, cell in SYMBOLS.items()}


def level_text(level: np.ndarray) -> str:
    """A level ``[rows, columns]`` as lines of text."""
    return "\n".join("".join(_CHARACTERS.get(int(cell), "?") for cell in row) for row in level)


def parse_level(text: str) -> np.ndarray:
    """The level, int8 ``[rows, columns]``, that lines of text show.

    Raises ``TeguError``: there must be walls all round, one player, and as many targets as boxes.
    """
    rows = text.strip("\n").splitlines()
    width = max(map(len, rows), default=0)
    if unknown := sorted(set("".join(rows)) - set(SYMBOLS)):
        raise TeguError(f"a level is drawn with {''.join(SYMBOLS)!r}, got {unknown[0]!r}")
    level = np.array([[SYMBOLS[symbol] for symbol in row.ljust(width)] for row in rows], np.int8).reshape(
        len(rows), width
    )
    border = np.concatenate([level[:1].ravel(), level[-1:].ravel(), level[:, :1].ravel(), level[:, -1:].ravel()])
    players, boxes, targets = (int((level & thing > 0).sum()) for thing in (PLAYER, BOX, TARGET))
    if not level.size or (border != WALL).any():
        raise TeguError("a level must have walls all round")
    if players != 1:
        raise TeguError(f"a level must have one player, got {players}")
    if boxes != targets or not boxes:
        raise TeguError(f"a level must have as many targets as boxes, and one or more, got {boxes} and {targets}")
    return level


def read_levels(path: str | Path, size: int) -> np.ndarray:
    """Levels from a text file, or from all ``.txt`` files of a folder in the order of their names: int8 ``[N, size,
    size]``. A line that begins with ``;`` or is empty ends a level. Raises ``TeguError`` naming file and level."""
    path = Path(path)
    files = sorted(path.glob("*.txt")) if path.is_dir() else [path]
    found = [level for file in files for level in _in_file(file, size)]
    if not found:
        raise TeguError(f"{path} holds no levels of Sokoban (of a folder its own .txt files are read)")
    return np.stack(found)


def _in_file(file: Path, size: int) -> list[np.ndarray]:
    try:
        lines = file.read_text(encoding="ascii").splitlines()
    except OSError as error:
        raise TeguError(f"cannot read the levels {file}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise TeguError(f"{file} does not hold levels of Sokoban as text") from error
    levels = []
    for number, text in enumerate(_apart(lines)):
        try:
            level = parse_level(text)
        except TeguError as error:
            raise TeguError(f"{file}, level {number}: {error}") from error
        if level.shape != (size, size):
            raise TeguError(
                f"{file}, level {number}: expected {size} x {size} cells, got {level.shape[0]} x {level.shape[1]}"
            )
        if not ((level & BOX > 0) & (level & TARGET == 0)).any():
            raise TeguError(f"{file}, level {number}: it is solved already")
        levels.append(level)
    return levels


def _apart(lines: Sequence[str]) -> list[str]:
    """The levels among the lines of a file, as text."""
    levels: list[list[str]] = [[]]
    for line in lines:
        if line.startswith(";") or not line.strip():
            levels.append([])
        else:
            levels[-1].append(line)
    return ["\n".join(level) for level in levels if level]
