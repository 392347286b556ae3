"""Hyper-parameters as plain data: what an algorithm's fields mean, read and written in one place."""

import dataclasses
import inspect
import math
import re
import types
import typing
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from reprlib import repr as shorten
from typing import Any

from tegu.algorithms.base import Algorithm
from tegu.algorithms.ranges import Range, figure, ranges_of
from tegu.core.auto import Auto
from tegu.core.errors import TeguError
from tegu.core.schedule import Linear
from tegu.nn.custom import network_name

_MOST = {int: 2**31 - 1, float: 3e38}  # what JAX counts and computes in 32 bits
_KINDS = (int, float, bool, str, tuple, Linear, Auto, Callable, types.NoneType)


@dataclasses.dataclass(frozen=True)
class Setting:
    """One hyper-parameter."""

    name: str
    kinds: tuple[Any, ...]  #: of its values: int, float, bool, str, tuple, ``Linear``, ``Callable``, ``NoneType``
    default: Any
    help: str  #: the ``#:`` comment beside the field
    range: Range | None = None

    def parse(self, value: Any, where: str) -> Any:
        """A value from Python, TOML or a person's text as what the field holds.

        Raises ``TeguError`` that begins with ``where`` if it does not fit.
        """
        text = value if isinstance(value, str) else ""
        if types.NoneType in self.kinds and (value is None or text.lower() == "none"):
            return None
        if Callable in self.kinds and callable(value):
            return value
        if Linear in self.kinds and (isinstance(value, Linear | Mapping) or text.startswith("lin_")):
            return _linear(value, where)
        if Linear in self.kinds and callable(value):
            raise TeguError(f"{where} must be a number or tegu.Linear(initial, final, fraction), got a function")
        if Auto in self.kinds and (isinstance(value, Auto) or text.startswith("auto")):
            return Auto.of(str(value), where)
        if tuple in self.kinds:
            if not isinstance(value, list | tuple):
                raise TeguError(f"{where} must be a list of whole numbers, got {shorten(value)}")
            return tuple(whole(each, where) for each in value)
        if bool in self.kinds:
            if not isinstance(value, bool):
                raise TeguError(f"{where} must be true or false, got {shorten(value)}")
            return value
        if str in self.kinds:
            if not isinstance(value, str):
                raise TeguError(f"{where} must be text, got {shorten(value)}")
            return value
        number = whole(value, where) if int in self.kinds else _number(value, where)
        if abs(number) > _MOST[type(number)]:
            raise TeguError(f"{where} must be at most {figure(_MOST[type(number)])} in size, got {figure(number)}")
        return number


@cache
def settings_of(cls: type[Algorithm]) -> dict[str, Setting]:
    """The hyper-parameters of an algorithm, those of an algorithm that it builds on included, by name."""
    found: dict[str, Setting] = {}
    comments, types_of = _comments(cls), _types(cls)
    for field in dataclasses.fields(cls):
        if field.name == "name" or field.metadata.get("derived"):
            continue
        kind = types_of[field.name]
        if isinstance(kind, type) and issubclass(kind, Algorithm):
            found |= settings_of(kind)
        else:
            kinds, default = _kinds(kind), _default(cls, field)
            _check_field(f"{cls.__name__}.{field.name}", kinds, default)
            said, allowed = comments.get(field.name, ""), ranges_of(cls).get(field.name)
            found[field.name] = Setting(field.name, kinds, default, said, allowed)
    return found


def hyper_parameters(algorithm: Algorithm) -> dict[str, Any]:
    """Every hyper-parameter as plain data, from which ``registry.algorithm`` builds the same again."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(algorithm):
        value = getattr(algorithm, field.name)
        if isinstance(value, Algorithm):
            found |= hyper_parameters(value)
        elif field.name in settings_of(type(algorithm)):
            found[field.name] = _plain(value)
    return found


def _types(cls: type[Algorithm]) -> dict[str, Any]:
    """The types of the fields, also where they are written as text."""
    with suppress(NameError):
        return typing.get_type_hints(cls)
    return {field.name: field.type for field in dataclasses.fields(cls)}


def _check_field(name: str, kinds: tuple[Any, ...], default: Any) -> None:
    """Raise ``TeguError`` unless a field can be a hyper-parameter."""
    if odd := [kind for kind in kinds if kind not in _KINDS]:
        expected = "int, float, bool, str, tuple or Schedule, or None; or mark the field as derived(...)"
        raise TeguError(f"{name} is of type {getattr(odd[0], '__name__', odd[0])}, expected {expected}")
    if default is inspect.Parameter.empty:
        raise TeguError(f"{name} needs a default value, as every hyper-parameter has")


def _kinds(kind: Any) -> tuple[Any, ...]:
    union = isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union
    parts = typing.get_args(kind) if union else (kind,)
    return tuple(typing.get_origin(part) or part for part in parts)


def _default(cls: type[Algorithm], field: "dataclasses.Field[Any]") -> Any:
    if field.default is not dataclasses.MISSING:
        return str(field.default) if isinstance(field.default, Auto) else field.default
    return inspect.signature(cls).parameters[field.name].default


def _comments(cls: type[Algorithm]) -> dict[str, str]:
    """What is said beside the fields, those of base classes included."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        with suppress(OSError, TypeError):  # no source: typed at a prompt
            found |= re.findall(r"^\s+(\w+):.*#: (.*)$", inspect.getsource(base), re.MULTILINE)
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, Linear):
        whole = value.final == 0.0 and value.fraction == 1.0
        return f"lin_{value.initial}" if whole else dataclasses.asdict(value)
    if isinstance(value, Auto):
        return str(value)
    if callable(value):
        return network_name(value)
    return list(value) if isinstance(value, tuple) else value


def _linear(value: Any, where: str) -> Linear:
    if isinstance(value, Linear):
        for number in dataclasses.astuple(value):
            _number(number, where)
        return value
    try:
        if isinstance(value, str):  # "lin_3e-4" falls linearly from there to 0, as in RL Zoo
            return Linear(_number(value.removeprefix("lin_"), where))
        return Linear(**{key: _number(number, where) for key, number in value.items()})
    except TypeError:
        raise TeguError(f"{where} must be a number or a schedule such as lin_3e-4, got {shorten(value)}") from None


def _number(value: Any, where: str) -> float:
    try:
        if isinstance(value, bool):
            raise TypeError
        number = float(value)
    except (TypeError, ValueError):
        raise TeguError(f"{where} must be a number, got {shorten(value)}") from None
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise TeguError(f"{where} must be finite, got {shorten(value)}")
    return number


def whole(value: Any, where: str) -> int:
    """``value`` from Python, TOML or text as a whole number. Raises ``TeguError`` that begins with ``where``."""
    number = _number(value, where)
    if number != int(number):
        raise TeguError(f"{where} must be a whole number, got {shorten(value)}")
    return int(number)


def whole_within(name: str, value: Any, least: int, most: int) -> int:
    """A whole number from ``least`` to ``most``. Raises ``TeguError`` that names it."""
    number = whole(value, name)
    if number < least:
        raise TeguError(f"{name} must be at least {least}, got {number:,}")
    if number > most:
        raise TeguError(f"{name} must be at most {most:,}, got {number:,}")
    return number
