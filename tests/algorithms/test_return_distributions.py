"""Return distributions against NumPy loops in float64, and what they learn where the distribution is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces
from scipy import stats

from tegu.algorithms.dqn import DQN
from tegu.algorithms.return_distributions import Categorical, Expectation, ImplicitQuantiles, Quantiles
from tegu.algorithms.return_distributions.base import midpoints
from tegu.core.schedule import Clock, Linear
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Step
from tegu.experience.base import Batch

B, N = 6, 5  #: distributions and numbers of each
IMPLICIT = ImplicitQuantiles(N, 3, 4, 0.7, 2)


def drawn(*shape, seed=0, scale=3.0):
    return np.random.default_rng(seed).normal(0, scale, shape)


def probabilities(n, seed=0):
    return np.random.default_rng(seed).dirichlet(np.ones(n), B)


def projected(returns, probability, atoms):
    """Bellemare et al. 2017, algorithm 1: each return's probability goes to the atoms below and above it."""
    found, step = np.zeros(len(atoms)), atoms[1] - atoms[0]
    for value, p in zip(np.clip(returns, atoms[0], atoms[-1]), probability, strict=True):
        place = (value - atoms[0]) / step
        below, above = int(np.floor(place)), int(np.ceil(place))
        if below == above:
            found[below] += p
        else:
            found[below] += p * (above - place)
            found[above] += p * (place - below)
    return found


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(("n", "low", "high"), [(2, -1.0, 3.0), (5, -2.0, 2.0), (51, -10.0, 10.0)])
def test_returns_are_projected_on_the_atoms(n, low, high):
    """Those beyond the ends, those on atoms, and those between them; what they add up to stays 1."""
    atoms = np.linspace(low, high, n)
    returns = np.concatenate(
        [drawn(B, 7, scale=high), np.tile([low - 9, low, atoms[n // 2], high, high + 9], (B, 1))], 1
    )
    probability = probabilities(12)
    found = Categorical(n, low, high).project(returns, probability)
    expected = [projected(row, p, atoms) for row, p in zip(returns, probability, strict=True)]
    np.testing.assert_allclose(found, expected, atol=1e-12)
    np.testing.assert_allclose(found.sum(axis=1), 1)


@pytest.mark.parametrize(("n", "low", "high"), [(51, -10.0, 10.0), (51, 0.0, 500.0), (11, -100.0, 0.0)])
def test_a_projection_in_float32_is_that_in_float64(n, low, high):
    atoms = np.linspace(low, high, n)
    returns = (drawn(B, 1) + 0.99 * atoms).astype(np.float32)
    probability = probabilities(n).astype(np.float32)
    found = Categorical(n, low, high).project(returns, probability)
    expected = [projected(row, p, atoms) for row, p in zip(returns.astype(np.float64), probability, strict=True)]
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.usefixtures("x64")
def test_a_projection_keeps_the_mean_of_returns_within_the_ends():
    returns, probability = np.random.default_rng(0).uniform(-2, 2, (B, 9)), probabilities(9)
    found = Categorical(7, -2.0, 2.0).project(returns, probability)
    np.testing.assert_allclose(found @ np.linspace(-2, 2, 7), (returns * probability).sum(axis=1))


TERMINATED = np.array([True, False] * (B // 2))
REWARD = drawn(B, seed=5)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("gamma", [0.9, np.linspace(0.5, 1.0, B)], ids=["a number", "one for each row"])
def test_targets_are_the_rewards_and_what_follows(gamma):
    """After termination the reward alone, with certainty."""
    outputs, discount = drawn(B, N), gamma * ~TERMINATED
    expected = REWARD[:, None] + np.broadcast_to(discount, B)[:, None] * outputs
    for kind in (Quantiles(N, 1.0), IMPLICIT):
        np.testing.assert_allclose(kind.target(outputs, REWARD, TERMINATED, gamma), expected)
    np.testing.assert_allclose(Expectation().target(outputs[:, 0], REWARD, TERMINATED, gamma), expected[:, 0])

    atoms, p = np.linspace(-4, 4, N), np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)
    moved = REWARD[:, None] + np.broadcast_to(discount, B)[:, None] * atoms
    found = Categorical(N, -4.0, 4.0).target(outputs, REWARD, TERMINATED, gamma)
    np.testing.assert_allclose(found, [projected(row, q, atoms) for row, q in zip(moved, p, strict=True)], atol=1e-12)


def quantile_loss(prediction, target, fractions, kappa):
    """Dabney et al. 2018b, equation 3, for one row."""
    total = 0.0
    for theta, tau in zip(prediction, fractions, strict=True):
        for value in target:
            u = value - theta
            huber = u**2 / 2 if abs(u) <= kappa else kappa * (abs(u) - kappa / 2)
            total += abs(tau - (u < 0)) * huber / kappa / len(target)
    return total


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("kappa", [0.1, 1.0, 30.0])
def test_the_quantile_huber_loss_is_that_of_the_papers(kappa):
    """With as many targets or fewer, with the same fractions for all rows or other ones."""
    prediction, target = drawn(B, N), drawn(B, 3, seed=1)
    fractions = np.random.default_rng(2).random((B, N))
    found, error = ImplicitQuantiles(N, 3, 4, kappa, 2).loss(prediction, target, fractions)
    rows = zip(prediction, target, fractions, strict=True)
    np.testing.assert_allclose(found, [quantile_loss(*row, kappa) for row in rows])
    np.testing.assert_array_equal(error, found)

    target = drawn(B, N, seed=1)
    found, error = Quantiles(N, kappa).loss(prediction, target)
    middle = (np.arange(N) + 0.5) / N
    expected = [quantile_loss(*row, middle, kappa) for row in zip(prediction, target, strict=True)]
    np.testing.assert_allclose(found, expected)
    np.testing.assert_array_equal(error, found)


@pytest.mark.usefixtures("x64")
def test_the_categorical_loss_is_the_divergence_from_the_target():
    """Zero where they agree; a target may be certain of one return."""
    logits, target = drawn(B, N, scale=1), probabilities(N)
    target[0] = np.eye(N)[2]
    log_q = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    found, error = Categorical(N, -1.0, 1.0).loss(logits, target)
    np.testing.assert_allclose(found, [stats.entropy(p, np.exp(q)) for p, q in zip(target, log_q, strict=True)])
    np.testing.assert_array_equal(error, found)
    np.testing.assert_allclose(Categorical(N, -1.0, 1.0).loss(logits, np.exp(log_q))[0], 0, atol=1e-12)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    "kind", [Categorical(N, -1.0, 1.0), Quantiles(N, 0.7), IMPLICIT], ids=lambda k: type(k).__name__
)
def test_gradients_are_those_of_finite_differences(kind, numerics):
    prediction = drawn(B, N, scale=1)
    target = probabilities(N) if isinstance(kind, Categorical) else drawn(B, N, seed=1, scale=1)
    fractions = [np.random.default_rng(2).random((B, N))] if kind is IMPLICIT else []

    @jax.jit
    def loss(x):
        return kind.loss(x, target, *fractions)[0].sum()

    found = jax.grad(loss)(prediction)
    np.testing.assert_allclose(numerics.flat(found), numerics.gradient(loss, prediction), atol=1e-6)


def test_means_are_those_of_the_distributions():
    outputs = drawn(B, N).astype(np.float32)
    np.testing.assert_array_equal(Expectation().mean(outputs), outputs)
    for kind in (Quantiles(N, 1.0), IMPLICIT):
        np.testing.assert_allclose(kind.mean(outputs), outputs.mean(axis=1), rtol=1e-5)
    weights = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)
    expected = weights @ np.linspace(-3, 5, N)
    np.testing.assert_allclose(Categorical(N, -3.0, 5.0).mean(outputs), expected, rtol=1e-5)


def test_fractions_are_random_in_updates_and_fixed_when_acting():
    """As many as the paper's N and N', and K midpoints."""
    (fractions,), (of_target,) = (
        IMPLICIT.fractions(jax.random.key(0), B),
        IMPLICIT.target_fractions(jax.random.key(1), B),
    )
    assert (fractions.shape, of_target.shape) == ((B, N), (B, 3))
    assert len(np.unique(fractions)) == fractions.size
    assert ((fractions > 0) & (fractions < 1)).all()
    np.testing.assert_allclose(IMPLICIT.acting_fractions()[0], [0.125, 0.375, 0.625, 0.875])
    for kind in (Expectation(), Categorical(N, 0.0, 1.0), Quantiles(N, 1.0)):
        assert kind.acting_fractions() == kind.fractions(jax.random.key(0), B) == ()


# What is learned: one state, one action, rewards 0 or 10 with equal probability, and the task goes on. With gamma = 1/2
# the return is the binary number of the rewards: uniform between 0 and 20.

SPEC = EnvironmentSpec("test", spaces.Box(0, 1, (1,)), spaces.Discrete(1))
SEEN, ROWS, UPDATES = jnp.ones((64, 1)), 64, 3000
LEARNING = {"learning_rate": Linear(0.02), "gamma": 0.5, "batch_size": ROWS, "target_update_interval": 1, "tau": 0.02}


def learned(**settings):
    """A network after ``UPDATES``, in one compiled program. Without hidden layers it is a table of one state."""
    algorithm = DQN(**LEARNING, max_grad_norm=1e9, **settings)

    def update(learner, given):
        key, progress = given
        reward, nothing = 10.0 * jax.random.bernoulli(key, 0.5, (ROWS,)), jnp.zeros(ROWS, bool)
        steps = Step(SEEN, jnp.zeros(ROWS, jnp.int32), reward, SEEN, nothing, nothing)
        now, learner = algorithm.at(Clock(jnp.int32(0), progress)), learner._replace(since_sync=jnp.int32(1))
        return now.update(learner, Batch(steps, jnp.ones(ROWS)), jax.random.fold_in(key, 1)).learner, ()

    def run(key):
        given = jax.random.split(key, UPDATES), jnp.arange(UPDATES) / UPDATES
        return jax.lax.scan(update, algorithm.init(key, SPEC), given)[0].online

    return jax.jit(run)(jax.random.key(0))


def test_categorical_learns_the_distribution_of_returns():
    """The fixed point of the projected Bellman operator, which is found by iterating it: nearly uniform."""
    atoms, p = np.linspace(0, 20, 11), np.ones(11) / 11
    for _ in range(100):
        p = (projected(atoms / 2, p, atoms) + projected(atoms / 2 + 10, p, atoms)) / 2
    network = learned(distribution="categorical", n_atoms=11, v_min=0.0, v_max=20.0, net_arch=())
    np.testing.assert_allclose(jax.nn.softmax(network(SEEN[0]))[0], p, atol=0.015)


@pytest.mark.slow
def test_quantiles_learn_the_distribution_of_returns():
    network = learned(distribution="quantiles", n_quantiles=10, kappa=0.1, net_arch=())
    np.testing.assert_allclose(network(SEEN[0])[0], 20 * midpoints(10), atol=1.0)


@pytest.mark.long
def test_implicit_quantiles_learn_the_distribution_of_returns():
    """At fractions at which no update asked exactly."""
    sizes = {"n_quantiles": 16, "n_target_quantiles": 16, "n_cosines": 16, "net_arch": (16,)}
    network = learned(distribution="implicit-quantiles", kappa=0.1, **sizes)
    fractions = jnp.linspace(0.05, 0.95, 19)
    np.testing.assert_allclose(network(SEEN[0], fractions)[0], 20 * fractions, atol=1.0)
