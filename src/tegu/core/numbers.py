"""Numbers as a person writes them."""

import math

_UNITS = {"k": 1e3, "K": 1e3, "m": 1e6, "M": 1e6, "B": 1e9}


def number(text: str) -> float:
    """``1e6``, ``1_000_000``, ``100k`` or ``1M``. ``ValueError`` in one line for anything else."""
    unit = _UNITS.get(text[-1:])
    try:
        value = float(text[:-1] if unit else text) * (unit or 1.0)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"expected a number such as 0.5, 1e6 or 100k, got {text!r}")
    return value


def whole(text: str) -> int:
    """A whole number, written as ``number`` allows."""
    try:
        value = number(text)
    except ValueError:
        value = math.nan
    if not value.is_integer():
        raise ValueError(f"expected a whole number such as 100, 1e6 or 100k, got {text!r}")
    return int(value)
