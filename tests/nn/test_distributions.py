"""Policies' distributions against SciPy and against their definitions."""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces
from scipy import stats

from tegu.nn.distributions import (
    Bernoulli,
    Categorical,
    DiagonalGaussian,
    MultiCategorical,
    SquashedGaussian,
    distribution,
    n_parameters,
)

N = 100_000
KEY = jax.random.key(3)
RNG = np.random.default_rng(0)
LOGITS = RNG.normal(0, 2, 5)
MASK = np.array([True, False, True, True, False])
NO_LOG_STD = np.zeros(0)

in_float64 = pytest.mark.usefixtures("x64")


def softmax(logits):
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


def evaluate(function, *arguments):
    """What a function returns, compiled as a whole, as NumPy arrays."""
    return jax.device_get(jax.jit(function)(*arguments))


def repeated(parameters):
    """The same parameters for each of ``N`` draws. Handed to ``evaluate``: a constant of that size compiles slowly."""
    return np.broadcast_to(parameters, (N, len(parameters)))


def discrete(start=0, mask=None):
    return distribution(spaces.Discrete(5, start=start), LOGITS, NO_LOG_STD, mask)


def finite_difference(function, x, step=1e-6):
    return np.array([(function(x + step * e) - function(x - step * e)) / (2 * step) for e in np.eye(len(x))])


# One choice


@in_float64
@pytest.mark.parametrize("start", [0, 3, -2])
def test_categorical_is_the_softmax_of_its_logits(start):
    policy = discrete(start)
    actions = np.arange(5) + start
    log_prob, entropy, mode = evaluate(lambda: (policy.log_prob(actions), policy.entropy(), policy.mode()))
    np.testing.assert_allclose(np.exp(log_prob), softmax(LOGITS), rtol=1e-12)
    np.testing.assert_allclose(np.exp(log_prob).sum(), 1, rtol=1e-14)
    np.testing.assert_allclose(entropy, stats.entropy(softmax(LOGITS)), rtol=1e-12)
    assert mode == actions[LOGITS.argmax()]


def test_categorical_samples_follow_the_probabilities():

    def draw(logits):
        policy = Categorical(logits, start=3)
        actions = policy.sample(KEY)
        return actions, -policy.log_prob(actions), policy.entropy()

    actions, surprise, entropy = evaluate(draw, repeated(LOGITS))
    assert actions.dtype == np.int32
    assert spaces.Discrete(5, start=3).contains(actions[0])
    assert stats.chisquare(np.bincount(actions - 3, minlength=5), N * softmax(LOGITS)).pvalue > 1e-3
    assert abs(surprise.mean() - entropy[0]) < 4 * surprise.std() / np.sqrt(N)


@pytest.mark.parametrize("start", [0, 3])
@pytest.mark.parametrize("scale", [1, 1e3])
def test_illegal_actions_are_never_sampled_and_never_the_mode(start, scale):
    """Even where the network prefers them by far."""
    logits = scale * np.array([0.0, 5.0, 1.0, -1.0, 9.0])

    def draw(logits):
        policy = distribution(spaces.Discrete(5, start=start), logits, NO_LOG_STD, MASK)
        return policy.sample(KEY), policy.mode()

    actions, mode = evaluate(draw, repeated(logits))
    counts = np.bincount(actions - start, minlength=5)
    assert counts[~MASK].sum() == 0
    assert (mode == start + 2).all()
    if scale == 1:
        assert stats.chisquare(counts[MASK], N * softmax(logits[MASK])).pvalue > 1e-3


@in_float64
def test_a_masked_categorical_is_the_softmax_of_its_legal_logits():
    policy = discrete(mask=MASK)
    log_prob, entropy = evaluate(lambda: (policy.log_prob(np.arange(5)), policy.entropy()))
    probability = np.exp(log_prob)
    np.testing.assert_allclose(probability[MASK], softmax(LOGITS[MASK]), rtol=1e-12)
    np.testing.assert_array_equal(probability[~MASK], 0)
    np.testing.assert_allclose(entropy, stats.entropy(softmax(LOGITS[MASK])), rtol=1e-12)


def test_one_legal_action_is_certain():
    policy = discrete(mask=np.eye(5, dtype=bool)[4])
    assert evaluate(lambda: (policy.mode(), policy.log_prob(4), policy.entropy())) == (4, 0, 0)


# Several choices


