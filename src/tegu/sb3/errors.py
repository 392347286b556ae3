"""Errors that are caught under the names that Stable-Baselines3's users catch them by."""

from collections.abc import Iterator
from contextlib import contextmanager

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
