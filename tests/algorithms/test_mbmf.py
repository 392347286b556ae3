"""MBMF: what each stage hands on, whose actions are imitated, the imitation's loss in NumPy, and a small world."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from algorithms.conftest import iterated
from point_world import Point

import tegu
from tegu.algorithms.mbmf import FINE_TUNING, IMITATION, MODEL, Demonstration, imitation_loss
from tegu.algorithms.registry import algorithm
from tegu.core.errors import TeguError
from tegu.core.schedule import Clock
from tegu.core.step import Step
from tegu.experience.base import Replay, Rollout
from tegu.nn.distributions import Categorical, DiagonalGaussian, Reshaped
from tegu.training.plan import spec_of

KEY = jax.random.key(0)
SMALL = {"horizon": 3, "n_candidates": 8, "model_arch": (8,), "net_arch": (8,), "buffer_size": 64, "batch_size": 16}
SMALL |= {"learning_starts": 8, "train_freq": 8, "gradient_steps": 2, "imitation_gradient_steps": 2, "n_steps": 8}


@pytest.fixture(params=["CartPole-v1", "Pendulum-v1"])
def world(request):
    return tegu.make(request.param)


def made(**more):
    return algorithm("mbmf", SMALL | more)


# The stages


@pytest.mark.parametrize(
    ("model", "imitation", "shares"),
    [
        (0.1, 0.1, {MODEL: 100, IMITATION: 101, FINE_TUNING: 804}),
        (0.335, 0.33, {MODEL: 337, IMITATION: 331, FINE_TUNING: 337}),
        (0.5, 0.5, {MODEL: 502, IMITATION: 503}),
        (0.0, 0.0, {FINE_TUNING: 1005}),
    ],
)
def test_stages_share_all_the_steps(model, imitation, shares):
    spec = spec_of("CartPole-v1", tegu.make("CartPole-v1"), 1)
    stages = made(model_fraction=model, imitation_fraction=imitation).stages(spec, 1005)
    assert {stage.algorithm.stage: stage.steps for stage in stages} == shares
    assert sum(stage.steps for stage in stages) == 1005
    for stage in stages:
        assert stage.environment is stage.hand_over is None
        assert isinstance(stage.algorithm.experience, Rollout if stage.algorithm.stage == FINE_TUNING else Replay)


@pytest.mark.parametrize(
    ("stage", "fine_tune"), [(MODEL, "trpo"), (IMITATION, "trpo"), (FINE_TUNING, "trpo"), (FINE_TUNING, "ppo")]
)
def test_every_stage_keeps_the_learners_types(world, stage, fine_tune):
    """So that stages can hand it on, and the learner is the same in all."""
    falling = dict.fromkeys(("learning_rate", "model_learning_rate", "imitation_learning_rate"), "lin_1e-3")
    one = replace(made(fine_tune=fine_tune, normalize_observation=True, **falling), stage=stage)
    assert {"learning_rate", "n_updates"} <= iterated(one, world, spec_of(world.id, world, 2)).keys()


class Kept:
    """An observer of what is learned after every thousand steps."""

    every = 1000

    def __init__(self):
        self.learners = []

    def __call__(self, progress, learners):
        self.learners.append(jax.tree.map(lambda leaf: jnp.array(leaf[0]), learners))


@pytest.fixture(scope="module", params=[False, pytest.param(True, marks=pytest.mark.long)])
def stages(request):
    """An algorithm, and its learners after each of three stages, of discrete or continuous pushes of the point."""
    settings = SMALL | {"model_arch": (32,), "n_candidates": 64, "buffer_size": 1000, "batch_size": 50, "n_steps": 50}
    settings |= {"train_freq": 10, "gradient_steps": 10, "imitation_gradient_steps": 10, "learning_starts": 200}
    settings |= {"imitation_learning_rate": 0.01, "model_fraction": 1 / 3, "imitation_fraction": 1 / 3}
    settings |= {"normalize_observation": False}  # whose statistics all stages would change
    kept, world = Kept(), Point(discrete=request.param)
    agent = tegu.train(world, "mbmf", steps=3_000, n_envs=2, seed=3, folder=None, observers=kept, **settings)
    return agent.algorithm, world, kept.learners


@pytest.mark.slow
def test_a_stage_changes_its_own_part_of_the_learner_and_leaves_the_others(stages):
    """To the bit: the dynamics stay what the first stage learned, and fine-tuning begins with a fresh optimizer."""
    one, world, (model, imitation, fine_tuned) = stages
    assert one.stage == FINE_TUNING, "the agent is the policy"
    fresh = one.init(jax.random.split(jax.random.key(3), 3)[1], spec_of("point", world, 2))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), model.policy, fresh.policy)
    assert model.mpc.updates == 80 * 10  # one round of steps in ten, of which 200 are random
    assert (model.imitated, model.policy.updates) == (0, 0)

    jax.tree.map(np.testing.assert_array_equal, imitation.mpc, model.mpc)
    assert (imitation.imitated, imitation.policy.updates) == (99 * 10, 0)  # it begins with nothing to learn from
    jax.tree.map(np.testing.assert_array_equal, imitation.policy.optimizer, model.policy.optimizer)
    before, after = model.policy.network, imitation.policy.network
    jax.tree.map(np.testing.assert_array_equal, (after.critic, after.log_std), (before.critic, before.log_std))
    assert not np.allclose(jax.tree.leaves(before.actor)[0], jax.tree.leaves(after.actor)[0])

    jax.tree.map(np.testing.assert_array_equal, fine_tuned.mpc, model.mpc)
    jax.tree.map(np.testing.assert_array_equal, fine_tuned.imitation, imitation.imitation)
    assert (fine_tuned.imitated, fine_tuned.policy.updates) == (imitation.imitated, 10)


@pytest.mark.slow
def test_after_the_imitation_the_policy_is_nearly_the_best_there_is(stages):
    """Mean return from a grid of starts, against the best pushes by brute force. The fresh policy earns a fifth."""
    one, world, (model, imitation, _) = stages

    def played(pushes):
        x, total = np.linspace(-2, 2, 401), 0.0
        for _ in range(10):
            x = x + pushes(x)
            total -= np.abs(x).mean()
        return total

    def by(learner):
        def pushes(x):
            action = one.act(learner, jnp.float32(x)[:, None], (), KEY, explore=False).action
            return 0.5 * (action - 1) if world.discrete else jnp.clip(action[:, 0, 0], -0.5, 0.5)

        return lambda x: np.asarray(pushes(x), float)

    choices = np.linspace(-0.5, 0.5, 3 if world.discrete else 1001)
    best = played(lambda x: choices[np.abs(x[:, None] + choices).argmin(axis=1)])
    assert played(by(model)) < best - 6
    assert played(by(imitation)) > best - 2.5


# The imitation


def noisy(learner):
    """The learner with other weights, so that its policy does not say the same everywhere."""
    network = learner.policy.network
    actor = jax.tree.map(lambda leaf: leaf + jax.random.normal(KEY, leaf.shape), network.actor)
    return learner._replace(policy=learner.policy._replace(network=eqx.tree_at(lambda n: n.actor, network, actor)))


@pytest.mark.slow
@pytest.mark.parametrize("expert_acts", [True, False])
def test_the_expert_labels_what_the_student_visits(world, expert_acts):
    """The label is what MPC does in the first stage, given the same key and plan; the action is by whose turn it is."""
    one, spec = replace(made(), stage=IMITATION, expert_acts=expert_acts), spec_of(world.id, world, 5)
    learner = noisy(one.init(KEY, spec))
    _, observation = jax.vmap(world.reset)(jax.random.split(KEY, 5))
    memory = one.begin(learner, KEY, 5)
    decision = one.act(learner, observation, memory, KEY, explore=True)
    controller = replace(one, stage=MODEL).act(learner, observation, memory, KEY, explore=True)
    student = replace(one, stage=FINE_TUNING).act(learner, observation, (), KEY, explore=False)
    np.testing.assert_array_equal(decision.extras, controller.action)
    np.testing.assert_array_equal(decision.extras, one.mpc.act(learner.mpc, observation, memory, KEY, explore=False)[0])
    np.testing.assert_array_equal(decision.action, controller.action if expert_acts else student.action)
    assert not np.array_equal(student.action, controller.action)
    without = one.act(learner, observation, memory, KEY, explore=False)
    np.testing.assert_array_equal(without.action, student.action, err_msg="without exploring it is the student")


def test_the_expert_acts_first():
    one = replace(made(expert_fraction=0.25), stage=IMITATION)
    assert [bool(one.at(Clock.of(steps, 100)).expert_acts) for steps in (0, 24, 25, 99)] == [True, True, False, False]
    assert not made(expert_fraction=0.0).at(Clock.of(0, 100)).expert_acts


def test_labels_are_kept_and_the_policys_moments_follow(world):
    one, spec = made(normalize_observation=True), spec_of(world.id, world, 2)
    learner, random = one.init(KEY, spec), np.random.default_rng(0)
    observation = random.normal(3, 2, (4, 2, *world.observation_space.shape)).astype(np.float32)
    action = np.stack([[world.action_space.sample() for _ in range(2)] for _ in range(4)])
    label = np.stack([[world.action_space.sample() for _ in range(2)] for _ in range(4)])
    nothing = np.zeros((4, 2), bool)
    steps = Step(observation, action, np.zeros((4, 2), np.float32), observation, nothing, nothing, label)
    steps = jax.tree.map(jnp.asarray, steps)
    after, rows = replace(one, stage=IMITATION).take(learner, steps)
    np.testing.assert_array_equal(rows.observation, observation)
    np.testing.assert_array_equal(rows.action, label)
    assert after.mpc is learner.mpc
    moments, flat = after.policy.observation_moments, observation.reshape(8, -1).astype(float)
    np.testing.assert_allclose(moments.mean, flat.mean(axis=0), rtol=1e-3)
    np.testing.assert_allclose(moments.variance, flat.var(axis=0), rtol=1e-3)
    other, rows = replace(one, stage=MODEL).take(learner, steps)
    np.testing.assert_array_equal(other.policy.observation_moments.mean, moments.mean)
    np.testing.assert_array_equal(rows.action, action)


def test_of_continuous_actions_the_loss_is_half_the_squared_distance():
    random = np.random.default_rng(0)
    mean, action = random.normal(size=(2, 7, 6))
    expected = np.mean(
        [0.5 * sum((m - a) ** 2 for m, a in zip(*row, strict=True)) for row in zip(mean, action, strict=True)]
    )
    policy = DiagonalGaussian(jnp.float32(mean), jnp.full(6, 0.3))
    loss, metrics = imitation_loss(policy, jnp.float32(action))
    np.testing.assert_allclose([loss, metrics["imitation_loss"]], expected, rtol=1e-5)
    shaped, _ = imitation_loss(Reshaped(policy, (2, 3)), jnp.float32(action).reshape(7, 2, 3))
    np.testing.assert_allclose(shaped, expected, rtol=1e-5)


def test_of_discrete_actions_the_loss_is_cross_entropy():
    random = np.random.default_rng(0)
    logits, action = random.normal(size=(7, 4)), random.integers(2, 6, 7)
    probability = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    loss, metrics = imitation_loss(Categorical(jnp.float32(logits), start=2), jnp.asarray(action))
    np.testing.assert_allclose(loss, -np.log(probability[np.arange(7), action - 2]).mean(), rtol=1e-5)
    np.testing.assert_allclose(metrics["accuracy"], (logits.argmax(axis=1) + 2 == action).mean(), rtol=1e-6)


@pytest.mark.parametrize("discrete", [False, True])
def test_the_policy_becomes_what_it_is_shown(discrete):
    """A rule that is given as an expert's; the deviation of continuous actions stays."""
    world = Point(discrete=discrete)
    one = replace(made(imitation_learning_rate=0.01, log_std_init=-0.5), stage=IMITATION)
    learner = one.init(KEY, spec_of("point", world, 1))
    x = jax.random.uniform(KEY, (64, 1), minval=-2, maxval=2)
    rule = jnp.where(x[:, 0] > 0, 0, 2) if discrete else jnp.stack([-0.4 * x, 0.2 * x], axis=-1)
    shown = Demonstration(x, rule)

    @jax.jit
    def fit(learner):
        return jax.lax.scan(lambda learner, _: (one.imitate(learner, shown).learner, ()), learner, length=300)[0]

    learner = fit(learner)
    action = replace(one, stage=FINE_TUNING).act(learner, x, (), KEY, explore=False).action
    if discrete:
        assert (action == rule).mean() > 0.95
    else:
        np.testing.assert_allclose(action, rule, atol=0.05)
        np.testing.assert_array_equal(learner.policy.network.log_std, jnp.float32([-0.5, -0.5]))


