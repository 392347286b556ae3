"""A replay buffer in host memory, for environments that run outside the compiled loop."""

from typing import Any

import jax
import numpy as np

from tegu.core.step import PyTree


class HostReplay:
    """A ring of rows in NumPy arrays, with its own random stream."""

    def __init__(self, row: PyTree, capacity: int, seed: int):
        """Room for ``capacity`` rows like ``row`` (shapes and dtypes, no leading axis)."""
        self.rows = jax.tree.map(lambda leaf: np.zeros((capacity, *leaf.shape), leaf.dtype), row)
        self.capacity = capacity
        self.position = 0
        self.size = 0
        self.random = np.random.default_rng(seed)

    def add(self, block: PyTree) -> None:
        """Write rows ``[n, ...]`` over the oldest ones."""
        n = len(jax.tree.leaves(block)[0])
        index = (self.position + np.arange(n)) % self.capacity
        for ring, new in zip(jax.tree.leaves(self.rows), jax.tree.leaves(block), strict=True):
            ring[index] = new
        self.position = (self.position + n) % self.capacity
        self.size = min(self.size + n, self.capacity)

    def sample(self, rounds: int, n: int, n_steps: int = 1, n_envs: int = 1) -> PyTree:
        """Rows drawn uniformly with replacement as fresh arrays ``[rounds, n, ...]``.

        With ``n_steps`` above 1: windows ``[rounds, n_steps, n, ...]`` of rows that lie ``n_envs`` apart.
        """
        starts = self.size - (n_steps - 1) * n_envs
        index = self.position - self.size + self.random.integers(starts, size=(rounds, n))
        if n_steps > 1:
            index = index[:, None] + n_envs * np.arange(n_steps)[:, None]
        return jax.tree.map(lambda ring: ring[index % self.capacity], self.rows)

    def filled(self) -> PyTree:
        """The rows without those that are still empty, for a checkpoint."""
        return jax.tree.map(lambda ring: ring[: self.size], self.rows)

    def counters(self) -> dict[str, Any]:
        """Everything but the rows, as plain data."""
        return {"position": self.position, "size": self.size, "random": self.random.bit_generator.state}

    def restore_counters(self, counters: dict[str, Any]) -> None:
        """Undo ``counters``."""
        self.position, self.size = counters["position"], counters["size"]
        self.random.bit_generator.state = counters["random"]

    def refill(self, rows: PyTree) -> None:
        """Undo ``filled``."""
        for ring, filled in zip(jax.tree.leaves(self.rows), jax.tree.leaves(rows), strict=True):
            ring[: len(filled)] = filled
