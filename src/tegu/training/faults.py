"""What ends a training before its time."""

import re
from textwrap import shorten
from typing import Any

from tegu.core.errors import TeguError


class NonFiniteError(TeguError):
    """Training produced NaN or infinity. The last good checkpoint is kept."""


class UnsavedError(TeguError):
    """Training came to its end, and its last checkpoint could not be written. ``agent`` is what was trained."""

    agent: Any = None  #: an ``Agent``, whose ``save`` may find another place; ``None`` of a sweep


def say_if_out_of_memory(error: BaseException) -> None:
    """Raise ``TeguError`` in place of an ``error`` that says that memory was not enough."""
    if not isinstance(error, MemoryError) and "RESOURCE_EXHAUSTED" not in str(error):
        return
    asked = re.search(r"allocat(?:e|ing) (\d+) bytes", str(error))
    size = f" for {int(asked[1]) / 2**30:,.1f} GiB more" if asked else ""
    raise TeguError(
        f"there is not enough memory{size}: lower net_arch, batch_size, buffer_size, n_envs or the number of seeds, "
        "or let the environment have fewer actions"
    ) from error


def in_one_line(error: BaseException) -> str:
    """What ended a training, for its status."""
    text = str(error) if isinstance(error, TeguError) else f"{type(error).__name__}: {error}"
    return shorten(text, 500)
