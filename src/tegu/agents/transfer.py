"""Beginning a training with what another agent has learned."""

import re
import warnings
from collections.abc import Collection
from typing import Any

import jax
import numpy as np

from tegu.algorithms.base import Learner
from tegu.core.errors import TeguError
from tegu.runs import checkpoint

_STATISTICS = re.compile(r".*moments")  # a mean and a variance are nothing without the count that they are of
_ANEW = re.compile(r"optimizer|updates|since_sync")  # an optimizer's moments, and counts of what has been done


def fitting(shapes: Learner, saved: checkpoint.Checkpoint, seeds: int) -> list[str]:
    """The names of the ``saved`` arrays that a learner of these ``shapes`` has, too, of the same shape and type.

    These are networks, tables and running statistics; optimizers begin anew. The environments may differ, and so may
    the algorithms, where they call the same thing the same. A warning names what does not fit and begins anew, such as
    the last layer for other actions. Raises ``TeguError`` if nothing fits, or if ``saved`` is of another number of
    ``seeds``, and not of one.
    """
    arrays = saved.blobs.get("learner", {})
    own = {
        jax.tree_util.keystr(path): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(shapes)
        if not jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    }
    own = {name: leaf for name, leaf in own.items() if not _ANEW.search(name)}
    odd = [name for name, leaf in own.items() if not _fits(leaf, arrays.get(name))]
    apart = {statistics[0] for name in odd if (statistics := _STATISTICS.match(name))}
    found = [name for name in own if name not in odd and not name.startswith(tuple(apart))]
    if not found:
        raise TeguError(f"start_from: nothing of what {saved.path} has learned fits what is learned here")
    if len(arrays[found[0]]) not in (1, seeds):
        raise TeguError(
            f"start_from: {saved.path} has {len(arrays[found[0]])} seeds: train as many, or begin with an agent of one"
        )
    if others := [name for name in own if name not in found]:
        warnings.warn(
            f"start_from: {len(found)} of {len(own)} arrays are taken over, the others begin anew: "
            f"{', '.join(others[:3])}{', ...' * (len(others) > 3)}",
            stacklevel=2,
        )
    return found


def taken_over(learners: Learner, saved: checkpoint.Checkpoint, names: Collection[str]) -> Learner:
    """``learners`` ``[S, ...]`` with the ``saved`` arrays of these ``names``: the i-th seed's for the i-th, or those of
    one seed for all."""
    arrays = saved.blobs["learner"]

    def chosen(path: Any, leaf: jax.Array) -> jax.Array:
        name = jax.tree_util.keystr(path)
        return jax.numpy.array(np.broadcast_to(arrays[name], leaf.shape)) if name in names else leaf

    return jax.tree_util.tree_map_with_path(chosen, learners)


def _fits(leaf: jax.ShapeDtypeStruct, array: np.ndarray | None) -> bool:
    """Whether a saved array, which is of several seeds, is like a leaf, which is of one."""
    return array is not None and array.dtype == leaf.dtype and array.shape[1:] == leaf.shape
