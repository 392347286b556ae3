"""Every disk call of checkpoints and run folders, in one place, so that a test can make any one of them fail.

All functions raise ``OSError`` and nothing else. Callers reach them as ``disk.write(...)``, never by importing one.
"""

import errno
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


def create(path: Path) -> int:
    """Create a file that must not exist yet and return its descriptor."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)


def write(descriptor: int, data: bytes | memoryview) -> None:
    """Write all of ``data``: the system may take it in several pieces."""
    rest = memoryview(data)
    while len(rest):
        rest = rest[os.write(descriptor, rest) :]


def sync(descriptor: int) -> None:
    """Return once the file's content would survive a power cut."""
    os.fsync(descriptor)


def close(descriptor: int) -> None:
    os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Return once the folder's entries (creations, renames, removals) would survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def rename(source: Path, target: Path) -> None:
    """Move ``source`` to ``target`` in one step; an existing file or empty folder there is replaced."""
    os.rename(source, target)


def make_folder(path: Path) -> None:
    """Create a folder that must not exist yet."""
    os.mkdir(path)


def make_folders(path: Path) -> None:
    """Create a folder and its parents where they are missing."""
    os.makedirs(path, exist_ok=True)


def remove(path: Path) -> None:
    os.unlink(path)


def remove_folder(path: Path) -> None:
    """Remove a folder, which must be empty."""
    os.rmdir(path)


def names(path: Path) -> list[str]:
    """The sorted names in a folder."""
    return sorted(os.listdir(path))


def exists(path: Path) -> bool:
    """Whether there is anything at ``path``, a broken link included."""
    return os.path.lexists(path)


def is_folder(path: Path) -> bool:
    """Whether ``path`` is a folder itself, not a link to one."""
    return stat.S_ISDIR(os.lstat(path).st_mode)


def is_file(path: Path) -> bool:
    """Whether ``path`` is a regular file itself, not a link to one, and has no other name (a hard link)."""
    found = os.lstat(path)
    return stat.S_ISREG(found.st_mode) and found.st_nlink == 1


def open_to_lock(path: Path) -> int:
    """Open or create a file of which the content will be replaced in place; what ``is_file`` denies is refused."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file of one name", str(path))
    return descriptor


def read(path: Path, limit: int) -> bytes:
    """Read a regular file of at most ``limit`` bytes. Links, pipes and devices are refused rather than followed."""
    with _regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise OSError(errno.EFBIG, f"{size} bytes where at most {limit} are allowed", str(path))
        data = file.read(size)
        if len(data) < size:
            raise OSError(errno.EIO, "the file ended early", str(path))
        return data


def end(path: Path, size: int) -> bytes:
    """The last ``size`` bytes of a regular file, or all of a shorter one."""
    with _regular(path) as file:
        file.seek(max(os.fstat(file.fileno()).st_size - size, 0))
        return file.read(size)


def size(path: Path) -> int:
    """The size of a file in bytes."""
    return os.lstat(path).st_size


def age(path: Path) -> float:
    """Seconds since a file was last written."""
    return time.time() - os.lstat(path).st_mtime


def link(source: Path, target: Path) -> None:
    """Give a file a second name, which must not exist yet. A symbolic link is linked itself, not what it points to."""
    os.link(source, target, follow_symlinks=False)


def sync_file(path: Path) -> int:
    """Return a file's size once its content would survive a power cut. What ``read`` refuses is refused here."""
    with _regular(path) as file:
        os.fsync(file.fileno())
        return os.fstat(file.fileno()).st_size


def replace(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Give a small file new content in one step: a reader sees the old or the new, never a part.

    ``durable=False`` leaves it to the system when the disk follows, for files that may be lost in a power cut.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with suppress(FileNotFoundError):
        remove(temporary)  # of a killed process that had the same number
    descriptor = create(temporary)
    try:
        write(descriptor, data)
        if durable:
            sync(descriptor)
    finally:
        close(descriptor)
    rename(temporary, path)
    if durable:
        sync_folder(path.parent)


def is_alive(pid: int) -> bool:
    """Whether a process with this number exists on this machine."""
    if not 0 < pid < 2**31:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # it exists, and is someone else's
    return True


@contextmanager
def _regular(path: Path) -> Iterator[BinaryIO]:
    """Open a regular file for reading."""
    with open(path, "rb", opener=_no_link) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        yield file


def _no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)  # nor wait for whoever writes into a pipe
