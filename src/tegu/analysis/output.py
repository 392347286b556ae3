"""Writing pictures: what is needed for it, the frames they are made of, where they go, and errors on one line."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from tegu.core.errors import TeguError
from tegu.runs import disk
from tegu.runs.run import refuse_links


@contextmanager
def plotting() -> Iterator[None]:
    """Say what to install where a plot needs it."""
    try:
        yield
    except ImportError as error:
        raise TeguError("plots need Matplotlib and Pillow: pip install 'tegu[plot]'") from error


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """A new file that takes the place of ``path`` in one step once it is written. Folders are made.

    Raises ``TeguError`` if that cannot be; whatever was at ``path`` is still there then.
    """
    try:
        refuse_links(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")  # writers go by the suffix
        with suppress(FileNotFoundError):
            disk.remove(temporary)  # of a killed process that had the same number
        disk.close(disk.create(temporary))
        try:
            yield temporary
            disk.rename(temporary, path)
        finally:
            with suppress(FileNotFoundError):
                disk.remove(temporary)
    except FileExistsError as error:  # of a folder that is to be made
        raise TeguError(f"cannot write {path}: {path.parent} is not a folder") from error
    except (OSError, ValueError, OverflowError) as error:  # the last two of numbers that no axis can show
        raise TeguError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}") from error


def checked_path(path: Path | str, *suffixes: str) -> Path:
    """A path that ends in one of some suffixes."""
    path = Path(path)
    if path.suffix.lower() not in suffixes:
        raise TeguError(f"cannot write {path.name!r}: the name must end in {' or '.join(suffixes)}")
    return path


def frame_size(frames: Sequence[np.ndarray]) -> tuple[int, int]:
    """Height and width of frames ``[height, width, 3]`` uint8; ``TeguError`` unless all are such, of one size."""
    if not len(frames):
        raise TeguError("there are no frames to draw")
    for frame in frames:
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape != (*frames[0].shape[:2], 3):
            raise TeguError(
                f"frames must be [height, width, 3] uint8, all of one size; got {frame.shape} {frame.dtype}"
            )
    height, width, _ = frames[0].shape
    return height, width


def enlargement(height: int, width: int, longest: int) -> int:
    """The whole factor, at least 1, by which a small frame's longer side comes nearest to ``longest`` from below."""
    return max(longest // max(height, width), 1)
