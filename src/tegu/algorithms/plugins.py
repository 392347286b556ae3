"""Algorithms that installed packages register: entry points of the group ``tegu.algorithms``.

Their metadata is read only when a name is asked for that is not built in, their code only when it is wanted.
"""

import warnings
from collections.abc import Container
from typing import TYPE_CHECKING, Any

from tegu.core.code import one_line
from tegu.core.errors import TeguError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "tegu.algorithms"


def registered(taken: Container[str]) -> "dict[str, EntryPoint]":
    """The entry points by name. One with a name that is ``taken`` is refused, which a warning says."""
    from importlib.metadata import entry_points  # slow to import: not for --help

    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=GROUP):
        if point.name in taken:
            warnings.warn(
                f"{package(point)} registers an algorithm {point.name}, but Tegu has one: refused", stacklevel=2
            )
        elif point.name in found and point.value != found[point.name].value:
            both = f"{package(found[point.name])} and {package(point)}"
            warnings.warn(f"{both} register an algorithm {point.name}: the second is refused", stacklevel=2)
        else:
            found[point.name] = point
    return found


def loaded(point: "EntryPoint") -> Any:
    """What an entry point names. Raises ``TeguError`` with the package if it cannot be imported."""
    try:
        return point.load()
    except Exception as error:  # whatever the package does when it is imported
        raise TeguError(
            f"the algorithm {point.name} of {package(point)} cannot be imported: {one_line(error)}"
        ) from error


def package(point: "EntryPoint") -> str:
    return f"package {point.dist.name}" if point.dist is not None else f"module {point.module}"
