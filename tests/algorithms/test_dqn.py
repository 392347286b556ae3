"""DQN against a re-implementation in NumPy float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces
from masked_steps import KEY, SPEC, START, A, N, batches, learner_of, long_steps, observations
from scipy import stats

from tegu.algorithms.dqn import DQN
from tegu.core.errors import TeguError
from tegu.core.schedule import Clock, Linear
from tegu.core.spec import EnvironmentSpec
from tegu.experience.base import Batch

UPDATE = jax.jit(lambda algorithm, learner, rows: algorithm.update(learner, Batch(rows, jnp.ones(N)), KEY)[:2])
TAKE = jax.jit(lambda algorithm, learner, steps: algorithm.take(learner, steps))
SMALL = {"net_arch": (6,), "batch_size": N}

pytestmark = pytest.mark.usefixtures("x64")


def relu(x):
    return np.maximum(x, 0)


def targets(numerics, target, batch, gamma):
    """r + gamma max over legal a' of Q(s', a'), and r alone where the episode terminated; gamma may be ``[N]``."""
    q = numerics.mlp(target.mlp, batch.next_observation["x"].astype(np.float64), relu)
    best = np.where(batch.next_observation["action_mask"], q, -np.inf).max(1)
    return np.where(batch.terminated, batch.reward, batch.reward + gamma * best)


def loss_of(numerics, online, batch, target):
    """Huber: d^2 / 2 up to |d| = 1, |d| - 1/2 beyond."""
    q = numerics.mlp(online.mlp, batch.observation["x"].astype(np.float64), relu)
    distance = abs(q[np.arange(N), batch.action - START] - target)
    return np.where(distance <= 1, distance**2 / 2, distance - 0.5).mean()


@pytest.mark.slow
def test_three_updates_are_numpys(numerics):
    """Forward pass, masked target, Huber loss, gradient by finite differences, norm clip and Adam's moments."""
    algorithm = DQN(learning_rate=1e-2, gamma=0.9, max_grad_norm=0.1, **SMALL)
    learner = learner_of(algorithm)
    online, adam, clipped = learner.online, numerics.Adam(0.1, 1e-8), 0
    for count, batch in zip(range(1, 4), batches(), strict=False):
        target = targets(numerics, learner.target, batch, 0.9)
        loss = loss_of(numerics, online, batch, target)
        gradient = numerics.gradient(lambda net: loss_of(numerics, net, batch, target), online)  # noqa: B023
        clipped += np.linalg.norm(gradient) > 0.1
        values = numerics.mlp(online.mlp, batch.observation["x"].astype(np.float64), relu)
        values = values[np.arange(N), batch.action - START]
        online = adam.step(online, gradient, 1e-2)

        learner, metrics = UPDATE(algorithm, learner, batch)
        for name, figure in ({"loss": loss} | numerics.value_metrics(values, target, gradient)).items():
            np.testing.assert_allclose(metrics[name], figure, rtol=1e-6, err_msg=name)
        np.testing.assert_allclose(numerics.flat(learner.online), numerics.flat(online), rtol=1e-5, atol=1e-7)
        assert learner.updates == metrics["n_updates"] == count
    assert clipped


def test_two_updates_on_windows_of_three_steps_are_numpys(numerics):
    """Whose episodes end at any place, in either way, or not at all."""
    algorithm = DQN(learning_rate=1e-2, gamma=0.9, n_steps=3, **SMALL)
    learner, stream = learner_of(algorithm), batches()
    online, adam = learner.online, numerics.Adam(10.0, 1e-8)
    for _ in range(2):
        window = jax.tree.map(lambda *steps: np.stack(steps), *(next(stream) for _ in range(3)))
        batch, discount = long_steps(window, 0.9)
        assert len(set(discount)) == 3
        target = targets(numerics, learner.target, batch, discount)
        gradient = numerics.gradient(lambda net: loss_of(numerics, net, batch, target), online)  # noqa: B023
        online = adam.step(online, gradient, 1e-2)
        learner, _ = UPDATE(algorithm, learner, window)
        np.testing.assert_allclose(numerics.flat(learner.online), numerics.flat(online), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("terminated", "gamma"), [(True, 0.99), (False, 0.0), (False, 0.99)])
