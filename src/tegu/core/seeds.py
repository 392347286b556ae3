"""Many seeds in one process: how they lie on the devices, and one program for all of them."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from tegu.core.step import PyTree


class Layout:
    """Where ``n_seeds`` are computed: in rounds, one after the other, each over all devices at once.

    On a CPU a device is a core, and a round has one seed on each: every seed then computes what it would alone (to the
    bit, where XLA rounds the program of a round as it does that of one seed), and nothing is copied into or out of a
    stack of seeds. On accelerators there is one round, and the
    seeds of a device are batched with ``vmap``. Where seeds do not fill the devices evenly, the last one is computed
    several times.
    """

    def __init__(self, n_seeds: int):
        self.n_seeds = n_seeds
        devices = jax.local_devices()
        each = 1 if jax.default_backend() == "cpu" else -(-n_seeds // len(devices))
        self._devices = devices[: min(-(-n_seeds // each), len(devices))]
        self._width = each * len(self._devices)  # seeds of a round

    def split(self, tree: PyTree) -> list[PyTree]:
        """The parts of a tree ``[S, ...]`` that each round computes."""
        starts = range(0, self.n_seeds, self._width)
        index = [np.minimum(np.arange(start, start + self._width), self.n_seeds - 1) for start in starts]
        if len(index) == 1 and self._width == self.n_seeds:
            return [tree]
        return [jax.tree.map(lambda leaf, where=where: on_host(leaf)[where], tree) for where in index]

    def join(self, rounds: Sequence[PyTree]) -> PyTree:
        """Undo ``split``, by way of the host: leaves are NumPy arrays ``[S, ...]``, random keys their words.

        To slice what is spread over devices they would have to wait for each other, and on a CPU with few cores such
        programs have been seen to wait for ever.
        """

        def joined(*leaves: Any) -> np.ndarray:
            return np.concatenate([_as_numpy(leaf) for leaf in leaves])[: self.n_seeds]

        return jax.tree.map(joined, *rounds)

    def each(self, rounds: Sequence[PyTree]) -> Iterator[PyTree]:
        """What the rounds hold of each seed, one after the other, on the host."""
        for number, part in enumerate(rounds):
            part = jax.tree.map(on_host, part)
            for i in range(min(self._width, self.n_seeds - number * self._width)):
                yield jax.tree.map(lambda leaf, i=i: leaf[i], part)

    def program(self, function: Callable[..., Any], n_shared: int = 0, **options: Any) -> Any:
        """``function(*of_a_seed, *shared)`` of one seed as a compiled one for a round of seeds.

        The last ``n_shared`` arguments are the same for all seeds; every other one has the axis of seeds. ``options``
        are those of ``jax.jit``.
        """
        mapped = partial(_over_stack, function, n_shared=n_shared)
        if len(self._devices) == 1:
            return jax.jit(mapped, **options)
        mesh = Mesh(np.array(self._devices), ("seeds",))
        split, same = PartitionSpec("seeds"), PartitionSpec()

        def spread(*given: PyTree) -> PyTree:
            specs = (*[split] * (len(given) - n_shared), *[same] * n_shared)
            return jax.shard_map(mapped, mesh=mesh, in_specs=specs, out_specs=split, check_vma=False)(*given)

        return jax.jit(spread, **options)


def stacked(trees: Sequence[PyTree]) -> PyTree:
    """One tree ``[S, ...]`` from those of ``S`` seeds, numbers included."""
    return jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves]), *trees)


def on_host(leaf: Any) -> Any:
    """A leaf that can be sliced without devices waiting for each other."""
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(jnp.asarray(np.asarray(jax.random.key_data(leaf))))
    return np.asarray(leaf)


def _over_stack(function: Callable[..., Any], *given: PyTree, n_shared: int) -> PyTree:
    """``function`` for the stack of seeds on one device."""
    n = len(given) - n_shared
    of_seeds, shared = given[:n], given[n:]
    if jax.tree.leaves(of_seeds)[0].shape[0] == 1:
        alone = function(*jax.tree.map(lambda leaf: leaf[0], of_seeds), *shared)
        return jax.tree.map(lambda leaf: leaf[None], alone)
    return jax.vmap(lambda *each: function(*each, *shared))(*of_seeds)


def _as_numpy(leaf: Any) -> np.ndarray:
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    return np.asarray(leaf)
