"""Code by name (``module:attribute``). Only a person may name code; what a file says is never imported."""

from importlib import import_module
from operator import attrgetter
from typing import Any

from tegu.core.errors import TeguError


def is_code(name: str) -> bool:
    """Whether a name says which code to import (``module:attribute``)."""
    return ":" in name


def imported(name: str, what: str) -> Any:
    """What ``module:attribute`` names; ``what`` is said of it in the ``TeguError`` if it cannot be had."""
    module, _, attribute = name.partition(":")
    refuse_file(name, what)
    if not module or not attribute:
        raise TeguError(f"{what} {name!r} must be named by its module, as in module:name")
    try:
        return attrgetter(attribute)(import_module(module))
    except Exception as error:  # whatever the module does when it is imported
        raise TeguError(f"cannot import {what} {name}: {one_line(error)}") from error


def refuse_file(name: str, what: str) -> None:
    """Raise ``TeguError`` with the right spelling if ``name`` names a file (``./file.py:Class``) and no module."""
    path, _, attribute = name.partition(":")
    if path.endswith(".py") or "/" in path:
        module = path.removesuffix(".py").rpartition("/")[2]
        raise TeguError(f"{name} names a file: name the module, {what} {module}:{attribute}, from the file's folder")


def qualified(thing: Any) -> str:
    """``module:attribute`` of a class or a function."""
    return f"{thing.__module__}:{thing.__qualname__}"


def one_line(error: Exception) -> str:
    """What went wrong, without line breaks."""
    text = " ".join(str(error).split())
    return text if isinstance(error, ImportError | AttributeError) and text else f"{type(error).__name__}: {text}"
