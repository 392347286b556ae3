"""The one mapping from what a policy chose to what an environment takes, and actions of a Box scaled to [-1, 1]."""

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from tegu.core.step import PyTree


def to_bounds(space: spaces.Space, action: PyTree) -> PyTree:
    """The one mapping from what a policy chose to what an environment takes: Box actions are clipped to their bounds,
    those of integers rounded first.

    Used alike in training, evaluation, prediction and play; the actions of several agents are mapped one by one, other
    spaces pass unchanged. Works on JAX and NumPy arrays.
    """
    if isinstance(space, spaces.Dict):
        return {name: to_bounds(part, action[name]) for name, part in space.items()}
    if not isinstance(space, spaces.Box):
        return action
    if space.dtype.kind in "iu":
        action = action.round()
    if space.dtype != np.float64:
        return action.clip(space.low, space.high).astype(space.dtype)
    low, high = space.low.astype(np.float32), space.high.astype(np.float32)  # rounded, so perhaps outwards: step back
    low = np.where(low < space.low, np.nextafter(low, np.float32(np.inf)), low)
    high = np.where(high > space.high, np.nextafter(high, np.float32(-np.inf)), high)
    return action.clip(low, high)


def from_unit(box: spaces.Box, unit: jax.Array) -> jax.Array:
    """Actions ``[..., *shape]`` within the bounds, float32, for numbers ``[..., *shape]`` in [-1, 1]."""
    low, high = _bounds(box)
    return low + (high - low) * (unit + 1) / 2


def to_unit(box: spaces.Box, action: jax.Array) -> jax.Array:
    """The inverse: actions ``[..., *shape]`` scaled to [-1, 1]; 0 where the bounds leave no choice.

    What critics see, so that what they learn does not depend on the units of an environment's actions.
    """
    low, high = _bounds(box)
    return jnp.where(high > low, 2 * (action - low) / jnp.where(high > low, high - low, 1) - 1, 0)


def _bounds(box: spaces.Box) -> tuple[jax.Array, jax.Array]:
    return jnp.float32(box.low), jnp.float32(box.high)  # whose difference an int8 may not hold
