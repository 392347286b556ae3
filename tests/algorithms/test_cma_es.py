"""CMA-ES: its constants, one generation against plain NumPy in float64, and what it is known for on quadratics."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

import tegu
from tegu.algorithms.cma_es import Constants, eigen
from tegu.core.spec import EnvironmentSpec

KEY = jax.random.key(1)
SPEC = EnvironmentSpec("test", spaces.Box(-9, 9, (3,)), spaces.Box(-1, 1, (2,)))  # linear policies have 8 parameters
N = 8

exact = pytest.mark.usefixtures("x64")


def test_constants_are_those_that_are_known():
    """Hansen's own program says ``(5_w,10), mu_w=3.2, w_1=45%`` of ten members."""
    weights = Constants.of(10, 10)
    assert len(weights.recombination) == 5
    assert weights.recombination.sum() == pytest.approx(1)
    assert int(100 * weights.recombination[0]) == 45
    assert round(weights.effective, 1) == 3.2
    normal = np.random.default_rng(0).normal(size=(100_000, 10))
    assert weights.expected_norm == pytest.approx(np.linalg.norm(normal, axis=1).mean(), rel=2e-3)
    for n in (1, 10, 1000):
        for size in (2, 7, 500):
            each = Constants.of(size, n)
            assert 0 < each.c_1 + each.c_mu <= 1
            assert 0 < each.c_sigma < 1
            assert 0 < each.c_c <= 1


def evaluated(learner, fitness):
    """The learner whose members have played, with this fitness."""
    return learner._replace(generation=learner.generation._replace(total=fitness, episodes=jnp.int32(len(fitness))))


@exact
def test_a_generation_is_that_of_the_tutorial():
    """Several of them, one after the other, in loops over members; then one whose path is so long that it stalls."""
    algorithm = tegu.CMAES(population_size=6, initial_std=0.3)
    adapt = jax.jit(lambda learner, fitness: algorithm.adapt(evaluated(learner, fitness), KEY))
    learner = jax.jit(lambda: algorithm.init(KEY, SPEC))()
    mean, sigma, C, p_sigma, p_c = np.zeros(N), 0.3, np.eye(N), np.zeros(N), np.zeros(N)
    w = np.log(3.5) - np.log([1, 2, 3])
    w /= w.sum()
    mu = 1 / (w**2).sum()
    c_sigma, c_c = (mu + 2) / (N + mu + 5), (4 + mu / N) / (N + 4 + 2 * mu / N)
    d_sigma = 1 + 2 * max(0, np.sqrt((mu - 1) / (N + 1)) - 1) + c_sigma
    c_1, c_mu = 2 / ((N + 1.3) ** 2 + mu), 2 * (mu - 2 + 1 / mu + 0.25) / ((N + 2) ** 2 + mu)
    chi = np.sqrt(N) * (1 - 1 / (4 * N) + 1 / (21 * N**2))
    rng, stalled = np.random.default_rng(0), 0
    for g in range(1, 7):
        if g == 5:
            p_sigma = np.full(N, 9.0)
            learner = learner._replace(step_path=jnp.array(p_sigma))
        fitness = rng.normal(size=6)
        order = sorted(range(6), key=lambda i: -fitness[i])[:3]
        ys = [(np.asarray(learner.population[i]) - mean) / sigma for i in order]
        step = sum(weight * y for weight, y in zip(w, ys, strict=True))
        variances, B = np.linalg.eigh(C)
        p_sigma = (1 - c_sigma) * p_sigma
        p_sigma = p_sigma + np.sqrt(c_sigma * (2 - c_sigma) * mu) * B @ np.diag(variances**-0.5) @ B.T @ step
        norm = np.linalg.norm(p_sigma)
        h = float(norm / np.sqrt(1 - (1 - c_sigma) ** (2 * g)) < (1.4 + 2 / (N + 1)) * chi)
        stalled += 1 - h
        p_c = (1 - c_c) * p_c + h * np.sqrt(c_c * (2 - c_c) * mu) * step
        C = (1 + c_1 * (1 - h) * c_c * (2 - c_c) - c_1 - c_mu) * C + c_1 * np.outer(p_c, p_c)
        C = C + c_mu * sum(weight * np.outer(y, y) for weight, y in zip(w, ys, strict=True))
        mean, sigma = mean + sigma * step, sigma * np.exp(c_sigma / d_sigma * (norm / chi - 1))
        learner = adapt(learner, jnp.array(fitness))
        expected = (learner.policy.vector, mean), (learner.step_size, sigma), (learner.covariance, C)
        for ours, theirs in (*expected, (learner.step_path, p_sigma), (learner.path, p_c)):
            np.testing.assert_allclose(ours, theirs, rtol=1e-7, atol=1e-9)
        assert learner.updates == g
    assert 0 < stalled < 6


@exact
def test_samples_have_the_covariance():
    rng = np.random.default_rng(0)
    root = rng.normal(size=(N, N))
    factors = eigen(root @ root.T)
    population = tegu.CMAES(population_size=100_000).sample(KEY, jnp.arange(N) * 1.0, jnp.array(0.5), *factors)
    np.testing.assert_allclose(population.mean(axis=0), np.arange(N), atol=0.05)
    found, expected = np.cov(np.asarray(population).T), 0.25 * root @ root.T
    assert np.abs(found - expected).max() < 0.02 * np.abs(expected).max()


@exact
def test_it_learns_the_shape_of_a_quadratic():
    """Its minimum, though one direction is 10,000 times as steep as another and none is along an axis; and covariances
    that are about the inverse of the curvature. Any increasing function of the fitness is the same to it."""
    rng = np.random.default_rng(3)
    axes = np.linalg.qr(rng.normal(size=(N, N)))[0]
    curvature = axes @ np.diag(np.logspace(0, 4, N)) @ axes.T
    target = rng.normal(size=N)
    algorithm = tegu.CMAES(population_size=12)

    def run(transformed):
        def generation(learner, key):
            offset = learner.population - target
            fitness = transformed(-jnp.einsum("mi,ij,mj->m", offset, curvature, offset))
            return algorithm.adapt(evaluated(learner, fitness), key), ()

        keys = jax.random.split(KEY, 400)
        return jax.jit(lambda: jax.lax.scan(generation, algorithm.init(KEY, SPEC), keys)[0])()

    learner = run(lambda fitness: fitness)
    np.testing.assert_allclose(learner.policy.vector, target, atol=1e-5)
    eigenvalues = np.linalg.eigvals(np.asarray(learner.covariance) @ curvature).real
    assert eigenvalues.max() / eigenvalues.min() < 30  # it began with 10,000
    other = run(lambda fitness: -jnp.sqrt(-fitness))
    np.testing.assert_allclose(other.policy.vector, learner.policy.vector, atol=1e-5)


def test_policies_of_many_parameters_are_refused():
    spec = EnvironmentSpec("test", spaces.Box(-9, 9, (999,)), spaces.Box(-1, 1, (2,)))
    tegu.CMAES().validate(spec)
    with pytest.raises(tegu.TeguError) as error:
        tegu.CMAES(net_arch=(64,)).validate(spec)
    assert str(error.value) == "CMAES: the policy must have at most 2,000 parameters, it has 64,130"
