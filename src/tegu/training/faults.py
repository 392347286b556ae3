"""What ends a training before its time."""

from textwrap import shorten
from typing import Any

from tegu.core.errors import TeguError


class NonFiniteError(TeguError):
    """Training produced NaN or infinity. The last good checkpoint is kept."""


class UnsavedError(TeguError):
    """Training came to its end, and its last checkpoint could not be written. ``agent`` is what was trained."""

    agent: Any = None  #: an ``Agent``, whose ``save`` may find another place; ``None`` of a sweep


def in_one_line(error: BaseException) -> str:
    """What ended a training, for its status."""
    text = str(error) if isinstance(error, TeguError) else f"{type(error).__name__}: {error}"
    return shorten(text, 500)
