"""Checkpoints: the whole state of a training run on disk, complete or not there at all.

A checkpoint is a folder named by its step, holding ``safetensors`` files and ``manifest.json`` with the size and
SHA-256 of each. It is written under a temporary name and renamed when everything has reached the disk, so a process may
be killed at any moment: what is found afterwards is the old checkpoint or the new one. Files hold data only, never
code, and everything read is checked first.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from reprlib import repr as shorten
from typing import Any

import numpy as np

from tegu.core.errors import TeguError
from tegu.core.memory import free_memory
from tegu.runs import blob_files, disk, manifest
from tegu.runs.blob_files import Base, Blob, Chunk
from tegu.runs.manifest import BLOB_FILE, MANIFEST

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "Chunk",
    "MemoryCheckpointError",
    "check",
    "check_finite",
    "load",
    "load_latest",
    "load_step",
    "save",
    "steps",
    "sweep",
]

_FOLDER = re.compile(r"[0-9]{12}(\.replaced)?")
_TEMPORARY = re.compile(r"\.tegu-([0-9]{1,9})-(saving|removing-.*)")


class CheckpointError(TeguError):
    """A checkpoint could not be written or read; says what, where and why in one line."""


class MemoryCheckpointError(CheckpointError):
    """A checkpoint is whole, and larger than the memory that is free."""


@dataclass(frozen=True)
class Checkpoint:
    """A verified checkpoint in memory."""

    step: int
    blobs: dict[str, dict[str, np.ndarray]]  #: by blob, then by name; arrays as they were saved, bit for bit
    state: dict[str, Any]  #: plain JSON data
    path: Path
    skipped: tuple[str, ...] = ()  #: one line for each newer checkpoint that was passed over, and why


def save(
    folder: Path | str,
    step: int,
    blobs: Mapping[str, Blob],
    state: Mapping[str, Any],
    *,
    keep: int | None = 2,
    base: Path | None = None,
) -> Path:
    """Write the checkpoint ``<folder>/<step>/`` and remove old ones beyond the ``keep`` highest, if that
    is not None; returns its path.

    ``blobs`` are named groups of arrays, one file each; ``state`` is plain JSON data (str keys, lists, no NaN), with
    integers of any size. What cannot be stored exactly is a ``ValueError`` before the disk is touched.
    ``CheckpointError`` when the disk is full or fails, or a ``Chunk`` turns out to hold what cannot be stored: every
    earlier checkpoint is then still there.

    ``base`` is the folder of the checkpoint that this process last wrote or loaded. A ``Chunk`` whose version that one
    has under the same name is taken over from it; all else is written.
    """
    if not 0 <= step < 10**12 or (keep is not None and keep < 1):
        raise ValueError(f"step must be in [0, 10**12) and keep at least 1, not {step} and {keep}")
    check(blobs, state)
    files = {blob_files.file_name(name): blob for name, blob in blobs.items()}
    path = Path(folder) / f"{step:012d}"
    with _one_line(f"cannot save checkpoint {path}"):
        _make_folder(path.parent)
        sweep(path.parent)
        temporary = path.parent / f".tegu-{os.getpid()}-saving"
        try:
            _write(temporary, step, files, state, blob_files.base_of(base))
            _commit(temporary, path)
        except BaseException:
            with suppress(OSError):
                _remove(temporary)
            raise
    with _one_line(f"checkpoint {path} is saved, but an older one cannot be removed"):
        _prune(path, keep)
    return path


def check(blobs: Mapping[str, Blob], state: Mapping[str, Any]) -> None:
    """``ValueError`` for what ``save`` could not store exactly, as far as that can be told without a chunk's arrays."""
    manifest.check_state(state)
    for name, blob in blobs.items():
        blob_files.file_name(name)
        blob_files.check(blob)
    manifest.encode(manifest.build(0, [], state))  # finds out whether it is too large


def load(path: Path | str) -> Checkpoint:
    """Read and verify one checkpoint. ``CheckpointError`` if anything in it is missing, changed, unknown or unsafe."""
    path = Path(path)
    with _one_line(f"cannot read checkpoint {path}"):
        content = manifest.read(path)
        files = {file["name"]: file for file in content["files"]}
        present = {name for name in disk.names(path) if not name.startswith(".")}
        if odd := present ^ {MANIFEST, *files}:
            raise ValueError(f"missing or unexpected files: {shorten(sorted(odd))}")
        _check_memory(path, {name: file["size"] for name, file in files.items()})
        blobs = {name.removesuffix(".safetensors"): blob_files.read(path / name, file) for name, file in files.items()}
        return Checkpoint(content["step"], blobs, content["state"], path)


def load_latest(folder: Path | str) -> Checkpoint:
    """Read the highest checkpoint in ``folder`` that passes every check; ``skipped`` names those that did not.

    ``CheckpointError`` if there is none, with the reason for each. One that is whole and does not fit into memory is
    not skipped: an older one would take its place, and what was done since would be lost.
    """
    folder, skipped = Path(folder), list[str]()
    with _one_line(f"cannot look for checkpoints in {folder}"):
        candidates = _candidates(folder)
    for path in candidates:
        try:
            return replace(_load_candidate(path), skipped=tuple(skipped))
        except MemoryCheckpointError:
            raise
        except CheckpointError as error:
            skipped.append(str(error))
    raise CheckpointError("; ".join(skipped) or f"there is no checkpoint in {folder}")


def load_step(folder: Path | str, step: int) -> Checkpoint:
    """Read and verify the checkpoint of a step, as ``load`` does."""
    return _load_candidate(Path(folder) / f"{step:012d}")


