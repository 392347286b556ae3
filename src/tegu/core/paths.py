"""Paths as a person gives them."""

import os
from pathlib import Path
from typing import Any

from tegu.core.errors import TeguError


def path_of(given: Any, name: str, expected: str = "a path") -> Path:
    """``given`` as a path. ``TeguError`` names what is not one."""
    if not isinstance(given, str | os.PathLike) or isinstance(os.fspath(given), bytes):
        raise TeguError(f"{name} must be {expected}, got {given!r}")
    return Path(given)