@in_float64
def test_multi_categorical_is_a_product_of_categoricals():
    """Probabilities of all combinations, counted from each component's start, against the outer product."""
    space = spaces.MultiDiscrete([3, 2, 4], start=[0, 5, -1])
    logits = RNG.normal(0, 2, n_parameters(space))
    policy = distribution(space, logits, NO_LOG_STD)
    assert isinstance(policy, MultiCategorical)
    a, b, c = softmax(logits[:3]), softmax(logits[3:5]), softmax(logits[5:])
    combinations = np.array(list(product(range(3), range(2), range(4)))) + space.start
    log_prob, entropy, mode = evaluate(lambda: (policy.log_prob(combinations), policy.entropy(), policy.mode()))
    probability = np.exp(log_prob)
    np.testing.assert_allclose(probability, np.einsum("i,j,k->ijk", a, b, c).ravel(), rtol=1e-12)
    np.testing.assert_allclose(probability.sum(), 1, rtol=1e-13)
    np.testing.assert_allclose(entropy, stats.entropy(probability), rtol=1e-12)
    np.testing.assert_array_equal(mode, combinations[probability.argmax()])


def test_multi_categorical_samples_are_independent_and_masked():
    """Joint frequencies of the legal combinations, and none else among 10^5 samples."""
    space = spaces.MultiDiscrete([3, 2], start=[0, 5])
    logits, mask = np.array([0.0, 1.0, 8.0, 1.0, 0.0]), np.array([True, True, False, True, True])

    def draw(logits):
        policy = distribution(space, logits, NO_LOG_STD, mask)
        return policy.sample(KEY), policy.mode()

    actions, mode = evaluate(draw, repeated(logits))
    assert actions.shape == (N, 2)
    assert space.contains(actions[0].astype(space.dtype))
    assert (actions[:, 0] < 2).all()
    assert (mode == [1, 5]).all()
    counts = np.bincount(actions[:, 0] * 2 + actions[:, 1] - 5, minlength=4)
    expected = np.outer(softmax(logits[:2]), softmax(logits[3:])).ravel()
    assert stats.chisquare(counts, N * expected).pvalue > 1e-3


@in_float64
def test_bernoulli_is_a_product_of_coins():
    logits = np.array([-3.0, 0.2, 4.0])
    policy = distribution(spaces.MultiBinary(3), logits, NO_LOG_STD)
    assert isinstance(policy, Bernoulli)
    p = 1 / (1 + np.exp(-logits))
    actions = np.array(list(product((0, 1), repeat=3)), np.int8)
    probability = np.exp(policy.log_prob(actions))
    np.testing.assert_allclose(probability, np.where(actions, p, 1 - p).prod(1), rtol=1e-12)
    np.testing.assert_allclose(probability.sum(), 1, rtol=1e-13)
    np.testing.assert_allclose(policy.entropy(), stats.bernoulli.entropy(p).sum(), rtol=1e-12)
    np.testing.assert_array_equal(policy.mode(), [0, 1, 1])


def test_bernoulli_samples_follow_the_probabilities():
    logits = np.array([-3.0, 0.2, 4.0], np.float32)
    actions = evaluate(lambda x: Bernoulli(x).sample(KEY), repeated(logits))
    assert spaces.MultiBinary(3).contains(actions[0])
    p = 1 / (1 + np.exp(-logits))
    assert (abs(actions.mean(0) - p) < 4 * np.sqrt(p * (1 - p) / N)).all()
    assert (abs(np.corrcoef(actions.T) - np.eye(3)) < 4 / np.sqrt(N)).all()


def test_certain_coins_stay_finite():
    policy = Bernoulli(jnp.array([-200.0, 200.0]))
    likely, unlikely, entropy = evaluate(
        lambda: (policy.log_prob(policy.mode()), policy.log_prob(1 - policy.mode()), policy.entropy())
    )
    np.testing.assert_allclose((likely, unlikely, entropy), (0, -400, 0), atol=1e-30)


# Continuous actions

MEAN, LOG_STD = np.array([0.5, -2.0]), np.array([-1.0, 0.7])


@in_float64
def test_gaussian_is_scipys():
    policy = distribution(spaces.Box(-1, 1, (2,)), MEAN, LOG_STD)
    assert isinstance(policy, DiagonalGaussian)
    actions = RNG.normal(0, 3, (20, 2))
    expected = stats.norm(MEAN, np.exp(LOG_STD))
    np.testing.assert_allclose(policy.log_prob(actions), expected.logpdf(actions).sum(1), rtol=1e-12)
    np.testing.assert_allclose(policy.entropy(), expected.entropy().sum(), rtol=1e-12)
    np.testing.assert_array_equal(policy.mode(), MEAN)


