"""Errors that are caught under the names that Stable-Baselines3's users catch them by."""

import difflib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from tegu.core.errors import TeguError


class ArgumentError(TeguError, ValueError, AssertionError):
    """A wrong argument. SB3 raises ``ValueError`` for some of them and ``AssertionError`` for others: this is both."""


class MismatchError(ArgumentError, RuntimeError):
    """Parameters that do not fit a network, which SB3 reports as ``RuntimeError``."""


class WrongTypeError(ArgumentError, TypeError):
    """An argument of a wrong kind."""


@contextmanager
def as_argument_errors() -> Iterator[None]:
    """Whatever Tegu says of the arguments given within is an ``ArgumentError``."""
    try:
        yield
    except ArgumentError:
        raise
    except TeguError as error:
        raise ArgumentError(str(error)) from error


def bound(cls: type, given: Sequence[Any], named: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments by name, as the signature of ``cls`` takes them. Raises ``TypeError`` where it does not."""
    signature = inspect.signature(cls)
    try:
        return dict(signature.bind(*given, **named).arguments)
    except TypeError as error:
        odd = next((name for name in named if name not in signature.parameters), "")
        near = difflib.get_close_matches(odd, signature.parameters, n=1)
        raise TypeError(f"{cls.__name__}() {error}" + (f": did you mean {near[0]}?" if near else "")) from None
