"""A2C against a re-implementation in NumPy float64."""

import jax
import numpy as np
import pytest
from gymnasium import spaces
from policies_by_hand import (
    ACTIONS,
    BOX,
    MASKED,
    T,
    learner_of,
    log_prob_and_entropy,
    masks,
    numpy_inputs,
    numpy_sample,
    rollout,
    spec_of,
)

from tegu.algorithms.a2c import A2C
from tegu.core.errors import TeguError
from tegu.core.schedule import Clock, Linear
from tegu.core.spec import EnvironmentSpec
from tegu.nn.moments import RunningMoments

KEY = jax.random.key(0)
UPDATE = jax.jit(lambda algorithm, learner, batch: algorithm.update(learner, batch, KEY)[:2])
SMALL = {"net_arch": (5,), "n_steps": T}

pytestmark = pytest.mark.usefixtures("x64")


def numpy_loss(numerics, kind, network, sample, *, ent=0.0, vf=0.5, normalize=False):
    """The policy gradient's objective, the value loss and the entropy, and what is reported of them."""
    outputs = numerics.mlp(network.actor, sample.x, np.tanh)
    log_prob, entropy = log_prob_and_entropy(kind, outputs, network.log_std, sample.action, sample.mask)
    advantage = sample.advantage
    if normalize:
        advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
    policy_loss = -(log_prob * advantage).mean()
    value_loss = ((sample.target - numerics.mlp(network.critic, sample.x, np.tanh)[..., 0]) ** 2).mean()
    return {
        "loss": policy_loss + vf * value_loss - ent * entropy.mean(),
        "policy_loss": policy_loss,
        "value_loss": value_loss,
        "entropy_loss": -entropy.mean(),
    }


class RMSprop:
    """Tieleman & Hinton 2012 behind a clip of the gradient's norm; epsilon is added to the root."""

    def __init__(self, max_norm, eps):
        self.max_norm, self.eps, self.square = max_norm, eps, 0.0

    def direction(self, gradient):
        gradient = gradient * min(1.0, self.max_norm / np.linalg.norm(gradient))
        self.square = 0.99 * self.square + 0.01 * gradient**2
        return gradient / (np.sqrt(self.square) + self.eps)


@pytest.mark.parametrize("kind", ["discrete", "box"])
def test_two_updates_are_numpys(numerics, kind):
    """Values, advantages, loss, finite differences, norm clip and RMSprop with a falling learning rate."""
    settings = {"gamma": 0.9, "ent_coef": 0.05, "vf_coef": 0.7, "max_grad_norm": 0.3, "rms_prop_eps": 1e-3}
    normalize = kind == "box"
    algorithm = A2C(learning_rate=Linear(2e-2), normalize_advantage=normalize, **settings, **SMALL)
    learner = learner_of(algorithm, kind)
    network, rmsprop = learner.network, RMSprop(0.3, 1e-3)
    for seed, steps, rate in ((0, 25, 1.5e-2), (1, 50, 1e-2)):
        batch = rollout(kind, seed)
        sample = numpy_sample(numerics, algorithm, kind, learner, batch, batch.reward)

        def loss(net, sample=sample):
            return numpy_loss(numerics, kind, net, sample, ent=0.05, vf=0.7, normalize=normalize)

        gradient = numerics.gradient(lambda net: loss(net)["loss"], network)
        assert np.linalg.norm(gradient) > 0.3
        expected = loss(network) | {"learning_rate": rate, "n_updates": seed + 1}
        spread = 1 - sample.advantage.var() / sample.target.var()
        moved = numerics.flat(network) - rate * rmsprop.direction(gradient)
        network = numerics.unflat(moved, network)

        learner, metrics = UPDATE(algorithm.at(Clock.of(steps, 100)), learner, batch)
        np.testing.assert_allclose(numerics.flat(learner.network), moved, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(metrics["explained_variance"], spread, rtol=1e-6)
        for name, figure in expected.items():
            np.testing.assert_allclose(metrics[name], figure, rtol=1e-5, atol=1e-6, err_msg=name)
        assert ("std" in metrics) == (kind == "box")


def test_adam_takes_the_place_of_rmsprop(numerics):
    """And the observations and rewards are scaled as PPO's are."""
    scaled = {"normalize_observation": True, "normalize_reward": True}
    algorithm = A2C(gamma=0.9, gae_lambda=0.8, use_rms_prop=False, learning_rate=1e-2, **scaled, **SMALL)
    learner = learner_of(algorithm, "box")
    before = np.random.default_rng(5).normal(1, 2, (50, 3))
    learner = learner._replace(observation_moments=RunningMoments.start((3,)).merge(before))
    batch = rollout("box")
    batch = batch._replace(reward=batch.reward.astype(float))
    updated, _ = UPDATE(algorithm, learner, batch)
    rewards = np.clip(batch.reward / np.sqrt(np.asarray(updated.reward_moments.variance) + 1e-8), -10, 10)
    sample = numpy_sample(numerics, algorithm, "box", learner, batch, rewards)
    gradient = numerics.gradient(lambda net: numpy_loss(numerics, "box", net, sample)["loss"], learner.network)
    expected = numerics.Adam(0.5, 1e-5).step(learner.network, gradient, 1e-2)
    np.testing.assert_allclose(numerics.flat(updated.network), numerics.flat(expected), rtol=1e-5, atol=1e-7)
    seen = np.concatenate([before, batch.observation.reshape(-1, 3).astype(np.float64)])
    np.testing.assert_allclose(updated.observation_moments.mean, seen.mean(0), rtol=1e-4)


def test_acting_normalises_and_masks(numerics):
    """Greedy actions are the best legal ones for normalised observations; nothing is kept of them."""
    algorithm = A2C(normalize_observation=True, **SMALL)
    learner = learner_of(algorithm, "discrete")
    rng = np.random.default_rng(0)
    learner = learner._replace(observation_moments=RunningMoments.start((3,)).merge(rng.normal(5, 3, (50, 3))))
    x, mask = rng.normal(5, 3, (200, 3)).astype(np.float32), masks(rng, (200,))
    observation = {"x": x, "action_mask": mask.astype(np.int8)}
    outputs = numerics.mlp(learner.network.actor, numpy_inputs(algorithm, learner, observation), np.tanh)
    for explore in (False, True):
        decision = algorithm.act(learner, observation, (), KEY, explore=explore)
        action = np.asarray(decision.action) - 2
        assert mask[np.arange(200), action].all()
        assert (action == np.where(mask, outputs, -np.inf).argmax(-1)).all() == (not explore)
        assert not jax.tree.leaves(decision.extras)


@pytest.mark.parametrize(
    ("settings", "observation", "n_envs", "message"),
    [
        (
            {"n_steps": 1, "normalize_advantage": True},
            BOX,
            1,
            "normalize_advantage leaves nothing to learn with n_steps 1",
        ),
        ({"normalize_observation": True, "network": lambda key, spec: None}, BOX, 2, "^A2C: normalize_observation"),
        ({}, spaces.Tuple([BOX]), 2, r"^observation space Tuple.* is not supported"),
        ({"activation": "swish"}, MASKED, 2, "swish"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(settings, observation, n_envs, message):
    with pytest.raises(TeguError, match=message) as caught:
        A2C(**settings).validate(EnvironmentSpec("test", observation, spaces.Discrete(4), n_envs=n_envs))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ACTIONS)
def test_what_fits_is_accepted(kind):
    A2C().validate(spec_of(kind))
    assert A2C(n_steps=7).experience.n_steps == 7
