"""An algorithm's hyper-parameters as flags, with the comments beside its fields as help."""

import argparse
from argparse import ArgumentTypeError
from collections.abc import Callable, Mapping
from types import NoneType
from typing import Any

from tegu.algorithms.catalogue import ALGORITHMS
from tegu.algorithms.hyper_parameters import Setting
from tegu.algorithms.registry import Choice, name_of, settings
from tegu.cli.common import Parser, code, number, whole
from tegu.core.auto import Auto
from tegu.core.errors import TeguError
from tegu.core.schedule import Linear


def names(*own: Choice) -> set[str]:
    """Every hyper-parameter of every algorithm of Tegu's, and of ``own`` ones."""
    return {name for algorithm in (*ALGORITHMS, *own) for name in settings(algorithm)}


def add_flags(parser: Parser, algorithm: Choice, values: Mapping[str, Any] | None = None) -> None:
    """A flag for every hyper-parameter that has none yet. ``values`` hold unless a flag is given, for the help."""
    group = parser.add_argument_group(f"hyper-parameters of {name_of(algorithm)}")
    for name, setting in settings(algorithm).items():
        flag = "--" + name.replace("_", "-")
        if flag not in parser._option_string_actions:
            allowed = f", {setting.range}" if setting.range is not None else ""
            says = (setting.help + allowed).replace("%", "%%") + _default(setting, values or {})
            group.add_argument(flag, dest=name, default=argparse.SUPPRESS, help=says, **_reading(setting))


def _reading(setting: Setting) -> dict[str, Any]:
    """How argparse reads a value, and what it is called in the help."""
    kinds = setting.kinds
    if bool in kinds:
        return {"action": argparse.BooleanOptionalAction}
    if tuple in kinds:
        return {"type": whole, "nargs": "*", "metavar": "N"}
    read: Callable[[str], Any]
    if Linear in kinds:
        read, metavar = _number_or(setting, "lin_", "a schedule such as lin_3e-4"), "X|lin_X"
    elif Auto in kinds:
        read, metavar = _number_or(setting, "auto", "auto"), "X|auto"
    elif Callable in kinds:
        read, metavar = code, "MODULE:FUNCTION"
    else:
        read, metavar = {int: (whole, "N"), float: (number, "X")}.get(kinds[0], (str, "NAME"))
    if NoneType in kinds:
        return {"type": _or_none(read), "metavar": f"{metavar}|none"}
    return {"type": read, "metavar": metavar}


def _number_or(setting: Setting, prefix: str, expected: str) -> Callable[[str], Any]:
    """A number, or text that begins with ``prefix``, which is ``expected`` otherwise."""

    def read(text: str) -> Any:
        if not text.startswith(prefix):
            return number(text)
        try:
            setting.parse(text, "it")
        except TeguError as error:
            raise ArgumentTypeError(f"expected a number or {expected}, got {text!r}") from error
        return text

    return read


def _or_none(read: Callable[[str], Any]) -> Callable[[str], Any]:
    return lambda text: None if text.lower() == "none" else read(text)


def _default(setting: Setting, values: Mapping[str, Any]) -> str:
    """``(0.99)``, or ``(preset 0.98, else 0.99)`` where a preset says something else."""
    own = _typed(setting.default)
    now = _typed(values.get(setting.name, setting.default))
    return f" ({own})" if now == own else f" (preset {now}, else {own})"


def _typed(value: Any) -> str:
    """A value as a person would type it."""
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value).lower()
