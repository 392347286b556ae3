"""SAC against a re-implementation in NumPy float64, for continuous and discrete actions, and TQC's target."""

import given_noise
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces
from scipy import special, stats

import tegu
from tegu.algorithms.action_kinds import action_kind
from tegu.algorithms.critics import truncated
from tegu.core.auto import Auto
from tegu.core.errors import TeguError
from tegu.core.schedule import Clock
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Step

KEY, N = jax.random.key(0), 6
SEEN = spaces.Box(-9, 9, (3,))
BOX = EnvironmentSpec("box", SEEN, spaces.Box(-2, 2, (2,)))
MASKED = spaces.Dict({"action_mask": spaces.MultiBinary(4), "x": SEEN})
CHOICE = EnvironmentSpec("choice", MASKED, spaces.Discrete(4, start=2))
SMALL = {"net_arch": (5,), "batch_size": N, "learning_starts": 10, "gamma": 0.9, "tau": 0.1, "learning_rate": 1e-2}

in_float64 = pytest.mark.usefixtures("x64")


def steps(spec, seed=0):
    rng = np.random.default_rng(seed)
    seen, following = (rng.normal(size=(N, 3)).astype(np.float32) for _ in range(2))
    action = rng.uniform(-2, 2, (N, 2)).astype(np.float32)
    if spec is CHOICE:
        legal = rng.random((N, 4)) < 0.7
        legal[:, 1] = True  # one always is
        seen, following = ({"action_mask": legal, "x": x} for x in (seen, following))
        action = np.full(N, 3, np.int32)
    return Step(seen, action, rng.normal(size=N).astype(np.float32), following, rng.random(N) < 0.3, np.zeros(N, bool))


def learner_of(algorithm, spec):
    """A learner whose targets are not its networks."""
    learner, other = (algorithm.init(jax.random.key(seed), spec) for seed in (0, 1))
    return learner._replace(target_critics=other.critics)


def relu(x):
    return np.maximum(x, 0)


class Box:
    """Expectations over the policy are of one action, drawn with given noise."""

    def __init__(self, numerics):
        self.numerics = numerics

    def taken(self, critic, rows):
        return self.value(critic, rows.observation, rows.action / 2)

    def value(self, critic, seen, unit):
        return self.numerics.mlp(critic.mlp, np.concatenate([seen, unit], axis=1), relu)[:, 0]

    def expected(self, actor, critics, seen, noise):
        mean, log_std = np.split(self.numerics.mlp(actor.mlp, seen, relu), 2, axis=1)
        action = np.tanh(mean + np.exp(log_std) * noise)
        density = stats.norm.logpdf(mean + np.exp(log_std) * noise, mean, np.exp(log_std)) - np.log(1 - action**2)
        return np.min([self.value(critic, seen, action) for critic in critics], axis=0), -density.sum(axis=1)


class Choice:
    """Expectations over the policy are sums over the legal actions."""

    def __init__(self, numerics):
        self.numerics = numerics

    def taken(self, critic, rows):
        return self.numerics.mlp(critic.mlp, rows.observation["x"], relu)[:, 1]

    def expected(self, actor, critics, seen, noise):
        logits = np.where(seen["action_mask"], self.numerics.mlp(actor.mlp, seen["x"], relu), -np.inf)
        values = np.min([self.numerics.mlp(critic.mlp, seen["x"], relu) for critic in critics], axis=0)
        probability = special.softmax(logits, axis=1)
        return (probability * values).sum(axis=1), special.entr(probability).sum(axis=1)