# What cannot be


@pytest.mark.parametrize(
    ("environment", "settings", "says"),
    [
        ("CartPole-v1", {"fine_tune": "a2c"}, "MBMF: fine_tune must be one of trpo, ppo, got 'a2c'"),
        ("CartPole-v1", {"model_fraction": 0.6, "imitation_fraction": 0.5}, "come to 1.1, more than 1"),
        ("CartPole-v1", {"model_fraction": 0.0}, "model_fraction and imitation_fraction must both be above 0, or"),
        ("CartPole-v1", {"imitation_fraction": 0.0}, "one stage teaches the other, got"),
        ("CartPole-v1", {"model_arch": (0,)}, "model_arch must be widths from 1 to"),
        ("CartPole-v1", {"model_fraction": 1.5}, "MBMF: model_fraction must be from 0 to 1, got 1.5"),
        ("CartPole-v1", {"horizon": 0}, "MBMF: horizon must be at least 1, got 0"),
        ("CartPole-v1", {"gradient_steps": 0}, "MBMF: gradient_steps must be at least 1, or -1, got 0"),
        (
            "CartPole-v1",
            {"buffer_size": 100, "learning_starts": 5},
            "MBMF: batch_size must be at most buffer_size, got 128",
        ),
        ("CartPole-v1", {"activation": "sine"}, "activation must be one of"),
        ("lizard", {}, "MBMF: a model is learned of observations that are vectors of floats"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(environment, settings, says):
    with pytest.raises(TeguError) as raised:
        tegu.train(environment, "mbmf", steps=100, folder=None, **settings)
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_model_must_have_been_learned_before_it_is_imitated():
    spec = spec_of("CartPole-v1", tegu.make("CartPole-v1"), 1)
    with pytest.raises(TeguError, match=r"more than learning_starts = 8 steps, got 8 \(model_fraction = 0.1 of 80\)"):
        made().stages(spec, 80)
    assert made().stages(spec, 90)[0].steps == 9
