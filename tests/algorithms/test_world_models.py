"""World Models: losses against NumPy, dreams in a model that is the world itself, and what each stage leaves alone."""

from dataclasses import replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from algorithms.conftest import iterated
from point_world import Point

import tegu
from tegu.algorithms.dreams import DRAWS, World, dreamt_episodes, memory_loss, open_loop, vision_loss
from tegu.algorithms.registry import algorithm
from tegu.algorithms.world_models import CONTROLLER, MEMORY, VISION
from tegu.core.errors import TeguError
from tegu.core.spec import Spaces
from tegu.core.step import Step
from tegu.environments.pixels.cartpole import CartPolePixels
from tegu.experience.base import Replay, Rollout
from tegu.nn.distributions import DiagonalGaussian
from tegu.nn.mixture_density import Forecast, Mixture
from tegu.nn.recurrent import LSTMState
from tegu.nn.symlog import symlog
from tegu.training.plan import spec_of

KEY = jax.random.key(0)
SMALL = {"latent_size": 3, "units": 8, "lstm_hidden_size": 4, "n_mixtures": 2, "population_size": 4, "n_steps": 10}
SMALL |= {"sequence_length": 4, "batch_size": 8, "memory_batch_size": 4, "buffer_size": 400, "learning_starts": 16}
SMALL |= {"n_eval_episodes": 1, "dream_generations": 2, "train_freq": 8, "gradient_steps": 2}
WORLDS = {"vector": Point(), "choices": Point(discrete=True), "image": CartPolePixels(8)}


def made(**more):
    return algorithm("world-models", SMALL | more)


def spec(world, n=2):
    return spec_of(world.id, world, n)


# The stages


@pytest.mark.parametrize(
    ("vision", "memory", "shares"),
    [
        (0.1, 0.2, {VISION: 100, MEMORY: 202, CONTROLLER: 703}),
        (0.1, 0.0, {VISION: 100, CONTROLLER: 905}),
        (0.0, 0.0, {CONTROLLER: 1005}),
        (0.5, 0.5, {VISION: 502, MEMORY: 503}),
    ],
)
def test_stages_share_all_the_steps(vision, memory, shares):
    stages = made(vision_fraction=vision, memory_fraction=memory).stages(spec(Point()), 1005)
    assert {stage.algorithm.stage: stage.steps for stage in stages} == shares
    for stage in stages:
        rollout = stage.algorithm.stage == CONTROLLER
        assert isinstance(stage.algorithm.experience, Rollout if rollout else Replay)
        assert stage.environment is stage.hand_over is None


@pytest.mark.parametrize("kind", WORLDS)
@pytest.mark.parametrize(
    ("stage", "dream"), [(VISION, False), (MEMORY, False), (CONTROLLER, False), (CONTROLLER, True)]
)
def test_every_stage_keeps_the_learners_types(kind, stage, dream):
    """So that stages can hand it on, and the learner is the same in all."""
    falling = dict.fromkeys(("learning_rate", "memory_learning_rate"), "lin_1e-3")
    one, world = replace(made(dream=dream, controller_input="zhc", **falling), stage=stage), WORLDS[kind]
    assert {"learning_rate", "n_updates"} <= iterated(one, world, spec(world)).keys()


class Kept:
    """An observer of what is learned after every 600 steps."""

    every = 600

    def __init__(self):
        self.learners = []

    def __call__(self, progress, learners):
        self.learners.append(jax.tree.map(lambda leaf: np.array(leaf[0]), learners))


