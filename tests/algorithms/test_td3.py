"""What TD3 adds to DDPG, and DDPG's options, against NumPy float64."""

from itertools import pairwise

import given_noise
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

import tegu
from tegu.algorithms.ddpg import DDPG
from tegu.core.errors import TeguError
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Step

KEY, N = jax.random.key(0), 8
SPEC = EnvironmentSpec("test", spaces.Box(-9, 9, (3,)), spaces.Box(-2, 2, (2,)))
SMALL = {"net_arch": (5,), "batch_size": N, "learning_starts": 10, "gamma": 0.9, "tau": 0.1, "learning_rate": 1e-2}

in_float64 = pytest.mark.usefixtures("x64")


def steps(seed=0):
    rng = np.random.default_rng(seed)
    seen, following = (rng.normal(size=(N, 3)).astype(np.float32) for _ in range(2))
    action, reward = rng.uniform(-2, 2, (N, 2)).astype(np.float32), rng.normal(size=N).astype(np.float32)
    return Step(seen, action, reward, following, rng.random(N) < 0.3, np.zeros(N, bool))


def learner_of(algorithm):
    """A learner whose targets are not its networks."""
    learner, other = algorithm.init(KEY, SPEC), algorithm.init(jax.random.key(1), SPEC)
    return learner._replace(target_actor=other.actor, target_critics=other.critics)


def relu(x):
    return np.maximum(x, 0)


def policy(numerics, actor, seen):
    return np.tanh(numerics.mlp(actor.mlp, seen, relu))


def value(numerics, critic, seen, unit):
    return numerics.mlp(critic.mlp, np.concatenate([seen, unit], axis=1), relu)[:, 0]


@in_float64
def test_two_updates_are_numpys(numerics):
    """The lowest of both targets at a smoothed action, gradients by finite differences; the actor follows the new first
    critic at the second update, and the targets with it."""
    algorithm = tegu.TD3(**SMALL, actor_learning_rate=2e-2)
    learner = learner_of(algorithm)
    actor, critics, target_actor, target_critics = jax.tree.map(np.asarray, learner[:4])
    optimisers = numerics.Adam(np.inf, 1e-8), numerics.Adam(np.inf, 1e-8)
    for update in (1, 2):
        rows, noise = steps(update), np.random.default_rng(update).normal(size=(N, 2)) * 2
        assert (np.abs(0.2 * noise) > 0.5).any(), "some noise is clipped"
        smoothed = policy(numerics, target_actor, rows.next_observation) + np.clip(0.2 * noise, -0.5, 0.5)
        smoothed = np.clip(smoothed, -1, 1)
        future = np.min([value(numerics, each, rows.next_observation, smoothed) for each in target_critics], axis=0)
        target = rows.reward + 0.9 * np.where(rows.terminated, 0, future)

        def critic_loss(nets, rows=rows, target=target):
            values = [value(numerics, each, rows.observation, rows.action / 2) for each in nets]
            return sum(((each - target) ** 2).mean() for each in values)

        expected = critic_loss(critics)
        critics = optimisers[0].step(critics, numerics.gradient(critic_loss, critics), 1e-2)

        def actor_loss(net, rows=rows, critic=critics[0]):
            return -value(numerics, critic, rows.observation, policy(numerics, net, rows.observation)).mean()

        if update == 2:
            loss = actor_loss(actor)
            actor = optimisers[1].step(actor, numerics.gradient(actor_loss, actor), 2e-2)
            target_actor, target_critics = (
                numerics.unflat(0.9 * numerics.flat(old) + 0.1 * numerics.flat(new), old)
                for old, new in ((target_actor, actor), (target_critics, critics))
            )
        learner, metrics = given_noise.update(algorithm, learner, rows, [noise])
        np.testing.assert_allclose(metrics["critic_loss"], expected, rtol=1e-6)
        np.testing.assert_allclose(metrics["actor_loss"], 0 if update == 1 else loss, rtol=1e-6)
        for ours, theirs in zip(learner[:4], (actor, critics, target_actor, target_critics), strict=True):
            np.testing.assert_allclose(numerics.flat(ours), numerics.flat(theirs), rtol=1e-5, atol=1e-7)


