"""MBPO's rollouts in an imagined world by hand, and what its parts learn from."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces
from point_world import Point

import tegu
from tegu.algorithms import mbpo
from tegu.core.errors import TeguError
from tegu.core.schedule import Clock, Linear
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Step
from tegu.experience.base import Batch
from tegu.search.shooting import Outcome

SPEC = EnvironmentSpec("test", spaces.Box(-9, 9, (2,)), spaces.Box(np.float32([-3]), np.float32([1])))
DISCRETE = EnvironmentSpec("test", spaces.Box(-9, 9, (2,)), spaces.Discrete(3, start=-1))
KEY, B, E = jax.random.key(0), 12, 5
SIZES = {"net_arch": (8,), "model_arch": (4,), "batch_size": B}


def imagined(dynamics, space, key, action, observation, settings):
    """The reward tells which network it was; every fourth row or so ends."""
    action = action.reshape((*action.shape[:2], -1)).astype(jnp.float32)
    following = jnp.stack([observation[..., 1] + action[..., 0], observation[..., 0] + 0.5], axis=-1)
    member = jnp.broadcast_to(jnp.arange(len(observation), dtype=jnp.float32)[:, None], observation.shape[:2])
    return Outcome(member, following[..., 0] > 0.3), following


def steps(spec=SPEC):
    random = np.random.default_rng(1)
    observation, following = random.normal(size=(2, B, 2)).astype(np.float32)
    action = random.uniform(-3, 1, (B, 1)).astype(np.float32) if spec is SPEC else np.arange(B) % 3 - 1
    terminated = np.arange(B) == 2
    given = random.normal(size=B).astype(np.float32), following, terminated, terminated & False
    return jax.tree.map(jnp.asarray, Step(observation, action, *given))


@eqx.filter_jit
def all_rollouts(algorithm, learner, batch, keys):
    return jax.vmap(lambda key: algorithm.rollouts(learner.dynamics, learner.policy, batch, key))(keys)


def drawn(algorithm, learner, batch, times):
    """The steps of as many draws, one after the other."""
    keys = jax.random.split(KEY, times)
    found = all_rollouts(algorithm, learner, batch, keys)
    return jax.tree.map(lambda leaf: np.asarray(leaf).reshape((-1, *leaf.shape[2:])), found)


def is_among(rows, others):
    """Which rows are rows of ``others``."""
    return np.array([(np.abs(others - row) < 1e-6).all(axis=-1).any() for row in rows])


@pytest.mark.slow
@pytest.mark.parametrize(("length", "spec"), [(1, SPEC), (3, DISCRETE)], ids=["1-box", "3-discrete"])
def test_rollouts_are_steps_of_the_model_that_begin_at_real_states_or_go_on_before_an_end(monkeypatch, length, spec):
    monkeypatch.setattr(mbpo, "imagined", imagined)
    algorithm, batch = tegu.MBPO(rollout_length=length, max_rollout_length=length, **SIZES), steps(spec)
    learner = algorithm.init(KEY, spec)
    found = drawn(algorithm, learner, batch, 40)
    assert len(found.reward) == 40 * B
    outcome, following = imagined(None, None, KEY, jnp.asarray(found.action)[None], found.observation[None], None)
    assert np.allclose(found.next_observation, following[0], atol=1e-6)
    assert (found.terminated == np.asarray(outcome.terminated[0])).all()
    assert not found.truncated.any()
    real = is_among(found.observation, np.asarray(batch.observation))
    assert 0.2 < found.terminated.mean() < 0.9
    if length == 1:
        assert real.all()
        return
    assert 0.2 < real.mean() < 0.9
    # Never from an end: where the world ends, the first number of what follows is above 0.3
    assert (found.observation[~real][:, 0] <= 0.3 + 1e-6).all()


def test_every_network_plays_as_many_of_the_imagined_steps(monkeypatch):
    monkeypatch.setattr(mbpo, "imagined", imagined)
    algorithm, batch = tegu.MBPO(**SIZES), steps()
    learner = algorithm.init(KEY, SPEC)
    found = drawn(algorithm, learner, batch, 200)
    counts = np.bincount(found.reward.astype(int), minlength=E)
    assert abs(counts / counts.sum() - 1 / E).max() < 0.03


def test_a_schedule_lets_rollouts_grow_to_their_whole_length(monkeypatch):
    monkeypatch.setattr(mbpo, "imagined", imagined)
    batch = steps()
    made = tegu.MBPO(rollout_length=Linear(1.0, 4.0, 0.5), max_rollout_length=4, ensemble_size=5, **SIZES)
    learner = made.init(KEY, SPEC)

    def real(progress):
        """The share of steps that begin at a real state, over many draws."""
        found = drawn(made.at(Clock.of(progress, 100)), learner, batch, 20)
        return is_among(found.observation, np.asarray(batch.observation)).mean()

    assert real(0) == 1
    assert real(20) < 1
    assert real(20) > real(50) == real(100)


@pytest.mark.slow
def test_sac_learns_from_real_and_imagined_steps_and_the_model_from_real_ones_now_and_then(monkeypatch):
    algorithm, batch = tegu.MBPO(real_ratio=0.25, model_delay=3, model_warm_up=2, **SIZES), steps()
    other = jax.tree.map(lambda leaf: leaf[::-1], batch)
    monkeypatch.setattr(tegu.MBPO, "rollouts", lambda *given: other)
    learner = algorithm.init(KEY, SPEC)
    expected = learner.policy
    update, sac_update = jax.jit(algorithm.update), jax.jit(algorithm.sac.update)
    changed = []
    for seed in range(6):
        key = jax.random.key(seed)
        n_real = B if seed < 2 else 3
        mixed = jax.tree.map(lambda real, new, n=n_real: np.concatenate([real[:n], new[n:]]), batch, other)
        policy_key = jax.random.split(key, 3)[2]
        expected = sac_update(expected, Batch(mixed, jnp.ones(B)), policy_key).learner
        after = update(learner, Batch(batch, jnp.ones(B)), key).learner
        changed.append(not np.array_equal(after.dynamics.ensemble.weights[0], learner.dynamics.ensemble.weights[0]))
        learner = after
    assert changed == [True, True, False, True, False, False]
    for one, two in zip(jax.tree.leaves(learner.policy), jax.tree.leaves(expected), strict=True):
        assert np.allclose(one, two, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rollout_length": 2}, "MBPO: rollout_length must be at most max_rollout_length, got 2 and 1"),
        (
            {"rollout_length": Linear(1.0, 5.0), "max_rollout_length": 4},
            "MBPO: rollout_length must be at most max_rollout_length, got 5 and 4",
        ),
        ({"model_arch": (0,)}, "model_arch must be widths from 1 to"),
    ],
)
def test_wrong_settings_are_refused_in_one_line(options, message):
    with pytest.raises(TeguError, match=message):
        tegu.MBPO(**options).validate(SPEC)


def test_observations_that_are_no_vectors_are_refused():
    spec = EnvironmentSpec("test", spaces.Dict({"a": spaces.Box(-1, 1, (2,))}), SPEC.action_space)
    with pytest.raises(TeguError, match="MBPO: a model is learned of observations that are vectors"):
        tegu.MBPO().validate(spec)


@pytest.mark.long
def test_a_policy_is_learned_from_imagined_steps_alone():
    """Mean return from a grid of starts, of each of three seeds, against the best pushes by brute force."""
    settings = {"net_arch": (32, 32), "model_arch": (32, 32), "batch_size": 64, "learning_starts": 100}
    settings |= {"train_freq": 10, "gradient_steps": 30, "rollout_length": 2, "max_rollout_length": 2, "gamma": 0.9}
    settings |= {"learning_rate": 3e-3, "model_warm_up": 100, "ent_coef": 0.02, "real_ratio": 0.0}
    agent = tegu.train(Point(), tegu.MBPO(**settings), steps=800, n_envs=2, seeds=3, folder=None)

    def played(pushes):
        x, total = np.linspace(-2, 2, 41, dtype=np.float32), 0.0
        for _ in range(10):
            x = x + pushes(x)
            total -= np.abs(x).mean()
        return total

    choices = np.linspace(-0.5, 0.5, 101)
    best = played(lambda x: choices[np.abs(x[:, None] + choices).argmin(axis=1)])
    for index in range(3):
        assert played(lambda x, i=index: agent.predict(x[:, None], index=i)[0][:, 0, 0]) > best - 2.5
    assert played(lambda x: 0.0 * x) < best - 6, "doing nothing is far worse"
