"""I2A: what is imagined against really stepping, the losses in NumPy, what is learned in which stage, and worlds."""

from dataclasses import replace
from types import SimpleNamespace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from algorithms.conftest import iterated
from gymnasium import spaces
from point_world import Point

import tegu
from tegu.agents.open_loop import OpenLoop
from tegu.algorithms.environment_model import fitted, planes_loss, rollouts, unchanged
from tegu.algorithms.i2a import IMAGINATION, MODEL, distillation_loss
from tegu.algorithms.registry import algorithm
from tegu.analysis.open_loop import plot_open_loop
from tegu.core.errors import TeguError
from tegu.core.spec import EnvironmentSpec, Spaces
from tegu.core.step import Step
from tegu.environments.sokoban.game import Sokoban
from tegu.nn.imagination import Seen
from tegu.nn.planes import PlanesModel
from tegu.search.shooting import Outcome
from tegu.training.fitting import validate
from tegu.training.plan import spec_of

KEY = jax.random.key(0)
SMALL = {"net_arch": (8,), "hidden_size": 4, "rollout_length": 3, "n_steps": 4, "model_arch": (8,), "channels": 4}
SMALL |= {"model_channels": 8}
LEVEL = np.array([[1] * 5, [1, 8, 4, 2, 1], [1, 0, 0, 0, 1], [1, 0, 0, 0, 1], [1] * 5], np.int8)  #: one push solves it


@pytest.fixture(scope="module")
def level_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("levels") / "level.txt"
    path.write_text("; 0\n#####\n#@$.#\n#   #\n#   #\n#####\n")
    return str(path)


@pytest.fixture(scope="module")
def sokoban(level_file):
    return Sokoban(size=5, boxes=1, levels=level_file)


def made(**more):
    return algorithm("i2a", SMALL | more)


def stages_of(world, **more):
    one = made(**more)
    return one, spec_of(world.id, world, 2)


# What is imagined


@pytest.mark.slow
def test_a_rollout_in_an_exact_model_is_what_really_comes(sokoban):
    """Every first action, then those of the rollout policy; where the level is solved nothing more happens."""
    start = jnp.asarray(LEVEL)
    after_a_step = sokoban.step(start, jnp.int32(1), KEY).state
    observations = jax.vmap(sokoban.observe)(jnp.stack([start, after_a_step]))

    def transition(x, action):
        states = jax.vmap(sokoban.state_of)(x.reshape((-1, 5, 5, 4)) > 0.5)
        came = jax.vmap(sokoban.step, (0, 0, None))(states, action, KEY)
        return Outcome(came.reward, came.terminated), came.observation.reshape(x.shape).astype(jnp.float32)

    weight = np.random.default_rng(0).normal(size=(100, 5))
    x = observations.reshape((2, -1)).astype(jnp.float32)
    sure = jnp.asarray(1e6 * weight, jnp.float32)  # of what it does, so that it can be followed
    given = transition, lambda x: x @ sure, x, sokoban.action_space, 4, KEY
    found = jax.jit(lambda: rollouts(*given))()
    assert found.x.shape == (2, 5, 4, 100)
    solved = 0
    for b, state in enumerate((start, after_a_step)):
        for first in range(5):
            now, seen, action, over = state, np.asarray(observations[b]), first, False
            for t in range(4):
                came = sokoban.step(now, jnp.int32(action), KEY)
                reward = 0.0 if over else float(came.reward)
                if not over:
                    now, seen, over = came.state, np.asarray(came.observation), bool(came.terminated)
                np.testing.assert_array_equal(found.x[b, first, t], seen.ravel())
                assert (float(found.reward[b, first, t]), bool(found.ended[b, first, t])) == (reward, over)
                action = int((seen.ravel() @ weight).argmax())
            solved += over
    assert solved >= 1


