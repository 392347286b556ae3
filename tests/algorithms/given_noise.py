"""Updates whose normal random numbers are given, so that others can compute with the same."""

from typing import Any
from unittest.mock import patch

import jax
import jax.numpy as jnp

from tegu.experience.base import Batch


@jax.jit
def update(algorithm: Any, learner: Any, rows: Any, noise: Any) -> tuple[Any, Any]:
    """The learner after an update, and its metrics. ``noise``: what is drawn, array by array."""
    left = list(noise)
    with patch.object(jax.random, "normal", lambda key, shape: left.pop(0)):
        learner, metrics, _ = algorithm.update(learner, Batch(rows, jnp.ones(len(rows.reward))), jax.random.key(0))
    assert not left, "not all was drawn"
    return learner, metrics
