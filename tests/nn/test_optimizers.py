"""Optimizers on one vector of all parameters, against Optax on the same numbers."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tegu.nn.optimizers import adam, one_vector, radam

SHAPES = {"scalar": (), "bias": (3,), "weight": (5, 4), "filters": (2, 2, 1, 3)}


def numbers(seed: int) -> dict[str, jax.Array]:
    random = np.random.default_rng(seed)
    return {name: jnp.asarray(random.normal(size=shape), jnp.float32) for name, shape in SHAPES.items()}


def test_the_vector_holds_the_leaves_one_after_the_other() -> None:
    tree = numbers(0)
    expected = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])
    np.testing.assert_array_equal(one_vector(tree), expected)
    np.testing.assert_array_equal(jax.vmap(one_vector)(jax.tree.map(lambda leaf: leaf[None], tree))[0], expected)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="pieces are concatenated elsewhere")
def test_nothing_is_concatenated_on_a_cpu() -> None:
    assert "concatenate" not in str(jax.make_jaxpr(one_vector)(numbers(0)))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (adam(), optax.scale_by_adam(eps=1e-8)),
        (adam(0.5), optax.chain(optax.clip_by_global_norm(0.5), optax.scale_by_adam(eps=1e-8))),
        (radam(0.5), optax.chain(optax.clip_by_global_norm(0.5), optax.scale_by_radam())),
    ],
)
def test_steps_are_those_of_optax(ours: Any, theirs: Any) -> None:
    """Leaf by leaf; RAdam is rectified from the sixth step on. Sums of squares are added up in another order."""
    state, their_state = ours.init(numbers(0)), theirs.init(numbers(0))
    for seed in range(1, 8):
        direction, state = ours.update(numbers(seed), state)
        expected, their_state = theirs.update(numbers(seed), their_state)
        assert jax.tree.map(jnp.shape, direction) == SHAPES
        for name in SHAPES:
            np.testing.assert_allclose(direction[name], expected[name], rtol=1e-5)