def test_only_termination_takes_the_future_away(numerics, terminated, gamma):
    """A terminated step is one with gamma = 0; a truncated one keeps its future."""
    algorithm = DQN(gamma=gamma, **SMALL)
    learner, batch = learner_of(algorithm), next(batches(terminated=terminated))
    future = targets(numerics, learner.target, batch, gamma) - batch.reward
    assert future.any() == (not terminated and gamma > 0)
    _, metrics = UPDATE(algorithm, learner, batch)
    np.testing.assert_allclose(metrics["loss"], loss_of(numerics, learner.online, batch, batch.reward + future))


def test_targets_look_at_legal_actions_only(numerics):
    """What the target network says of an illegal next action, were it 10^6, changes nothing."""
    algorithm = DQN(**SMALL)
    learner, batch = learner_of(algorithm), next(batches(terminated=False))
    batch.next_observation["action_mask"][:] = [1, 0, 1]
    bias = learner.target.mlp.biases[-1]
    wild = jax.tree.map(lambda leaf: leaf.at[1].set(1e6) if leaf is bias else leaf, learner.target)
    calm, _ = UPDATE(algorithm, learner, batch)
    same, _ = UPDATE(algorithm, learner._replace(target=wild), batch)
    np.testing.assert_array_equal(numerics.flat(calm.online), numerics.flat(same.online))


def test_the_target_is_no_part_of_the_gradient(numerics):
    """Where online and target network are one, the target stays fixed all the same."""
    algorithm = DQN(learning_rate=1e-2, max_grad_norm=1e9, **SMALL)
    learner, batch = algorithm.init(KEY, SPEC), next(batches())
    target = targets(numerics, learner.target, batch, 0.99)
    gradient = numerics.gradient(lambda net: loss_of(numerics, net, batch, target), learner.online)
    expected = numerics.Adam(1e9, 1e-8).step(learner.online, gradient, 1e-2)
    learner, _ = UPDATE(algorithm, learner, batch)
    np.testing.assert_allclose(numerics.flat(learner.online), numerics.flat(expected), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("tau", [1.0, 0.25])
def test_the_target_follows_at_the_interval_and_only_then(numerics, tau):
    """Before the first gradient step past a multiple of 10: with tau = 1 a copy, else that share of the way."""
    algorithm = DQN(tau=tau, target_update_interval=10, learning_rate=1e-2, **SMALL)
    learner, followed = learner_of(algorithm), []
    stream = batches()
    fresh = jax.tree.map(lambda leaf: leaf[:4].reshape(2, 2, *leaf.shape[1:]), next(stream))  # [T, B, ...]
    for steps, batch in zip((4, 8, 12, 16, 20, 24, 28, 32), stream, strict=False):
        learner, kept = TAKE(algorithm, learner, fresh)
        jax.tree.map(np.testing.assert_array_equal, kept, fresh)
        before, online_before = learner.target, learner.online
        learner, _ = UPDATE(algorithm, learner, batch)
        now, online, old = (numerics.flat(network) for network in (learner.target, online_before, before))
        if steps // 10 > max(followed, default=0) // 10:
            followed.append(steps)
            if tau == 1:
                np.testing.assert_array_equal(now, online)
            np.testing.assert_allclose(now, old + tau * (online - old), rtol=1e-12)
        else:
            np.testing.assert_array_equal(now, old)
        assert learner.since_sync == steps % 10
    assert followed == [12, 20, 32]


def test_a_round_of_several_updates_syncs_before_the_first_of_them(numerics):
    algorithm = DQN(target_update_interval=3, learning_rate=1e-2, **SMALL)
    learner, stream = learner_of(algorithm), batches()
    fresh = jax.tree.map(lambda leaf: leaf[None, :4], next(stream))
    learner, _ = TAKE(algorithm, learner, fresh)
    online = numerics.flat(learner.online)
    for _ in range(3):
        learner, _ = UPDATE(algorithm, learner, next(stream))
        np.testing.assert_array_equal(numerics.flat(learner.target), online)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [(0, 1.0), (49, 1.0), (50, 1 - 0.9 * 0.25), (100, 0.55), (200, 0.1), (500, 0.1), (1000, 0.1), (5000, 0.1)],
)
def test_epsilon_is_1_until_learning_starts_and_then_the_schedules(steps, expected):
    """From 1 to 0.1 over the first fifth of 1,000 steps; the schedule's clock runs from the very first step."""
    algorithm = DQN(
        learning_starts=50, exploration_fraction=0.2, exploration_initial_eps=1.0, exploration_final_eps=0.1
    )
    np.testing.assert_allclose(algorithm.at(Clock.of(steps, 1000)).exploration_rate, expected, rtol=1e-6)


