"""DDPG against a re-implementation in NumPy float64."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces
from scipy import stats

import tegu
from tegu.algorithms.ddpg import DDPG
from tegu.core.errors import TeguError
from tegu.core.schedule import Clock, Linear
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Step
from tegu.experience.base import Batch

KEY = jax.random.key(0)
N = 8
LOW, HIGH = np.array([[-1.0, 0.0]]), np.array([[1.0, 3.0]])
OBSERVATIONS = spaces.Dict({"x": spaces.Box(-9, 9, (2,)), "kind": spaces.Discrete(2)})
ACTIONS = spaces.Box(LOW.astype(np.float32), HIGH.astype(np.float32))
SPEC = EnvironmentSpec("test", OBSERVATIONS, ACTIONS)
UPDATE = jax.jit(lambda algorithm, learner, rows: algorithm.update(learner, Batch(rows, jnp.ones(N)), KEY)[:2])
ACT = jax.jit(lambda algorithm, *given, explore: algorithm.act(*given, explore=explore), static_argnames="explore")
SMALL = {"net_arch": (5,), "batch_size": N, "learning_starts": 10}

in_float64 = pytest.mark.usefixtures("x64")


def observations(rng, n=N):
    return {"x": rng.normal(size=(n, 2)).astype(np.float32), "kind": rng.integers(2, size=n).astype(np.int32)}


def batches(terminated=None):
    rng = np.random.default_rng(0)
    while True:
        ends = rng.integers(3, size=N) if terminated is None else np.full(N, 1 if terminated else 2)
        action = rng.uniform(LOW, HIGH, (N, 1, 2)).astype(np.float32)
        reward = rng.normal(size=N).astype(np.float32)
        yield Step(observations(rng), action, reward, observations(rng), ends == 1, ends == 2)


def learner_of(algorithm):
    """A learner whose targets are not its networks."""
    learner, other = algorithm.init(KEY, SPEC), algorithm.init(jax.random.key(1), SPEC)
    return learner._replace(target_actor=other.actor, target_critics=other.critics)


def relu(x):
    return np.maximum(x, 0)


def inputs(observation):
    """The one-hot kind before x, as names are sorted."""
    return np.concatenate([np.eye(2)[observation["kind"]], observation["x"]], axis=1)


def policy(numerics, actor, observation):
    """Tanh, stretched to the bounds."""
    unit = np.tanh(numerics.mlp(actor.mlp, inputs(observation), relu)).reshape(-1, 1, 2)
    return (LOW + HIGH) / 2 + (HIGH - LOW) / 2 * unit


def value(numerics, critic, observation, action):
    """The critic sees actions from -1 to 1."""
    unit = (action - (LOW + HIGH) / 2) / ((HIGH - LOW) / 2)
    return numerics.mlp(critic.mlp, np.concatenate([inputs(observation), unit.reshape(-1, 2)], 1), relu)[:, 0]


@pytest.mark.slow
@in_float64
def test_three_updates_are_numpys(numerics):
    """Target, both gradients by finite differences (the actor's through the critic as it was), Adam, and targets."""
    algorithm = DDPG(learning_rate=Linear(2e-2), gamma=0.9, tau=0.1, **SMALL)
    algorithm = algorithm.at(Clock.of(500, 1000))  # half-way: 1e-2
    learner = learner_of(algorithm)
    ours = learner[:4]
    actor, (critic,), target_actor, (target_critic,) = ours
    actor_adam, critic_adam = numerics.Adam(np.inf, 1e-8), numerics.Adam(np.inf, 1e-8)
    for count, batch in zip(range(1, 4), batches(), strict=False):
        seen, following = batch.observation, batch.next_observation
        future = value(numerics, target_critic, following, policy(numerics, target_actor, following))
        target = batch.reward + 0.9 * np.where(batch.terminated, 0, future)

        def critic_loss(net, seen=seen, batch=batch, target=target):
            return ((value(numerics, net, seen, batch.action) - target) ** 2).mean()

        def actor_loss(net, seen=seen, critic=critic):
            return -value(numerics, critic, seen, policy(numerics, net, seen)).mean()

        expected = {"critic_loss": critic_loss(critic), "actor_loss": actor_loss(actor)}
        gradients = numerics.gradient(actor_loss, actor), numerics.gradient(critic_loss, critic)
        expected |= numerics.value_metrics(value(numerics, critic, seen, batch.action), target, gradients[1])
        actor = actor_adam.step(actor, gradients[0], 1e-2)
        critic = critic_adam.step(critic, gradients[1], 1e-2)
        target_actor, target_critic = (
            numerics.unflat(0.9 * numerics.flat(old) + 0.1 * numerics.flat(new), old)
            for old, new in ((target_actor, actor), (target_critic, critic))
        )

        learner, metrics = UPDATE(algorithm, learner, batch)
        expected |= {"learning_rate": 1e-2, "n_updates": count}
        assert metrics.keys() == expected.keys()
        for name, figure in expected.items():
            np.testing.assert_allclose(metrics[name], figure, rtol=1e-5, err_msg=name)
        for net, its in zip(learner[:4], (actor, critic, target_actor, target_critic), strict=True):
            np.testing.assert_allclose(numerics.flat(net), numerics.flat(its), rtol=1e-4, atol=1e-6)
    moved = zip(learner[2:4], ours[2:], strict=True)
    assert all((numerics.flat(net) != numerics.flat(old)).all() for net, old in moved)


@in_float64
@pytest.mark.parametrize("terminated", [True, False])
def test_only_termination_takes_the_future_away(numerics, terminated):
    """A truncated step is worth what follows it, a terminated one its reward alone."""
    algorithm = DDPG(gamma=0.9, **SMALL)
    learner, batch = learner_of(algorithm), next(batches(terminated))
    following = batch.next_observation
    future = value(numerics, learner.target_critics[0], following, policy(numerics, learner.target_actor, following))
    target = batch.reward + (0 if terminated else 0.9 * future)
    expected = ((value(numerics, learner.critics[0], batch.observation, batch.action) - target) ** 2).mean()
    _, metrics = UPDATE(algorithm, learner, batch)
    np.testing.assert_allclose(metrics["critic_loss"], expected, rtol=1e-5)


@pytest.mark.slow
def test_the_units_of_actions_make_no_difference():
    """Bounds of +-256, in which a critic of raw actions does not learn, and the same moves: the same learner."""
    algorithm, batch = DDPG(learning_rate=1e-2, **SMALL), next(batches())
    moves = np.random.default_rng(1).uniform(-1, 1, (N, 1, 2)).astype(np.float32)
    learned = []
    for bound in (1.0, 256.0):
        spec = EnvironmentSpec("test", OBSERVATIONS, spaces.Box(-bound, bound, (1, 2)))
        learner = algorithm.init(KEY, spec)
        learner, _ = UPDATE(algorithm, learner, batch._replace(action=bound * moves))
        decision = ACT(algorithm.at(Clock.of(500, 1000)), learner, batch.observation, (), KEY, explore=True)
        learned.append((jax.tree.leaves(learner), np.asarray(decision.action) / bound))
    for one, other in zip(*(leaves for leaves, _ in learned), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(learned[0][1], learned[1][1], rtol=1e-5)


# Acting


@pytest.fixture(scope="module")
def acting():
    """An untrained learner whose actions' second number is at its upper bound, a state 20,000 times, and what it does
    there: exploring before and after learning starts, and greedily."""
    algorithm = DDPG(action_noise=0.2, **SMALL)
    learner = algorithm.init(KEY, SPEC)
    bias = learner.actor.mlp.biases[-1] + jnp.array([0.0, 9.0])
    learner = learner._replace(actor=eqx.tree_at(lambda actor: actor.mlp.biases[-1], learner.actor, bias))
    seen = jax.tree.map(lambda leaf: np.repeat(leaf, 20_000, axis=0), observations(np.random.default_rng(0), 1))
    chosen = {}
    for steps, explore in ((0, True), (10, True), (10, False)):
        now = algorithm.at(Clock.of(steps, 1000))
        chosen[steps, explore] = np.asarray(ACT(now, learner, seen, (), KEY, explore=explore).action)
    return learner, seen, chosen


def test_greedy_actions_are_the_policys(acting, numerics):
    learner, seen, chosen = acting
    np.testing.assert_allclose(chosen[10, False], policy(numerics, learner.actor, seen), rtol=1e-4, atol=1e-5)


def test_exploring_adds_gaussian_noise_in_half_ranges(acting):
    """0.2 of half the range of each number, independently for each."""
    _, _, chosen = acting
    noise = (chosen[10, True] - chosen[10, False])[:, 0]
    assert stats.kstest(noise[:, 0] / 0.2, "norm").pvalue > 1e-3
    inward = -noise[noise[:, 1] < 0, 1]
    assert abs(len(inward) / len(noise) - 0.5) < 0.02, "the other half of the noise at a bound would leave it"
    assert stats.kstest(inward / (0.2 * 1.5), "halfnorm").pvalue > 1e-3
    assert abs(np.corrcoef(noise[:, 0], noise[:, 1])[0, 1]) < 0.03


def test_actions_are_uniform_before_learning_starts(acting):
    _, _, chosen = acting
    for i, (low, high) in enumerate(zip(LOW[0], HIGH[0], strict=True)):
        assert stats.kstest(chosen[0, True][:, 0, i], "uniform", (low, high - low)).pvalue > 1e-3


def test_actions_lie_within_their_bounds(acting):
    _, _, chosen = acting
    for action in chosen.values():
        assert action.dtype == np.float32
        assert action.shape == (20_000, 1, 2)
        assert ((action >= LOW) & (action <= HIGH)).all()


# What it is declared as


def test_experience_says_how_steps_reach_update():
    replay = DDPG(buffer_size=500, batch_size=16, learning_starts=7, train_freq=2, gradient_steps=-1).experience
    assert (replay.capacity, replay.batch_size, replay.learning_starts) == (500, 16, 7)
    assert (replay.train_freq, replay.gradient_steps, replay.n_steps) == (2, -1, 1)


@pytest.mark.parametrize(
    ("settings", "action", "message"),
    [
        ({}, spaces.Discrete(2), r"^DDPG needs a Box action space, the environment has Discrete\(2\)"),
        ({}, spaces.Box(-np.inf, 1, (2,)), r"^DDPG needs finite action bounds"),
        ({"batch_size": 0}, ACTIONS, "^DDPG: batch_size must be at least 1, got 0"),
        ({"gradient_steps": 0}, ACTIONS, "^DDPG: gradient_steps must be at least 1, or -1, got 0"),
        ({"activation": "swish"}, ACTIONS, "swish"),
        ({"net_arch": (0,)}, ACTIONS, "net_arch"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(settings, action, message):
    with pytest.raises(TeguError, match=message) as caught:
        DDPG(**settings).validate(EnvironmentSpec("test", OBSERVATIONS, action))
    assert "\n" not in str(caught.value)
    DDPG(**SMALL).validate(SPEC)


# Training

PENDULUM = {"steps": 10_000, "n_envs": 1, "net_arch": [64, 64], "batch_size": 64, "learning_starts": 500}
PENDULUM |= {"buffer_size": 10_000, "folder": None}


@pytest.fixture(scope="module")
def pendulum():
    return tegu.train("Pendulum-v1", "ddpg", seed=20, seeds=2, **PENDULUM)


@pytest.mark.long
def test_it_swings_the_pendulum_up(pendulum):
    """A random policy earns about -1,200; 20 other seeds -182 to -140."""
    assert pendulum.evaluate(20).returns.mean(axis=1).min() >= -250
