"""Code by name (``module:attribute``). Only a person may name code; what a file says is never imported."""

import os
import re
import sys
import sysconfig
import traceback
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from typing import Any

from tegu.core.errors import TeguError


def is_code(name: str) -> bool:
    """Whether a name says which code to import (``module:attribute``)."""
    return ":" in name


def is_registered(name: str) -> bool:
    """Whether a name is Gymnasium's for what a package registers when it is imported (``package:Name-v0``)."""
    return re.fullmatch(r"[^:]+:[^:]+-v\d+", name) is not None


def imported(name: str, what: str) -> Any:
    """What ``module:attribute`` names; ``what`` is said of it in the ``TeguError`` if it cannot be had."""
    module, _, attribute = name.partition(":")
    refuse_file(name, what)
    if not module or not attribute:
        raise TeguError(f"{what} {name!r} must be named by its module, as in module:name")
    try:
        return attrgetter(attribute)(import_module(module))
    except (Exception, SystemExit) as error:  # whatever the module does when it is imported
        raise TeguError(f"cannot import {what} {name}: {one_line(error)}") from error


def refuse_file(name: str, what: str) -> None:
    """Raise ``TeguError`` with the right spelling if ``name`` names a file (``./file.py:Class``) and no module."""
    path, _, attribute = name.partition(":")
    if path.endswith(".py") or "/" in path:
        module = path.removesuffix(".py").rpartition("/")[2]
        raise TeguError(
            f"{name} names a file: name the module, {what} {module}:{attribute or 'Class'}, from the file's folder"
        )


def qualified(thing: Any) -> str:
    """``module:attribute`` of a class or a function."""
    return f"{thing.__module__}:{thing.__qualname__}"


def nameless(thing: Any) -> str:
    """Where a class or a function is that no other program can import by its name; nothing if it can be."""
    if "<lambda>" in thing.__qualname__:
        return "as a lambda"
    if "<locals>" in thing.__qualname__:
        return "inside a function"
    at_prompt = thing.__module__ == "__main__" and not hasattr(sys.modules.get("__main__"), "__file__")
    return "at a prompt" if at_prompt else ""


def one_line(error: BaseException) -> str:
    """What went wrong, and where in a person's own code, without line breaks."""
    text = " ".join(str(error).split())
    known = isinstance(error, ImportError | AttributeError) and text
    return (text if known else f"{type(error).__name__}: {text}") + place(error)


def place(error: BaseException) -> str:
    """`` (my_env.py, line 12)``: the innermost line of a person's own code that an error went through, if there is one.

    A syntax error says so itself.
    """
    files = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    own = [] if isinstance(error, SyntaxError) else [(file, line) for file, line in files if _is_own(file)]
    return f" ({_short(own[-1][0])}, line {own[-1][1]})" if own else ""


def _is_own(file: str) -> bool:
    """Whether a file is neither Tegu's, nor Python's, nor of an installed package, nor generated."""
    installed = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    others = [str(Path(__file__).parents[1]), *filter(None, installed)]
    return not file.startswith("<") and not any(Path(file).is_relative_to(folder) for folder in others)


def _short(file: str) -> str:
    """A path from the working directory, or from home, where it is in there."""
    for folder, start in ((os.getcwd(), ""), (os.path.expanduser("~"), "~")):
        if Path(file).is_relative_to(folder):
            return os.path.join(start, os.path.relpath(file, folder))
    return file
