"""What REDQ, DroQ, CrossQ and SimBa change in soft actor-critic, against NumPy float64."""

from itertools import combinations

import given_noise
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces
from scipy import stats

import tegu
from tegu.algorithms.critics import subset
from tegu.core.auto import Auto
from tegu.core.errors import TeguError
from tegu.core.schedule import Clock
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Step
from tegu.nn.batch_norm import WARM_UP

KEY, N = jax.random.key(0), 6
BOX = EnvironmentSpec("box", spaces.Box(-9, 9, (3,)), spaces.Box(-2, 2, (2,)))
CHOICE = EnvironmentSpec("choice", spaces.Box(-9, 9, (3,)), spaces.Discrete(3))
SMALL = {"net_arch": (4,), "critic_arch": (4,), "batch_size": N, "learning_starts": 10, "gamma": 0.9, "tau": 0.1}
SMALL |= {"learning_rate": 1e-2, "ent_coef": 0.25}

in_float64 = pytest.mark.usefixtures("x64")


def steps(seed=0):
    rng = np.random.default_rng(seed)
    seen, following = (rng.normal(1, 2, size=(N, 3)).astype(np.float32) for _ in range(2))
    action, reward = rng.uniform(-2, 2, (N, 2)).astype(np.float32), rng.normal(size=N).astype(np.float32)
    return Step(seen, action, reward, following, rng.random(N) < 0.3, np.zeros(N, bool))


def noise(seed=0):
    return list(np.random.default_rng(seed).normal(size=(2, N, 2)))


def learner_of(algorithm, spec=BOX):
    """A learner whose targets, if it has any, are not its networks."""
    learner, other = (algorithm.init(jax.random.key(seed), spec) for seed in (0, 1))
    return learner._replace(target_critics=other.target_critics)


def relu(x):
    return np.maximum(x, 0)


def drawn(outputs, noise):
    """Actions and their log-density, from what an actor says."""
    mean, log_std = np.split(outputs, 2, axis=1)
    normal = mean + np.exp(log_std) * noise
    density = stats.norm.logpdf(normal, mean, np.exp(log_std)) - np.log(1 - np.tanh(normal) ** 2)
    return np.tanh(normal), density.sum(axis=1)


# REDQ


def test_every_subset_is_as_likely():
    values = jnp.arange(4)
    found = np.asarray(jax.vmap(lambda key: jnp.sort(subset(values, 2, key)))(jax.random.split(KEY, 6000)))
    counts = [(found == pair).all(axis=1).sum() for pair in combinations(range(4), 2)]
    assert sum(counts) == 6000
    assert stats.chisquare(counts).pvalue > 1e-3
    assert subset(values, 0, KEY) is values


@pytest.mark.slow
@in_float64
def test_redqs_target_is_of_two_critics_and_its_actor_climbs_the_mean(numerics):
    algorithm = tegu.REDQ(**SMALL, n_critics=4, policy_delay=1)
    learner, rows, (first, second) = learner_of(algorithm), steps(), noise()
    learner = learner._replace(target_critics=jax.tree.map(lambda leaf: 3 * leaf, learner.target_critics))
    after, metrics = given_noise.update(algorithm, learner, rows, [first, second])

    def values(critics, seen, action):
        x = np.concatenate([seen, action], axis=1)
        return np.array([numerics.mlp(critic.mlp, x, relu)[:, 0] for critic in critics])

    next_action, log_prob = drawn(numerics.mlp(learner.actor.mlp, rows.next_observation, relu), first)
    future = values(learner.target_critics, rows.next_observation, next_action)
    found = values(learner.critics, rows.observation, rows.action / 2)
    losses = []
    for pair in combinations(range(4), 2):
        lowest = future[list(pair)].min(axis=0)
        target = rows.reward + 0.9 * np.where(rows.terminated, 0, lowest - 0.25 * log_prob)
        losses.append(0.5 * ((found - target) ** 2).mean(axis=1).sum())
    assert min(abs(losses - np.float64(metrics["critic_loss"]))) < 1e-6 * losses[0]
    assert len(set(np.round(losses, 9))) > 3, "pairs can hardly be told apart"
    action, log_prob = drawn(numerics.mlp(learner.actor.mlp, rows.observation, relu), second)
    climbed = values(after.critics, rows.observation, action).mean(axis=0)
    np.testing.assert_allclose(metrics["actor_loss"], (0.25 * log_prob - climbed).mean(), rtol=1e-6)


