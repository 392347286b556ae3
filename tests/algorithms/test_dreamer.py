"""DreamerV3 against plain loops in NumPy float64, finite differences, and a world small enough to know all about it."""

import dataclasses
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

import tegu
from tegu.algorithms.dreamer_losses import (
    ReturnRange,
    Targets,
    actor_loss,
    critic_loss,
    divergences,
    replayed_returns,
    rollouts,
    symexp_mean,
    targets,
    world_losses,
)
from tegu.algorithms.dreamer_sequences import observations
from tegu.core.schedule import Clock
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Step
from tegu.experience.base import Batch
from tegu.nn.mlp import MLP
from tegu.nn.rssm import Memory, State, likeliest, mixed

KEY = jax.random.key(0)
T, B = 7, 3
BOX = EnvironmentSpec("box", spaces.Box(-9, 9, (2,)), spaces.Box(-2, 2, (1,)))
CHOICE = EnvironmentSpec("choice", spaces.Box(-9, 9, (2,)), spaces.Discrete(3, start=1))
SMALL = {"deterministic_size": 4, "n_categoricals": 2, "n_classes": 3, "units": 4, "n_layers": 1, "n_bins": 5}
ALGORITHM = tegu.Dreamer(**SMALL, sequence_length=T, batch_size=B, horizon=3, gamma=0.9)

exact = pytest.mark.usefixtures("x64")


def windows(spec, seed=1):
    """Steps ``[T, B]`` of episodes that end in both ways, each going on where the one before led; memories of zeros."""
    rng = np.random.default_rng(seed)
    ends = rng.integers(4, size=(T, B))
    assert {0, 1, 2} <= set(ends[:-1].ravel())
    reached, fresh = rng.normal(size=(2, T, B, 2))
    seen = np.concatenate([fresh[:1], np.where((ends < 2)[:-1, :, None], fresh[1:], reached[:-1])])
    discrete = isinstance(spec.action_space, spaces.Discrete)
    action = rng.integers(1, 4, (T, B)) if discrete else rng.normal(size=(T, B, 1)) * 3
    memory = Memory(np.zeros((T, B, 4)), np.full((T, B, 2), -1), np.zeros((T, B, 3 if discrete else 1)))
    return Step(seen, action, rng.normal(size=(T, B)), reached, ends == 0, ends == 1, memory)


def by_hand(steps, b):
    """What was observed in one environment: observation, action, reward, first, last, terminated."""
    rows = [(steps.observation[0, b], None, 0.0, False, False, False)]
    for t in range(T):
        ended = steps.terminated[t, b] or steps.truncated[t, b]
        rows.append(
            (steps.next_observation[t, b], steps.action[t, b], steps.reward[t, b], False, ended, steps.terminated[t, b])
        )
        if ended and t + 1 < T:
            rows.append((steps.observation[t + 1, b], None, 0.0, True, False, False))
    return rows[: T + 1]


@exact
def test_windows_of_steps_become_all_that_was_observed():
    steps = windows(CHOICE)
    found = jax.jit(observations)(steps)
    for b in range(B):
        for place, (seen, action, *rest) in enumerate(by_hand(steps, b)):
            np.testing.assert_array_equal(found.observation[place, b], seen)
            if action is not None:
                assert found.action[place, b] == action
            facts = found.reward, found.first, found.last, found.terminated
            assert [each[place, b] for each in facts] == rest
            assert found.arrived[place, b] == (action is not None)


def fresh_learner(algorithm, spec):
    """Drawn by one compiled program, which is sooner there than one for each array."""
    return jax.jit(lambda key: algorithm.init(key, spec))(KEY)


def learner_of(spec):
    """One whose networks all say something."""
    learner, rng = fresh_learner(ALGORITHM, spec), np.random.default_rng(0)

    def moved(leaf):
        return jnp.asarray(leaf + 0.3 * rng.normal(size=leaf.shape), leaf.dtype)

    networks = jax.tree.map(moved, learner.networks)
    return learner._replace(networks=networks, slow_critic=jax.tree.map(moved, networks.critic))


