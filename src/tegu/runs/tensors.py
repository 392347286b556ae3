"""Named arrays as the bytes of a safetensors file.

Written in pieces straight from the arrays and read as views of the file's bytes, because a replay buffer may fill half
the memory. Every content has exactly one encoding here, so reading needs one check: encoded again, it is the same.
"""

import json
import math
from collections.abc import Mapping
from reprlib import repr as shorten
from typing import Any, NamedTuple

import numpy as np

_DTYPES = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "U16": "uint16",
    "I16": "int16",
    "F16": "float16",
    "BF16": "bfloat16",
    "U32": "uint32",
    "I32": "int32",
    "F32": "float32",
    "U64": "uint64",
    "I64": "int64",
    "F64": "float64",
    "C64": "complex64",
}
_CODES = {name: code for code, name in _DTYPES.items()}


class _Layout(NamedTuple):
    name: str
    code: str
    shape: list[int]

    @property
    def dtype(self) -> np.dtype:
        if self.code == "BF16":
            import ml_dtypes  # noqa: F401 - teaches NumPy the name
        return np.dtype(_DTYPES[self.code])

    @property
    def size(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def encode(arrays: Mapping[str, np.ndarray]) -> list[memoryview]:
    """The file's bytes, in pieces to be written one after the other.

    ``ValueError`` for a dtype that has no place in the format (objects, strings, structures) or a name it reserves.
    """
    # The widest first, so that every array begins at a multiple of its item size.
    ordered = sorted(
        ((name, np.asarray(array)) for name, array in arrays.items()), key=lambda x: (-x[1].itemsize, x[0])
    )
    header = _header([_layout(name, array) for name, array in ordered])
    return [memoryview(header), *(_bytes(array) for _, array in ordered)]


def decode(raw: bytearray) -> dict[str, np.ndarray]:
    """The arrays in a file's bytes, as writable views of ``raw``. ``ValueError`` if ``encode`` cannot have made it."""
    start = 8 + int.from_bytes(raw[:8], "little")
    if not 8 < start <= len(raw):
        raise ValueError("its header does not fit into the file")
    header = json.loads(raw[8:start])
    if not isinstance(header, dict):
        raise ValueError("its header is not a table")
    layouts = [_checked(name, entry) for name, entry in header.items()]
    if raw[:start] != _header(layouts):
        raise ValueError("its header is not one that Tegu writes")
    if len(raw) != start + sum(layout.size for layout in layouts):
        raise ValueError("its length does not match its header")
    content = np.frombuffer(raw, np.uint8)
    arrays = {}
    for layout in layouts:
        arrays[layout.name] = _array(layout, content[start : start + layout.size])
        start += layout.size
    return arrays


def _layout(name: str, array: np.ndarray) -> _Layout:
    if array.dtype.name not in _CODES:
        raise ValueError(f"{shorten(name)} has the dtype {array.dtype}, which a checkpoint cannot hold")
    if not isinstance(name, str) or name == "__metadata__":
        raise ValueError(f"{name!r} cannot name an array in the safetensors format")
    return _Layout(name, _CODES[array.dtype.name], list(array.shape))


def _bytes(array: np.ndarray) -> memoryview:
    if array.dtype.byteorder == ">":
        array = array.astype(array.dtype.newbyteorder("<"))
    return array.reshape(-1).view(np.uint8).data


def _array(layout: _Layout, content: np.ndarray) -> np.ndarray:
    if layout.code == "BOOL" and (content > 1).any():
        raise ValueError(f"{shorten(layout.name)} holds a byte that is neither true nor false")
    return content.view(layout.dtype).reshape(layout.shape)


def _header(layouts: list[_Layout]) -> bytes:
    """The header of arrays that lie one after the other: its length in 8 bytes, then JSON padded to a multiple of 8."""
    entries, end = {}, 0
    for layout in layouts:
        begin, end = end, end + layout.size
        entries[layout.name] = {"dtype": layout.code, "shape": layout.shape, "data_offsets": [begin, end]}
    text = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _checked(name: str, entry: Any) -> _Layout:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{shorten(name)} is not described by a dtype, a shape and offsets")
    code, shape = entry["dtype"], entry["shape"]
    if not isinstance(code, str) or code not in _DTYPES:
        raise ValueError(f"{shorten(name)} has the unknown dtype {shorten(code)}")
    if not isinstance(shape, list) or len(shape) > 64 or any(type(n) is not int or n < 0 for n in shape):
        raise ValueError(f"{shorten(name)} has an impossible shape")
    if math.prod(max(n, 1) for n in shape) >= 2**59:  # with 8 bytes each, the limit of NumPy itself
        raise ValueError(f"{shorten(name)} is absurdly large")
    return _Layout(name, code, shape)
