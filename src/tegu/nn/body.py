"""The layers between what a network sees and its outputs, by the name of their architecture."""

from collections.abc import Sequence
from typing import TypeAlias

import jax

from tegu.core.errors import TeguError
from tegu.nn.batch_norm import BatchNormMLP
from tegu.nn.mlp import MLP
from tegu.nn.simba import SimBa

ARCHITECTURES = ("mlp", "simba")  #: that a person may choose; an option of its own chooses "batch-norm"

Body: TypeAlias = MLP | BatchNormMLP | SimBa


def body(key: jax.Array, sizes: Sequence[int], activation: str, architecture: str, layer_norm: bool) -> Body:
    """Fresh layers from ``sizes[0]`` inputs to ``sizes[-1]`` outputs. ``layer_norm``: as of an ``MLP``."""
    match architecture:
        case "batch-norm":
            return BatchNormMLP(key, sizes, activation)
        case "simba":
            return SimBa(key, sizes, activation)
    return MLP(key, sizes, activation, layer_norm=layer_norm)


def check_architecture(title: str, architecture: str, *archs: Sequence[int]) -> None:
    """Raise ``TeguError`` unless an ``architecture`` is known and can have hidden layers of these widths."""
    if architecture not in ARCHITECTURES:
        raise TeguError(f"{title}: architecture must be one of {', '.join(ARCHITECTURES)}, got {architecture!r}")
    for arch in archs:
        if architecture == "simba" and len(set(arch)) != 1:
            raise TeguError(
                f"{title}: architecture simba needs hidden layers of one width, one for each block, got {list(arch)}"
            )