@pytest.mark.slow
@exact
@pytest.mark.parametrize("spec", [BOX, CHOICE], ids=["box", "choice"])
def test_the_states_learned_from_are_those_acted_in(spec):
    """Step by step, each episode from a fresh memory, with the same numbers drawn: so a boundary in a window resets."""
    learner = learner_of(spec)
    act = jax.jit(lambda *given: ALGORITHM.act(learner, *given, explore=True))
    steps = windows(spec)
    noise = np.zeros((T + 1, B, 2))
    states, actions = [[] for _ in range(B)], np.array(steps.action, float)
    for b in range(B):
        memory, t = ALGORITHM.begin(learner, KEY, 1), -1
        for place, (seen, _, _, first, _, _) in enumerate(by_hand(steps, b)):
            memory = ALGORITHM.begin(learner, KEY, 1) if first else memory
            key = jax.random.fold_in(KEY, 100 * b + place)
            noise[place, b] = jax.random.uniform(jax.random.split(key)[0], (1, 2))[0]
            decision = act(seen[None], memory, key)
            np.testing.assert_array_equal(decision.extras.classes, memory.classes)
            memory = decision.memory
            states[b].append(memory)
            t += not first and place > 0
            if t + 1 < T and (place == 0 or first or not by_hand(steps, b)[place][4]):
                actions[t + 1, b] = decision.action[0]
    steps = steps._replace(action=jnp.asarray(actions).astype(steps.action.dtype))

    @jax.jit
    def unrolled(steps):
        world, seen = learner.networks.world, observations(steps)
        memory = jax.tree.map(lambda leaf: leaf[0], steps.extras)
        return world_losses(world, seen, memory, noise, 1.0)[1]

    found = unrolled(steps)
    for b in range(B):
        for place, memory in enumerate(states[b]):
            np.testing.assert_allclose(found.deterministic[place, b], memory.deterministic[0], atol=1e-6)
            np.testing.assert_array_equal(found.stochastic[place, b].argmax(axis=-1), memory.classes[0])


@exact
def test_divergences_move_one_side_each_and_nothing_below_the_free_nats(numerics):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2, 4, 2, 3)) * 2

    def log_prob(logits):
        e = np.exp(logits)
        return np.log(0.99 * e / e.sum(axis=-1, keepdims=True) + 0.01 / 3)

    p, q = log_prob(logits[0]), log_prob(logits[1])
    expected = (np.exp(p) * (p - q)).sum(axis=(-2, -1))
    free = float(np.median(expected))
    over = np.maximum(expected, free)
    found = divergences(mixed(logits[0]), mixed(logits[1]), free)
    np.testing.assert_allclose(found, [over, over], rtol=1e-10)
    weight = rng.normal(size=4)

    def loss(which, posterior, prior):
        return (weight * divergences(mixed(posterior), mixed(prior), free)[which]).sum()

    def by_differences(posterior, prior):
        p, q = log_prob(posterior), log_prob(prior)
        return (weight * np.maximum((np.exp(p) * (p - q)).sum(axis=(-2, -1)), free)).sum()

    dynamics = jax.grad(partial(loss, 0), argnums=(0, 1))(*logits)
    representation = jax.grad(partial(loss, 1), argnums=(0, 1))(*logits)
    assert not dynamics[0].any()
    assert not representation[1].any()
    expected = numerics.gradient(lambda prior: by_differences(logits[0], prior), logits[1])
    np.testing.assert_allclose(dynamics[1].ravel(), expected, atol=1e-8)
    expected = numerics.gradient(lambda posterior: by_differences(posterior, logits[1]), logits[0])
    np.testing.assert_allclose(representation[0].ravel(), expected, atol=1e-8)
    assert not dynamics[1][over == free].any()


@exact
def test_advantages_are_scaled_by_a_moving_range_of_percentiles():
    rng, moving, ours = np.random.default_rng(0), 0.0, ReturnRange.start()
    assert ours.scale == 1
    for n in range(1, 5):
        returns = rng.normal(size=(15, 30)) * n
        low, high = np.percentile(returns, [5, 95])
        moving = 0.99 * moving + 0.01 * (high - low)
        ours = ours.merge(jnp.asarray(returns))
        np.testing.assert_allclose(ours.scale, max(1.0, moving / (1 - 0.99**n)), rtol=1e-10)
    assert ReturnRange.start().merge(jnp.zeros((3, 3))).scale == 1