def test_the_rollout_policy_draws_its_actions():
    """As often as its probabilities say, and each rollout its own."""
    chosen = jnp.log(jnp.array([0.5, 0.3, 0.2]))
    given = lambda x, a: (Outcome(jnp.zeros(len(x)), jnp.zeros(len(x), bool)), jax.nn.one_hot(a - 7, 3))  # noqa: E731
    many = given, lambda x: jnp.broadcast_to(chosen, (len(x), 3)), jnp.zeros((800, 3)), spaces.Discrete(3, start=7)
    x = rollouts(*many, 3, KEY).x
    np.testing.assert_array_equal(x[:, :, 0], np.broadcast_to(np.eye(3), (800, 3, 3)))
    np.testing.assert_allclose(x[:, :, 1:].mean((0, 1, 2)), [0.5, 0.3, 0.2], atol=0.03)


@pytest.mark.slow
def test_the_copy_model_imagines_that_nothing_changes(sokoban):
    one, spec = stages_of(sokoban, imagination="copy")
    learner = one.init(KEY, spec)
    assert learner.model is None
    observation = jax.vmap(sokoban.reset)(jax.random.split(KEY, 2))[1]
    kept = one.act(learner, observation, (), KEY, explore=True).extras.rollouts
    x = np.asarray(observation, np.float32).reshape((2, 1, 1, -1))
    np.testing.assert_array_equal(kept.x, np.broadcast_to(x, (2, 5, 3, 100)))
    assert not kept.reward.any()
    assert not kept.ended.any()
    assert one.imagine(learner, observation, jnp.zeros((3, 2), jnp.int32), KEY) is None


# What is learned


def test_the_rollout_policys_loss_is_the_cross_entropy():
    rng = np.random.default_rng(0)
    policy, other = rng.normal(size=(2, 6, 4))
    p, q = (np.exp(logits) / np.exp(logits).sum(-1, keepdims=True) for logits in (policy, other))
    expected = -(p * np.log(q)).sum(-1).mean()
    np.testing.assert_allclose(distillation_loss(jnp.asarray(policy), jnp.asarray(other)), expected, rtol=1e-5)


def batch_of(one, learner, spec, world, steps=4):
    """A rollout ``[T, B]`` in which an episode ends and another is cut."""
    observation = jax.vmap(world.reset)(jax.random.split(KEY, 2))[1]
    rows = []
    for t in range(steps):
        decision = one.act(learner, observation, (), jax.random.key(t), explore=True)
        following = jax.vmap(world.reset)(jax.random.split(jax.random.key(9 + t), 2))[1]
        ends = jnp.array([t == 1, False]), jnp.array([False, t == 2])
        rows.append(Step(observation, decision.action, jnp.array([1.0, -2.0]) * t, following, *ends, decision.extras))
        observation = following if t != 2 else jax.vmap(world.reset)(jax.random.split(jax.random.key(5), 2))[1]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *rows)


def rolled(world, **more):
    one, spec = stages_of(world, **more)
    learner = one.init(KEY, spec)
    if learner.network.code_weight is not None:  # codes count
        drawn = 0.3 * jax.random.normal(KEY, learner.network.code_weight.shape)
        learner = learner._replace(network=eqx.tree_at(lambda net: net.code_weight, learner.network, drawn))
    return one, learner, batch_of(one, learner, spec, world)


