"""Many seeds in one process: every array of a run's state has a leading axis of seeds."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from tegu.core.step import PyTree


def devices_for(n_seeds: int) -> int:
    """How many devices the seeds spread over."""
    return min(n_seeds, jax.local_device_count())


def padded(n_seeds: int) -> int:
    """The number of seeds computed, a multiple of the devices; those beyond ``n_seeds`` are copies to be ignored."""
    devices = devices_for(n_seeds)
    return -(-n_seeds // devices) * devices


def pad(tree: PyTree, n_seeds: int) -> PyTree:
    """Repeat the last seed until the leading axis divides by the devices."""
    if padded(n_seeds) == n_seeds:
        return tree
    index = np.minimum(np.arange(padded(n_seeds)), n_seeds - 1)
    return jax.tree.map(lambda leaf: leaf[index], tree)


def trim(tree: PyTree, n_seeds: int) -> PyTree:
    """Undo ``pad`` on the host: leaves are NumPy, but random keys stay what they are.

    To slice what is spread over devices they would have to wait for each other, and on a CPU with few cores such
    programs have been seen to wait for ever.
    """
    return jax.tree.map(lambda leaf: _trimmed(leaf, n_seeds), tree)


def _trimmed(leaf: jax.Array, n_seeds: int) -> jax.Array | np.ndarray:
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(jnp.asarray(_trimmed(jax.random.key_data(leaf), n_seeds)))
    return np.asarray(leaf)[:n_seeds]


def trim_shapes(tree: PyTree, n_seeds: int) -> PyTree:
    """``trim`` for shapes in place of arrays."""
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((n_seeds, *leaf.shape[1:]), leaf.dtype), tree)


def one_after_another(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function(state, *shared)`` of one seed, for a stack of seeds' states, in turn on one device."""

    def in_turn(states: PyTree, *shared: PyTree) -> PyTree:
        if jax.tree.leaves(states)[0].shape[0] == 1:  # spares the copy into and out of the stack
            alone = function(jax.tree.map(lambda leaf: leaf[0], states), *shared)
            return jax.tree.map(lambda leaf: leaf[None], alone)
        return jax.lax.map(lambda state: function(state, *shared), states)

    return in_turn


def over_seeds(function: Callable[..., Any], n_seeds: int) -> Callable[..., Any]:
    """``function(state, *shared)`` of one seed, for a padded stack of seeds' states.

    On a CPU the seeds are dealt out to the cores and each core takes its own one after the other: about as fast
    as batching each core's with ``vmap`` (10 seeds of PPO on CartPole, 2 cores, a prototype: 178 against 187 thousand
    steps/s, and 80 with ``vmap`` on one core), and each seed computes exactly, to the bit, what it would alone.
    On an accelerator they are batched with ``vmap``.
    """
    if jax.default_backend() != "cpu":
        return lambda states, *shared: jax.vmap(lambda state: function(state, *shared))(states)

    in_turn = one_after_another(function)
    n_devices = devices_for(n_seeds)
    if n_devices == 1:
        return in_turn
    mesh = Mesh(np.array(jax.local_devices()[:n_devices]), ("seeds",))
    split, same = PartitionSpec("seeds"), PartitionSpec()

    def spread(states: PyTree, *shared: PyTree) -> PyTree:
        specs = (split, *[same] * len(shared))
        return jax.shard_map(in_turn, mesh=mesh, in_specs=specs, out_specs=split, check_vma=False)(states, *shared)

    return spread