@pytest.mark.slow
@exact
def test_imagined_returns_and_weights_are_those_of_the_definition():
    """By the mixture of n-step returns in place of the recursion: (1 - l) sum of l^(n-1) G_n."""
    learner, horizon, lambda_ = learner_of(CHOICE), 4, 0.8
    networks, start = learner.networks, learner.networks.world.rssm
    state = start.imagine(start.recalled(start.start(5, 3)), jnp.zeros((5, 3)), jnp.full((5, 2), 0.5))
    imagined = jax.jit(partial(rollouts, horizon=horizon))(networks, state, KEY)
    ended = np.array([True, False, False, False, True])
    found = jax.jit(targets)(networks, imagined, ended, 0.9, lambda_)
    x = imagined.features
    value, reward = (np.asarray(symexp_mean(head(x))) for head in (networks.critic, networks.world.reward))
    discount = 0.9 / (1 + np.exp(-np.asarray(networks.world.goes_on(x)[..., 0])))

    def n_steps(t, n):
        total, worth = 0.0, 1.0
        for k in range(t + 1, t + n + 1):
            total, worth = total + worth * reward[k], worth * discount[k]
        return total + worth * value[t + n]

    for t in range(horizon):
        left = horizon - t
        expected = lambda_ ** (left - 1) * n_steps(t, left)
        expected += sum((1 - lambda_) * lambda_ ** (n - 1) * n_steps(t, n) for n in range(1, left))
        np.testing.assert_allclose(found.returns[t], expected, rtol=1e-8)
        np.testing.assert_allclose(found.weight[t], ~ended * discount[1 : t + 1].prod(axis=0), rtol=1e-8)
    np.testing.assert_allclose(found.value, value[:-1], rtol=1e-10)


@exact
def test_replayed_returns_end_with_the_episode():
    seen, rng = observations(windows(CHOICE)), np.random.default_rng(0)
    value = rng.normal(size=(T + 1, B))
    found, known = replayed_returns(seen, jnp.asarray(value), 0.9, 0.8)
    for b in range(B):
        for t in range(T):
            if seen.last[t, b]:
                assert not known[t, b]
                continue
            assert known[t, b]
            total, worth = 0.0, 1.0
            for k in range(t + 1, T + 1):
                total += worth * seen.reward[k, b]
                worth *= 0.9
                if seen.terminated[k, b]:
                    break
                if seen.last[k, b] or k == T:
                    total += worth * value[k, b]
                    break
                total += worth * 0.2 * value[k, b]
                worth *= 0.8
            np.testing.assert_allclose(found[t, b], total, rtol=1e-10)


def losses_alone(world, seen, memory, noise):
    """The losses alone, of which no state depends on what is differentiated."""
    return world_losses(world, seen, memory, noise, 0.0)[0]


@pytest.mark.slow
@exact
def test_heads_of_the_world_model_learn_by_finite_differences(numerics):
    """What is predicted of states that are given: observations, rewards where they are known, and the end."""
    learner, steps = learner_of(BOX), windows(BOX)
    seen, memory = observations(steps), jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), steps.extras)
    noise = np.random.default_rng(0).random((T + 1, B, 2))
    world = learner.networks.world
    of = jax.jit(lambda world: losses_alone(world, seen, memory, noise))
    losses, states = jax.jit(lambda world: world_losses(world, seen, memory, noise, 0.0))(world)
    x = np.asarray(states.features)

    # by hand, from the logits on
    bins = np.sign(np.linspace(-20, 20, 5)) * np.expm1(abs(np.linspace(-20, 20, 5)))
    logits = np.asarray(world.reward(x))
    log_prob = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    total, known = 0.0, 0
    for t, b in np.ndindex(T + 1, B):
        if not seen.arrived[t, b]:
            continue
        reward, known = float(seen.reward[t, b]), known + 1
        low = max(i for i in range(4) if bins[i] <= reward)
        share = (reward - bins[low]) / (bins[low + 1] - bins[low])
        total -= (1 - share) * log_prob[t, b, low] + share * log_prob[t, b, low + 1]
    np.testing.assert_allclose(losses["reward_loss"], total / known, rtol=1e-6)
    p = 1 / (1 + np.exp(-np.asarray(world.goes_on(x)[..., 0])))
    np.testing.assert_allclose(losses["continue_loss"], -np.log(np.where(seen.terminated, 1 - p, p)).mean(), rtol=1e-6)
    target = np.sign(seen.observation) * np.log(abs(np.asarray(seen.observation)) + 1)
    error = ((np.asarray(world.decoder.vector(x)) - target) ** 2).sum(axis=-1)
    np.testing.assert_allclose(losses["reconstruction_loss"], error.mean(), rtol=1e-5)

    gradient = jax.jit(jax.grad(lambda world: of(world)["reward_loss"] + of(world)["continue_loss"]))(world)
    for name in ("reward", "goes_on"):

        def loss(head, name=name):
            changed = of(replace(world, name, head))
            return float(changed["reward_loss"] + changed["continue_loss"])

        expected = numerics.gradient(loss, getattr(world, name))
        np.testing.assert_allclose(numerics.flat(getattr(gradient, name)), expected, atol=1e-6)


