"""The values that hyper-parameters may have, said in the type beside each field: ``gamma: Fraction = 0.99``."""

import math
import typing
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from reprlib import repr as shorten
from typing import Annotated, Any

import jax

from tegu.core.auto import Auto
from tegu.core.errors import TeguError
from tegu.core.schedule import Linear, Schedule
from tegu.nn.mlp import WIDEST


@dataclass(frozen=True)
class Range:
    """From ``least`` to ``most``; ``above``: without ``least`` itself."""

    least: float
    most: float = math.inf
    above: bool = False

    def __contains__(self, value: float) -> bool:
        return (value > self.least if self.above else value >= self.least) and value <= self.most

    def __str__(self) -> str:
        least, most = figure(self.least), figure(self.most)
        if self.least == -math.inf:
            return f"at most {most}"
        if self.most == math.inf:
            return f"{'above' if self.above else 'at least'} {least}"
        return f"above {least} and at most {most}" if self.above else f"from {least} to {most}"


def figure(number: float) -> str:
    """A number as a person reads it: whole ones in full with commas, unless they are huge."""
    if abs(number) < 1e15:
        return f"{int(number):,}" if number == int(number) else f"{number:g}"
    return shorten(number) if isinstance(number, int) else f"{number:g}"


Fraction = Annotated[float, Range(0, 1)]
FractionOrNone = Annotated[float | None, Range(0, 1)]
PositiveFraction = Annotated[float, Range(0, 1, above=True)]
Positive = Annotated[float, Range(0, above=True)]
NonNegative = Annotated[float, Range(0)]
AutoOrNonNegative = Annotated[Auto | float, Range(0)]
NonPositive = Annotated[float, Range(-math.inf, 0)]
PositiveOrNone = Annotated[float | None, Range(0, above=True)]
NonNegativeOrNone = Annotated[float | None, Range(0)]
BelowOneOrNone = Annotated[float | None, Range(0, 0.999)]  #: a fraction of which something is left
Count = Annotated[int, Range(1)]
Several = Annotated[int, Range(2, 100_000)]  #: of a search or a distribution
SeveralOrNone = Annotated[int | None, Range(2, 100_000)]
CountOrNone = Annotated[int | None, Range(1)]
Natural = Annotated[int, Range(0)]
CountOrNever = Annotated[int, Range(-1)]  #: steps between two; -1 and 0: no number of steps
Few = Annotated[int, Range(1, 1000)]  #: networks or blocks that are there one by one
FewOrNone = Annotated[int, Range(0, 1000)]
Width = Annotated[int, Range(1, WIDEST)]  #: of a layer, and of what is as large as one
WidthOrNone = Annotated[int, Range(0, WIDEST)]
Rate = Annotated[Schedule, Range(0)]  #: a number or a schedule
RateOrNone = Annotated[Schedule | None, Range(0)]
PositiveRate = Annotated[Schedule, Range(0, above=True)]  #: a schedule may end at 0


@cache
def ranges_of(cls: Any) -> dict[str, Range]:
    """The ranges of a class's fields, by name; none where types cannot be resolved."""
    found = {}
    with suppress(NameError):
        for name, kind in typing.get_type_hints(cls, include_extras=True).items():
            for mark in getattr(kind, "__metadata__", ()):
                if isinstance(mark, Range):
                    found[name] = mark
    return found


def check_ranges(algorithm: Any) -> None:
    """Raise ``TeguError`` naming the first hyper-parameter that is out of its range. Arrays are not looked at."""
    cls: Any = type(algorithm)
    for name, allowed in ranges_of(cls).items():
        value = getattr(algorithm, name)
        first = value.initial if isinstance(value, Linear) else value
        fits = not isinstance(first, int | float) or first in allowed
        if isinstance(value, Linear) and not isinstance(value.final, jax.Array):
            fits = fits and allowed.least <= value.final <= allowed.most and 0 <= value.fraction <= 1
        if not fits:
            got = shorten(value) if isinstance(value, int) else value
            if isinstance(value, Linear):
                got = f"one that goes from {value.initial} to {value.final} (fraction {value.fraction})"
            raise TeguError(f"{algorithm.title}: {name} must be {allowed}, got {got}")
