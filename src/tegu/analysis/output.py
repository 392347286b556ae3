"""Writing pictures: what is needed for it, where they go, and errors on one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tegu.core.errors import TeguError
from tegu.runs.run import refuse_links


@contextmanager
def plotting() -> Iterator[None]:
    """Say what to install where a plot needs it."""
    try:
        yield
    except ImportError as error:
        raise TeguError("plots need Matplotlib and Pillow: pip install 'tegu[plot]'") from error


@contextmanager
def in_one_line(path: Path) -> Iterator[None]:
    """Write to ``path``, whose folders are made. Raises ``TeguError`` if that cannot be."""
    try:
        refuse_links(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except (OSError, ValueError, OverflowError) as error:  # the last two of numbers that no axis can show
        raise TeguError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}") from error


def checked_path(path: Path | str, *suffixes: str) -> Path:
    """A path that ends in one of some suffixes."""
    path = Path(path)
    if path.suffix.lower() not in suffixes:
        raise TeguError(f"cannot write {path.name!r}: the name must end in {' or '.join(suffixes)}")
    return path
