"""Numbers that an algorithm sets by itself."""

import math

import equinox as eqx

from tegu.core.errors import TeguError


class Auto(eqx.Module):
    """In place of a number: the algorithm finds it, beginning with ``initial`` if that is given.

    Written ``auto`` or ``auto_0.1``, as in Stable-Baselines3.
    """

    initial: float | None = None

    def __str__(self) -> str:
        return "auto" if self.initial is None else f"auto_{self.initial}"

    @classmethod
    def of(cls, text: str, where: str) -> "Auto":
        """What is written so. Raises ``TeguError`` that begins with ``where``, also for an ``initial`` of 0 or less."""
        kind, separator, rest = text.partition("_")
        try:
            initial = float(rest) if separator else None
        except ValueError:
            initial = math.nan
        if kind != "auto" or (initial is not None and not 0 < initial < math.inf):
            raise TeguError(f"{where} must be a number, auto, or auto_0.1, which begins there, got {text!r}")
        return cls(initial)