@pytest.mark.slow
def test_a_delayed_actor_waits_with_its_coefficient_and_its_metrics(numerics):
    algorithm = tegu.SAC(**{**SMALL, "ent_coef": Auto(0.3)}, policy_delay=3)
    learner = algorithm.init(KEY, BOX)
    for number in range(1, 7):
        before, (learner, metrics) = learner, given_noise.update(algorithm, learner, steps(number), noise(number))
        for part in ("actor", "log_ent_coef", "actor_optimizer", "ent_coef_optimizer"):
            same = (numerics.flat(getattr(before, part)) == numerics.flat(getattr(learner, part))).all()
            assert same == (number % 3 != 0), (number, part)
        assert (numerics.flat(before.critics) != numerics.flat(learner.critics)).any()
        assert (numerics.flat(before.target_critics) != numerics.flat(learner.target_critics)).any()
        for name, figure in learner.policy_metrics.items():
            assert metrics[name] == figure
            assert (figure == before.policy_metrics[name]) == (number % 3 != 0), name
    assert tegu.SAC(**SMALL, policy_delay=1).init(KEY, BOX).policy_metrics == {}


# DroQ


@pytest.mark.slow
@in_float64
def test_dropout_is_in_the_critics_wherever_they_learn_and_nowhere_else(numerics):
    """In the target, the prediction and the actor's loss; the actor has none, nor has what is said of returns."""
    # critics that stay: what the actor climbs differs by the dropout in them alone
    given = SMALL | {"policy_delay": 1, "learning_rate": 0.0}
    plain, full, thin = (tegu.DroQ(**given, critic_dropout=rate) for rate in (None, 0.0, 0.4))
    learner, rows = learner_of(plain), steps()
    kept, same, dropped = (given_noise.update(algorithm, learner, rows, noise()) for algorithm in (plain, full, thin))
    np.testing.assert_array_equal(numerics.flat(kept), numerics.flat(same))
    assert kept[1]["q_mean"] != dropped[1]["q_mean"]
    assert kept[1]["actor_loss"] != dropped[1]["actor_loss"]
    silent = learner._replace(critics=jax.tree.map(jnp.zeros_like, learner.critics))  # the error is the target's size
    kept, dropped = (given_noise.update(algorithm, silent, rows, noise()) for algorithm in (plain, thin))
    assert kept[1]["q_mean"] == dropped[1]["q_mean"] == 0
    assert kept[1]["td_error"] != dropped[1]["td_error"]
    for explore in (False, True):
        actions = [
            algorithm.at(Clock.of(50, 100)).act(learner, rows.observation, (), KEY, explore=explore).action
            for algorithm in (plain, thin)
        ]
        np.testing.assert_array_equal(*actions)
    returns = [algorithm.expected_return(learner, rows.observation, ()).value for algorithm in (plain, thin)]
    np.testing.assert_array_equal(*returns)


# CrossQ


def normalising(mlp, x, norms=None):
    """What a network with batch normalisation says: by the batch's statistics, or by running ones."""
    for i, (weight, bias) in enumerate(zip(mlp.layers.weights, mlp.layers.biases, strict=True)):
        mean, variance = (x.mean(0), x.var(0)) if norms is None else (norms[i].mean, norms[i].variance)
        x = (x - mean) / np.sqrt(variance + 1e-3) * mlp.norms[i].scale + mlp.norms[i].bias
        x = x @ weight + bias
        x = relu(x) if i < len(mlp.layers.weights) - 1 else x
    return x


