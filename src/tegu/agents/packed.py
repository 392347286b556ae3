"""A folder of plain files as a single one, and back."""

import os
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from tegu.core.errors import TeguError

MANY = 1000  #: files; an agent has fewer


def is_packed(path: Path) -> bool:
    """Whether ``path`` is a zip file."""
    return path.is_file() and zipfile.is_zipfile(path)


def pack(folder: Path, file: Path) -> None:
    """Write the files in ``folder`` to the zip ``file``, whole or not at all."""
    temporary = file.with_name(f".{file.name}-{os.getpid()}")
    try:
        with zipfile.ZipFile(temporary, "w") as archive:
            for each in sorted(folder.rglob("*")):
                if each.is_file():
                    archive.write(each, each.relative_to(folder).as_posix())
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def unpacked(file: Path) -> Iterator[Path]:
    """The folder that ``pack`` was given, until this ends.

    ``TeguError`` if there is anything else in ``file``: names that lead elsewhere, or the pickles of
    Stable-Baselines3.
    """
    with TemporaryDirectory(prefix="tegu-") as name:
        folder = Path(name)
        try:
            with zipfile.ZipFile(file) as archive:
                _check(file, archive.infolist())
                for each in archive.namelist():
                    target = folder / each
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with archive.open(each) as source, target.open("wb") as copy:
                        shutil.copyfileobj(source, copy)
        except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError) as error:
            raise TeguError(f"{file} is damaged: {error}") from error
        yield folder


def _check(file: Path, inside: list[zipfile.ZipInfo]) -> None:
    names = [each.filename for each in inside]
    if "pytorch_variables.pth" in names or "policy.pth" in names:
        raise TeguError(
            f"{file} is not loaded: files of Stable-Baselines3 hold pickles, which can run any code; "
            "tegu import (import_sb3) reads their networks without running any"
        )
    plain = all(len(PurePosixPath(name).parts) == 2 and ".." not in name and name[0] not in "/\\" for name in names)
    # ``pack`` compresses nothing, so that no small file becomes a large one
    small = sum(each.file_size for each in inside) <= file.stat().st_size
    stored = small and all(each.compress_type == zipfile.ZIP_STORED for each in inside)
    if not names or len(names) > MANY or not plain or not stored:
        raise TeguError(f"{file} does not hold an agent")
