"""Pytrees as named NumPy arrays and back: the form in which state goes to disk."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tegu.core.errors import TeguError
from tegu.core.step import PyTree
from tegu.core.text import printable

ENVIRONMENTS = "the environments as they are made now"  #: whose state it is: for ``from_arrays``


def to_arrays(tree: PyTree) -> dict[str, np.ndarray]:
    """Every leaf under its path, such as ``.network.actor.weights[0]``. Random keys become their raw words."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): _to_numpy(leaf) for path, leaf in leaves}


def from_arrays(template: PyTree, arrays: Mapping[str, np.ndarray], what: str, of: str = "this algorithm") -> PyTree:
    """A tree shaped like ``template`` (arrays or their shapes) from what ``to_arrays`` made of one.

    Raises ``TeguError`` naming the first array that is missing, unknown, or of another shape or type, and ``what`` does
    not fit whose state: that ``of`` an algorithm, or of environments.
    """
    leaves, structure = jax.tree_util.tree_flatten_with_path(template)
    names = [jax.tree_util.keystr(path) for path, _ in leaves]
    if unknown := sorted(set(arrays) - set(names)):
        raise TeguError(f"{what} does not fit {of}: it holds {printable(unknown[0], 100)}, which is unknown")
    return jax.tree.unflatten(
        structure,
        [
            _fitted(leaf, arrays.get(name), name, f"{what} does not fit {of}")
            for name, (_, leaf) in zip(names, leaves, strict=True)
        ],
    )


def as_array(value: Any) -> np.ndarray:
    """``value`` as an array; one of objects where it is a list of lists of unequal lengths."""
    try:
        return np.asarray(value)
    except ValueError:
        return np.asarray(value, object)


def _to_numpy(leaf: jax.Array) -> np.ndarray:
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    return np.asarray(leaf)


def _fitted(leaf: jax.Array, array: np.ndarray | None, name: str, refusal: str) -> jax.Array:
    is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    expected = jax.eval_shape(jax.random.key_data, leaf) if is_key else leaf
    if array is None:
        raise TeguError(f"{refusal}: {name} is missing")
    if array.shape != expected.shape or array.dtype != expected.dtype:
        raise TeguError(
            f"{refusal}: {name} should be {expected.dtype}{list(expected.shape)}, "
            f"it holds {array.dtype}{list(array.shape)}"
        )
    fresh = jnp.array(array)  # a copy: JAX may otherwise share memory with the file's buffer
    return jax.random.wrap_key_data(fresh) if is_key else fresh
