"""Named arrays as the bytes of a safetensors file, and back.

The package ``safetensors`` writes the format, and when reading it makes sure that header, offsets, shapes and length
fit together. What it would let pass although Tegu never writes it is refused here.
"""

import json
from collections.abc import Mapping
from reprlib import repr as shorten
from textwrap import shorten as shorten_text
from typing import Any

import numpy as np
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save

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
_NAMES = frozenset(_DTYPES.values())
_ENTRY = ["dtype", "shape", "data_offsets"]


def check(arrays: Mapping[str, np.ndarray]) -> None:
    """``ValueError`` for a dtype that has no place in the format (objects, strings, structures) or a reserved name."""
    for name, array in arrays.items():
        if not isinstance(name, str) or name == "__metadata__":
            raise ValueError(f"{name!r} cannot name an array in the safetensors format")
        name.encode()  # half a surrogate pair is a UnicodeEncodeError, and that a ValueError
        dtype = np.asarray(array).dtype
        if dtype.name not in _NAMES:
            raise ValueError(f"{shorten(name)} has the dtype {dtype}, which a checkpoint cannot hold")


def encode(arrays: Mapping[str, np.ndarray]) -> bytes:
    """The file's bytes. ``ValueError`` for what ``check`` refuses."""
    check(arrays)
    return save({name: _dense(np.asarray(array)) for name, array in arrays.items()})


def decode(raw: bytes) -> dict[str, np.ndarray]:
    """The arrays in a file's bytes, as writable copies. ``ValueError`` if ``encode`` cannot have made it."""
    try:
        tensors = dict(deserialize(raw))
    except SafetensorError as error:
        raise ValueError(shorten_text(str(error), 200)) from error
    _check_header(raw, tensors)
    return {name: _array(name, **tensor) for name, tensor in tensors.items()}


def _dense(array: np.ndarray) -> np.ndarray:
    """In rows and little-endian: ``save`` takes the memory as it lies. A copy only where that changes something."""
    return array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)


def _check_header(raw: bytes, tensors: Mapping[str, Any]) -> None:
    """Refuse metadata, duplicate or unknown keys, another order, and any other way to write it down than our own."""
    found = raw[8 : 8 + int.from_bytes(raw[:8], "little")]
    header = json.loads(found)
    ours = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    known = header.keys() == tensors.keys() and all(list(entry) == _ENTRY for entry in header.values())
    if not known or found != ours + b" " * (-len(ours) % 8):
        raise ValueError("its header is not one that Tegu writes")
    offsets = [entry["data_offsets"] for entry in header.values()]
    if offsets != sorted(offsets):
        raise ValueError("its header is in another order than its content")


def _array(name: str, dtype: str, shape: list[int], data: bytearray) -> np.ndarray:
    if dtype not in _DTYPES:
        raise ValueError(f"{shorten(name)} has the unknown dtype {shorten(dtype)}")
    if dtype == "BF16":
        import ml_dtypes  # noqa: F401 - teaches NumPy the name
    if dtype == "BOOL" and (np.frombuffer(data, np.uint8) > 1).any():
        raise ValueError(f"{shorten(name)} holds a byte that is neither true nor false")
    return np.frombuffer(data, _DTYPES[dtype]).reshape(shape)
