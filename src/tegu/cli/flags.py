"""An algorithm's hyper-parameters as flags, with the comments beside its fields as help."""

import argparse
import dataclasses
import inspect
import re
import types
import typing
from argparse import ArgumentTypeError
from collections.abc import Callable, Mapping
from typing import Any

from tegu.algorithms.base import Algorithm
from tegu.algorithms.registry import ALGORITHMS, schedule
from tegu.cli.common import Parser, number, whole
from tegu.core.errors import TeguError
from tegu.core.schedule import Linear


def names() -> set[str]:
    """Every hyper-parameter of every algorithm."""
    return {field.name for algorithm in ALGORITHMS.values() for field in dataclasses.fields(algorithm)}


def add_flags(parser: Parser, algorithm: type[Algorithm], values: Mapping[str, Any] | None = None) -> None:
    """A flag for every field that has none yet. ``values`` are what holds unless a flag is given, for the help."""
    group = parser.add_argument_group(f"hyper-parameters of {algorithm.name}")
    meaning = comments(algorithm)
    for field in dataclasses.fields(algorithm):
        flag = "--" + field.name.replace("_", "-")
        if flag not in parser._option_string_actions:
            says = meaning.get(field.name, "").replace("%", "%%")
            group.add_argument(
                flag,
                dest=field.name,
                default=argparse.SUPPRESS,
                help=says + _default(field, values or {}),
                **_reading(field.type),
            )


def _reading(kind: Any) -> dict[str, Any]:
    """How argparse reads a value of a field's type, and what it is called in the help."""
    kinds = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    if bool in kinds:
        return {"action": argparse.BooleanOptionalAction}
    if typing.get_origin(kind) is tuple:
        return {"type": whole, "nargs": "*", "metavar": "N"}
    read: Callable[[str], Any]
    if Linear in kinds:
        read, metavar = _number_or_schedule, "X|lin_X"
    else:
        read, metavar = {int: (whole, "N"), float: (number, "X")}.get(kinds[0], (str, "NAME"))
    if types.NoneType in kinds:
        return {"type": _or_none(read), "metavar": f"{metavar}|none"}
    return {"type": read, "metavar": metavar}


def _number_or_schedule(text: str) -> float | str:
    if not text.startswith("lin_"):
        return number(text)
    try:
        schedule(text)
    except TeguError as error:
        raise ArgumentTypeError(str(error)) from None
    return text


def _or_none(read: Callable[[str], Any]) -> Callable[[str], Any]:
    return lambda text: None if text.lower() == "none" else read(text)


def _default(field: "dataclasses.Field[Any]", values: Mapping[str, Any]) -> str:
    """``(0.99)``, or ``(preset 0.98, else 0.99)`` where a preset says something else."""
    own = _typed(field.default)
    now = _typed(values.get(field.name, field.default))
    return f" ({own})" if now == own else f" (preset {now}, else {own})"


def _typed(value: Any) -> str:
    """A value as a person would type it."""
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value).lower()


def comments(algorithm: type[Algorithm]) -> dict[str, str]:
    """The ``#:`` comment beside each field, in the class or in the one that it builds on."""
    found: dict[str, str] = {}
    for base in reversed([base for base in algorithm.__mro__ if issubclass(base, Algorithm)]):
        found |= re.findall(r"^    (\w+):.*#: (.*)$", inspect.getsource(base), re.MULTILINE)
    return found
