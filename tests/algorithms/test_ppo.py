"""PPO against a re-implementation in NumPy float64."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from gymnasium import spaces
from policies_by_hand import (
    ACTIONS,
    BOX,
    B,
    T,
    actions,
    learner_of,
    log_prob_and_entropy,
    masks,
    numpy_inputs,
    numpy_sample,
    rollout,
    spec_of,
)
from scipy import stats

from tegu.acting.jax_collector import act_and_step, start_episodes
from tegu.algorithms.actor_critic import Sample, inputs
from tegu.algorithms.ppo import PPO
from tegu.core.errors import TeguError
from tegu.core.schedule import Clock, Linear
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Step
from tegu.environments.classic.pendulum import Pendulum
from tegu.experience.shuffling import permutation
from tegu.nn.moments import RunningMoments

KEY = jax.random.key(0)
UPDATE = jax.jit(lambda algorithm, learner, batch, key: algorithm.update(learner, batch, key)[:2])
LOSS = jax.jit(jax.value_and_grad(lambda network, algorithm, sample: algorithm.loss(network, sample), has_aux=True))
SMALL = {"net_arch": (5,), "n_steps": T, "batch_size": T * B, "n_epochs": 1}

pytestmark = pytest.mark.usefixtures("x64")


def numpy_loss(numerics, kind, network, sample, *, clip, clip_vf=None, ent=0.0, vf=0.5, normalize=True):
    """Equations 7 and 9 of the paper over one minibatch, and what is reported along with it."""
    outputs = numerics.mlp(network.actor, sample.x, np.tanh)
    log_prob, entropy = log_prob_and_entropy(kind, outputs, network.log_std, sample.action, sample.mask)
    advantage = sample.advantage
    if normalize:
        advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
    ratio = np.exp(log_prob - sample.log_prob)
    surrogate = np.minimum(ratio * advantage, np.clip(ratio, 1 - clip, 1 + clip) * advantage)
    value = numerics.mlp(network.critic, sample.x, np.tanh)[..., 0]
    if clip_vf is not None:
        value = np.clip(value, sample.value - clip_vf, sample.value + clip_vf)
    value_loss = ((sample.target - value) ** 2).mean()
    return {
        "loss": -surrogate.mean() + vf * value_loss - ent * entropy.mean(),
        "policy_gradient_loss": -surrogate.mean(),
        "value_loss": value_loss,
        "entropy_loss": -entropy.mean(),
        "approx_kl": (ratio - 1 - np.log(ratio)).mean(),
        "clip_fraction": ((ratio < 1 - clip) | (ratio > 1 + clip)).mean(),
    }


def minibatch(numerics, kind, network, n=8, shift=0.3):
    """Random samples; the old log-probabilities differ from the network's by ``shift`` x a normal number."""
    rng = np.random.default_rng(4)
    x, mask = rng.normal(size=(n, 3)), masks(rng, (n,)) if kind == "discrete" else None
    action = actions(rng, kind, (n,), mask)
    outputs = numerics.mlp(network.actor, x, np.tanh)
    log_prob, _ = log_prob_and_entropy(kind, outputs, np.asarray(network.log_std), action, mask)
    return Sample(x, mask, action, log_prob + shift * rng.normal(size=n), *rng.normal(0, 2, (3, n)))


@pytest.mark.parametrize("kind", ACTIONS)
def test_loss_and_gradient_are_numpys(numerics, kind):
    """Every term and figure, and the gradient by finite differences, with ratios inside and outside the clip range."""
    algorithm = PPO(clip_range=0.2, ent_coef=0.1, vf_coef=0.7, **SMALL)
    network = learner_of(algorithm, kind).network
    sample = minibatch(numerics, kind, network)

    def loss(net):
        return numpy_loss(numerics, kind, net, sample, clip=0.2, ent=0.1, vf=0.7)

    (value, metrics), gradient = LOSS(network, algorithm, sample)
    expected = loss(network)
    assert 0 < expected["clip_fraction"] < 1
    np.testing.assert_allclose(value, expected["loss"], rtol=1e-10)
    assert metrics.keys() == expected.keys()
    for name, figure in expected.items():
        np.testing.assert_allclose(metrics[name], figure, rtol=1e-9, atol=1e-12, err_msg=name)
    differences = numerics.gradient(lambda net: loss(net)["loss"], network)
    np.testing.assert_allclose(numerics.flat(gradient), differences, rtol=1e-6, atol=1e-8)