def replace(module, name, part):
    """A module with another part; Equinox's own modules are checked by ``dataclasses.replace`` when they are made."""
    changed = object.__new__(type(module))
    for field in dataclasses.fields(module):
        object.__setattr__(changed, field.name, part if field.name == name else getattr(module, field.name))
    return changed


@pytest.mark.slow
@pytest.mark.parametrize("spec", [BOX, CHOICE], ids=["box", "choice"])
def test_rollouts_are_the_actors_steps_in_the_model(spec):
    """Each with the keys and the noise that the whole was given."""
    networks = learner_of(spec).networks
    rssm, actor, n = networks.world.rssm, networks.actor, networks.world.n_actions
    state = rssm.imagine(rssm.recalled(rssm.start(5, n)), jnp.zeros((5, n)), jnp.full((5, 2), 0.5))
    found = jax.jit(partial(rollouts, horizon=3))(networks, state, KEY)
    noise_key, action_key = jax.random.split(KEY)
    noise, keys = jax.random.uniform(noise_key, (3, 5, 2)), jax.random.split(action_key, 3)
    np.testing.assert_array_equal(found.features[0], state.features)
    for t in range(3):
        action = actor(state.features).sample(keys[t])
        np.testing.assert_allclose(found.action[t], action, atol=1e-5)
        state = rssm.imagine(state, actor.as_features(action), noise[t])
        np.testing.assert_allclose(found.features[t + 1], state.features, atol=1e-5)


@pytest.mark.slow
def test_images_vectors_and_masks_in_one_observation_go_through_all_of_it():
    """Shapes alone; and that no parameter is counted twice."""
    parts = {"image": spaces.Box(0, 255, (16, 16, 3), np.uint8), "vector": spaces.Box(-1, 1, (2,))}
    spec = EnvironmentSpec(
        "dict", spaces.Dict(parts | {"action_mask": spaces.MultiBinary(3)}), spaces.Discrete(3, start=1)
    )
    algorithm = dataclasses.replace(ALGORITHM, features_extractor="auto")
    seen = {
        "image": np.zeros((B, 16, 16, 3), np.uint8),
        "vector": np.zeros((B, 2)),
        "action_mask": np.ones((B, 3), bool),
    }

    def whole(key):
        learner = algorithm.init(key, spec)
        decision = algorithm.act(learner, seen, algorithm.begin(learner, key, B), key, explore=True)
        flags = jnp.zeros(B, bool)
        step = Step(seen, decision.action, jnp.zeros(B), seen, flags, flags, decision.extras)
        steps = jax.tree.map(lambda leaf: jnp.stack([leaf] * T), step)
        update = algorithm.update(learner, Batch(steps, jnp.ones(B)), key)
        return learner, update.learner, algorithm.diagnose(learner, step)

    before, after, _ = jax.eval_shape(whole, KEY)
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), before) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype), after
    )
    count = sum(leaf.size for _, part in before.networks.parts for leaf in jax.tree.leaves(part))
    assert count == sum(leaf.size for leaf in jax.tree.leaves(before.networks))


