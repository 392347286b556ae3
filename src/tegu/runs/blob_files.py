"""The blobs of a checkpoint: one safetensors file each, which consecutive checkpoints share where it has not changed.

Shared means a hard link: every checkpoint has all of its files, and removing one takes nothing from another.
"""

import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tegu.runs import disk, manifest, tensors

Arrays = Mapping[str, np.ndarray]


class Chunk(NamedTuple):
    """A blob that is not written again while its version is that of the checkpoint before."""

    version: int  #: changes whenever the content does
    arrays: Callable[[], Arrays]  #: the content; asked for only when it has to be written


Blob = Arrays | Chunk


class Base(NamedTuple):
    """An earlier checkpoint, from which unchanged chunks are taken over."""

    folder: Path
    files: Mapping[str, Mapping[str, Any]]  #: its manifest's entries by file name


def file_name(blob: str) -> str:
    """The name of a blob's file; ``ValueError`` if it cannot be one."""
    name = f"{blob}.safetensors"
    if not manifest.BLOB_FILE.fullmatch(name):
        raise ValueError(f"{blob!r} cannot name a blob: use at most 64 of a-z, 0-9, '_' and '-'")
    return name


def check(blob: Blob) -> None:
    """``ValueError`` for what cannot be stored, as far as that can be told without asking for a chunk's arrays."""
    if not isinstance(blob, Chunk):
        tensors.check(blob)
    elif type(blob.version) is not int:
        raise ValueError(f"the version of a chunk must be an int, not {blob.version!r}")


def base_of(folder: Path | None) -> Base:
    """What can be taken over from the checkpoint ``folder``: nothing if there is none or it cannot be read."""
    if folder is not None:
        with suppress(*manifest.UNREADABLE):
            return Base(folder, {file["name"]: file for file in manifest.read(folder)["files"]})
    return Base(Path(), {})


def write(path: Path, blob: Blob, base: Base) -> dict[str, Any]:
    """Write one blob, or take it over from ``base``, and wait for the disk; returns its entry for the manifest."""
    if not isinstance(blob, Chunk):
        return _written(path, blob, None)
    known = base.files.get(path.name)
    if known is not None and known["version"] == blob.version and _taken_over(base.folder / path.name, path, known):
        return dict(known)
    return _written(path, blob.arrays(), blob.version)


def write_bytes(path: Path, raw: bytes) -> None:
    """Write and sync one new file."""
    descriptor = disk.create(path)
    try:
        disk.write(descriptor, raw)
        disk.sync(descriptor)
    finally:
        disk.close(descriptor)


def read(path: Path, entry: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The arrays of one file. ``OSError`` or ``ValueError`` if it is not the one that ``entry`` describes."""
    raw = _verified(path, entry)
    try:
        return tensors.decode(raw)
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from error


def _written(path: Path, arrays: Arrays, version: int | None) -> dict[str, Any]:
    raw = tensors.encode(arrays)
    write_bytes(path, raw)
    return {"name": path.name, "size": len(raw), "sha256": hashlib.sha256(raw).hexdigest(), "version": version}


def _taken_over(source: Path, target: Path, entry: Mapping[str, Any]) -> bool:
    """Whether ``target`` now is ``source``: a second name of it, or a copy where there can be none."""
    return _linked(source, target, entry["size"]) or _copied(source, target, entry)


def _linked(source: Path, target: Path, size: int) -> bool:
    with suppress(OSError):
        disk.link(source, target)
        if disk.sync_file(target) == size:  # looked at after linking, so that nobody can exchange it in between
            return True
    with suppress(OSError):
        disk.remove(target)
    return False


def _copied(source: Path, target: Path, entry: Mapping[str, Any]) -> bool:
    try:
        raw = _verified(source, entry)
    except (OSError, ValueError):
        return False
    write_bytes(target, raw)
    return True


def _verified(path: Path, entry: Mapping[str, Any]) -> bytes:
    raw = disk.read(path, entry["size"])
    if len(raw) != entry["size"] or hashlib.sha256(raw).hexdigest() != entry["sha256"]:
        raise ValueError(f"{path.name} is damaged: {len(raw)} bytes that are not those of the manifest")
    return raw