@pytest.mark.slow
def test_a_stage_changes_its_own_part_of_the_learner_and_leaves_the_others():
    """To the bit, and in dreams as much is played by the mean of the population as else by its members."""
    kept = Kept()
    settings = SMALL | {"vision_fraction": 1 / 3, "memory_fraction": 1 / 3, "dream": True, "n_envs": 4}
    agent = tegu.train(Point(), "world-models", steps=1800, seed=3, folder=None, observers=kept, **settings)
    vision, memory, controller = kept.learners
    same, differ = np.testing.assert_array_equal, lambda a, b: any((x != y).any() for x, y in zip(a, b, strict=True))
    fresh = agent.algorithm.init(jax.random.split(jax.random.key(3), 3)[1], spec(Point()))
    jax.tree.map(same, vision.world.memory, jax.device_get(fresh.world.memory))
    for part in (lambda learner: learner.world.vision, lambda learner: learner.optimizers[VISION]):
        jax.tree.map(same, part(memory), part(vision))
        jax.tree.map(same, part(controller), part(vision))
    assert differ(jax.tree.leaves(memory.world.memory), jax.tree.leaves(vision.world.memory))
    jax.tree.map(same, controller.world.memory, memory.world.memory)
    jax.tree.map(same, memory.controller, vision.controller)
    counts = [{**each.updates, CONTROLLER: each.controller.updates} for each in kept.learners]
    # of 75 rounds of 8 steps, 2 are before learning starts, then one more, of which there is nothing to draw yet
    assert [int(count[CONTROLLER]) for count in counts] == [0, 0, 15 * 2]
    assert [int(count[VISION]) for count in counts] == [146] * 3
    assert [int(count[MEMORY]) for count in counts] == [0, 146, 146]


# Acting