@pytest.mark.slow
@in_float64
def test_two_updates_of_crossq_are_numpys(numerics):
    """One batch of both steps, whose second half gives the target without a gradient of its own; no target networks;
    Adam with b1 = 0.5; the next action by the actor's running statistics, the actor's loss by the critics'."""
    algorithm = tegu.CrossQ(**SMALL, policy_delay=1)
    learner = learner_of(algorithm)
    assert learner.target_critics == ()
    of_actor, of_critics = (numerics.Adam(np.inf, 1e-8, b1=0.5) for _ in range(2))
    for update in (1, 2):
        actor, critics = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), learner[:2])
        rows, (first, second) = steps(update), noise(update)
        following = normalising(actor.mlp, rows.next_observation, actor.mlp.norms)
        next_action, log_prob = drawn(following, first)
        now = np.concatenate([rows.observation, rows.action / 2], axis=1)
        both = np.concatenate([now, np.concatenate([rows.next_observation, next_action], axis=1)])
        future = np.min([normalising(critic.mlp, both)[N:, 0] for critic in critics], axis=0)
        target = rows.reward + 0.9 * np.where(rows.terminated, 0, future - 0.25 * log_prob)

        def critic_loss(nets, both=both, target=target):
            return sum(0.5 * ((normalising(net.mlp, both)[:N, 0] - target) ** 2).mean() for net in nets)

        stepped = of_critics.step(critics, numerics.gradient(critic_loss, critics), 1e-2)
        new, metrics = given_noise.update(algorithm, learner, rows, [first, second])
        np.testing.assert_allclose(metrics["critic_loss"], critic_loss(critics), rtol=1e-6)
        new_critics = jax.tree.map(np.asarray, new.critics)

        def actor_loss(net, rows=rows, second=second, critics=new_critics):
            action, log_prob = drawn(normalising(net.mlp, rows.observation), second)
            x = np.concatenate([rows.observation, action], axis=1)
            value = np.min([normalising(critic.mlp, x, critic.mlp.norms) for critic in critics], axis=0)[:, 0]
            return (0.25 * log_prob - value).mean()

        np.testing.assert_allclose(metrics["actor_loss"], actor_loss(actor), rtol=1e-5)
        moved = of_actor.step(actor, numerics.gradient(actor_loss, actor), 1e-2)
        for expected, found in zip((*stepped, moved), (*new.critics, new.actor), strict=True):
            np.testing.assert_allclose(
                numerics.flat(found.mlp.layers), numerics.flat(expected.mlp.layers), rtol=1e-4, atol=1e-6
            )
        for i, critic in enumerate(new.critics):
            mean = 0.99 * critics[i].mlp.norms[0].mean + 0.01 * both.mean(0)
            np.testing.assert_allclose(critic.mlp.norms[0].mean, mean, rtol=1e-6)
        variance = 0.99 * actor.mlp.norms[0].variance + 0.01 * rows.observation.var(0)
        np.testing.assert_allclose(new.actor.mlp.norms[0].variance, variance, rtol=1e-6)
        learner = new
    alone = algorithm.act(learner, rows.observation[:1], (), KEY, explore=False).action
    by_running = normalising(learner.actor.mlp, rows.observation[:1], learner.actor.mlp.norms)
    np.testing.assert_allclose(alone, 2 * np.tanh(by_running[:, :2]), rtol=1e-6)


@in_float64
def test_crossq_renormalises_once_it_is_warm():
    algorithm = tegu.CrossQ(**SMALL, policy_delay=1)
    learner = learner_of(algorithm)
    losses = [
        given_noise.update(algorithm, learner._replace(updates=jnp.int32(updates)), steps(), noise())[1]["critic_loss"]
        for updates in (0, WARM_UP - 1, WARM_UP)
    ]
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]


# SimBa


@pytest.mark.slow
@in_float64
def test_weights_decay_apart_from_the_gradient(numerics):
    """And by the learning rate: AdamW."""
    plain, decaying = (tegu.SAC(**SMALL, weight_decay=decay) for decay in (None, 0.3))
    learner = learner_of(plain)
    kept, decayed = (given_noise.update(algorithm, learner, steps(), noise())[0] for algorithm in (plain, decaying))
    difference = numerics.flat(kept.critics) - numerics.flat(decayed.critics)
    np.testing.assert_allclose(difference, 1e-2 * 0.3 * numerics.flat(learner.critics), rtol=1e-6, atol=1e-9)


