"""PPO with a memory: sequences against steps one by one in NumPy, and a task that needs one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

import tegu
from tegu.algorithms.actor_critic import samples_of
from tegu.algorithms.ppo import PPO
from tegu.algorithms.sequences import check_sequences
from tegu.core.errors import TeguError
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Step

T, B, LENGTH = 8, 3, 4
SPEC = EnvironmentSpec("test", spaces.Box(-1, 1, (2,)), spaces.Discrete(3), n_envs=B)
KEY = jax.random.key(0)
SETTINGS = {"n_steps": T, "batch_size": T * B, "n_epochs": 1, "net_arch": (5,), "hidden_size": 4}
SETTINGS |= {"sequence_length": LENGTH, "gamma": 0.9, "gae_lambda": 0.8}


def made(cell):
    return PPO(recurrent=cell, **SETTINGS)


def played(algorithm, learner, rng):
    """A rollout ``[T, B, ...]`` as the collectors make it: a new episode begins with a fresh memory."""
    memory, steps = algorithm.begin(learner, KEY, B), []
    # a memory that is not zeros, as in the middle of an episode
    memory = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype), memory)
    act = jax.jit(lambda *given: algorithm.act(*given, explore=True))
    observation = rng.normal(size=(B, 2))
    for t in range(T):
        decision = act(learner, observation, memory, jax.random.key(t))
        following = rng.normal(size=(B, 2))
        terminated, truncated = rng.random((2, B)) < 0.25
        truncated &= ~terminated
        reward = rng.normal(size=B)
        steps.append(Step(observation, decision.action, reward, following, terminated, truncated, decision.extras))
        ended = terminated | truncated
        observation = np.where(ended[:, None], rng.normal(size=(B, 2)), following)
        fresh = algorithm.begin(learner, KEY, B)
        memory = jax.tree.map(lambda new, old: jnp.where(ended[:, None], new, old), fresh, decision.memory)  # noqa: B023
    return jax.tree.map(lambda *leaves: np.stack(leaves), *steps)


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.usefixtures("x64")
def test_a_rollout_is_learned_from_as_it_was_played(cell):
    """Values, advantages by the definition, and a ratio of 1 for every step before anything has changed."""
    algorithm, rng = made(cell), np.random.default_rng(0)
    learner = algorithm.init(KEY, SPEC)
    network = learner.network
    batch = played(algorithm, learner, rng)
    assert 1 < batch.truncated.sum() < T * B
    assert batch.terminated.any()
    _, samples, _ = jax.jit(lambda *given: samples_of(algorithm, *given))(learner, batch)
    assert samples.value.shape == (T * B // LENGTH, LENGTH)

    def at(t, b):
        """The memory before and after a step."""
        before = jax.tree.map(lambda leaf: leaf[t, b], batch.extras.memory)
        return before, network.remember(batch.observation[t, b], before)

    values, bootstrap = np.zeros((2, T, B))
    for t in range(T):
        for b in range(B):
            _, after = at(t, b)
            values[t, b] = network.of_memory(after)[1]
            bootstrap[t, b] = network.of_memory(network.remember(batch.next_observation[t, b], after))[1]
    advantages = np.zeros((T + 1, B))
    for t in reversed(range(T)):
        ended = batch.terminated[t] | batch.truncated[t]
        residual = batch.reward[t] + 0.9 * np.where(batch.terminated[t], 0, bootstrap[t]) - values[t]
        advantages[t] = residual + 0.72 * np.where(ended, 0, advantages[t + 1])

    n = 0
    for start in range(0, T, LENGTH):
        for b in range(B):
            when = slice(start, start + LENGTH)
            np.testing.assert_allclose(samples.value[n], values[when, b], rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(samples.advantage[n], advantages[:-1][when, b], rtol=1e-5, atol=1e-6)
            np.testing.assert_array_equal(samples.action[n], batch.action[when, b])
            first = jax.tree.map(lambda leaf: leaf[start, b], batch.extras.memory)  # noqa: B023
            jax.tree.map(lambda found, known: np.testing.assert_array_equal(found[n], known), samples.x.memory, first)  # noqa: B023
            n += 1

    policy, value = network(samples.x, samples.mask)
    np.testing.assert_allclose(policy.log_prob(samples.action), samples.log_prob, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(value, samples.value, rtol=1e-5, atol=1e-6)
    report = jax.jit(lambda *given: algorithm.update(*given).metrics)(learner, batch, KEY)
    assert abs(report["approx_kl"]) < 1e-9
    assert report["clip_fraction"] == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"recurrent": "rnn"}, "PPO: recurrent must be one of none, lstm, gru, got 'rnn'"),
        ({"n_steps": 10}, "PPO: n_steps must be a multiple of sequence_length, got 10 and 4"),
        ({"n_steps": 12, "batch_size": 18}, "PPO: batch_size must be a multiple of sequence_length, got 18 and 4"),
        ({"network": "own:network"}, "PPO: recurrent cannot be used with your own network"),
    ],
)
def test_what_does_not_fit_is_said(settings, message):
    algorithm = PPO(**{**SETTINGS, "recurrent": "gru", **settings})
    with pytest.raises(TeguError, match=f"^{message}$"):
        check_sequences(algorithm)


@pytest.mark.long
def test_it_remembers_the_way_and_ppo_cannot():
    """A turn at the junction is worth 4 or -0.1: 1.95 without a memory. The median of seven seeds, and the best."""
    settings = {"seeds": 7, "folder": None, "steps": 100_000, "environment_options": {"length": 4}}
    settings |= {"n_envs": 16, "n_steps": 64, "batch_size": 256, "n_epochs": 4, "net_arch": [32], "gamma": 0.98}
    settings |= {"learning_rate": 1e-3, "ent_coef": 0.1}
    memory = {"recurrent": "gru", "hidden_size": 32}
    remembers = tegu.train("TMaze-v0", "ppo", **settings, **memory).evaluate(400).returns.mean(axis=-1)
    forgets = tegu.train("TMaze-v0", "ppo", **settings).evaluate(400).returns.mean(axis=-1)
    assert np.median(remembers) > 3.5
    assert np.max(forgets) < 2.5