@pytest.mark.slow
@pytest.mark.parametrize("imagination", ["model", "none"])
def test_the_loss_is_that_of_a2c(imagination):
    """Of the same logits and values, in float64: returns of up to n_steps rewards, whose ends have a value or none."""
    world = tegu.make("CartPole-v1")
    one, learner, batch = rolled(world, imagination=imagination, gamma=0.9, gae_lambda=0.8, ent_coef=0.05, vf_coef=0.3)
    _, metrics = jax.jit(one.update)(learner, batch, KEY)[:2]
    policy, value = learner.network(Seen(batch.observation, batch.extras.rollouts))
    logits, value = np.asarray(policy.logits, np.float64), np.asarray(value, np.float64)
    np.testing.assert_allclose(batch.extras.value, value, rtol=1e-5)
    np.testing.assert_allclose(batch.extras.logits, logits, rtol=1e-5, atol=1e-6)

    def worth(observation):
        return np.asarray(learner.network(one.see(learner, observation, jax.random.split(KEY, 3)[0]))[1], np.float64)

    following = np.concatenate([value[1:], worth(batch.next_observation[-1])[None]])
    following[2, 1] = worth(batch.next_observation[2, 1:])[0]
    advantage, later = np.zeros((4, 2)), np.zeros(2)
    over = np.asarray(batch.terminated | batch.truncated)
    for t in reversed(range(4)):
        error = np.asarray(batch.reward[t]) + 0.9 * np.where(batch.terminated[t], 0, following[t]) - value[t]
        later = error + 0.9 * 0.8 * np.where(over[t], 0, later)
        advantage[t] = later
    log_prob = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    taken = np.take_along_axis(log_prob, np.asarray(batch.action)[..., None], axis=-1)[..., 0]
    policy_loss, value_loss = -(taken * advantage).mean(), (advantage**2).mean()
    entropy = -(np.exp(log_prob) * log_prob).sum(-1).mean()
    expected = {"policy_loss": policy_loss, "value_loss": value_loss, "entropy_loss": -entropy}
    distilled = 0.0
    if imagination == "model":
        acts = np.asarray(learner.network.rollout_policy(batch.observation), np.float64)
        distilled = -(np.exp(log_prob) * (acts - np.log(np.exp(acts).sum(-1, keepdims=True)))).sum(-1).mean()
        expected["distillation_loss"] = distilled
    expected["loss"] = policy_loss + 0.3 * value_loss - 0.05 * entropy + 0.1 * distilled
    for name, number in expected.items():
        np.testing.assert_allclose(metrics[name], number, rtol=2e-4, err_msg=name)


@pytest.mark.slow
def test_the_rollout_policy_learns_from_its_own_loss_alone_and_nothing_else_does():
    world = tegu.make("CartPole-v1")
    one, learner, batch = rolled(world)
    (sample, logits), _ = one.samples(learner, batch, KEY)

    def gradient(coefficient):
        return jax.grad(lambda net: replace(one, distillation_coef=coefficient).loss(net, sample, logits)[0])(
            learner.network
        )

    without, with_it = gradient(0.0), gradient(2.0)
    own = jax.grad(lambda policy: 2.0 * distillation_loss(logits, policy(sample.x.x)))(learner.network.rollout_policy)
    assert not any(leaf.any() for leaf in jax.tree.leaves(without.rollout_policy))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), with_it.rollout_policy, own)
    rest = [eqx.tree_at(lambda net: net.rollout_policy, each, None) for each in (without, with_it)]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), *rest)
    assert any(leaf.any() for leaf in jax.tree.leaves(without.rollout_encoder))


@pytest.mark.parametrize("stage", [MODEL, IMAGINATION])
@pytest.mark.parametrize("world", ["CartPole-v1", "sokoban"])
def test_every_stage_keeps_the_learners_types(world, stage, request):
    """So that stages can hand it on."""
    world = request.getfixturevalue(world) if world == "sokoban" else tegu.make(world)
    falling = dict.fromkeys(("learning_rate", "model_learning_rate"), "lin_1e-3")
    for settings in ({}, {"policy_update": "ppo", "batch_size": 4, "n_epochs": 2}):
        found = iterated(replace(made(**settings, **falling), stage=stage), world, spec_of(world.id, world, 2)).keys()
        assert {"learning_rate", "n_updates", "distillation_loss"} <= found
        assert ("model_loss" in found) == (stage == MODEL)
        assert ("clip_range" in found) == ("policy_update" in settings)


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, (one, other)), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("world", ["CartPole-v1", "sokoban"])
def test_the_model_is_learned_in_the_first_stage_and_frozen_in_the_second(world, request):
    world = request.getfixturevalue(world) if world == "sokoban" else tegu.make(world)
    one, learner, batch = rolled(world)
    first = jax.jit(replace(one, stage=MODEL).update)(learner, batch, KEY).learner
    second = jax.jit(one.update)(learner, batch, KEY).learner
    assert not same(first.model, learner.model)
    assert same(second.model, learner.model)
    for after in (first, second):
        assert not same(after.network.first, learner.network.first)
        assert not same(after.network.rollout_policy, learner.network.rollout_policy)
        assert after.updates == 1


