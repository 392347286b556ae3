"""Gymnasium spaces as plain data and back: a closed list of kinds, so that a file can name nothing else."""

from typing import Any

import numpy as np
from gymnasium import spaces

from tegu.core.errors import TeguError


def to_data(space: spaces.Space) -> dict[str, Any]:
    """A space as JSON data. Bounds are text, so that infinity survives; equal bounds are written once."""
    match space:
        case spaces.Box():
            return {
                "kind": "box",
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
            return {"kind": "dict", "spaces": {name: to_data(part) for name, part in space.items()}}
    raise TeguError(f"the space {space} cannot be saved")


def from_data(data: dict[str, Any]) -> spaces.Space:
    """Undo ``to_data``. Raises ``TeguError`` on anything it did not make."""
    try:
        match data["kind"]:
            case "box":
                shape, dtype = tuple(data["shape"]), np.dtype(str(data["dtype"]))
                low, high = (_array(data[side], shape, dtype) for side in ("low", "high"))
                return spaces.Box(low, high, shape, dtype.type)
            case "discrete":
                return spaces.Discrete(data["n"], start=data["start"])
            case "multi-discrete":
                return spaces.MultiDiscrete(data["nvec"], start=data["start"])
            case "multi-binary":
                return spaces.MultiBinary(data["n"])
            case "dict":
                return spaces.Dict({name: from_data(part) for name, part in data["spaces"].items()})
    except (KeyError, TypeError, ValueError, AssertionError, AttributeError) as error:
        raise TeguError(f"damaged description of a space: {error!r}") from error
    raise TeguError(f"unknown kind of space {data['kind']!r}")


def _bounds(bound: np.ndarray) -> Any:
    texts = [repr(float(value)) for value in bound.ravel()]
    return texts[0] if len(set(texts)) == 1 else texts


def _array(bound: Any, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    values = np.asarray(bound, float).astype(dtype)
    return np.full(shape, values) if values.ndim == 0 else values.reshape(shape)