def test_the_value_function_is_clipped_around_the_old_value(numerics):
    """clip_range_vf bounds how far the new value counts; beyond it the critic's gradient is exactly zero."""
    algorithm = PPO(clip_range=Linear(0.4, 0.0), clip_range_vf=0.5, normalize_advantage=False, **SMALL)
    algorithm = algorithm.at(Clock.of(50, 100))  # half-way: the policy's clip range is 0.2
    network = learner_of(algorithm, "box").network
    sample = minibatch(numerics, "box", network)

    def loss(net):
        return numpy_loss(numerics, "box", net, sample, clip=0.2, clip_vf=0.5, normalize=False)["loss"]

    (value, _), gradient = LOSS(network, algorithm, sample)
    np.testing.assert_allclose(value, loss(network), rtol=1e-6)  # the schedule is kept in float32
    differences = numerics.gradient(loss, network)
    np.testing.assert_allclose(numerics.flat(gradient), differences, rtol=1e-6, atol=1e-8)
    far = sample._replace(value=sample.value + 100)
    _, gradient = LOSS(network, algorithm, far)
    assert not numerics.flat(gradient.critic).any()
    assert numerics.flat(gradient.actor).any()


@pytest.mark.parametrize("kind", ["discrete", "box"])
@pytest.mark.parametrize("clip_range", [1e-6, 0.2])
def test_at_ratio_1_the_gradient_is_the_plain_policy_gradient(numerics, kind, clip_range):
    """Minus the mean of A grad log pi(a|s), however narrow the clip range, and nothing at all for the critic."""
    algorithm = PPO(clip_range=clip_range, vf_coef=0.0, normalize_advantage=False, **SMALL)
    network = learner_of(algorithm, kind).network
    sample = minibatch(numerics, kind, network, shift=0.0)

    def plain(net):
        outputs = numerics.mlp(net.actor, sample.x, np.tanh)
        log_prob, _ = log_prob_and_entropy(kind, outputs, net.log_std, sample.action, sample.mask)
        return -(log_prob * sample.advantage).mean()

    (_, metrics), gradient = LOSS(network, algorithm, sample)
    np.testing.assert_allclose(numerics.flat(gradient), numerics.gradient(plain, network), rtol=1e-6, atol=1e-8)
    assert not numerics.flat(gradient.critic).any()
    assert metrics["clip_fraction"] == 0
    np.testing.assert_allclose(metrics["approx_kl"], 0, atol=1e-12)


def test_beyond_the_clip_range_nothing_pulls_further(numerics):
    """Where a good action is likelier by more than the range already, or a bad one rarer, the gradient is zero."""
    algorithm = PPO(vf_coef=0.0, normalize_advantage=False, **SMALL)
    network = learner_of(algorithm, "box").network
    sample = minibatch(numerics, "box", network, shift=0.0)
    for sign, beyond in ((1, True), (-1, False)):
        moved = sample._replace(log_prob=sample.log_prob - np.sign(sample.advantage) * sign)
        _, gradient = LOSS(network, algorithm, moved)
        assert numerics.flat(gradient).any() != beyond


# Whole updates


def with_log_probs(numerics, algorithm, kind, learner, batch):
    """What ``act`` would have kept: the log-probability of the action as chosen."""
    x = numpy_inputs(algorithm, learner, batch.observation)
    mask = batch.observation["action_mask"] if kind == "discrete" else None
    outputs = numerics.mlp(learner.network.actor, x, np.tanh)
    log_std = np.asarray(learner.network.log_std)
    return batch._replace(extras=log_prob_and_entropy(kind, outputs, log_std, batch.action, mask)[0])