@in_float64
def test_gaussian_density_integrates_to_1():
    grid = np.linspace(-12, 12, 401)
    points = np.stack(np.meshgrid(grid, grid), -1)
    density = np.exp(evaluate(DiagonalGaussian(MEAN, LOG_STD).log_prob, points))
    np.testing.assert_allclose(density.sum() * (grid[1] - grid[0]) ** 2, 1, rtol=1e-6)


def test_gaussian_samples_follow_the_density():
    def draw(mean):
        policy = DiagonalGaussian(mean, LOG_STD)
        actions = policy.sample(KEY)
        return actions, -policy.log_prob(actions), policy.entropy()

    actions, surprise, entropy = evaluate(draw, repeated(MEAN))
    for i in range(2):
        assert stats.kstest(actions[:, i], stats.norm(MEAN[i], np.exp(LOG_STD[i])).cdf).pvalue > 1e-3
    assert abs(np.corrcoef(actions.T)[0, 1]) < 4 / np.sqrt(N)
    assert abs(surprise.mean() - entropy[0]) < 4 * surprise.std() / np.sqrt(N)


# All of them

SPACES = {
    "discrete": (spaces.Discrete(4, start=1), np.int64(2)),
    "multi-discrete": (spaces.MultiDiscrete([2, 3]), np.array([1, 2])),
    "multi-binary": (spaces.MultiBinary(3), np.array([1, 0, 1], np.int8)),
    "box": (spaces.Box(-1, 1, (3,)), np.array([0.3, 5.0, -2.0])),
}


@in_float64
@pytest.mark.parametrize("name", SPACES)
def test_gradients_are_finite_differences(name):
    """Of log_prob and of entropy, in the network's outputs and in the log standard deviation."""
    space, action = SPACES[name]
    outputs = RNG.normal(size=n_parameters(space))
    log_std = RNG.normal(size=3 if name == "box" else 0)

    def both(x):
        policy = distribution(space, x[: len(outputs)], x[len(outputs) :])
        return jnp.stack([policy.log_prob(action), policy.entropy()])

    function, x = jax.jit(both), np.concatenate([outputs, log_std])
    np.testing.assert_allclose(jax.jit(jax.jacrev(both))(x).T, finite_difference(function, x), rtol=1e-7, atol=1e-8)


@in_float64
def test_masks_keep_gradients_finite_and_off_illegal_actions():
    """They are those of a distribution over the legal actions alone."""

    def both(space, logits, action, mask):
        policy = distribution(space, logits, NO_LOG_STD, mask)
        return jnp.stack([policy.log_prob(action), policy.entropy()])

    masked = evaluate(lambda: jax.jacrev(lambda x: both(spaces.Discrete(5), x, 2, MASK))(LOGITS))
    alone = evaluate(lambda: jax.jacrev(lambda x: both(spaces.Discrete(3), x, 1, None))(LOGITS[MASK]))
    np.testing.assert_allclose(masked[:, MASK], alone, rtol=1e-12)
    np.testing.assert_array_equal(masked[:, ~MASK], 0)


@pytest.mark.parametrize("name", SPACES)
def test_every_batch_shape_means_the_same(name):
    """``[T, B]`` policies give row by row what ``[T * B]`` policies do, and one sample per row."""
    space, _ = SPACES[name]
    log_std = np.linspace(-1, 0, 3 if name == "box" else 0, dtype=np.float32)
    outputs = RNG.normal(size=(2, 3, n_parameters(space))).astype(np.float32)

    @jax.jit
    def evaluate(outputs):
        policy, flat = (distribution(space, x, log_std) for x in (outputs, outputs.reshape(6, -1)))
        actions = policy.sample(KEY)
        own = policy.log_prob(actions), policy.entropy(), policy.mode()
        return actions, own, (flat.log_prob(actions.reshape(6, *space.shape)), flat.entropy(), flat.mode())

    actions, own, rows = evaluate(outputs)
    assert actions.shape == own[2].shape == (2, 3, *space.shape)
    assert own[0].shape == own[1].shape == (2, 3)
    for one, other in zip(own, rows, strict=True):
        np.testing.assert_allclose(one.ravel(), other.ravel(), rtol=1e-6)


@pytest.mark.parametrize(
    "space",
    [
        spaces.MultiDiscrete([[2, 3], [4, 5]]),
        spaces.MultiBinary((2, 3)),
        spaces.Box(-1, 1, (2, 3)),
        spaces.Box(-1, 1, ()),
    ],
    ids=str,
)
def test_actions_have_the_shape_of_their_space(space):
    """Also where the space has no axis or several."""
    n = n_parameters(space)

    def draw():
        policy = distribution(space, jnp.zeros((7, n)), jnp.zeros(n))
        actions = policy.sample(KEY)
        return actions, policy.mode(), policy.log_prob(actions), policy.entropy()

    shapes = [leaf.shape for leaf in jax.eval_shape(draw)]
    assert shapes == [(7, *space.shape), (7, *space.shape), (7,), (7,)]


