"""ARS, the cross-entropy method and OpenAI's evolution strategy against plain NumPy in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

import tegu
from tegu.algorithms.evolution_strategy import centred_ranks, smoothed_gradient
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Step

KEY = jax.random.key(1)
SPEC = EnvironmentSpec("test", spaces.Box(-9, 9, (3,)), spaces.Box(-1, 1, (2,)))  # linear policies have 8 parameters
T = 4

exact = pytest.mark.usefixtures("x64")


def rollout(members, seed=0):
    """Steps ``[T, B]`` of which every environment ends an episode before the last, and the returns of the first."""
    rng, B = np.random.default_rng(seed), len(members)
    reward, seen = rng.normal(size=(T, B)), rng.normal(size=(T, B, 3))
    length = rng.integers(1, T + 1, B)
    ended = np.arange(T)[:, None] == length - 1
    batch = Step(seen, np.zeros((T, B, 2)), reward, seen, ended, np.zeros((T, B), bool), np.tile(members, (T, 1)))
    return batch, np.array([reward[: length[i], i].sum() for i in range(B)]), length


def started(algorithm, seed=0):
    """A learner whose policy is not 0, a rollout of all its members and the returns of these."""
    learner = INIT(algorithm)
    mean = np.random.default_rng(99).normal(size=8)
    learner = learner._replace(policy=learner.policy.at(jnp.array(mean)))
    return learner, mean, *rollout(np.arange(len(learner.generation.total)), seed)


INIT = jax.jit(lambda algorithm: algorithm.init(KEY, SPEC))
UPDATE = jax.jit(lambda algorithm, learner, batch: algorithm.update(learner, batch, KEY)[:2])


def updated(algorithm, learner, batch):
    """The learner and the figures after a rollout that completes a generation."""
    after, metrics = UPDATE(algorithm, learner, batch)
    assert after.updates == learner.updates + 1
    return after, metrics


@exact
@pytest.mark.parametrize(("n_top", "seed"), [(None, 0), (1, 0), (3, 0), (3, 1), (3, 2)])
def test_ars_steps_along_the_best_directions(n_top, seed):
    algorithm = tegu.ARS(n_delta=5, n_top=n_top, learning_rate=0.3, delta_std=0.2, alive_bonus_offset=-0.5)
    learner, mean, batch, returns, length = started(algorithm, seed)
    noise = np.asarray(learner.noise)
    returns = returns - 0.5 * length
    sides = sorted(zip(returns[:5], returns[5:], noise, strict=True), key=lambda each: -max(each[:2]))[: n_top or 5]
    std = np.std([side for plus, minus, _ in sides for side in (plus, minus)])
    step = sum((plus - minus) * delta for plus, minus, delta in sides) * 0.3 / (len(sides) * std + 1e-6)
    after, metrics = updated(algorithm, learner, batch)
    np.testing.assert_allclose(after.policy.vector, mean + step, rtol=1e-9)
    assert (np.asarray(after.noise) != noise).all()
    for name, value in (("mean", returns.mean()), ("max", returns.max()), ("std", returns.std())):
        assert metrics[f"fitness_{name}"] == pytest.approx(value)
    assert metrics["cut_episodes"] == 0


@exact
def test_observations_are_standardised_from_the_next_generation_on():
    """By all that was seen since the beginning, though not within a generation (algorithm 2, line 8)."""
    algorithm = tegu.ARS(n_delta=2, normalize_observation=True, n_eval_episodes=2)
    learner, _, batch, *_ = started(algorithm)
    halfway, _ = UPDATE(algorithm, learner, batch)
    np.testing.assert_array_equal(halfway.policy.moments.mean, 0)
    np.testing.assert_array_equal(halfway.policy.vector, learner.policy.vector)
    np.testing.assert_array_equal(halfway.noise, learner.noise)
    other, _, _ = rollout(np.arange(4), seed=1)
    after, _ = UPDATE(algorithm, halfway, other)
    seen = np.concatenate([batch.observation, other.observation]).reshape(-1, 3)
    np.testing.assert_allclose(after.policy.moments.mean, seen.mean(0), atol=1e-5)
    np.testing.assert_allclose(after.policy.moments.variance, seen.var(0), rtol=1e-4)
    assert after.generation.episodes == 0
    np.testing.assert_allclose(after.generation.moments.mean, after.policy.moments.mean)


@pytest.mark.slow
def test_equal_returns_move_nothing():
    """Where all members did the same, no deviation divides and no rank differs."""
    for algorithm in (tegu.ARS(n_delta=3), tegu.OpenAIES(population_size=6, net_arch=())):
        learner, mean, batch, *_ = started(algorithm)
        same = batch._replace(reward=np.ones((T, 6)), terminated=np.zeros((T, 6), bool))
        after, metrics = updated(algorithm, learner, same)
        assert metrics["cut_episodes"] == 1
        np.testing.assert_allclose(after.policy.vector, mean, atol=1e-6)


@exact
@pytest.mark.parametrize("rate", [1.0, 0.25])
def test_cem_fits_the_elite(rate):
    algorithm = tegu.CEM(population_size=7, n_elite=3, learning_rate=rate, initial_std=0.5, extra_variance=0.1)
    learner, mean, batch, returns, _ = started(algorithm)
    best = sorted(range(7), key=lambda i: -returns[i])[:3]
    elite = np.asarray(learner.population)[best]
    after, metrics = updated(algorithm, learner, batch)
    expected = (1 - rate) * mean + rate * sum(elite) / 3
    np.testing.assert_allclose(after.policy.vector, expected, rtol=1e-9)
    variance = (1 - rate) * 0.25 + rate * sum((each - sum(elite) / 3) ** 2 for each in elite) / 3
    np.testing.assert_allclose(after.variance, variance, rtol=1e-9)
    assert metrics["std"] == pytest.approx(np.sqrt(variance).mean())


def test_cem_draws_with_noise_that_falls():
    """Many samples: the variance of the elite, here almost none, and what is added at that time."""
    algorithm = tegu.CEM(population_size=4000, n_elite=1, extra_variance=tegu.Linear(0.5, 0.1))
    for progress, added in ((0.0, 0.5), (0.5, 0.3), (1.0, 0.1)):
        now = algorithm.at(tegu.core.schedule.Clock(jnp.int32(0), jnp.float32(progress)))
        learner, _, batch, *_ = started(now)
        np.testing.assert_allclose(learner.population.std(), 1.0, rtol=0.02)
        after, _ = updated(now, learner, batch)
        spread = after.population - after.policy.vector
        np.testing.assert_allclose((spread**2).mean(), added, rtol=0.05)
        assert np.abs(spread.mean(0)).max() < 0.05


@exact
def test_an_evolution_strategy_is_adam_on_ranks(numerics):
    """Three generations, with weight decay, against NumPy."""
    settings = {"learning_rate": 0.1, "noise_std": 0.3, "weight_decay": 0.2}
    algorithm = tegu.OpenAIES(population_size=6, net_arch=(), **settings)
    adam = numerics.Adam(np.inf, 1e-8)
    learner, mean, *_ = started(algorithm)
    for seed in range(3):
        batch, returns, _ = rollout(np.arange(6), seed)
        ranks = np.array([sum(other < each for other in returns) for each in returns]) / 5 - 0.5
        noise = np.concatenate([learner.noise, -learner.noise])
        estimate = sum(rank * each for rank, each in zip(ranks, noise, strict=True)) / (6 * 0.3)
        mean = adam.step(mean, 0.2 * mean - estimate, 0.1)
        learner, _ = updated(algorithm, learner, batch)
        np.testing.assert_allclose(learner.policy.vector, mean, rtol=1e-7)


def test_ranks_are_those_counted_by_hand():
    """Equals get the mean of the ranks they share."""
    rng = np.random.default_rng(0)
    for fitness in (rng.normal(size=9), rng.integers(3, size=12).astype(float), np.ones(4)):
        below = (fitness[None] < fitness[:, None]).sum(1)
        same = (fitness[None] == fitness[:, None]).sum(1)
        ranks = (below + (same - 1) / 2) / (len(fitness) - 1) - 0.5
        np.testing.assert_allclose(centred_ranks(jnp.array(fitness, jnp.float32)), ranks, atol=1e-6)
    assert centred_ranks(jnp.array([3.0, 1.0, 2.0])).tolist() == [0.5, -0.5, 0.0]


@exact
@pytest.mark.parametrize("kind", ["quadratic", "waves"])
def test_the_estimate_is_unbiased(kind):
    """Against the gradient of the smoothed fitness, known in closed form: the mean of many estimates lies within four
    standard errors of it. Of waves it is far from the gradient of the fitness itself."""
    rng, std, n = np.random.default_rng(0), 0.7, 3
    mean, root = rng.normal(size=n), rng.normal(size=(n, n))
    if kind == "quadratic":
        matrix = root @ root.T

        def fitness(x):
            return -0.5 * jnp.einsum("...i,ij,...j->...", x, matrix, x) + x[..., 0]

        expected = -matrix @ mean + np.eye(n)[0]
    else:  # E sin(w x) is sin(w mean) exp(-(|w| std)^2 / 2)

        def fitness(x):
            return jnp.sin(x @ root).sum(-1)

        expected = root @ (np.cos(mean @ root) * np.exp(-((root**2).sum(0)) * std**2 / 2))
        assert np.abs(expected - root @ np.cos(mean @ root)).max() > 0.3

    def estimate(key):
        noise = jax.random.normal(key, (4, n))
        moved = jnp.concatenate([mean + std * noise, mean - std * noise])
        return smoothed_gradient(fitness(moved), noise, std)

    found = np.asarray(jax.jit(jax.vmap(estimate))(jax.random.split(KEY, 20_000)))
    error = found.std(axis=0) / np.sqrt(len(found))
    assert error.max() < 0.05
    assert (np.abs(found.mean(axis=0) - expected) < 4 * error).all()


@pytest.mark.parametrize(
    ("algorithm", "says"),
    [
        (tegu.ARS(n_delta=4, n_top=5), "ARS: n_top must be at most n_delta, 4, got 5"),
        (tegu.CEM(population_size=4, n_elite=5), "CEM: n_elite must be at most population_size, 4, got 5"),
        (
            tegu.CEM(population_size=4, n_elite=1),
            "CEM: an elite of one has no variance: n_elite must be at least 2, or extra_variance above 0",
        ),
        (tegu.OpenAIES(population_size=5), "OpenAIES: population_size must be even, got 5"),
    ],
)
def test_counts_that_do_not_fit_are_refused(algorithm, says):
    with pytest.raises(tegu.TeguError) as error:
        algorithm.validate(SPEC)
    assert str(error.value) == says