@pytest.mark.parametrize("kind", ["discrete", "box"])
def test_two_updates_are_numpys(numerics, kind):
    """Values, advantages, loss, finite differences, norm clip and Adam with a falling learning rate."""
    algorithm = PPO(learning_rate=Linear(2e-2), gamma=0.9, gae_lambda=0.8, ent_coef=0.05, max_grad_norm=0.3, **SMALL)
    learner = learner_of(algorithm, kind)
    network, adam = learner.network, numerics.Adam(0.3, 1e-5)
    for seed, steps, rate in ((0, 25, 1.5e-2), (1, 50, 1e-2)):
        batch = with_log_probs(numerics, algorithm, kind, learner, rollout(kind, seed))
        sample = numpy_sample(numerics, algorithm, kind, learner, batch, batch.reward)

        def loss(net, sample=sample):
            return numpy_loss(numerics, kind, net, sample, clip=0.2, ent=0.05)

        gradient = numerics.gradient(lambda net: loss(net)["loss"], network)
        assert np.linalg.norm(gradient) > 0.3
        expected = loss(network) | {"learning_rate": rate, "clip_range": 0.2}
        spread = 1 - sample.advantage.var() / sample.target.var()
        network = adam.step(network, gradient, rate)

        learner, metrics = UPDATE(algorithm.at(Clock.of(steps, 100)), learner, batch, KEY)
        np.testing.assert_allclose(numerics.flat(learner.network), numerics.flat(network), rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(metrics["explained_variance"], spread, rtol=1e-6)
        for name, figure in expected.items():
            np.testing.assert_allclose(metrics[name], figure, rtol=1e-5, atol=1e-6, err_msg=name)
        assert ("std" in metrics) == (kind == "box")
        assert learner.updates == metrics["n_updates"] == seed + 1
    untouched = learner_of(algorithm, kind)  # what is not normalised has no statistics
    for name in ("observation_moments", "reward_moments"):
        np.testing.assert_array_equal(numerics.flat(getattr(learner, name)), numerics.flat(getattr(untouched, name)))


def test_normalised_updates_are_numpys(numerics):
    """Observations by the statistics that acting saw, rewards by those of the rollout's discounted sums."""
    algorithm = PPO(gamma=0.9, normalize_observation=True, normalize_reward=True, learning_rate=1e-2, **SMALL)
    learner = learner_of(algorithm, "box")
    before = np.random.default_rng(5).normal(1, 2, (50, 3))
    learner = learner._replace(observation_moments=RunningMoments.start((3,)).merge(before))
    batch = with_log_probs(numerics, algorithm, "box", learner, rollout("box"))
    batch = batch._replace(reward=batch.reward.astype(float))  # of which the sums have the type

    sums, running = np.zeros((T, B)), np.zeros(B)
    for t in range(T):
        running = 0.9 * running + batch.reward[t]
        sums[t] = running
        running = np.where(batch.terminated[t] | batch.truncated[t], 0.0, running)
    mean, weight = sums.sum() / (T * B + 1e-4), T * B + 1e-4
    variance = (((sums - mean) ** 2).sum() + 1e-4 * (1 + mean**2)) / weight
    rewards = np.clip(batch.reward / np.sqrt(variance + 1e-8), -10, 10)
    sample = numpy_sample(numerics, algorithm, "box", learner, batch, rewards)
    gradient = numerics.gradient(
        lambda net: numpy_loss(numerics, "box", net, sample, clip=0.2)["loss"], learner.network
    )
    expected = numerics.Adam(0.5, 1e-5).step(learner.network, gradient, 1e-2)

    learner, _ = UPDATE(algorithm, learner, batch, KEY)
    np.testing.assert_allclose(numerics.flat(learner.network), numerics.flat(expected), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(learner.reward_moments.mean, mean, rtol=1e-9)
    np.testing.assert_allclose(learner.reward_moments.variance, variance, rtol=1e-9)
    seen = np.concatenate([before, batch.observation.reshape(-1, 3).astype(np.float64)])
    np.testing.assert_allclose(learner.observation_moments.mean, seen.mean(0), rtol=1e-4)
    np.testing.assert_allclose(learner.observation_moments.variance, seen.var(0), rtol=1e-4)


# Epochs and minibatches


class Counting(PPO):
    """PPO whose loss is the sum of the actor's outputs for the samples: with plain descent at rate 1 every use of
    sample ``i`` takes exactly 1 off row ``i`` of a linear actor on one-hot observations."""

    def optimizer(self):
        return optax.identity()

    def loss(self, network, sample):
        loss = network.actor(sample.x).sum()
        return loss, {"loss": loss}


@pytest.mark.parametrize(("epochs", "batch_size"), [(1, 2), (3, 4), (2, 3), (2, 7), (2, 9)])
def test_an_epoch_uses_every_sample_exactly_once(epochs, batch_size):
    spec = EnvironmentSpec("test", spaces.Discrete(T * B), spaces.Discrete(2), n_envs=B)
    algorithm = Counting(learning_rate=1.0, n_steps=T, batch_size=batch_size, n_epochs=epochs, net_arch=())
    states, none = np.arange(T * B, dtype=np.int32).reshape(T, B), np.zeros((T, B), bool)
    batch = Step(states, np.zeros((T, B), np.int32), np.zeros((T, B)), states, none, none, np.zeros((T, B)))
    learner = algorithm.init(KEY, spec)
    after, metrics = UPDATE(algorithm, learner, batch, KEY)
    used = learner.network.actor.weights[0] - after.network.actor.weights[0]
    np.testing.assert_allclose(used, np.full((T * B, 2), epochs), rtol=1e-12)
    assert after.updates == metrics["n_updates"] == epochs * math.ceil(T * B / batch_size)


class Noting(Counting):
    """PPO whose only parameter ``p`` becomes ``8 p + i`` at sample ``i``: its digits are the order of the samples."""

    def loss(self, network, sample):
        (p,) = network.log_std
        loss = -(3.5 * p**2 + (sample.x @ jnp.arange(8.0))[0] * p)
        return loss, {"loss": loss}


def test_every_epoch_has_an_order_of_its_own():
    spec = EnvironmentSpec("test", spaces.Discrete(T * B), spaces.Box(-1, 1, (1,)), n_envs=B)
    algorithm = Noting(learning_rate=1.0, n_steps=T, batch_size=1, n_epochs=2, net_arch=())
    states, none = np.arange(T * B, dtype=np.int32).reshape(T, B), np.zeros((T, B), bool)
    batch = Step(states, np.zeros((T, B, 1)), np.zeros((T, B)), states, none, none, np.zeros((T, B)))
    after, _ = UPDATE(algorithm, algorithm.init(KEY, spec), batch, KEY)
    digits = list(f"{int(after.network.log_std[0]):016o}")
    first, second = digits[:8], digits[8:]
    assert sorted(first) == sorted(second) == list("01234567")
    assert first != second
    assert list("01234567") not in (first, second)


@pytest.mark.parametrize("sizes", [(5, 3), (7, 1)])
def test_a_truncated_minibatch_is_numpys(numerics, sizes):
    """An epoch over 8 samples in two minibatches, of which the last is smaller: each is standardised by itself, but for
    one of a single step; and each counts alike in the means of what is reported."""
    algorithm = PPO(learning_rate=1e-2, max_grad_norm=1e9, **SMALL | {"batch_size": sizes[0]})
    learner = learner_of(algorithm, "box")
    batch = with_log_probs(numerics, algorithm, "box", learner, rollout("box"))
    sample = numpy_sample(numerics, algorithm, "box", learner, batch, batch.reward)
    order = np.asarray(permutation(jax.random.split(KEY, 1)[0], T * B))
    network, adam, found = learner.network, numerics.Adam(1e9, 1e-5), []
    for index in np.split(order, [sizes[0]]):
        part = jax.tree.map(lambda leaf, index=index: leaf[index], sample)

        def loss(net, part=part):
            return numpy_loss(numerics, "box", net, part, clip=0.2, normalize=len(part.advantage) > 1)

        found.append(loss(network))
        network = adam.step(network, numerics.gradient(lambda net: loss(net)["loss"], network), 1e-2)
    after, metrics = UPDATE(algorithm, learner, batch, KEY)
    np.testing.assert_allclose(numerics.flat(after.network), numerics.flat(network), rtol=1e-5, atol=1e-6)
    for name in found[0]:
        mean = np.mean([each[name] for each in found])
        np.testing.assert_allclose(metrics[name], mean, rtol=1e-5, atol=1e-6, err_msg=name)


def test_a_truncated_minibatch_is_said():
    for batch_size, whole, rest in ((5, 1, 3), (7, 1, 1), (9, 0, 8)):
        with pytest.warns(UserWarning, match=f"after every {whole} whole .* a truncated minibatch of size {rest}"):
            PPO(n_steps=T, batch_size=batch_size).validate(spec_of("box"))


@pytest.fixture
def box_rollout(numerics):
    """An algorithm with a fast learning rate, a learner and its own rollout."""

    def prepare(**settings):
        algorithm = PPO(learning_rate=Linear(0.05, 0.05), **(SMALL | settings)).at(Clock.of(0, 1))
        learner = learner_of(algorithm, "box")
        return algorithm, learner, with_log_probs(numerics, algorithm, "box", learner, rollout("box"))

    return prepare


@pytest.mark.slow
def test_keys_shuffle_minibatches_and_nothing_else(numerics, box_rollout):
    """Another key is another order of minibatches; where there is only one, it changes nothing."""
    for batch_size, alike in ((T * B, True), (2, False)):
        algorithm, learner, batch = box_rollout(n_epochs=3, batch_size=batch_size)
        one, other = (numerics.flat(UPDATE(algorithm, learner, batch, jax.random.key(k))[0].network) for k in (0, 1))
        assert np.allclose(one, other, rtol=1e-9) == alike


def test_target_kl_stops_the_updates(numerics, box_rollout):
    """The first minibatch has moved nothing yet and counts; the policy is then too far, and the rest is skipped."""
    algorithm, learner, batch = box_rollout(n_epochs=3, target_kl=1e-9)
    stopped, _ = UPDATE(algorithm, learner, batch, KEY)
    algorithm, *_ = box_rollout(n_epochs=1)
    once, _ = UPDATE(algorithm, learner, batch, KEY)
    for part in ("network", "optimizer"):
        np.testing.assert_allclose(
            numerics.flat(getattr(stopped, part)), numerics.flat(getattr(once, part)), rtol=1e-9, atol=1e-12
        )


def test_a_distant_target_kl_stops_nothing(numerics, box_rollout):
    algorithm, learner, batch = box_rollout(n_epochs=3, target_kl=1e9)
    limited, _ = UPDATE(algorithm, learner, batch, KEY)
    algorithm, *_ = box_rollout(n_epochs=3)
    free, _ = UPDATE(algorithm, learner, batch, KEY)
    np.testing.assert_allclose(numerics.flat(limited.network), numerics.flat(free.network), rtol=1e-9)


def test_updates_stop_at_one_and_a_half_times_target_kl(box_rollout):
    """The first of two minibatches has moved nothing yet, so the mean of the two is half of what the second finds."""
    algorithm, learner, batch = box_rollout(n_epochs=2, target_kl=1e9)
    found = 2 * UPDATE(algorithm, learner, batch, KEY)[1]["approx_kl"]
    for share, taken in ((1.4, 2), (1.6, 1)):
        algorithm, *_ = box_rollout(n_epochs=2, target_kl=float(found / share))
        assert UPDATE(algorithm, learner, batch, KEY)[0].updates == taken


def test_updates_are_counted_where_target_kl_skips_some(box_rollout):
    """``updates`` are the gradient steps so far: one, when all after the first were skipped."""
    algorithm, learner, batch = box_rollout(n_epochs=3, target_kl=1e-9)
    stopped, metrics = UPDATE(algorithm, learner, batch, KEY)
    assert stopped.updates == 1
    assert metrics["n_updates"] == 1


# Acting


def test_the_stored_action_and_its_log_prob_are_those_before_clipping():
    """The policy's choice reaches far beyond the pendulum's torque: the environment clips it, learning does not."""
    environment, n = Pendulum(), 64
    with jax.enable_x64(False):
        algorithm = PPO(net_arch=(5,), log_std_init=2.0)
        spec = EnvironmentSpec("pendulum", environment.observation_space, environment.action_space, n)

        @jax.jit
        def one_step():
            learner, world = algorithm.init(KEY, spec), start_episodes(environment, KEY, n)
            step, after = act_and_step(algorithm, environment, learner, world, KEY, explore=True)
            clipped = jnp.clip(step.action, -2, 2)
            expected = jax.vmap(environment.step)(world.env_state, clipped, jax.random.split(KEY, n))
            policy, _ = learner.network(inputs(algorithm, learner, world.observation))
            return step, after, expected, policy.mode()

        step, after, expected, mean = one_step()
    assert (abs(step.action) > 2).mean() > 0.5
    np.testing.assert_allclose(step.extras, stats.norm(mean, np.exp(2)).logpdf(step.action).sum(-1), rtol=1e-5)
    np.testing.assert_allclose(after.observation, expected.observation, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(step.reward, expected.reward, rtol=1e-5)


def test_acting_normalises_and_masks(numerics):
    """Greedy actions are the best legal ones for normalised observations, and come with their log-probability."""
    algorithm = PPO(normalize_observation=True, **SMALL)
    learner = learner_of(algorithm, "discrete")
    rng = np.random.default_rng(0)
    learner = learner._replace(observation_moments=RunningMoments.start((3,)).merge(rng.normal(5, 3, (50, 3))))
    x, mask = rng.normal(5, 3, (500, 3)).astype(np.float32), masks(rng, (500,))
    observation = {"x": x, "action_mask": mask.astype(np.int8)}
    outputs = numerics.mlp(learner.network.actor, numpy_inputs(algorithm, learner, observation), np.tanh)
    for explore in (False, True):
        decision = algorithm.act(learner, observation, (), KEY, explore=explore)
        action = np.asarray(decision.action)
        assert mask[np.arange(500), action - 2].all()
        log_prob, _ = log_prob_and_entropy("discrete", outputs, None, action, mask)
        np.testing.assert_allclose(decision.extras, log_prob, rtol=1e-6)
        assert (action - 2 == np.where(mask, outputs, -np.inf).argmax(-1)).all() == (not explore)


# Refusals


@pytest.mark.parametrize(
    ("settings", "observation", "action", "message"),
    [
        ({"batch_size": 1}, BOX, spaces.Discrete(2), r"nothing to learn with minibatches of 1 step"),
        ({}, BOX, spaces.Box(-np.inf, 1, (2,)), r"^PPO needs finite action bounds, the environment has Box"),
        ({}, BOX, spaces.Text(3), r"^PPO needs a Discrete or MultiDiscrete or MultiBinary or Box action space"),
        ({}, spaces.Tuple([BOX]), spaces.Discrete(2), r"^observation space Tuple.* is not supported"),
        ({"activation": "swish"}, BOX, spaces.Discrete(2), r"swish"),
        ({"batch_size": 0}, BOX, spaces.Discrete(2), r"batch_size"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(settings, observation, action, message):
    with pytest.raises(TeguError, match=message) as caught:
        PPO(**settings).validate(EnvironmentSpec("test", observation, action, n_envs=B))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ACTIONS)
def test_what_fits_is_accepted(kind):
    PPO(**SMALL).validate(spec_of(kind))
    assert PPO(n_steps=7).experience.n_steps == 7