@pytest.mark.slow
@exact
@pytest.mark.parametrize("spec", [BOX, CHOICE], ids=["box", "choice"])
def test_the_actor_learns_by_finite_differences(numerics, spec):
    """REINFORCE on imagined actions, which are held while its parameters move, and the entropy."""
    learner = learner_of(spec)
    networks, rssm, n = learner.networks, learner.networks.world.rssm, learner.networks.world.n_actions
    state = rssm.imagine(rssm.recalled(rssm.start(5, n)), jnp.zeros((5, n)), jnp.full((5, 2), 0.5))
    imagined = jax.jit(partial(rollouts, horizon=3))(networks, state, KEY)
    rng = np.random.default_rng(0)
    found = Targets(*jnp.asarray(rng.normal(size=(3, 3, 5))))
    x, action = np.asarray(imagined.features[:-1]), np.asarray(imagined.action)
    advantage = np.asarray(found.returns - found.value) / 2.0

    def by_hand(layers):
        outputs = np.asarray(layers(x))
        if spec is CHOICE:
            p = np.exp(outputs) / np.exp(outputs).sum(axis=-1, keepdims=True) * 0.99 + 0.01 / 3
            log_prob = np.log(np.take_along_axis(p, action[..., None], -1)[..., 0])
            entropy = -(p * np.log(p)).sum(axis=-1)
        else:
            mean, std = np.tanh(outputs[..., :1]), 0.1 + 0.9 / (1 + np.exp(-outputs[..., 1:] - 2))
            log_prob = (-0.5 * ((action - mean) / std) ** 2 - np.log(std * np.sqrt(2 * np.pi)))[..., 0]
            entropy = 0.5 * np.log(2 * np.pi * np.e * std[..., 0] ** 2)
        return float((np.asarray(found.weight) * -(log_prob * advantage + 0.1 * entropy)).mean())

    def loss(networks):
        return actor_loss(networks, imagined, found, jnp.float64(2.0), 0.1)[0]

    value, gradient = jax.jit(jax.value_and_grad(loss))(networks)
    np.testing.assert_allclose(value, by_hand(networks.actor.layers), rtol=1e-8)
    expected = numerics.gradient(by_hand, networks.actor.layers)
    np.testing.assert_allclose(numerics.flat(gradient.actor), expected, atol=1e-7)
    assert not numerics.flat(gradient.world).any()


@exact
def test_the_critic_learns_returns_and_stays_near_the_slow_one(numerics):
    critic, slow = (MLP(jax.random.key(i), (2, 4, 5), "silu") for i in range(2))
    rng = np.random.default_rng(0)
    x, returns = rng.normal(size=(6, 2)), rng.normal(size=6) * 4
    bins = np.sign(np.linspace(-20, 20, 5)) * np.expm1(abs(np.linspace(-20, 20, 5)))

    def cross_entropy(logits, value):
        low = max(i for i in range(4) if bins[i] <= value)
        share = (value - bins[low]) / (bins[low + 1] - bins[low])
        log_prob = logits - np.log(np.exp(logits).sum())
        return -((1 - share) * log_prob[low] + share * log_prob[low + 1])

    logits, slow_logits = np.asarray(critic(x)), np.asarray(slow(x))
    slow_value = (np.exp(slow_logits) / np.exp(slow_logits).sum(axis=-1, keepdims=True) * bins).sum(axis=-1)
    expected = [cross_entropy(*row) for row in zip(logits, returns, strict=True)]
    expected += np.array([cross_entropy(*row) for row in zip(logits, slow_value, strict=True)])
    np.testing.assert_allclose(jax.jit(critic_loss)(critic, slow, x, returns), expected, rtol=1e-6)


@pytest.mark.slow
def test_one_update_moves_every_network_and_what_is_imagined_teaches_no_world():
    """The actor and the critic see states of which no gradient goes back."""
    learner = learner_of(BOX)
    steps = jax.tree.map(jnp.asarray, windows(BOX))

    @jax.jit
    def update(algorithm):
        return algorithm.update(learner, Batch(steps, jnp.ones(B)), KEY)[:2]

    algorithm = dataclasses.replace(ALGORITHM, free_nats=0.0)
    after, metrics = update(algorithm)
    moved = jax.tree.map(lambda new, old: np.abs(new - old).max(), after.networks, learner.networks)
    assert min(jax.tree.leaves(moved)) > 0
    expected = jax.tree.map(lambda s, o: 0.98 * s + 0.02 * o, learner.slow_critic, after.networks.critic)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-7), after.slow_critic, expected)
    parts = {name: float(metrics[name]) for name in metrics if name.endswith("_loss")}
    weights = {"representation_loss": 0.1, "replay_value_loss": 0.3}
    assert float(metrics["loss"]) == pytest.approx(sum(weights.get(n, 1) * part for n, part in parts.items()), rel=1e-5)
    # another discount changes what actor and critic are taught; of the world model what values of replayed steps teach
    without = dataclasses.replace(algorithm, replay_value_scale=0.0)
    for one, same in ((without, True), (algorithm, False)):
        (first, _), (other, _) = update(one), update(dataclasses.replace(one, gamma=0.5))
        alike = jax.tree.map(np.array_equal, other.networks.world.rssm, first.networks.world.rssm)
        assert all(jax.tree.leaves(alike)) == same
        assert np.abs(other.networks.critic.weights[0] - first.networks.critic.weights[0]).max() > 0


