"""The targets of model-based value expansion against the paper's sums, in an imagined world by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

import tegu
from tegu.algorithms import value_expansion
from tegu.core.errors import TeguError
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Step
from tegu.search.shooting import Outcome

SPEC = EnvironmentSpec("test", spaces.Box(-9, 9, (2,)), spaces.Box(np.float32([-3]), np.float32([1])))
KEY, B, GAMMA = jax.random.key(0), 6, 0.9


def world(x, action):
    """Reward, end and next observation of one observation and one of the environment's actions."""
    return x[0] + 0.5 * action[0], x[1] > 0.8, np.stack([x[1] + action[0], 0.9 * x[0]])


def imagined(dynamics, space, key, action, observation, settings):
    x, a = observation[0], action[0]
    following = jnp.stack([x[:, 1] + a[:, 0], 0.9 * x[:, 0]], axis=-1)
    return Outcome((x[:, 0] + 0.5 * a[:, 0])[None], (x[:, 1] > 0.8)[None]), following[None]


@pytest.fixture
def learner():
    made = tegu.DDPG(model_steps=1, net_arch=(8,), model_arch=(4,)).init(KEY, SPEC)
    other = tegu.DDPG(net_arch=(8,)).init(jax.random.key(9), SPEC)
    return made._replace(target_actor=other.actor, target_critics=other.critics)  # not the same as the online ones


def steps():
    random = np.random.default_rng(1)
    observation, following = random.normal(size=(2, B, 2)).astype(np.float32)
    action = random.uniform(-3, 1, (B, 1)).astype(np.float32)
    terminated = np.arange(B) == 2
    return Step(
        observation, action, random.normal(size=B).astype(np.float32), following, terminated, terminated & False
    )


@pytest.mark.slow
@pytest.mark.parametrize("horizon", [1, 3])
@pytest.mark.parametrize("td_k", [True, False])
def test_targets_are_the_sums_of_the_paper(learner, monkeypatch, horizon, td_k):
    monkeypatch.setattr(value_expansion, "imagined", imagined)
    algorithm, batch = tegu.DDPG(model_steps=horizon, td_k=td_k, gamma=GAMMA, target_policy_noise=0.0), steps()
    seen, unit, target = value_expansion.expanded(algorithm, learner, jax.tree.map(jnp.asarray, batch), KEY)

    def act(x):
        return np.asarray(learner.target_actor(x[None]))[0]

    def bounded(unit):
        return -3 + 4 * (unit + 1) / 2

    def value(x):
        return float(learner.target_critics[0](x[None], act(x)[None])[0])

    expected = []
    for b in range(B):
        rows, x, ended = (
            [(batch.observation[b], batch.action[b] / 2 + 0.5)],
            batch.next_observation[b],
            batch.terminated[b],
        )
        rewards = [batch.reward[b]]
        for _ in range(horizon):
            if ended:
                break
            reward, ended, following = world(x, bounded(act(x)))
            rows.append((x, act(x)))
            rewards.append(reward)
            x = following
        beyond = 0.0 if ended else value(x)
        sums = [
            sum(GAMMA ** (k - t) * rewards[k] for k in range(t, len(rewards))) + GAMMA ** (len(rewards) - t) * beyond
            for t in range(len(rewards))
        ]
        missing = horizon + 1 - len(rows)  # after an end the real step counts again
        expected.append([*zip(rows, sums, strict=True), *[(rows[0], sums[0])] * missing])
    for t in range(horizon + 1 if td_k else 1):
        for b in range(B):
            (x, a), total = expected[b][t]
            np.testing.assert_allclose(seen[t * B + b], x, atol=1e-5)
            np.testing.assert_allclose(unit[t * B + b], a, atol=1e-5)
            np.testing.assert_allclose(target[t * B + b], total, atol=1e-5)
    assert len(target) == (horizon + 1 if td_k else 1) * B


def test_observations_without_a_model_are_refused():
    spec = EnvironmentSpec("test", spaces.Discrete(3), spaces.Box(-1, 1, (1,)))
    with pytest.raises(TeguError, match="mve-ddpg: a model is learned of observations that are vectors of floats"):
        tegu.MVEDDPG().validate(spec)


def test_the_layers_of_the_model_are_checked():
    with pytest.raises(TeguError, match="model_arch must be widths from 1"):
        tegu.MVEDDPG(model_arch=(0,)).validate(SPEC)
