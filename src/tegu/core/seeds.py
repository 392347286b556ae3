"""Many seeds in one process: where they are computed, and one compiled program for all of them."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from tegu.core.runtime import cores
from tegu.core.step import PyTree

_PHASES = 2**30  #: no key is split into so many, and a split is the fold of its number; no run has so many environments


def first_key(seed: jax.Array | int, phase: int = 0) -> jax.Array:
    """What all random numbers of a phase of a run follow from: a key for each ``seed``, another one in each phase."""
    key = jax.random.key(seed)
    return jax.random.fold_in(key, _PHASES + phase) if phase else key


def first_entropy(seed: int, environment: int, phase: int = 0) -> tuple[int, ...]:
    """The same of an ``environment`` of the host, by its number: what all its episodes follow from."""
    return (seed, _PHASES + phase, environment) if phase else (seed, environment)


class Layout:
    """Where ``n_seeds`` are computed: in parts, each a tree with an axis of its seeds.

    On a CPU every seed is a part of its own, and the cores take them one by one. They all run the same program, so each
    seed computes what it would alone, to the bit, and nothing is copied into or out of a stack of seeds. On
    accelerators there is one part, spread over all devices, and the seeds of a device are batched with ``vmap``; where
    seeds do not fill the devices evenly, the last one is computed several times.
    """

    def __init__(self, n_seeds: int):
        self.n_seeds = n_seeds
        self._devices = [] if jax.default_backend() == "cpu" else jax.local_devices()[:n_seeds]
        n = len(self._devices)
        self._width = -(-n_seeds // n) * n if n else 1  # seeds of a part

    @property
    def n_devices(self) -> int:
        """How many memories the parts lie in."""
        return max(len(self._devices), 1)

    def split(self, tree: PyTree) -> list[PyTree]:
        """The parts of a tree ``[S, ...]``."""
        if self._width == self.n_seeds:
            return [tree]
        starts = range(0, self.n_seeds, self._width)
        index = [np.minimum(np.arange(start, start + self._width), self.n_seeds - 1) for start in starts]
        return [jax.tree.map(lambda leaf, where=where: on_host(leaf)[where], tree) for where in index]

    def join(self, parts: Sequence[PyTree]) -> PyTree:
        """Undo ``split``, by way of the host: leaves are NumPy arrays ``[S, ...]``, random keys their words."""

        def joined(*leaves: Any) -> np.ndarray:
            return np.concatenate([_as_numpy(leaf) for leaf in leaves])[: self.n_seeds]

        return jax.tree.map(joined, *parts)

    def each(self, parts: Sequence[PyTree]) -> Iterator[PyTree]:
        """What the parts hold of each seed, one after the other, on the host."""
        for number, part in enumerate(parts):
            part = jax.tree.map(on_host, part)
            for i in range(min(self._width, self.n_seeds - number * self._width)):
                yield jax.tree.map(lambda leaf, i=i: leaf[i], part)

    def program(self, function: Callable[..., Any], n_shared: int = 0, **options: Any) -> "Program":
        """``function(*of_a_seed, *shared)`` of one seed, compiled to run on the parts of all seeds.

        The last ``n_shared`` arguments are the same for all seeds. ``options`` are those of ``jax.jit``.
        """
        mapped = partial(_over_stack, function, n_shared=n_shared)
        if len(self._devices) < 2:
            return Program(jax.jit(mapped, **options), n_shared)
        mesh = Mesh(np.array(self._devices), ("seeds",))
        split, same = PartitionSpec("seeds"), PartitionSpec()

        def spread(*given: PyTree) -> PyTree:
            specs = (*[split] * (len(given) - n_shared), *[same] * n_shared)
            return jax.shard_map(mapped, mesh=mesh, in_specs=specs, out_specs=split, check_vma=False)(*given)

        return Program(jax.jit(spread, **options), n_shared)


class Program:
    """A function that is compiled for what it is given, and then runs on several parts at the same time."""

    def __init__(self, function: Any, n_shared: int):
        """``function`` is what ``jax.jit`` returns; its last ``n_shared`` arguments are the same for all parts."""
        self._function, self._n_shared = function, n_shared
        self._compiled: dict[Hashable, Any] = {}  # by the structure, shapes and types of the arguments

    def __call__(self, *given: Any) -> list[Any]:
        """The result for each part. Arguments are lists with a tree for each part, the last ones for all of them."""
        compiled = self.compile(*given)
        n = len(given) - self._n_shared

        def run(*part: PyTree) -> Any:
            return jax.block_until_ready(compiled(*part, *given[n:]))

        return on_all_cores(run, *given[:n])

    def shapes(self, *given: Any) -> Any:
        """The shapes of what a call would return for a part. Nothing is compiled, and what is traced is kept for it."""
        return self._function.eval_shape(*self._of_one(*given))

    def compile(self, *given: Any) -> Any:
        """The compiled function for such arguments as a call takes; all parts are of one kind."""
        of_one = self._of_one(*given)
        leaves, structure = jax.tree.flatten(of_one)
        kind = structure, tuple(map(jax.typeof, leaves))
        if kind not in self._compiled:
            self._compiled[kind] = self._function.lower(*of_one).compile()
        return self._compiled[kind]

    def _of_one(self, *given: Any) -> tuple[Any, ...]:
        """The arguments of the first part."""
        n = len(given) - self._n_shared
        return (*(parts[0] for parts in given[:n]), *given[n:])


def on_all_cores(function: Callable[..., Any], *each: Sequence[Any]) -> list[Any]:
    """``function`` of the first of ``each``, of the second and so on, as many at a time as there are cores."""
    n = min(len(each[0]), cores())
    if n == 1:
        return list(map(function, *each))
    with ThreadPoolExecutor(n) as threads:
        return list(threads.map(function, *each))


def stacked(trees: Sequence[PyTree]) -> PyTree:
    """One tree ``[S, ...]`` from those of ``S`` seeds, numbers included."""
    return jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves]), *trees)


def on_host(leaf: Any) -> Any:
    """A leaf that is sliced without a program of its own; random keys stay keys."""
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
