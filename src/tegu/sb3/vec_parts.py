"""Observations and their spaces, whether in a Dict or not."""

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from tegu.core.step import PyTree
from tegu.nn.encoder import channels_first


def is_image(box: spaces.Box) -> bool:
    """Whether a Box holds pixels: three dimensions of ``uint8`` from 0 to 255."""
    return (
        len(box.shape or ()) == 3 and box.dtype == np.uint8 and bool((box.low == 0).all() and (box.high == 255).all())
    )


def is_last(box: spaces.Box) -> bool:
    """Whether a Box holds pixels ``[H, W, C]``."""
    return is_image(box) and not channels_first(box.shape)  # type: ignore[arg-type]


def parts(tree: Any) -> dict[str, Any]:
    """The entries of a Dict or dict; what is neither is the entry ``""``."""
    return dict(tree) if isinstance(tree, Mapping) else {"": tree}


def named(function: Callable[[str, Any], Any], tree: PyTree) -> PyTree:
    """``function`` of every entry and its name, where ``tree`` is a dict, else of ``""`` and the whole."""
    if isinstance(tree, Mapping):
        return {name: function(name, part) for name, part in tree.items()}
    return function("", tree)


def each(function: Callable[[Any], Any], tree: PyTree) -> PyTree:
    """``function`` of every entry of a dict, or of what is none."""
    return named(lambda _, part: function(part), tree)


def as_in(space: gymnasium.Space, tree: PyTree) -> PyTree:
    """Observations as in ``space``, whose images ``[C, H, W]`` they may hold as ``[..., H, W, C]``."""
    boxes = parts(space)

    def turned(name: str, part: Any) -> Any:
        box = boxes.get(name)
        if not (isinstance(box, spaces.Box) and is_image(box)):
            return part
        seen, (first, second, third) = np.shape(part)[-3:], box.shape
        other = seen != box.shape and seen == (second, third, first)
        return np.moveaxis(np.asarray(part), -1, -3) if other else part

    return named(turned, tree)


def mapped(function: Callable[[str, Any], Any], space: gymnasium.Space) -> gymnasium.Space:
    """``named`` for spaces."""
    found = named(function, space)
    return spaces.Dict(found) if isinstance(found, dict) else found
