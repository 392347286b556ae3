"""The words of the Go Text Protocol, version 2 (Farnebäck 2002, https://www.lysator.liu.se/~gunnar/gtp/)."""

import math
import re
from typing import NamedTuple

from tegu.core.errors import TeguError
from tegu.environments.games.go import Go
from tegu.gtp.program import Refused


class Command(NamedTuple):
    """A line that asks for something."""

    id: str  #: digits, or nothing
    name: str
    words: list[str]  #: the arguments


def parsed(line: str) -> Command | None:
    """What a line asks for, None if it is empty or a comment.

    Control characters do not count, tabs are spaces, and a comment goes from # to the end of the line (section 3.1).
    """
    kept = "".join(each for each in line.replace("\t", " ") if each >= " " and each != "\x7f")
    found = re.fullmatch(r" *([0-9]*) *([^ ]*)(.*)", kept.partition("#")[0])
    assert found is not None  # there is no line break any more
    number, name, rest = found.groups()
    return Command(number, name, [word for word in rest.split(" ") if word]) if name else None


def answer(number: str, text: str, good: bool) -> str:
    """An answer with the empty line that ends it."""
    return f"{'=' if good else '?'}{number}{' ' * bool(text)}{text}\n\n"


def word(words: list[str], index: int) -> str:
    """An argument. Raises ``Refused`` if there are fewer."""
    if index >= len(words):
        raise Refused("syntax error")
    return words[index]


def whole(text: str) -> int:
    """A number of up to nine digits. Raises ``Refused``."""
    if not re.fullmatch("[0-9]{1,9}", text):
        raise Refused("syntax error")
    return int(text)


def real(text: str) -> float:
    """A finite number. Raises ``Refused``."""
    if re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", text) and math.isfinite(float(text)):
        return float(text)
    raise Refused("syntax error")


def colour(text: str) -> int:
    """The player, 0 or 1. Raises ``Refused``."""
    names = {"b": 0, "black": 0, "w": 1, "white": 1}
    if text.lower() not in names:
        raise Refused("syntax error")
    return names[text.lower()]


def vertex(game: Go, text: str) -> int:
    """An action. Raises ``Refused`` for what is neither a point of this board nor a pass."""
    try:
        return game.action_of(text)
    except TeguError as error:
        raise Refused("syntax error") from error
