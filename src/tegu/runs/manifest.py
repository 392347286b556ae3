"""A checkpoint's ``manifest.json``: what belongs to it, and the proof that it is unchanged.

Every content has exactly one encoding, which begins with the digest of the rest. Reading parses the file, encodes the
result again and demands the same bytes: a flipped bit, a duplicate key, a NaN or appended data cannot pass.
"""

import hashlib
import json
import os
import platform
import re
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from reprlib import repr as shorten
from types import UnionType
from typing import Any, get_args

from tegu.runs import disk

MANIFEST = "manifest.json"
FORMAT = 2
MAX_BYTES = 64 * 2**20
BLOB_FILE = re.compile(r"[a-z0-9_-]{1,64}\.safetensors")
_SCHEMA = {"format": int, "step": int, "files": list, "state": dict, "versions": dict, "flags": dict}
_FILE_SCHEMA = {"name": str, "size": int, "sha256": str, "version": int | None}
UNREADABLE = (OSError, ValueError, RecursionError, MemoryError)  #: what reading a damaged checkpoint may raise


def build(step: int, files: list[dict[str, Any]], state: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest of a checkpoint; ``files`` hold name, size, sha256 and version (``None`` if it has none) each."""
    return {"format": FORMAT, "step": step, "files": files, "state": state, "versions": versions(), "flags": flags()}


def encode(manifest: Mapping[str, Any]) -> bytes:
    """The only bytes that can stand for this manifest. ``ValueError`` if they are more than can be read again."""
    digest = hashlib.sha256(json.dumps(manifest, allow_nan=False).encode()).hexdigest()
    raw = json.dumps({"sha256": digest, **manifest}, allow_nan=False).encode()
    if len(raw) > MAX_BYTES:
        raise ValueError(f"its state takes {len(raw)} bytes as JSON where {MAX_BYTES} are allowed: store it as arrays")
    return raw


def decode(raw: bytes | bytearray) -> dict[str, Any]:
    """The manifest that ``encode`` made these bytes from; ``ValueError`` or ``RecursionError`` if it did not."""
    manifest = json.loads(raw)
    if not isinstance(manifest, dict):
        raise ValueError("the manifest is not a table")
    _check_format(manifest.get("format"))
    manifest.pop("sha256", None)
    if encode(manifest) != raw:
        raise ValueError("the manifest is damaged")
    _check(manifest)
    return manifest


def read(folder: Path) -> dict[str, Any]:
    """The manifest of the checkpoint ``folder``; one of ``UNREADABLE`` if it is missing, damaged or of another kind."""
    return decode(disk.read(folder / MANIFEST, MAX_BYTES))


def check_state(state: Mapping[str, Any]) -> None:
    """``ValueError`` unless JSON gives the state back unchanged."""
    try:
        same = json.loads(json.dumps(state, allow_nan=False)) == state
    except TypeError as error:
        raise ValueError(f"state is not plain JSON data: {error}") from error
    if not same:
        raise ValueError("state is not plain JSON data: it holds a tuple or a key that is no str")


@cache
def versions() -> dict[str, str]:
    """The versions that a result depends on, found without importing the packages."""
    return {"python": platform.python_version()} | {name: _version(name) for name in ("tegu", "numpy", "jax")}


def flags() -> dict[str, str]:
    """The environment variables that change what JAX computes."""
    return {"XLA_FLAGS": os.environ.get("XLA_FLAGS", "")}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"


def _check_format(number: Any) -> None:
    """Before anything else, because all else may differ in another format. No number at all is found out later."""
    if type(number) is int and number != FORMAT:
        advice = "update Tegu" if number > FORMAT else "such runs cannot be resumed, train anew"
        raise ValueError(f"it has format {shorten(number)} and this Tegu reads {FORMAT}: {advice}")


def _check(manifest: dict[str, Any]) -> None:
    _check_table(manifest, _SCHEMA, "the manifest")
    _check_table(manifest["versions"], dict.fromkeys(versions(), str), "versions")
    _check_table(manifest["flags"], dict.fromkeys(flags(), str), "flags")
    if not 0 <= manifest["step"] < 10**12:
        raise ValueError("the manifest has an impossible step")
    for file in manifest["files"]:
        _check_table(file, _FILE_SCHEMA, "a file of the manifest")
        if not 0 <= file["size"] < 2**63:
            raise ValueError(f"the manifest gives {file['name'][:99]!r} an impossible size")
        if not BLOB_FILE.fullmatch(file["name"]):
            raise ValueError(f"the manifest names the impossible file {shorten(file['name'])}")
    if len({file["name"] for file in manifest["files"]}) < len(manifest["files"]):
        raise ValueError("the manifest names a file twice")


def _check_table(table: Any, schema: Mapping[str, type | UnionType], what: str) -> None:
    if not isinstance(table, dict) or set(table) != set(schema):
        raise ValueError(f"{what} must hold exactly {', '.join(schema)}")
    for key, kind in schema.items():
        kinds = get_args(kind) or (kind,)
        if type(table[key]) not in kinds:  # a bool is no int here
            raise ValueError(f"{key} in {what} must be of type {' or '.join(kind.__name__ for kind in kinds)}")
