"""Optimizers on one vector of all parameters, against Optax on the same numbers."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tegu.nn.optimizers import adam, adaptively_clipped, laprop, one_vector, radam, rmsprop

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


def test_laprop_is_the_mean_of_scaled_gradients() -> None:
    """Ziyin et al. 2020, algorithm 1, in float64."""
    optimizer, m, v = laprop(), 0.0, 0.0
    state = optimizer.init(numbers(0))
    for t in range(1, 6):
        gradient = np.asarray(numbers(t)["weight"], np.float64)
        direction, state = optimizer.update(numbers(t), state)
        v = 0.99 * v + 0.01 * gradient**2
        m = 0.9 * m + 0.1 * gradient / np.sqrt(v / (1 - 0.99**t))
        np.testing.assert_allclose(direction["weight"], m / (1 - 0.9**t), rtol=1e-4)
    nothing = jax.tree.map(jnp.zeros_like, numbers(0))
    np.testing.assert_array_equal(optimizer.update(nothing, optimizer.init(nothing))[0]["weight"], 0)


def test_rmsprop_may_be_tensorflows() -> None:
    """Its mean of squares begins at 1, and epsilon is under the root; in float64."""
    for tf_like in (False, True):
        optimizer, mean = rmsprop(None, 0.1, tf_like=tf_like), float(tf_like)
        state = optimizer.init(numbers(0))
        for t in range(1, 4):
            gradient = np.asarray(numbers(t)["weight"], np.float64)
            direction, state = optimizer.update(numbers(t), state)
            mean = 0.99 * mean + 0.01 * gradient**2
            root = np.sqrt(mean + 0.1) if tf_like else np.sqrt(mean) + 0.1
            np.testing.assert_allclose(direction["weight"], gradient / root, rtol=1e-5)


def test_gradients_are_clipped_to_a_share_of_their_parameters() -> None:
    gradient, parameters = numbers(0), numbers(1) | {"bias": jnp.zeros(3)}
    parameters["filters"] = 100 * parameters["filters"]
    found = adaptively_clipped(gradient, parameters, 0.3)
    for name in SHAPES:
        g, p = np.linalg.norm(np.ravel(gradient[name])), np.linalg.norm(np.ravel(parameters[name]))
        expected = gradient[name] * min(1, 0.3 * max(p, 1e-3) / g)
        np.testing.assert_allclose(found[name], expected, rtol=1e-5)
    np.testing.assert_array_equal(found["filters"], gradient["filters"])  # small beside its parameters