@in_float64
@pytest.mark.parametrize(("kind", "spec"), [(Box, BOX), (Choice, CHOICE)])
def test_two_updates_are_numpys(numerics, kind, spec):
    """Soft target, gradients by finite differences (the actor's through the new critics), and the coefficient's."""
    kind, algorithm = kind(numerics), tegu.SAC(**SMALL, ent_coef=Auto(0.3))
    learner = learner_of(algorithm, spec)
    actor, critics, target_critics = jax.tree.map(np.asarray, learner[:3])
    log_ent_coef = np.log(0.3)
    of_actor, of_critics, of_coefficient = (numerics.Adam(np.inf, 1e-8) for _ in range(3))
    for update in (1, 2):
        rows, noise = steps(spec, update), np.random.default_rng(update).normal(size=(2, N, 2))
        legal = rows.observation["action_mask"].sum(axis=1) if spec is CHOICE else None
        wanted = -2 if legal is None else 0.98 * np.log(legal).mean()
        ent_coef = np.exp(log_ent_coef)
        future, entropy = kind.expected(actor, target_critics, rows.next_observation, noise[0])
        target = rows.reward + 0.9 * np.where(rows.terminated, 0, future + ent_coef * entropy)

        def critic_loss(nets, rows=rows, target=target):
            return sum(0.5 * ((kind.taken(net, rows) - target) ** 2).mean() for net in nets)

        expected = {"critic_loss": critic_loss(critics), "ent_coef": ent_coef}
        critics = of_critics.step(critics, numerics.gradient(critic_loss, critics), 1e-2)

        def actor_loss(net, rows=rows, noise=noise, critics=critics, ent_coef=ent_coef):
            value, entropy = kind.expected(net, critics, rows.observation, noise[1])
            return -(value + ent_coef * entropy).mean()

        expected["actor_loss"] = actor_loss(actor)
        expected["entropy"] = kind.expected(actor, critics, rows.observation, noise[1])[1].mean()
        expected["ent_coef_loss"] = log_ent_coef * (expected["entropy"] - wanted)
        actor = of_actor.step(actor, numerics.gradient(actor_loss, actor), 1e-2)
        log_ent_coef = of_coefficient.step(log_ent_coef, np.array([expected["entropy"] - wanted]), 1e-2)
        blended = 0.9 * numerics.flat(target_critics) + 0.1 * numerics.flat(critics)
        target_critics = numerics.unflat(blended, target_critics)

        learner, metrics = given_noise.update(algorithm, learner, rows, list(noise) if spec is BOX else [])
        for name, figure in expected.items():
            np.testing.assert_allclose(metrics[name], figure, rtol=1e-5, err_msg=name)
        for ours, theirs in zip(learner[:4], (actor, critics, target_critics, log_ent_coef), strict=True):
            np.testing.assert_allclose(numerics.flat(ours), numerics.flat(theirs), rtol=1e-4, atol=1e-6)


@in_float64
def test_the_entropy_coefficient_brings_the_entropy_to_its_target():
    """It falls while the entropy is above the target, rises while it is below, and stands still at it."""
    algorithm, rows, noise = tegu.SAC(**SMALL, target_entropy=0.0), steps(BOX), list(np.ones((2, N, 2), np.float32))
    learner = learner_of(algorithm, BOX)
    learned = {}
    entropy = float(given_noise.update(algorithm, learner, rows, noise)[1]["entropy"])
    for off in (-0.5, 0.0, 0.5):
        aimed = tegu.SAC(**SMALL, target_entropy=entropy + off)
        learned[off] = float(given_noise.update(aimed, learner, rows, noise)[0].log_ent_coef)
    np.testing.assert_allclose([learned[-0.5], learned[0.5]], [-0.01, 0.01], rtol=1e-4)
    assert abs(learned[0.0]) < 1e-4


def test_the_target_entropy_is_of_what_is_legal():
    """0.98 log n of as many choices as each observation allows; a Box has minus its number of actions."""
    mask = np.array([[1, 1, 0, 0], [1, 1, 1, 1], [0, 0, 0, 1]], np.int8)
    choices, box = action_kind(spaces.Discrete(4)), action_kind(spaces.Box(-1, 1, (2, 3)))
    np.testing.assert_allclose(choices.target_entropy(None), 0.98 * np.log(4), rtol=1e-6)
    np.testing.assert_allclose(choices.target_entropy(jnp.array(mask)), 0.98 * np.log([2, 4, 1]).mean(), rtol=1e-6)
    assert box.target_entropy(None) == -6


@pytest.mark.slow
def test_a_given_entropy_coefficient_stays_and_targets_wait_for_their_interval(numerics):
    algorithm = tegu.SAC(**SMALL, ent_coef=0.25, target_update_interval=2)
    learner = learner_of(algorithm, CHOICE)
    for number in (1, 2):
        before, (learner, metrics) = learner, given_noise.update(algorithm, learner, steps(CHOICE, number), [])
        assert metrics["ent_coef"] == 0.25
        assert "ent_coef_loss" not in metrics
        same = numerics.flat(learner.target_critics) == numerics.flat(before.target_critics)
        assert same.all() if number == 1 else not same.all()