def test_without_exploration_nothing_is_drawn():
    learner, seen = learner_of(BOX), np.ones((4, 2), np.float32)
    memory = ALGORITHM.begin(learner, KEY, 4)
    act = jax.jit(partial(ALGORITHM.act, explore=False))
    one, other = (act(learner, seen, memory, jax.random.key(i)) for i in range(2))
    jax.tree.map(np.testing.assert_array_equal, one, other)
    assert (np.abs(one.action) <= 2).all()
    found = jax.jit(ALGORITHM.expected_return)(learner, seen, memory)
    assert found.value.shape == (4,)
    assert found.gamma == 0.9


@pytest.mark.slow
def test_illegal_actions_are_never_chosen():
    space = spaces.Dict({"x": spaces.Box(-9, 9, (2,)), "action_mask": spaces.MultiBinary(3)})
    spec = EnvironmentSpec("masked", space, spaces.Discrete(3, start=1))
    learner = fresh_learner(ALGORITHM, spec)
    seen = {"x": np.zeros((64, 2), np.float32), "action_mask": np.tile(np.int8([0, 1, 0]), (64, 1))}
    act = jax.jit(ALGORITHM.act, static_argnames="explore")
    for explore in (False, True):
        decision = act(learner, seen, ALGORITHM.begin(learner, KEY, 64), KEY, explore=explore)
        assert (decision.action == 2).all()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"n_bins": 4}, "n_bins must be odd"),
        ({"sequence_length": 1}, "sequence_length must be from 2"),
        ({"features_extractor": "nature"}, "is for images"),
        ({"gradient_steps": 0}, "gradient_steps must be at least 1"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(settings, says):
    with pytest.raises(tegu.TeguError, match=says) as caught:
        tegu.Dreamer(**settings).validate(BOX)
    assert "\n" not in str(caught.value)


def corridor(seed, length, n):
    """Two states in a row, one-hot. Action 1 goes on: from the second it is the end, and pays 1; action 0 stays in the
    first, and from the second it is the end, too, and pays nothing. Actions are drawn evenly."""
    rng = np.random.default_rng(seed)
    place, rows = np.zeros(n, int), []
    for _ in range(length):
        action = rng.integers(2, size=n)
        terminated = place == 1
        after = np.where(terminated, 2, place + action)
        rows.append((place, action, np.float32(terminated & (action == 1)), after, terminated))
        place = np.where(terminated, 0, after)
    seen, action, reward, after, terminated = map(np.stack, zip(*rows, strict=True))
    nothing = np.zeros_like(terminated)
    states = np.eye(3, dtype=np.float32)
    return Step(states[seen], action.astype(np.int32), reward, states[after], terminated, nothing)


@pytest.mark.long
def test_a_world_of_two_states_is_learned_and_solved():
    """Values, by hand: 1 in the second state, 0.9 of it in the first; both by action 1.

    They are of what is imagined alone: what is replayed pays as random actions do.
    """
    spec = EnvironmentSpec("corridor", spaces.Box(0, 1, (3,)), spaces.Discrete(2))
    settings = {"deterministic_size": 16, "n_categoricals": 4, "n_classes": 4, "units": 16, "n_layers": 1, "n_bins": 31}
    more = {"sequence_length": 8, "batch_size": 16, "horizon": 3, "gamma": 0.9, "learning_rate": 3e-3}
    algorithm = tegu.Dreamer(**settings, **more, tau=0.1, replay_value_scale=0.0).at(Clock.of(1, 2))
    learner = fresh_learner(algorithm, spec)
    steps = jax.tree.map(jnp.asarray, corridor(0, 8, 512))
    fresh = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (8, *leaf.shape)), algorithm.begin(learner, KEY, 512))
    steps = steps._replace(extras=fresh)  # every window begins an episode

    @jax.jit
    def learned(learner):
        def one(learner, key):
            draw_key, update_key = jax.random.split(key)
            index = jax.random.randint(draw_key, (16,), 0, 512)
            batch = Batch(jax.tree.map(lambda leaf: leaf[:, index], steps), jnp.ones(16))
            found = algorithm.update(learner, batch, update_key)
            return found.learner, found.metrics

        return jax.lax.scan(one, learner, jax.random.split(KEY, 300))

    learner, metrics = learned(learner)
    assert metrics["continue_loss"][-50:].mean() < 0.02
    # a reward of 1 lies between two bins, and the entropy of their shares remains
    share, often = 1 / np.expm1(40 / 30), float(steps.reward.mean())
    left = -often * (share * np.log(share) + (1 - share) * np.log(1 - share))
    assert metrics["reward_loss"][-50:].mean() < left + 0.05
    states, memory, values, choices = np.eye(3, dtype=np.float32), algorithm.begin(learner, KEY, 1), [], []
    value, act = jax.jit(algorithm.expected_return), jax.jit(partial(algorithm.act, explore=False))
    for place in (0, 1):
        values.append(float(value(learner, states[None, place], memory).value[0]))
        decision = act(learner, states[None, place], memory, KEY)
        choices.append(int(decision.action[0]))
        memory = decision.memory
    assert choices == [1, 1]
    np.testing.assert_allclose(values, [0.9, 1.0], atol=0.1)