@pytest.mark.parametrize(
    ("kind", "probability"), [("vector", 0.0), ("vector", 0.7), ("choices", 0.7), ("choices", 1.0)]
)
def test_random_actions_are_repeated_as_often_as_is_said(kind, probability):
    world, n = WORLDS[kind], 4000
    one = replace(made(repeat_action_probability=probability), stage=VISION)
    learner = one.init(KEY, spec(world))
    memory = one.begin(learner, KEY, n)
    decision = one.act(learner, jnp.zeros((n, 1)), memory, jax.random.key(1), explore=True)
    kept = np.asarray(decision.action == memory).reshape(n, -1).all(axis=1)
    chance = probability + (1 - probability) / 3 * (kind == "choices")
    np.testing.assert_allclose(kept.mean(), chance, atol=0.04)
    assert decision.action is decision.memory
    action = np.asarray(decision.action)
    space = world.action_space
    if kind == "choices":
        np.testing.assert_allclose(np.bincount(action) / n, np.full(3, 1 / 3), atol=0.04)
    else:
        np.testing.assert_allclose([action.min(), action.max()], [space.low.min(), space.high.max()], atol=0.01)
        np.testing.assert_allclose(action.mean(axis=0), 0, atol=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("inputs", ["z", "zh", "zhc"])
@pytest.mark.parametrize("dream", [False, True])
def test_each_row_is_played_by_its_member_which_sees_what_m_remembers(inputs, dream):
    """By hand, two steps; M is told the action that the environment took, within its bounds."""
    world, n = Point(), 3
    one = made(controller_input=inputs, dream=dream, initial_std=5.0)
    learner, observation = one.init(KEY, spec(world)), jnp.array([[0.3], [-1.0], [2.0]])
    memory = one.begin(learner, KEY, n)
    np.testing.assert_array_equal(memory.member, [0, 1, 2])
    lstm, state = learner.world.memory.lstm, learner.world.memory.lstm.start(n)
    z = learner.world.vision(observation).mean
    vectors = np.asarray(learner.controller.population, float)[:n]
    if dream:  # the mean, which is zero at first
        vectors = vectors * 0
    for _ in range(2):
        decision = one.act(learner, observation, memory, KEY, explore=True)
        x = np.concatenate([z, state.hidden, state.cell][: len(inputs)], axis=1)
        weight, bias = vectors[:, :-2].reshape(n, -1, 2), vectors[:, -2:]
        action = np.einsum("bi,bio->bo", x, weight) + bias
        np.testing.assert_allclose(decision.action[:, 0], action, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(decision.extras, memory.member)
        state = lstm(jnp.concatenate([z, np.clip(2 * action, -1, 1)], axis=1), state)
        memory = decision.memory
        np.testing.assert_allclose(memory.state.hidden, state.hidden, rtol=1e-4, atol=1e-5)
    greedy = one.act(learner, observation, memory, KEY, explore=False).action
    np.testing.assert_array_equal(greedy, np.zeros((n, 1, 2)))


# Losses


class Told:
    """In place of V: the latent vector is the observation, without doubt."""

    spaces = Spaces(Point().observation_space, Point().action_space)
    decoder = SimpleNamespace(vector=symlog)

    def __call__(self, observation):
        return DiagonalGaussian(jnp.asarray(observation), jnp.full(observation.shape, -50.0))


@pytest.mark.parametrize("tolerance", [0.0, 0.5, 100.0])
def test_a_divergence_within_the_tolerance_costs_nothing(tolerance):
    """The tolerance is for each number, and holds for the sum of each observation."""
    rng = np.random.default_rng(0)
    observation = jnp.float32(rng.normal(size=(9, 1)) * 3)
    one = made().init(KEY, spec(Point())).world.vision
    latents = one(observation)
    loss, metrics = vision_loss(one, observation, KEY, tolerance)
    error = np.asarray(one.error(latents.sample(KEY), observation), float).mean()
    mean, log_std = np.asarray(latents.mean, float), np.asarray(latents.log_std, float)
    divergence = 0.5 * (mean**2 + np.exp(2 * log_std) - 1 - 2 * log_std).sum(axis=1)
    np.testing.assert_allclose(metrics["latent_kl"], divergence.mean(), rtol=1e-4)
    np.testing.assert_allclose(loss, error + np.maximum(divergence, 3 * tolerance).mean(), rtol=1e-4)


@pytest.mark.slow
def test_the_loss_of_m_is_that_of_each_step_whose_episode_is_all_that_it_remembers():
    """In NumPy, step by step: densities of the true next observations, squared errors, cross-entropies."""
    rng, length, n = np.random.default_rng(1), 6, 3
    memory = made(latent_size=1).init(KEY, spec(Point())).world.memory
    observation, following = rng.normal(size=(2, length, n, 1))
    action, reward = rng.uniform(-1, 1, (length, n, 1, 2)), rng.normal(size=(length, n)) * 3
    terminated, truncated = rng.random((2, length, n)) < 0.25
    assert terminated[:-1].any()
    assert truncated[:-1].any()
    steps = jax.tree.map(jnp.float32, Step(observation, action, reward, following, (), ()))
    steps = steps._replace(terminated=jnp.asarray(terminated), truncated=jnp.asarray(truncated))
    loss, metrics = jax.jit(lambda memory: memory_loss(memory, Told(), steps, KEY))(memory)
    step, found = jax.jit(lambda *given: memory(*given)), {"latent_loss": [], "reward_loss": [], "end_loss": []}
    for b in range(n):
        state = memory.lstm.start(1)
        for t in range(length):
            state = step(observation[t, b][None], np.clip(2 * action[t, b], -1, 1), state)
            out = np.asarray(state.hidden[0], float) @ np.asarray(memory.head.weights[0]) + memory.head.biases[0]
            logits, change, log_std = np.asarray(out[:6], float).reshape(3, 2)
            weight, std = np.exp(logits) / np.exp(logits).sum(), np.exp(log_std)
            error = (following[t, b] - observation[t, b] - change) / std
            density = (weight * np.exp(-0.5 * error**2) / (std * np.sqrt(2 * np.pi))).sum()
            likely = 1 / (1 + np.exp(-float(out[7])))
            found["latent_loss"].append(-np.log(density))
            found["reward_loss"].append((out[6] - np.sign(reward[t, b]) * np.log1p(abs(reward[t, b]))) ** 2)
            found["end_loss"].append(-np.log(likely if terminated[t, b] else 1 - likely))
            if terminated[t, b] or truncated[t, b]:
                state = memory.lstm.start(1)
    for name, values in found.items():
        np.testing.assert_allclose(metrics[name], np.mean(values), rtol=1e-3, err_msg=name)
    np.testing.assert_allclose(loss, sum(map(np.mean, found.values())), rtol=1e-3)


# Dreams


class Exact:
    """In place of M: the point's world itself, which ends beyond 3; its state says where the point gets."""

    lstm = SimpleNamespace(start=lambda n: LSTMState(jnp.zeros((n, 1)), jnp.zeros((n, 1))))

    def __call__(self, latent, action, state):
        place = latent + 0.5 * action[..., :1]
        return LSTMState(place, state.cell + 1)

    def forecast(self, latent, state):
        place = state.hidden
        sure = Mixture(jnp.zeros((*place.shape, 1)), place[..., None], jnp.full((*place.shape, 1), -50.0))
        return Forecast(sure, symlog(-jnp.abs(place[..., 0])), 100 * (jnp.abs(place[..., 0]) - 3))


def test_in_a_model_that_is_the_world_dreams_are_what_comes():
    gain = jnp.array([0.3, -0.1, 0.7, -0.9])

    def policy(x, state):
        return jnp.stack([gain[:, None] * x + 0.01 * state.cell, x], axis=-1)

    start = jnp.array([[0.5], [-1.0], [2.0], [1.0]])
    dream = dreamt_episodes(World(Told(), Exact()), policy, start, 12, KEY, 1.3)
    x, reward, ended = np.asarray(start[:, 0], float), [], []
    for t in range(12):
        x = x + np.clip(np.asarray(gain, float) * x + 0.01 * t, -0.5, 0.5)
        reward.append(-abs(x))
        ended.append(abs(x) > 3)
    np.testing.assert_allclose(dream.reward, reward, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(dream.terminated, ended)
    assert 0 < np.mean(ended) < 1
    assert not dream.truncated.any()


def test_open_loop_predictions_are_dreams_of_given_actions():
    observation, actions = jnp.array([[0.5], [-2.0]]), jax.random.normal(KEY, (7, 2, 1, 2))
    found = open_loop(World(Told(), Exact()), observation, actions, KEY)
    x = np.asarray(observation)[:, 0] + np.cumsum(np.clip(actions[:, :, 0, 0], -0.5, 0.5), axis=0)
    for draw in range(DRAWS):
        np.testing.assert_allclose(found.observation[draw, ..., 0], x, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found.reward[draw], -abs(x), rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(found.terminated[draw], np.cumsum(abs(x) > 3, axis=0) > 0)


@pytest.mark.parametrize("kind", WORLDS)
def test_a_model_of_vectors_predicts_them(kind):
    world = WORLDS[kind]
    one = made()
    space = world.observation_space
    seen, action = jnp.zeros((5, *space.shape), space.dtype), jnp.zeros((6, 5, *world.action_space.shape), jnp.int32)
    found = jax.eval_shape(lambda: one.imagine(one.init(KEY, spec(world)), seen, action, KEY))
    if kind == "image":
        assert found is None
    else:
        assert (found.observation.shape, found.reward.shape) == ((DRAWS, 6, 5, 1), (DRAWS, 6, 5))
        assert found.terminated.dtype == bool


@pytest.mark.slow
def test_every_member_dreams_as_often_and_all_of_the_same_starts():
    """The fitness of a generation is that of its members' own rules, played in the exact model."""
    one = made(n_eval_episodes=3, controller_input="z", latent_size=1, dream=True, initial_std=0.3)
    controller = one.init(KEY, spec(Point())).controller
    starts = jnp.array([[-1.5], [0.5], [1.0]])
    dreams = one.dreams(World(Told(), Exact()), controller, starts, KEY)
    assert dreams.reward.shape == (10, 12)
    np.testing.assert_array_equal(dreams.extras[0], [0, 1, 2, 3] * 3)
    first = np.asarray(dreams.reward[0], float).reshape(3, 4)
    population = np.asarray(controller.population, float)
    weight, bias = population[:, 0], population[:, 2]
    drawn = []
    for row in first:
        pushed = [-abs(x + np.clip(weight * x + bias, -0.5, 0.5)) for x in np.asarray(starts, float)[:, 0]]
        (match,) = [i for i, rewards in enumerate(pushed) if np.allclose(rewards, row, atol=1e-4)]
        drawn.append(match)
    assert len(drawn) == 3
    after = one.search.update(controller, dreams, KEY).learner
    assert after.updates == 1, "they make a generation"


@pytest.mark.slow
def test_a_controller_that_is_evolved_in_an_exact_dream_is_good_in_the_world():
    """By ``update``, which plays dreams from the first observations of real episodes; zeros earn -10 in ten steps, and
    the best pushes -0.9 (a grid of starts)."""
    settings = {"controller_input": "z", "latent_size": 1, "dream": True, "population_size": 8, "n_eval_episodes": 8}
    one = made(dream_generations=60, initial_std=0.5, **settings)
    learner = one.init(KEY, spec(Point()))._replace(world=World(Told(), Exact()))
    starts = jax.random.uniform(KEY, (1, 100, 1), minval=-2, maxval=2)
    steps = Step(starts, (), (), (), (), ())

    @jax.jit
    def evolved(controller):
        after, metrics, _ = one.update(learner._replace(controller=controller), steps, KEY)
        return after.controller, metrics

    controller, metrics = evolved(learner.controller)
    assert controller.updates == metrics["n_updates"] == 60
    x, total = np.linspace(-2, 2, 401)[:, None], 0.0
    for _ in range(10):
        x = x + np.clip(controller.policy.actions(jnp.float32(x))[:, 0, :1], -0.5, 0.5)
        total -= abs(x).mean()
    assert total > -2


@pytest.mark.long
@pytest.mark.parametrize("dream", [True, False])
def test_the_controller_learns_to_push_towards_zero(dream):
    """In 40 generations. Nothing earns -10 in an episode, and the best pushes -0.9 (a grid of starts)."""
    settings = {"latent_size": 1, "units": 32, "lstm_hidden_size": 16, "n_mixtures": 1, "population_size": 8}
    settings |= {"sequence_length": 10, "batch_size": 64, "memory_batch_size": 16, "learning_starts": 100}
    settings |= {"n_eval_episodes": 8, "gradient_steps": 32, "train_freq": 32, "learning_rate": 3e-3, "n_steps": 10}
    settings |= {"memory_learning_rate": 1e-2, "kl_tolerance": 4.0, "initial_std": 0.5, "n_envs": 32}
    steps = 6400 + (4 * 320 if dream else 40 * 640)
    shares = dict.fromkeys(("vision_fraction", "memory_fraction"), 3200 / steps)
    agent = tegu.train(Point(), "world-models", steps=steps, seeds=3, folder=None, dream=dream, **settings, **shares)
    assert (agent.evaluate(100).returns.mean(axis=-1) > -6).all()


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"controller_input": "h"}, "controller_input must be one of z, zh, zhc, got 'h'"),
        (
            {"vision_fraction": 0.6, "memory_fraction": 0.6},
            "vision_fraction and memory_fraction come to 1.2, more than 1",
        ),
        (
            {"dream": True, "memory_fraction": 0.0},
            "dream needs an M that was learned, so a memory_fraction above 0, got 0",
        ),
        ({"lstm_hidden_size": 1000}, "the policy must have at most 2,000 parameters, it has 2,008"),
        ({"features_extractor": "nature"}, "features_extractor nature is for images"),
        ({"gradient_steps": 0}, "gradient_steps must be at least 1, or -1, got 0"),
    ],
)
def test_what_does_not_fit_is_named_in_one_line(more, says):
    with pytest.raises(TeguError, match=says) as caught:
        made(**more).validate(spec(Point()))
    assert "\n" not in str(caught.value)


def test_spaces_and_steps_that_do_not_fit_are_named():
    with pytest.raises(TeguError, match="WorldModels needs a Box observation space"):
        made().validate(spec(tegu.make("FrozenLake-v1")))
    with pytest.raises(TeguError, match="the memory stage must have more than learning_starts = 16 steps, got 10"):
        made(memory_fraction=0.01).stages(spec(Point()), 1000)