def test_tqc_pools_sorts_and_drops_quantiles():
    quantiles = np.random.default_rng(0).normal(size=(3, 7, 5))
    pooled = np.concatenate(list(quantiles), axis=1)
    np.testing.assert_allclose(truncated(jnp.asarray(quantiles), 2), np.sort(pooled, axis=1)[:, :9], rtol=1e-6)


# Acting


@pytest.mark.slow
@pytest.mark.parametrize("spec", [BOX, CHOICE])
def test_actions_are_the_policys_and_uniform_before_learning_starts(spec):
    algorithm, many = tegu.SAC(**SMALL), 20_000
    learner = algorithm.init(KEY, spec)
    seen = jax.tree.map(lambda leaf: jnp.repeat(leaf[:1], many, axis=0), steps(spec).observation)
    policy = jax.tree.map(lambda leaf: leaf, learner.actor(jax.tree.map(lambda leaf: leaf[0], seen)))
    act = jax.jit(
        lambda algorithm, key, explore: algorithm.act(learner, seen, (), key, explore=explore).action, static_argnums=2
    )
    random, drawn, greedy = (
        np.asarray(act(algorithm.at(Clock.of(at, 100)), KEY, explore))
        for at, explore in ((0, True), (50, True), (50, False))
    )
    if spec is BOX:
        normals = np.arctanh(drawn / 2)
        for i in range(2):
            assert stats.kstest(random[:, i], "uniform", (-2, 4)).pvalue > 1e-3
            assert stats.kstest(normals[:, i], "norm", (policy.mean[i], np.exp(policy.log_std[i]))).pvalue > 1e-3
        np.testing.assert_allclose(greedy[0], 2 * np.tanh(policy.mean), rtol=1e-5)
    else:
        legal = np.flatnonzero(np.asarray(seen["action_mask"][0])) + 2
        probability = special.softmax(np.asarray(policy.logits, float))[legal - 2]
        for found, expected in ((random, np.full(len(legal), 1 / len(legal))), (drawn, probability)):
            counts = [(found == action).sum() for action in legal]
            assert sum(counts) == many
            assert stats.chisquare(counts, expected / expected.sum() * many).pvalue > 1e-3
        assert (greedy == legal[probability.argmax()]).all()


# What it is declared as


def test_auto_is_text_in_files_and_on_the_command_line():
    for text, initial in (("auto", None), ("auto_0.1", 0.1)):
        made = tegu.algorithms.registry.algorithm("sac", {"ent_coef": text})
        assert made.ent_coef == Auto(initial)
        assert tegu.algorithms.hyper_parameters.hyper_parameters(made)["ent_coef"] == text


@pytest.mark.parametrize(
    ("name", "settings", "spec", "message"),
    [
        ("sac", {"ent_coef": "auto_0"}, BOX, "^sac: ent_coef must be a number, auto, or auto_0.1"),
        ("sac", {"ent_coef": -1.0}, BOX, "^SAC: ent_coef must be at least 0, got -1.0"),
        ("sac", {"target_entropy": "auto_2"}, BOX, "^SAC: target_entropy must be a number or auto, got auto_2.0"),
        ("tqc", {}, CHOICE, "^TQC: n_quantiles needs a Box action space"),
        ("tqc", {"top_quantiles_to_drop_per_net": 25}, BOX, "^TQC: top_quantiles_to_drop_per_net must be below"),
        ("sac", {}, EnvironmentSpec("", SEEN, spaces.MultiBinary(2)), "^SAC needs a Box or Discrete action space"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(name, settings, spec, message):
    with pytest.raises(TeguError, match=message) as caught:
        tegu.algorithms.registry.algorithm(name, settings).validate(spec)
    assert "\n" not in str(caught.value)


# Training


@pytest.mark.long
@pytest.mark.parametrize("name", ["sac", "tqc"])
def test_it_swings_the_pendulum_up(name):
    """On average over three seeds: a random policy earns about -1,200, and a seed is late now and then."""
    settings = {"steps": 10_000, "n_envs": 1, "net_arch": [64, 64], "batch_size": 64, "learning_starts": 500}
    settings |= {"learning_rate": 1e-3, "buffer_size": 10_000, "folder": None}
    assert tegu.train("Pendulum-v1", name, seed=20, seeds=3, **settings).evaluate(20).mean >= -600
