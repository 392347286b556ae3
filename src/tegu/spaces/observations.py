"""Observations as the arrays that learners see. What would be lost on the way is an error: nothing is bent to fit."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from tegu.core.errors import TeguError
from tegu.core.step import PyTree
from tegu.core.trees import as_array
from tegu.spaces.features import ACTION_MASK, n_features, one_line, zeros

WATCHED = 100  #: calls in which floats are compared with their bounds; everything else is looked at for ever


class Observations:
    """Observations of one space, as environments of the host return them."""

    def __init__(self, space: spaces.Space):
        self.space = space
        self._part = _part(space, "observation")
        self._masked = isinstance(space, spaces.Dict) and ACTION_MASK in space.spaces
        self._watched = 0

    def stack(self, observations: Sequence[PyTree]) -> PyTree:
        """``[n, ...]`` from ``n`` observations, in the dtypes that JAX holds.

        Any mapping will do for a Dict, and any number or array that keeps its value and has the right shape. Raises
        ``TeguError`` naming the entry, what was expected and what came. Floats out of bounds are warned of once.
        """
        try:
            stacked = _stacked(self._part, observations)
            if self._watched < WATCHED:
                self._watched += 1
                self._compare_floats(self._part, stacked)
        except _Misfit as misfit:
            where = f"the environment returned an observation that is not in its space {one_line(self.space)}"
            raise TeguError(f"{where}: {misfit}") from None
        return stacked

    def check_legal(self, stacked: PyTree) -> None:
        """Raise ``TeguError`` where a mask leaves no legal action to act on next."""
        if self._masked and not stacked[ACTION_MASK].any(axis=-1).all():
            raise nothing_legal(f"the environment's {ACTION_MASK}", "the episode")

    def _compare_floats(self, part: Any, stacked: PyTree) -> None:
        if isinstance(part, dict):
            for name, inner in part.items():
                self._compare_floats(inner, stacked[name])
        elif part.dtype.kind == "f" and part.is_outside(finite := np.where(np.isfinite(stacked), stacked, part.low)):
            self._watched = WATCHED  # what is not finite stops the training: see ``Fault``
            warnings.warn(
                f"{part.outside(finite)}; training goes on, but what counts on the bounds will be wrong", stacklevel=2
            )


def nothing_legal(mask: str, what: str) -> TeguError:
    """What is said of a mask that allows no action."""
    return TeguError(
        f"{mask} allows no action while {what} goes on: expected at least one entry of 1, got only zeros; "
        f"terminate {what} there, or add an action that passes"
    )


def kept(value: Any, dtype: np.dtype, place: str = "observation") -> np.ndarray:
    """``value`` as an array of ``dtype``. ``TeguError`` where a whole number would become another one."""
    array = np.asarray(value)
    with np.errstate(invalid="ignore", over="ignore"):
        cast = array.astype(dtype)
        lost = cast != array if dtype.kind in "iub" else np.zeros(())
    if lost.any():
        held = " (JAX has no int64)" if array.dtype.kind in "iu" and dtype == np.int32 else ""
        raise _Misfit(f"{place} cannot be held as {dtype}{held}: got {array[lost].ravel()[0]}")
    return cast


def plain(observation: PyTree) -> PyTree:
    """An observation whose mappings, of whatever type, are dicts."""
    if isinstance(observation, Mapping):
        return {name: plain(part) for name, part in observation.items()}
    return observation


class _Misfit(TeguError):
    """What does not fit, where, and what was expected."""


class _Leaf:
    """What is expected of one array."""

    def __init__(self, space: Any, place: str):
        zero = zeros(space)
        self.place, self.shape, self.dtype = place, zero.shape, zero.dtype
        self.low, self.high = limits(space)
        self.is_whole = self.dtype.kind in "iub"
        self.is_number = isinstance(space, spaces.Discrete)
        self.numbers = range(int(self.low), int(self.high) + 1) if self.is_number else range(0)

    def stack(self, values: Sequence[Any]) -> np.ndarray:
        if self.is_number and all(type(value) is int and value in self.numbers for value in values):
            return np.array(values, self.dtype)  # by far the most common, and ten times as fast
        out = np.empty((len(values), *self.shape), self.dtype)
        for i, value in enumerate(values):
            array = as_array(value)
            if array.shape != self.shape or array.dtype.kind not in "fiub":
                raise self._misfit(value, array)
            out[i] = array if array.dtype == self.dtype else kept(array, self.dtype, self.place)
        if self.is_whole and self.is_outside(out):
            raise _Misfit(self.outside(out))
        return out

    def is_outside(self, stacked: np.ndarray) -> bool:
        return bool((stacked < self.low).any() or (stacked > self.high).any())

    def outside(self, stacked: np.ndarray) -> str:
        """What lies outside, in words."""
        wrong = (stacked < self.low) | (stacked > self.high)
        n, *entry = np.argwhere(wrong)[0].tolist()
        low, high = (bound[tuple(entry)] for bound in (self.low, self.high))
        at = f" at index {entry}" if entry else ""
        return f"{self.place} is out of bounds: expected {low} to {high}, got {stacked[(n, *entry)]}{at}"

    def _misfit(self, value: Any, array: np.ndarray) -> _Misfit:
        known = array.dtype.kind in "fiub" or isinstance(value, np.ndarray)
        got = f"{array.dtype}{list(array.shape)}" if known else type(value).__name__
        return _Misfit(f"{self.place}: expected {self.dtype}{list(self.shape)}, got {got}")


def _part(space: spaces.Space, place: str) -> Any:
    """A ``_Leaf``, or a dict of what a Dict holds."""
    if isinstance(space, spaces.Dict):
        return {name: _part(inner, f"{place}[{name!r}]") for name, inner in space.items()}
    n_features(space)  # says which spaces there are
    return _Leaf(space, place)


def _stacked(part: Any, values: Sequence[Any], place: str = "observation") -> PyTree:
    if not isinstance(part, dict):
        return part.stack(values)
    for value in values:
        if not isinstance(value, Mapping):
            raise _Misfit(f"{place}: expected a dict with {', '.join(map(repr, part))}, got {type(value).__name__}")
        if value.keys() != part.keys():
            missing, extra = part.keys() - value.keys(), value.keys() - part.keys()
            what = [f"lacks {', '.join(map(repr, missing))}"] * bool(missing)
            what += [f"has {', '.join(map(repr, extra))}, which the space lacks"] * bool(extra)
            raise _Misfit(f"{place} {' and '.join(what)}")
    return {
        name: _stacked(inner, [value[name] for value in values], f"{place}[{name!r}]") for name, inner in part.items()
    }


def limits(
    space: spaces.Box | spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary,
) -> tuple[np.ndarray, np.ndarray]:
    """The least and the greatest value of every entry of a space that is no Dict."""
    match space:
        case spaces.Box():
            return space.low, space.high
        case spaces.Discrete():
            return np.asarray(space.start), np.asarray(space.start + space.n - 1)
        case spaces.MultiDiscrete():
            return space.start, space.start + space.nvec - 1
    return np.zeros(space.shape, np.int8), np.ones(space.shape, np.int8)
