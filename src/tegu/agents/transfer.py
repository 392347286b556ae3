"""Beginning a training with what another agent has learned."""

import re
import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from tegu.algorithms.base import Learner
from tegu.core.errors import TeguError
from tegu.core.text import printable
from tegu.runs import checkpoint

_STATISTICS = re.compile(r".*moments")  # a mean and a variance are nothing without the count that they are of
_POLICY = re.compile(r"\.policies\[\((?P<agents>.*?)\)\](?P<name>.*)")  # of one agent, or of some that share it
_ANEW = re.compile(r"optimizer|updates|since_sync")  # an optimizer's moments, and counts of what has been done


class Origin(NamedTuple):
    """What a training begins with."""

    path: Path  #: where it was saved
    arrays: Mapping[str, np.ndarray]  #: by name, each ``[seeds, ...]``


def origin_of(saved: checkpoint.Checkpoint, agent: str | None) -> Origin:
    """What an agent has learned; of several in one environment, what the policy of that ``agent`` has learned.

    ``TeguError`` if there is no such agent with a policy of its own.
    """
    checkpoint.check_finite(saved)
    arrays = saved.blobs.get("learner", {})
    if agent is None:
        return Origin(saved.path, arrays)
    matches = [match for match in map(_POLICY.fullmatch, arrays) if match]
    found = {match["name"]: arrays[match[0]] for match in matches if repr(agent) in match["agents"]}
    if not found:
        known = ", ".join(map(str, saved.state.get("agents", []))) or "one agent alone"
        raise TeguError(f"start_agent: {saved.path} has no policy of {printable(agent, 100)}: it is of {known}")
    return Origin(saved.path, found)


def fitting(shapes: Learner, origin: Origin, seeds: int) -> list[str]:
    """The names of the arrays that a learner of these ``shapes`` has, too, of the same shape and type.

    These are networks, tables and running statistics; optimizers begin anew. The environments may differ, and so may
    the algorithms, where they call the same thing the same. A warning names what does not fit and begins anew, such as
    the last layer for other actions. Raises ``TeguError`` if nothing fits, or if they are of another number of
    ``seeds``, and not of one.
    """
    arrays = origin.arrays
    own = {
        jax.tree_util.keystr(path): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(shapes)
        if not jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    }
    own = {name: leaf for name, leaf in own.items() if not _ANEW.search(name)}
    odd = [name for name, leaf in own.items() if not _fits(leaf, arrays.get(name))]
    apart = {statistics[0] for name in odd if (statistics := _STATISTICS.match(name))}
    found = [name for name in own if not {name, _weight(name)} & {*odd} and not name.startswith(tuple(apart))]
    learned = [name for name in found if own[name].ndim and own[name].size and not _STATISTICS.match(name)]
    if not learned:
        raise TeguError(f"start_from: nothing of what {origin.path} has learned fits what is learned here")
    given = {len(arrays[name]) for name in found}
    if given not in ({1}, {seeds}):
        raise TeguError(
            f"start_from: {origin.path} has {' or '.join(map(str, sorted(given)))} seeds: "
            "train as many, or begin with an agent of one"
        )
    if others := [name for name in own if name not in found]:
        warnings.warn(
            f"start_from: {len(found)} of {len(own)} arrays are taken over, the others begin anew: "
            f"{', '.join(others[:3])}{', ...' * (len(others) > 3)}",
            stacklevel=2,
        )
    return found


def taken_over(learners: Learner, origin: Origin, names: Collection[str]) -> Learner:
    """``learners`` ``[S, ...]`` with the saved arrays of these ``names``: the i-th seed's for the i-th, or those of
    one seed for all."""
    arrays = origin.arrays

    def chosen(path: Any, leaf: jax.Array) -> jax.Array:
        name = jax.tree_util.keystr(path)
        return jax.numpy.array(np.broadcast_to(arrays[name], leaf.shape)) if name in names else leaf

    return jax.tree_util.tree_map_with_path(chosen, learners)


def _weight(name: str) -> str:
    """The weights of the layer whose bias has this name; other names as they are. A layer is taken over whole."""
    return name.replace(".biases[", ".weights[").replace(".bias", ".weight") if "bias" in name else name


def _fits(leaf: jax.ShapeDtypeStruct, array: np.ndarray | None) -> bool:
    """Whether a saved array, which is of several seeds, is like a leaf, which is of one."""
    alike = array is not None and array.dtype == leaf.dtype and array.ndim == leaf.ndim + 1
    return array is not None and alike and array.shape[1:] == leaf.shape