@pytest.mark.slow
def test_greedy_decisions_depend_on_the_observation_alone(sokoban):
    """The rollout policy's actions are drawn then, too, as in training: by the same random numbers for each."""
    one, spec = stages_of(sokoban)
    learner = one.init(KEY, spec)
    noisy = jax.tree.map(lambda leaf: leaf + jax.random.normal(KEY, leaf.shape), (learner.model, learner.network))
    learner = learner._replace(model=noisy[0], network=noisy[1])  # a fresh one sees no difference between actions
    observation = jax.vmap(sokoban.reset)(jax.random.split(KEY, 4))[1]
    greedy = jax.jit(lambda observation, key: one.act(learner, observation, (), key, explore=False))
    first, second = (greedy(observation, key) for key in jax.random.split(jax.random.key(9)))
    assert same(first, second)
    alone = greedy(observation[2:3], KEY)
    for row, found in zip(jax.tree.leaves(first), jax.tree.leaves(alone), strict=True):
        np.testing.assert_allclose(row[2:3], found, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_the_first_stage_does_not_imagine(sokoban):
    one, spec = stages_of(sokoban)
    learner, observation = one.init(KEY, spec), jax.vmap(sokoban.reset)(jax.random.split(KEY, 2))[1]
    assert replace(one, stage=MODEL).act(learner, observation, (), KEY, explore=True).extras.rollouts is None
    assert one.act(learner, observation, (), KEY, explore=True).extras.rollouts.x.shape == (2, 5, 3, 100)


@pytest.mark.parametrize(
    ("more", "shares"),
    [
        ({}, {MODEL: 201, IMAGINATION: 804}),
        ({"model_fraction": 1.0}, {MODEL: 1005}),
        ({"model_fraction": 0.0}, {}),
        ({"imagination": "copy"}, {}),
        ({"imagination": "none"}, {}),
    ],
)
def test_stages_share_all_the_steps(more, shares):
    """Where no model is learned there are none, and the agent learns as it is."""
    spec = spec_of("CartPole-v1", tegu.make("CartPole-v1"), 1)
    stages = made(**more).stages(spec, 1005)
    assert {stage.algorithm.stage: stage.steps for stage in stages} == shares
    assert made().stage == IMAGINATION
    assert all(stage.environment is stage.hand_over is None for stage in stages)


@pytest.mark.slow
def test_a_model_of_planes_learns_by_cross_entropies_and_squared_errors():
    rng, seen = np.random.default_rng(0), Spaces(spaces.Box(0, 1, (3, 4, 2)), spaces.Discrete(3, start=1))
    network = PlanesModel(KEY, (3, 4, 2), 3, 5)
    x, following, reward = rng.random((6, 24)), rng.random((6, 24)), rng.normal(size=6)
    action, ended = rng.integers(1, 4, 6), rng.random(6) < 0.5
    numbers = [jnp.asarray(a, jnp.float32) for a in (x, reward, following)]
    steps = Step(numbers[0], jnp.asarray(action), *numbers[1:], jnp.asarray(ended), jnp.zeros(6, bool))
    loss, metrics = planes_loss(network, seen, steps)
    cells, paid, end = (
        np.asarray(part, np.float64) for part in network(numbers[0].reshape((6, 3, 4, 2)), jnp.eye(3)[action - 1])
    )
    p, q = 1 / (1 + np.exp(-cells.reshape((6, 24)))), 1 / (1 + np.exp(-end))
    cross = -(following * np.log(p) + (1 - following) * np.log(1 - p)).sum(-1).mean()
    ends = -np.log(np.where(ended, q, 1 - q)).mean()
    np.testing.assert_allclose(loss, cross + ((paid - reward) ** 2).mean() / 2 + ends, rtol=1e-5)
    np.testing.assert_allclose(metrics["model_end_loss"], ends, rtol=1e-5)
    np.testing.assert_allclose(metrics["model_error"], ((p - following) ** 2).mean(), rtol=1e-4)


# What is refused


@pytest.mark.parametrize(
    ("more", "observation", "action", "says"),
    [
        (
            {"imagination": "dream"},
            spaces.Box(-1, 1, (2,)),
            spaces.Discrete(2),
            "imagination must be model, copy or none",
        ),
        ({"net_arch": ()}, spaces.Box(-1, 1, (2,)), spaces.Discrete(2), "net_arch must have at least one layer"),
        ({"model_arch": (0,)}, spaces.Box(-1, 1, (2,)), spaces.Discrete(2), "model_arch must be widths"),
        ({"activation": "swish"}, spaces.Box(-1, 1, (2,)), spaces.Discrete(2), "activation must be one of"),
        ({}, spaces.Box(-1, 1, (2,)), spaces.Box(-1, 1, (2,)), "I2A needs a Discrete action space"),
        ({}, spaces.Dict(a=spaces.Discrete(2)), spaces.Discrete(2), "I2A needs a Box or Discrete observation space"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(more, observation, action, says):
    with pytest.raises(TeguError, match=says) as caught:
        made(**more).validate(EnvironmentSpec("test", observation, action, 2))
    assert "\n" not in str(caught.value)


def test_several_agents_are_refused():
    world = tegu.make("tic-tac-toe")
    with pytest.raises(TeguError, match="I2A trains a single agent") as caught:
        validate(made(), spec_of(world.id, world, 2))
    assert "\n" not in str(caught.value)


# Small worlds


@pytest.mark.slow
def test_codes_alone_tell_which_action_pays():
    """A network that does not see the observation learns from rollouts in an exact model which action pays, and one
    without rollouts cannot."""
    one = made(learning_rate=3e-3, ent_coef=0.0, hidden_size=8)
    acted = spaces.Discrete(4)
    learner = one.init(KEY, EnvironmentSpec("hidden", spaces.Box(0, 1, (4,)), acted, 64))

    def exact(x, action):  # an action that is taken shows in the observation whether it pays: only the good one does
        paid = jnp.take_along_axis(x, action[:, None], axis=1)[:, 0]
        return Outcome(paid, jnp.zeros(len(x), bool)), x

    @jax.jit
    def train(network, imagines):
        def round_(carry, key):
            network, state = carry
            seen, good, action = look(key, network)
            policy, value = network(seen)
            advantage = (action == good) - value
            sample = SimpleNamespace(x=seen, mask=None, action=action, advantage=advantage, target=action == good)
            gradient = jax.grad(lambda net: one.model_free.loss(net, sample)[0])(network)
            return (*step(network, gradient, state),), (policy.mode() == good).mean()

        def look(key, network):
            draw, act, imagine = jax.random.split(key, 3)
            good = jax.random.randint(draw, (64,), 0, 4)
            x = jax.nn.one_hot(good, 4)
            found = rollouts(exact, network.rollout_policy, x, acted, 2, imagine)
            found = jax.tree.map(lambda leaf: jnp.where(imagines, leaf, 0).astype(leaf.dtype), found)
            seen = Seen(jnp.ones_like(x), found._replace(x=jnp.zeros_like(found.x)))
            return seen, good, network(seen)[0].sample(act)

        def step(network, gradient, state):
            direction, state = optimizer.update(gradient, state)
            return jax.tree.map(lambda p, d: p - 3e-3 * d, network, direction), state

        optimizer = optax.scale_by_adam()
        _, right = jax.lax.scan(round_, (network, optimizer.init(network)), jax.random.split(KEY, 600))
        return right[-50:].mean()

    assert train(learner.network, True) > 0.9
    assert train(learner.network, False) < 0.4


@pytest.mark.slow
def test_a_model_of_sokoban_learns_it_and_predicts_an_episode(sokoban, tmp_path):
    """Open loop, whatever is done: cell by cell and reward by reward; and the picture is drawn."""
    one, spec = stages_of(sokoban, model_channels=16, model_learning_rate=1e-2)
    step, state = jax.jit(jax.vmap(sokoban.step, (0, 0, None))), jnp.asarray(LEVEL)[None]
    learner, found = one.init(KEY, spec), []
    for number in range(120):  # a random walk in each of 8 rooms
        state = jnp.broadcast_to(jnp.asarray(LEVEL), (8, 5, 5)) if number % 20 == 0 else state
        action = jax.random.randint(jax.random.key(number), (8,), 0, 5)
        came = step(state, action, KEY)
        seen = jax.vmap(sokoban.observe)(state)
        never = jnp.zeros(8, bool)
        found.append(Step(seen, action, came.reward, came.observation, came.terminated, never))
        state = came.state
    steps = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *found)
    learn = jax.jit(lambda model: fitted(model, spec.spaces, steps, KEY, 40, 96, one.settings))
    model, metrics = learn(learner.model)
    assert set(metrics) == {"model_loss", "model_error", "model_end_loss"}
    learner = learner._replace(model=model)
    assert one.diagnose(learner, steps)["model_error_ratio"] < 0.1

    actions = jnp.array([1, 3, 0, 3])  # down, right, up (pushes nothing: a wall is above), right
    now, observation, reward = jnp.asarray(LEVEL), [sokoban.observe(jnp.asarray(LEVEL))], []
    for action in actions:
        came = sokoban.step(now, action, KEY)
        now = came.state
        observation.append(came.observation)
        reward.append(came.reward)
    start = observation[0][None]
    imagined = jax.jit(lambda: one.imagine(learner, start, actions[:, None], KEY))()
    for t in range(4):
        np.testing.assert_array_equal(imagined.observation[0, t, 0] > 0.5, observation[t + 1])
    np.testing.assert_allclose(imagined.reward[0, :, 0], reward, atol=0.5)
    episode = OpenLoop(np.stack(observation), np.stack(reward), jax.device_get(imagined))
    errors = episode.errors()
    assert (errors["model"] < 0.1).all()
    assert (errors["no change"] > 0.1).all()
    plot_open_loop(episode.observation, np.asarray(imagined.observation), errors, tmp_path / "model.png")
    assert (tmp_path / "model.png").stat().st_size > 5_000


@pytest.mark.slow
def test_a_model_of_vectors_learns_them():
    """Changes and rewards, and more than that nothing changes."""
    one, spec = stages_of(Point(discrete=True), model_arch=(32,), model_learning_rate=1e-2)
    learner, rng = one.init(KEY, spec), np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(200, 1)), jnp.float32)
    action = jnp.asarray(rng.integers(0, 3, 200), jnp.int32)
    following, never = x + 0.5 * (action[:, None] - 1), jnp.zeros(200, bool)
    steps = Step(x, action, -jnp.abs(following[:, 0]), following, never, never)
    learn = jax.jit(lambda model: fitted(model, spec.spaces, steps, KEY, 100, 100, one.settings))
    learner = learner._replace(model=learn(learner.model)[0])
    outcome, found = one.transition(learner)(x, action)
    assert np.abs(found - following).mean() < 0.3 * np.abs(unchanged(x, action)[1] - following).mean()
    assert np.corrcoef(outcome.reward, steps.reward)[0, 1] > 0.8
