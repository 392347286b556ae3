"""SimBa (Lee et al. 2025, section 4): residual blocks between layer normalisations, for vectors."""

from collections.abc import Sequence

import equinox as eqx
import jax

from tegu.nn.mlp import ACTIVATIONS, normalized
from tegu.nn.residual import Dense

EXPANSION = 4  #: width within a block, in widths of the blocks


class SimBa(eqx.Module):
    """``sizes[0]`` inputs, a block for each of the hidden sizes, which are equal, and ``sizes[-1]`` outputs.

    Layer normalisations have no parameters: a linear layer follows each, which can scale and shift as well.
    """

    first: Dense
    blocks: tuple[tuple[Dense, Dense], ...]
    last: Dense
    activation: str = eqx.field(static=True)

    def __init__(self, key: jax.Array, sizes: Sequence[int], activation: str):
        inputs, width, outputs = sizes[0], sizes[1], sizes[-1]
        first, last, *keys = jax.random.split(key, 2 * len(sizes) - 2)
        inner = EXPANSION * width
        self.first, self.last = Dense(first, inputs, width, 1.0), Dense(last, width, outputs, 1.0)
        self.blocks = tuple(
            (Dense(a, width, inner, he_normal=True), Dense(b, inner, width, he_normal=True))
            for a, b in zip(keys[::2], keys[1::2], strict=True)
        )
        self.activation = activation

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.last(self.hidden(x))

    def hidden(self, x: jax.Array) -> jax.Array:
        """What the outputs see ``[..., width]``: the sum of all blocks, normalised."""
        x = self.first(x)
        for inner, outer in self.blocks:
            x = x + outer(ACTIVATIONS[self.activation](inner(normalized(x))))
        return normalized(x)