def steps(folder: Path | str) -> list[int]:
    """The steps of the checkpoints in ``folder``, unverified and rising; empty where training has saved none yet."""
    folder = Path(folder)
    with _one_line(f"cannot look for checkpoints in {folder}"):
        return sorted({_step(path) for path in _candidates(folder)}) if disk.exists(folder) else []


def sweep(folder: Path) -> None:
    """Remove what dead processes left half written or half removed. What cannot be removed does no harm."""
    with suppress(FileNotFoundError):
        for name in disk.names(folder) if disk.is_folder(folder) else []:
            match = _TEMPORARY.fullmatch(name)
            if match and (int(match[1]) == os.getpid() or not disk.is_alive(int(match[1]))):
                with suppress(OSError):
                    _remove(folder / name)


@contextmanager
def _one_line(what: str) -> Iterator[None]:
    """Turn whatever reading and writing may raise into one line: what failed, and why."""
    try:
        yield
    except manifest.UNREADABLE as error:
        reason = f"{error.strerror} ({error.filename})" if isinstance(error, OSError) and error.filename else error
        raise CheckpointError(" ".join(f"{what}: {str(reason) or type(error).__name__}".split())) from error


# Writing


def _make_folder(folder: Path) -> None:
    """Make sure that the folder is there, and no link, which would lead whatever is written out of the run."""
    disk.make_folders(folder)
    if not disk.is_folder(folder):
        raise ValueError(f"{folder} is a link, which is not followed")


def _write(temporary: Path, step: int, files: Mapping[str, Blob], state: Mapping[str, Any], base: Base) -> None:
    """Fill a new folder, the manifest last, and wait until all of it has reached the disk."""
    disk.make_folder(temporary)
    written = [blob_files.write(temporary / name, blob, base) for name, blob in files.items()]
    blob_files.write_bytes(temporary / MANIFEST, manifest.encode(manifest.build(step, written, state)))
    disk.sync_folder(temporary)


def _commit(temporary: Path, path: Path) -> None:
    """Give the folder its name. A checkpoint that has the name already stays loadable under another until then."""
    replaced = path.with_name(f"{path.name}.replaced")
    if disk.exists(path):
        if disk.exists(replaced):
            _retire(replaced)
        disk.rename(path, replaced)
    disk.rename(temporary, path)
    disk.sync_folder(path.parent)


# Removing: only what we made, and under a temporary name first, so that nothing is ever seen half removed


def _prune(saved: Path, keep: int | None) -> None:
    others = [path for path in _candidates(saved.parent) if path != saved and _is_ours(path)]
    same_step = [path for path in others if _step(path) == _step(saved)]
    older = [path for path in others if path not in same_step]
    for path in same_step + (older[keep - 1 :] if keep is not None else []):
        _retire(path)


def _is_ours(path: Path) -> bool:
    """Whether this is a checkpoint and nothing else: one with someone's notes in it is theirs to remove."""
    names = disk.names(path) if disk.is_folder(path) else []
    return MANIFEST in names and all(_is_our_file(name) and not disk.is_folder(path / name) for name in names)


def _is_our_file(name: str) -> bool:
    return name == MANIFEST or BLOB_FILE.fullmatch(name) is not None


def _retire(path: Path) -> None:
    temporary = path.with_name(f".tegu-{os.getpid()}-removing-{path.name}")
    disk.rename(path, temporary)
    _remove(temporary)


def _remove(folder: Path) -> None:
    if not disk.is_folder(folder):  # a link: what it leads to is none of ours
        disk.remove(folder)
        return
    for name in sorted(filter(_is_our_file, disk.names(folder)), key=lambda name: name != MANIFEST):
        disk.remove(folder / name)
    disk.remove_folder(folder)


# Reading


def _check_memory(path: Path, sizes: Mapping[str, int]) -> None:
    """``MemoryCheckpointError`` before anything is read where files of these ``sizes`` would not fit into memory."""
    free = free_memory()
    largest = max(sizes, key=lambda name: sizes[name], default="")
    needed = sum(sizes.values()) + sizes.get(largest, 0)  # each file is in memory twice while it is taken apart
    if free is None or needed <= free:
        return
    if odd := [name for name, size in sizes.items() if disk.size(path / name) != size]:
        raise ValueError(f"{shorten(odd[0])} does not have the size that the manifest gives")
    raise MemoryCheckpointError(
        f"cannot read checkpoint {path}: reading it takes {needed / 2**30:,.1f} GiB of memory, "
        f"{free / 2**30:,.1f} GiB are free; its largest file, {largest}, has {sizes[largest] / 2**30:,.1f} GiB"
    )


def _candidates(folder: Path) -> list[Path]:
    """Everything named like a checkpoint, the highest step first and a replaced one after its successor."""
    found = [folder / name for name in disk.names(folder) if _FOLDER.fullmatch(name)]
    return sorted(found, key=lambda path: (-_step(path), path.name))


def _step(path: Path) -> int:
    return int(path.name[:12])


def _load_candidate(path: Path) -> Checkpoint:
    with _one_line(f"cannot read checkpoint {path}"):
        if not disk.is_folder(path):
            raise ValueError("it is no folder, or a link to one")
        found = load(path)
        if found.step != _step(path):
            raise ValueError(f"it is one of step {found.step}")
        return found


def check_finite(saved: Checkpoint) -> None:
    """Raise ``TeguError`` if the learner of a checkpoint is full of NaN: nothing can come of it."""
    for name, array in saved.blobs.get("learner", {}).items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise TeguError(f"{saved.path} holds a learner that is no good: {shorten(name)} is NaN or infinite")