# Divergences


@in_float64
def test_kl_divergences_are_sums_over_all_actions_and_integrals():
    """Of each kind: the mean of log p - log q under p, and 0 from itself. Illegal actions add nothing."""
    rng = np.random.default_rng(1)
    outputs, log_stds = rng.normal(size=(2, 3, 5)), rng.normal(0, 0.3, (2, 2))
    mask = np.array([True, False, True, True, True])

    def pairs(outputs, log_stds):
        def both(space, k, mask=None):
            return [distribution(space, out[:, :k], std, mask) for out, std in zip(outputs, log_stds, strict=True)]

        return (
            both(spaces.Discrete(5, start=2), 5, mask),
            both(spaces.MultiDiscrete([2, 3]), 5),
            both(spaces.MultiBinary(3), 3),
            both(spaces.MultiBinary((1, 3)), 3),
            both(spaces.Box(-1, 1, (2,)), 2),
        )

    def divergences(outputs, log_stds):
        found = [(p.kl_divergence(q), p.kl_divergence(p)) for p, q in pairs(outputs, log_stds)]
        return tuple(map(jnp.stack, zip(*found, strict=True)))

    ours, own = evaluate(divergences, outputs, log_stds)
    np.testing.assert_allclose(own, 0, atol=1e-12)

    def over(probabilities):
        p, q = probabilities
        return (p * np.log(p / q)).sum()

    for i in range(3):
        one = outputs[:, i]
        legal = over([softmax(each[mask]) for each in one])
        parts = over([softmax(each[:2]) for each in one]) + over([softmax(each[2:]) for each in one])
        coins = sum(over([softmax(np.array([each[j], 0])) for each in one]) for j in range(3))
        x = np.linspace(-15, 15, 200_001)
        normals = 0
        for j in range(2):
            p, q = (stats.norm(each[j], np.exp(std[j])) for each, std in zip(one, log_stds, strict=True))
            normals += np.trapezoid(p.pdf(x) * (p.logpdf(x) - q.logpdf(x)), x)
        np.testing.assert_allclose(ours[:, i], [legal, parts, coins, coins, normals], rtol=1e-8)


# Squashed normals


@in_float64
@pytest.mark.parametrize(("mean", "log_std"), [(0.0, 0.0), (1.5, -1.0), (-0.7, 0.6)])
def test_a_squashed_gaussian_is_a_density_with_the_entropy_of_its_samples(mean, log_std):
    """Over (-1, 1) the density integrates to 1; the integral of -p log p is the mean of minus the log-density."""
    policy = SquashedGaussian(jnp.array([mean]), jnp.array([log_std]))
    normal = np.linspace(mean - 9 * np.exp(log_std), mean + 9 * np.exp(log_std), 20_001)
    action = np.tanh(normal)
    inside = np.abs(action) < 1 - 1e-12
    log_prob = np.asarray(policy.log_prob(action[inside][:, None]))
    np.testing.assert_allclose(np.trapezoid(np.exp(log_prob), action[inside]), 1, rtol=1e-5)
    entropy = np.trapezoid(-log_prob * np.exp(log_prob), action[inside])
    many = SquashedGaussian(jnp.full((N, 1), mean), jnp.full((N, 1), log_std))
    drawn, found = many.sample_and_log_prob(KEY)
    np.testing.assert_allclose(-found.mean(), entropy, atol=5 * found.std() / np.sqrt(N))
    assert stats.kstest(np.arctanh(drawn[:, 0]), "norm", (mean, np.exp(log_std))).pvalue > 1e-3
    np.testing.assert_array_equal(drawn, many.sample(KEY))


@pytest.mark.slow
def test_the_density_of_a_squashed_gaussian_is_exact_where_actions_round_to_their_bounds():
    """At u = 20, where tanh is 1 in float32: log 4 - 2u is what the squashing takes away from each of two numbers."""
    policy = SquashedGaussian(jnp.array([20.0, -20.0]), jnp.zeros(2))
    assert jnp.abs(policy.mode()).tolist() == [1, 1]
    expected = 2 * (-0.5 * np.log(2 * np.pi) - (np.log(4) - 40))
    np.testing.assert_allclose(policy.log_prob_before(policy.mean), expected, rtol=1e-6)
    slope = jax.grad(lambda u: policy.log_prob_before(u))(policy.mean)
    np.testing.assert_allclose(slope, [2, -2], rtol=1e-6)
