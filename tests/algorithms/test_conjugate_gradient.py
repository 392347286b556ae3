"""Conjugate gradients against NumPy's dense solutions, also where the matrix is singular."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tegu.algorithms.conjugate_gradient import conjugate_gradient

RNG = np.random.default_rng(0)
BASIS = np.linalg.qr(RNG.normal(size=(6, 6)))[0]


def solved(matrix, b, max_steps=50, tolerance=1e-10):
    """With the vector as a pytree of two arrays."""
    given = {"a": jnp.asarray(b[:2]), "b": jnp.asarray(b[2:].reshape(2, -1))}
    flat, unravel = jax.flatten_util.ravel_pytree(given)
    found, taken = conjugate_gradient(
        lambda v: unravel(jnp.asarray(matrix, flat.dtype) @ jax.flatten_util.ravel_pytree(v)[0]),
        given, max_steps=max_steps, tolerance=tolerance,
    )  # fmt: skip
    return np.asarray(jax.flatten_util.ravel_pytree(found)[0]), int(taken)


@pytest.mark.usefixtures("x64")
def test_the_solution_is_numpys_and_jaxs():
    matrix, b = BASIS @ np.diag([5, 3, 2, 1, 0.5, 0.1]) @ BASIS.T, RNG.normal(size=6)
    np.testing.assert_allclose(solved(matrix, b)[0], np.linalg.solve(matrix, b), rtol=1e-8)
    for steps in (1, 3):
        theirs, _ = jax.scipy.sparse.linalg.cg(lambda v: matrix @ v, b, tol=0.0, atol=1e-10, maxiter=steps)
        found, taken = solved(matrix, b, max_steps=steps)
        np.testing.assert_allclose(found, theirs, rtol=1e-10)
        assert taken == steps


@pytest.mark.usefixtures("x64")
def test_in_the_range_of_a_singular_matrix_the_solution_is_the_pseudoinverse():
    matrix, b = BASIS @ np.diag([5, 3, 2, 0, 0, 0]) @ BASIS.T, RNG.normal(size=6)
    inside = matrix @ b
    found, taken = solved(matrix, inside, tolerance=0.0)
    np.testing.assert_allclose(found, np.linalg.pinv(matrix) @ inside, rtol=1e-8)
    assert 3 <= taken < 50


@pytest.mark.parametrize("eigenvalues", [(5, 3, 2, 0, 0, 0), (1, 1, 1, 1, 1, 0), (1e6, 1, 0, 0, 0, 0), (0,) * 6])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_outside_of_the_range_it_stops_with_numbers_that_ascend(eigenvalues, dtype):
    """``b`` has parts in which a step of any length would be too short."""
    with jax.enable_x64(dtype is np.float64):
        matrix, b = (BASIS @ np.diag(eigenvalues) @ BASIS.T).astype(dtype), RNG.normal(size=6).astype(dtype)
        found, taken = solved(matrix, b)
    assert np.isfinite(found).all()
    assert taken < 50
    assert b @ found >= 0
    if any(eigenvalues):
        assert b @ found > 0
        return
    np.testing.assert_array_equal(found, 0)


def test_nothing_is_the_solution_for_nothing():
    found, taken = solved(np.eye(6), np.zeros(6), tolerance=0.0)
    np.testing.assert_array_equal(found, 0)
    assert taken == 0