def test_before_learning_starts_actions_are_random_whatever_the_schedule():
    algorithm = DQN(learning_starts=50, exploration_initial_eps=0.0, exploration_final_eps=0.0)
    assert algorithm.at(Clock.of(49, 1000)).exploration_rate == 1
    assert algorithm.at(Clock.of(50, 1000)).exploration_rate == 0


def test_actions_are_greedy_among_the_legal_or_random_among_the_legal(numerics):
    algorithm = DQN(learning_starts=50, **SMALL).at(Clock.of(0, 1000))
    learner, n = learner_of(algorithm), 3000
    observation = observations(np.random.default_rng(0), n)
    legal = observation["action_mask"].astype(bool)
    q = numerics.mlp(learner.online.mlp, observation["x"].astype(np.float64), relu)
    greedy = algorithm.act(learner, observation, (), KEY, explore=False).action
    assert greedy.dtype == jnp.int32
    np.testing.assert_array_equal(greedy, START + np.where(legal, q, -np.inf).argmax(1))

    random = np.asarray(algorithm.act(learner, observation, (), KEY, explore=True).action) - START
    assert legal[np.arange(n), random].all()
    free = random[legal.all(1)]
    assert stats.chisquare(np.bincount(free, minlength=A)).pvalue > 1e-3


def test_schedules_set_the_learning_rate(numerics):
    """Half-way a rate falling to zero has the effect of half of it."""
    batch = next(batches())
    falling, half = DQN(learning_rate=Linear(2e-2), **SMALL), DQN(learning_rate=1e-2, **SMALL)
    half_way = Clock.of(500, 1000)
    (one, metrics), (other, _) = (UPDATE(a.at(half_way), learner_of(a), batch) for a in (falling, half))
    np.testing.assert_allclose(numerics.flat(one.online), numerics.flat(other.online), rtol=1e-7)
    np.testing.assert_allclose(metrics["learning_rate"], 1e-2, rtol=1e-6)


def test_experience_says_how_steps_reach_update():
    replay = DQN(buffer_size=500, batch_size=16, learning_starts=7, train_freq=2, gradient_steps=-1).experience
    assert (replay.capacity, replay.batch_size, replay.learning_starts) == (500, 16, 7)
    assert (replay.train_freq, replay.gradient_steps, replay.n_steps) == (2, -1, 1)
    assert DQN(n_steps=3).experience.n_steps == 3


def test_spaces_that_do_not_fit_are_refused():
    box = spaces.Box(-1, 1, (2,))
    with pytest.raises(TeguError, match=r"^DQN needs a Discrete action space, the environment has Box"):
        DQN().validate(EnvironmentSpec("test", box, box))
    with pytest.raises(TeguError, match=r"^observation space Tuple.* is not supported"):
        DQN().validate(EnvironmentSpec("test", spaces.Tuple([box]), spaces.Discrete(2)))
    DQN().validate(SPEC)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_steps": 0}, "DQN: n_steps must be at least 1, got 0"),
    ],
)
def test_counts_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(TeguError, match=message) as caught:
        DQN(**settings).validate(EnvironmentSpec("test", SPEC.observation_space, SPEC.action_space, n_envs=2))
    assert "\n" not in str(caught.value)