@pytest.mark.slow
def test_the_policy_waits_for_its_delay(numerics):
    algorithm = tegu.TD3(**SMALL, policy_delay=3)
    learner, moved = learner_of(algorithm), []
    fields = [name for name in learner._fields if name not in ("updates", "actor_loss", "dynamics")]
    for number in range(6):
        before, (learner, _) = learner, given_noise.update(algorithm, learner, steps(number), [np.zeros((N, 2))])
        moved.append([name for name in fields if differ(numerics, getattr(learner, name), getattr(before, name))])
    waiting = ["critics", "critic_optimizer"]
    assert moved == [waiting if number % 3 else fields for number in range(1, 7)]


def differ(numerics, one, other):
    return (numerics.flat(one) != numerics.flat(other)).any()


# DDPG's options


def test_ornstein_uhlenbeck_noise_is_a_process_of_the_episode():
    """It begins at 0, keeps 85 of 100 parts, is added to the policy's actions, and stands still while not exploring."""
    algorithm = DDPG(**SMALL, noise_type="ornstein-uhlenbeck", action_noise=0.02)
    learner, seen = algorithm.init(KEY, SPEC), np.zeros((5000, 3), np.float32)
    memory = algorithm.begin(learner, KEY, 5000)
    assert not memory.any()
    act = jax.jit(lambda memory, key: algorithm.act(learner, seen, memory, key, explore=True))
    chosen, history = algorithm.act(learner, seen, memory, KEY, explore=False), [memory]
    assert chosen.memory is memory
    for number in range(40):
        action, memory, _ = act(memory, jax.random.key(number))
        np.testing.assert_allclose(action, chosen.action + 2 * memory, atol=1e-5)
        history.append(memory)
    shocks = [new - 0.85 * old for old, new in pairwise(history)]
    np.testing.assert_allclose([shock.std() for shock in shocks], 0.02, rtol=0.05)
    assert abs(np.corrcoef(np.ravel(shocks[-1]), np.ravel(history[-2]))[0, 1]) < 0.05
    np.testing.assert_allclose(history[-1].std(), 0.02 / np.sqrt(1 - 0.85**2), rtol=0.05)


@in_float64
def test_layers_are_normalised_on_demand(numerics):
    """All but the last, before the activation."""
    learner = DDPG(**SMALL, layer_norm=True).init(KEY, SPEC)
    rows = steps()
    for mlp, x, found in (
        (learner.actor.mlp, rows.observation, jnp.arctanh(learner.actor(rows.observation))),
        (
            learner.critics[0].mlp,
            np.concatenate([rows.observation, rows.action], 1),
            learner.critics[0](rows.observation, rows.action)[:, None],
        ),
    ):
        hidden = x @ mlp.weights[0] + mlp.biases[0]
        centred = hidden - hidden.mean(axis=1, keepdims=True)
        hidden = relu(centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5))
        np.testing.assert_allclose(found, hidden @ mlp.weights[1] + mlp.biases[1], rtol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"noise_type": "pink"}, "^TD3: noise_type must be one of normal, ornstein-uhlenbeck, got 'pink'"),
        ({"layer_norm": True, "network": print}, "^TD3: layer_norm needs Tegu's network"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(settings, message):
    with pytest.raises(TeguError, match=message) as caught:
        tegu.TD3(**settings).validate(SPEC)
    assert "\n" not in str(caught.value)


@pytest.mark.long
def test_it_swings_the_pendulum_up():
    """On average over three seeds: a random policy earns about -1,200, and a seed is late now and then."""
    settings = {"steps": 10_000, "n_envs": 1, "net_arch": [64, 64], "batch_size": 64, "learning_starts": 500}
    agent = tegu.train("Pendulum-v1", "td3", seed=20, seeds=3, buffer_size=10_000, folder=None, **settings)
    assert agent.evaluate(20).mean >= -600
