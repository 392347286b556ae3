"""Gymnasium spaces as plain data and back: a closed list of kinds, so that a file can name nothing else."""

import math
from reprlib import repr as shorten
from typing import Any

import numpy as np
from gymnasium import spaces

from tegu.core.errors import TeguError
from tegu.core.text import printable
from tegu.spaces.frames import FrameStack

_MOST = 10**8  #: numbers in one observation or action of a file: more are not believed
_DTYPES = {np.dtype(kind).name: kind for kind in "?bBhHiIqQefd"}  #: of the elements of a Box, by name


def to_data(space: spaces.Space) -> dict[str, Any]:
    """A space as JSON data. Bounds are text, so that infinity survives; equal bounds are written once."""
    match space:
        case spaces.Box():
            return {
                "kind": "frame-stack" if isinstance(space, FrameStack) else "box",
                "shape": list(space.shape),
                "dtype": np.dtype(space.dtype).name,
                "low": _bounds(space.low),
                "high": _bounds(space.high),
            }
        case spaces.Discrete():
            return {"kind": "discrete", "n": int(space.n), "start": int(space.start)}
        case spaces.MultiDiscrete():
            return {"kind": "multi-discrete", "nvec": space.nvec.tolist(), "start": space.start.tolist()}
        case spaces.MultiBinary():
            n = space.n if isinstance(space.n, int) else list(space.shape)
            return {"kind": "multi-binary", "n": n}
        case spaces.Dict():
            return {"kind": "dict", "spaces": [[_name(name), to_data(part)] for name, part in space.items()]}
    raise TeguError(f"the space {space} cannot be saved")


def from_data(data: dict[str, Any], depth: int = 8) -> spaces.Space:
    """Undo ``to_data``. Raises ``TeguError`` on anything it did not make, and on what is too large or deep."""
    try:
        match data["kind"]:
            case "box" | "frame-stack" as kind:
                shape, dtype = _shape(data["shape"]), np.dtype(_DTYPES[data["dtype"]])
                low, high = (_array(data[side], shape, dtype) for side in ("low", "high"))
                return (spaces.Box if kind == "box" else FrameStack)(low, high, shape, dtype.type)
            case "discrete":
                return spaces.Discrete(_count(data["n"]), start=data["start"])
            case "multi-discrete":
                return spaces.MultiDiscrete(data["nvec"], start=data["start"])
            case "multi-binary":
                return spaces.MultiBinary(_count(data["n"]) if isinstance(data["n"], int) else _shape(data["n"]))
            case "dict" if depth:
                parts = data["spaces"]
                pairs = parts.items() if isinstance(parts, dict) else parts  # a dict, where names could only be text
                return spaces.Dict({_name(name): from_data(part, depth - 1) for name, part in pairs})
    except (KeyError, TypeError, ValueError, AssertionError, AttributeError, OverflowError) as error:
        raise TeguError(f"damaged description of a space: {printable(repr(error), 200)}") from error
    raise TeguError(f"unknown kind of space {shorten(data['kind'])}")


def _name(key: Any) -> Any:
    """A key of a Dict. ``TeguError`` if JSON has none such."""
    if isinstance(key, np.integer):
        return int(key)
    if type(key) not in (str, int):
        raise TeguError(f"the keys of a Dict space must be text or whole numbers to be saved, got {shorten(key)}")
    return key


def _count(n: Any) -> int:
    if type(n) is not int or not 0 < n <= _MOST:
        raise ValueError(f"{shorten(n)} is no number of things to choose from")
    return n


def _shape(numbers: Any) -> tuple[int, ...]:
    """A shape of at most ``_MOST`` numbers. ``ValueError`` otherwise."""
    if not isinstance(numbers, list) or len(numbers) > 32 or any(type(n) is not int or n < 0 for n in numbers):
        raise ValueError("a shape is a list of at most 32 whole numbers")
    if math.prod(numbers) > _MOST:
        raise ValueError(f"a shape of {math.prod(numbers):.3g} numbers")
    return tuple(numbers)


def _bounds(bound: np.ndarray) -> Any:
    texts = [repr(float(value)) for value in bound.ravel()]
    return texts[0] if len(set(texts)) == 1 else texts


def _array(bound: Any, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    values = np.asarray(bound, float).astype(dtype)
    return np.full(shape, values) if values.ndim == 0 else values.reshape(shape)
