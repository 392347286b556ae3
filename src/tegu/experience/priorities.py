"""Drawing in proportion to priorities, with sums over blocks: neither drawing nor changing walks through all rows."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Priorities(NamedTuple):
    """The weights by which rows are drawn. A row of weight 0 is never drawn."""

    weight: jax.Array  #: float32 ``[blocks, width]``, row by row
    block: jax.Array  #: float32 ``[blocks]``: their sums
    largest: jax.Array  #: float32: the largest weight ever set, which new rows get

    @classmethod
    def empty(cls, capacity: int) -> "Priorities":
        width = math.isqrt(max(capacity - 1, 0)) + 1
        blocks = -(-capacity // width)
        return cls(jnp.zeros((blocks, width)), jnp.zeros(blocks), jnp.ones(()))

    def put(self, index: jax.Array, weight: jax.Array) -> "Priorities":
        """Give the rows ``index`` ``[n]`` new weights ``[n]``; of a row named twice, one of them."""
        block, column = jnp.divmod(index, self.weight.shape[1])
        weights = self.weight.at[block, column].set(weight)
        return Priorities(weights, self.block.at[block].set(weights[block].sum(axis=1)), self.largest)

    def draw(self, key: jax.Array, n: int) -> tuple[jax.Array, jax.Array]:
        """``n`` rows, one from each of ``n`` equal shares of the total weight, and their probabilities ``[n]``."""
        ends = jnp.cumsum(self.block)
        target = (jnp.arange(n) + jax.random.uniform(key, (n,))) / n * ends[-1]
        last_block = len(ends) - 1 - jnp.argmax(self.block[::-1] > 0)  # rounding may put a target at the very end
        block = jnp.minimum(jnp.searchsorted(ends, target, side="right"), last_block)
        inside = target - (ends[block] - self.block[block])
        weights = self.weight[block]
        possible = weights > 0
        # where rounding puts the target beyond the last row that can be drawn, it is that row
        last = possible.shape[1] - 1 - jnp.argmax(possible[:, ::-1], axis=1)
        column = jnp.minimum(jnp.argmax((jnp.cumsum(weights, axis=1) > inside[:, None]) & possible, axis=1), last)
        column = jnp.where(possible[jnp.arange(n), column], column, last)
        chosen = self.weight[block, column]
        return block * self.weight.shape[1] + column, chosen / ends[-1]