@pytest.mark.slow
def test_what_is_imagined_of_given_actions_is_what_the_model_says_step_by_step():
    """With a model whose categoricals have one likely class each, so that nearly nothing is left to the draws."""
    algorithm, spec = tegu.Dreamer(**SMALL), EnvironmentSpec("test", spaces.Box(-9, 9, (2,)), spaces.Discrete(3))
    learner = algorithm.init(KEY, spec)
    world = eqx.tree_at(lambda m: m.rssm.prior_head.weights[-1], learner.networks.world, replace_fn=lambda w: 1e4 * w)
    heads = [1e3 * jax.random.normal(KEY, world.goes_on.weights[i].shape) for i in (0, 1)]
    heads = [jax.random.normal(KEY, world.reward.weights[-1].shape), *heads]
    world = eqx.tree_at(lambda m: (m.reward.weights[-1], *m.goes_on.weights), world, heads)
    random = np.random.default_rng(0)
    observation, actions = random.normal(size=(4, 2)).astype(np.float32), random.integers(0, 3, (3, 4))

    rssm, memory, states = world.rssm, algorithm.begin(learner, KEY, 4), []
    state = rssm.observe(rssm.recalled(memory), memory.action, world.embed(observation), None)[0]
    for h in range(3):
        deterministic = rssm.forward(state, jax.nn.one_hot(actions[h], 3))
        state = State(deterministic, likeliest(rssm.prior(deterministic)))
        states.append(state.features)
    logits = np.stack([world.goes_on(x)[..., 0] for x in states])
    shift = world.goes_on.biases[-1] - np.median(logits)  # so that some end, and others do not
    world = eqx.tree_at(lambda m: m.goes_on.biases[-1], world, shift)

    learner = learner._replace(networks=eqx.tree_at(lambda n: n.world, learner.networks, world))
    found = jax.jit(algorithm.imagine)(learner, observation, jnp.asarray(actions), KEY)
    assert found.reward.shape == (8, 3, 4)
    ended = np.logical_or.accumulate(logits < np.median(logits), axis=0)
    for h, x in enumerate(states):  # but for the one per cent that is uniform
        predicted = np.asarray(world.decoder.vector(x))
        predicted = np.sign(predicted) * np.expm1(np.abs(predicted))
        assert (np.abs(found.observation[:, h] - predicted).max(axis=-1) < 1e-3).mean() > 0.8
        mean = np.asarray(symexp_mean(world.reward(x)))
        assert (np.abs(found.reward[:, h] - mean) < 1e-2 * (1 + np.abs(mean))).mean() > 0.8
        assert (found.terminated[:, h] == ended[h]).mean() > 0.7
    assert 0 < found.terminated.mean() < 1
    assert np.abs(found.reward).max() > 0.01