@pytest.mark.slow
@in_float64
def test_observations_are_standardised_wherever_they_are_seen(numerics):
    """As if the environment had given them so; statistics are of all that was stored."""
    plain, standardising = (tegu.SAC(**SMALL, normalize_observation=on) for on in (False, True))
    learner = learner_of(standardising)
    seen = np.concatenate([steps(seed).observation for seed in (1, 2)])
    for seed in (1, 2):
        rows = jax.tree.map(lambda leaf: leaf[None], steps(seed))
        learner, kept = standardising.take(learner, rows)
        assert kept is rows
    np.testing.assert_allclose(learner.observation_moments.mean, seen.mean(0), rtol=1e-3)
    np.testing.assert_allclose(learner.observation_moments.variance, seen.var(0), rtol=1e-3)

    def standard(x):
        return (x - np.asarray(learner.observation_moments.mean)) / np.sqrt(learner.observation_moments.variance)

    rows, raw = steps(3), learner._replace(observation_moments=())
    by_hand = rows._replace(observation=standard(rows.observation), next_observation=standard(rows.next_observation))
    ours, theirs = (
        given_noise.update(algorithm, before, given, noise())
        for algorithm, before, given in ((standardising, learner, rows), (plain, raw, by_hand))
    )
    np.testing.assert_allclose(numerics.flat(ours[0].critics), numerics.flat(theirs[0].critics), rtol=1e-5)
    np.testing.assert_allclose(numerics.flat(ours[0].actor), numerics.flat(theirs[0].actor), rtol=1e-5, atol=1e-8)
    asked = [
        (
            algorithm.act(before, given.observation, (), KEY, explore=False).action,
            algorithm.expected_return(before, given.observation, ()).value,
            algorithm.diagnose(before, given)["dead_units"],
        )
        for algorithm, before, given in ((standardising, learner, rows), (plain, raw, by_hand))
    ]
    for one, other in zip(*asked, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


# What is refused


def own(key, spec):
    return ()


IMAGES = EnvironmentSpec("", spaces.Box(0, 255, (36, 36, 3), np.uint8), spaces.Box(-1, 1, (1,)))


@pytest.mark.parametrize(
    ("name", "settings", "spec", "message"),
    [
        ("redq", {"target_subset": 11}, BOX, "^REDQ: target_subset must be at most n_critics, 10, got 11"),
        ("sac", {"target_subset": -1}, BOX, "^SAC: target_subset must be from 0 to 1,000, got -1"),
        ("sac", {"actor_value": "max"}, BOX, "^SAC: actor_value must be one of min, mean, got 'max'"),
        ("sac", {"policy_delay": 0}, BOX, "^SAC: policy_delay must be at least 1, got 0"),
        ("droq", {"critic_dropout": 1.0}, BOX, "^DroQ: critic_dropout must be from 0 to 0.999, got 1.0"),
        ("droq", {"batch_norm": True}, BOX, "^DroQ: batch_norm cannot be used with critic_layer_norm"),
        ("crossq", {}, CHOICE, "^CrossQ with batch_norm needs a Box action space"),
        ("crossq", {"batch_size": 1}, BOX, "^CrossQ: batch_norm leaves nothing to learn with batch_size 1"),
        ("crossq", {"adam_b1": 1.0}, BOX, "^CrossQ: adam_b1 must be from 0 to 0.999, got 1.0"),
        (
            "crossq",
            {"architecture": "simba", "net_arch": [8]},
            BOX,
            "^CrossQ: architecture cannot be used with batch_norm",
        ),
        ("simba", {"architecture": "bro"}, BOX, "^SimBa: architecture must be one of mlp, simba, got 'bro'"),
        ("simba", {"critic_arch": [8, 4]}, BOX, "^SimBa: architecture simba needs hidden layers of one width"),
        ("simba", {"net_arch": []}, BOX, "^SimBa: architecture simba needs hidden layers of one width"),
        ("simba", {"critic_arch": []}, BOX, "^SimBa: architecture simba needs hidden layers of one width"),
        ("simba", {"weight_decay": -1.0}, BOX, "^SimBa: weight_decay must be at least 0, got -1.0"),
        ("simba", {}, IMAGES, "^SimBa: normalize_observation needs a Box of floats without images"),
        ("simba", {"network": own}, BOX, "^SimBa: architecture needs Tegu's network"),
        (
            "sac",
            {"network": own, "normalize_observation": True},
            BOX,
            "^SAC: normalize_observation needs Tegu's network",
        ),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(name, settings, spec, message):
    with pytest.raises(TeguError, match=message) as caught:
        tegu.algorithms.registry.algorithm(name, settings).validate(spec)
    assert "\n" not in str(caught.value)


# Training


@pytest.mark.long
@pytest.mark.parametrize("name", ["redq", "droq", "crossq", "simba"])
def test_it_swings_the_pendulum_up(name):
    """On average over three seeds: a random policy earns about -1,200, and a seed is late now and then."""
    steps = 8_000 if name == "crossq" else 4_000
    settings = {"steps": steps, "n_envs": 1, "batch_size": 64, "learning_starts": 500, "learning_rate": 1e-3}
    settings |= {"net_arch": [64], "critic_arch": [64, 64], "buffer_size": 10_000, "folder": None}
    settings |= {"gradient_steps": 5, "policy_delay": 5} if name in ("redq", "droq") else {}
    settings |= {"n_critics": 4} if name == "redq" else {}
    assert tegu.train("Pendulum-v1", name, seed=20, seeds=3, **settings).evaluate(20).mean >= -600
