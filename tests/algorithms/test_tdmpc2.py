"""TD-MPC2 against plain loops in NumPy float64, and in a task of one step."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

import tegu
from tegu.algorithms.dreamer_losses import ReturnRange
from tegu.algorithms.tdmpc2_losses import goes_on, model_losses, policy_loss, value_targets
from tegu.algorithms.tdmpc2_model import LatentDynamics, Sizes, drawn_critics, layers, policy_of
from tegu.algorithms.tdmpc2_planning import Planner
from tegu.core.schedule import Clock
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Step
from tegu.environments.base import Environment, Timestep
from tegu.experience.base import Batch
from tegu.nn.simnorm import simnorm
from tegu.search.guided import Guided, elite_weights, explored_action, improved

KEY, H, B, K, GAMMA, RHO = jax.random.key(0), 4, 30, 2, 0.9, 0.6
LOW, HIGH = np.array([-2.0, 0.0], np.float32), np.array([2.0, 3.0], np.float32)
SPEC = EnvironmentSpec("test", spaces.Box(-9, 9, (3,)), spaces.Box(LOW, HIGH), n_envs=2)
SIZES = Sizes(6, 3, (5,), (7, 7), 2, 11, 4)
exact = pytest.mark.usefixtures("x64")


def moved(tree, seed=1):
    """Float64 numbers that are not the symmetric ones of the start."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64) + 0.4 * rng.normal(size=leaf.shape), tree)


MODEL = moved(LatentDynamics(KEY, SPEC, SIZES, "auto", True))
POLICY = moved(layers(KEY, (6, 7, 2 * K)), 2)
TARGETS = moved(MODEL.critics, 3)


def windows(seed=0):
    """Steps with ends of both kinds, and with both at once."""
    rng = np.random.default_rng(seed)
    ends = rng.integers(9, size=(H, B))
    return Step(
        rng.normal(size=(H, B, 3)),
        rng.uniform(LOW, HIGH, (H, B, K)),
        rng.normal(size=(H, B)) * 3,
        rng.normal(size=(H, B, 3)),
        (ends == 0) | (ends == 2),
        (ends == 1) | (ends == 2),
    )


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def normal(x):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)


def network(mlp, x, member=None):
    """Layers of a network, or of one of several, with Mish: x tanh(log(1 + e^x))."""
    pairs = [(w, b) if member is None else (w[member], b[member]) for w, b in zip(mlp.weights, mlp.biases, strict=True)]
    for w, b in pairs[:-1]:
        x = normal(x @ w + b)
        x = x * np.tanh(np.log1p(np.exp(x)))
    return x @ pairs[-1][0] + pairs[-1][1]


def simplices(x):
    x = normal(x)
    return np.concatenate([softmax(x[..., i : i + 3]) for i in range(0, x.shape[-1], 3)], axis=-1)


def encoded(observation):
    return simplices(network(MODEL.representation, observation))


def unit(action):
    return 2 * (action - LOW) / (HIGH - LOW) - 1


BINS = np.linspace(-4, 4, 11)


def scalar(logits):
    x = softmax(logits) @ BINS
    return np.sign(x) * (np.exp(abs(x)) - 1)


def cross_entropy(logits, value):
    """By hand for one value: shares of the two bins by their distance on the scale of symlog."""
    x = np.clip(np.sign(value) * np.log(abs(value) + 1), -4, 4)
    low = min(int((x + 4) // 0.8), 9)
    share = (x - BINS[low]) / 0.8
    log = np.log(softmax(logits))
    return -((1 - share) * log[low] + share * log[low + 1])


@exact
def test_simnorm_is_a_softmax_of_each_group():
    x = np.random.default_rng(0).normal(size=(4, 5, 6)) * 5
    by_hand = np.stack(
        [np.exp(x[..., i]) / np.exp(x[..., i // 3 * 3 : i // 3 * 3 + 3]).sum(-1) for i in range(6)], axis=-1
    )
    np.testing.assert_allclose(simnorm(jnp.asarray(x), 3), by_hand, rtol=1e-12)


@exact
def test_the_models_losses_are_those_of_a_plain_loop():
    steps, rng = windows(), np.random.default_rng(5)
    next_state, target = simplices(rng.normal(size=(H, B, 6))), rng.normal(size=(H, B)) * 5
    found, unrolled = jax.jit(model_losses)(MODEL, steps, next_state, target, RHO, None, KEY)
    expected = dict.fromkeys(found, 0.0)
    for b in range(B):
        state = encoded(steps.observation[0, b])
        for t in range(H):
            pair = np.concatenate([state, unit(steps.action[t, b])])
            critics = [cross_entropy(network(MODEL.critics, pair, i), target[t, b]) for i in range(2)]
            reward = cross_entropy(network(MODEL.reward, pair), steps.reward[t, b])
            state = simplices(network(MODEL.dynamics, pair))
            p = 1 / (1 + np.exp(-network(MODEL.termination, state)[0]))
            weight = RHO**t / (H * B)
            expected["consistency_loss"] += weight * ((state - next_state[t, b]) ** 2).mean()
            expected["reward_loss"] += weight * reward
            expected["value_loss"] += weight * np.mean(critics)
            expected["termination_loss"] -= np.log(p if steps.terminated[t, b] else 1 - p) / (H * B)
            np.testing.assert_allclose(unrolled.states[t + 1, b], state, rtol=1e-6)
            if steps.terminated[t, b] or steps.truncated[t, b]:
                break
    assert {name: pytest.approx(value, rel=1e-6) for name, value in expected.items()} == found


@exact
def test_targets_are_the_lower_of_two_critics_and_nothing_after_a_termination():
    steps = windows()
    next_state = encoded(steps.next_observation)
    given = MODEL, POLICY, TARGETS, steps, next_state, GAMMA, KEY
    found = jax.jit(value_targets)(*given)
    action = policy_of(POLICY, next_state).sample(jax.random.split(KEY)[0])
    pair = np.concatenate([next_state, action], axis=-1)
    lowest = np.minimum(*(scalar(network(TARGETS, pair, i)) for i in range(2)))
    np.testing.assert_allclose(found, steps.reward + GAMMA * lowest * ~steps.terminated, rtol=1e-9)


@exact
def test_the_policy_climbs_scaled_values_with_weights_of_rho():
    steps, ent_coef = windows(), 0.3
    states = simplices(np.random.default_rng(7).normal(size=(H + 1, B, 6)))
    counts = np.asarray(goes_on(steps))
    for b in range(B):
        ended = np.flatnonzero(steps.terminated[:, b] | steps.truncated[:, b])
        assert counts[:, b].sum() == (ended[0] + 1 if len(ended) else H + 1)
    before = ReturnRange(jnp.float64(0.5), jnp.float64(0.2))
    given = POLICY, MODEL, states, counts, before, ent_coef, RHO, None, KEY
    loss, found = jax.jit(policy_loss)(*given)
    mean, spread = np.split(network(POLICY, states), 2, axis=-1)
    log_std = -10 + 12 * (np.tanh(spread) + 1) / 2
    noise = np.asarray(jax.random.normal(jax.random.split(KEY, 3)[0], mean.shape))
    raw = mean + np.exp(log_std) * noise
    log_prob = (-0.5 * noise**2 - log_std - 0.5 * np.log(2 * np.pi) - np.log(1 - np.tanh(raw) ** 2)).sum(-1)
    pair = np.concatenate([states, np.tanh(raw)], axis=-1)
    value = (scalar(network(MODEL.critics, pair, 0)) + scalar(network(MODEL.critics, pair, 1))) / 2
    low, high = np.percentile(value[0], [5, 95])
    scale = max(1.0, (0.99 * 0.5 + 0.01 * (high - low)) / (0.99 * 0.2 + 0.01))
    each = -(value / scale - ent_coef * log_prob) * counts * RHO ** np.arange(H + 1)[:, None]
    np.testing.assert_allclose(found.return_range.scale, scale, rtol=1e-9)
    np.testing.assert_allclose(loss, each.mean(), rtol=1e-6)
    np.testing.assert_allclose(found.entropy, -log_prob[counts].mean(), rtol=1e-6)


def test_two_different_critics_are_drawn():
    critics = jax.vmap(lambda key: layers(key, (2, 3)))(jax.random.split(KEY, 4))
    pairs = {
        tuple(int(np.flatnonzero((critics.weights[0] == w).all((1, 2)))[0]) for w in drawn.weights[0])
        for drawn in (drawn_critics(critics, jax.random.key(i)) for i in range(40))
    }
    assert all(a != b for a, b in pairs)
    assert {index for pair in pairs for index in pair} == {0, 1, 2, 3}


@exact
def test_a_plan_is_fitted_to_weighted_elites_with_clipped_deviations():
    settings = Guided(12, 3, 4, 2.0, 0.3, 0.5)
    rng = np.random.default_rng(0)
    mean, proposals = rng.uniform(-1, 1, (H, K)) / 2, rng.uniform(-1, 1, (H, 3, K))
    goal = np.array([0.4, -0.2])
    returns = lambda key, actions: -3 * ((actions - goal) ** 2).sum((0, 2))  # noqa: E731
    found = jax.jit(lambda: improved(returns, jnp.asarray(mean), jnp.asarray(proposals), KEY, settings))()
    std = np.full((H, K), 0.5)
    for key in jax.random.split(KEY, 3):
        noise = jax.random.normal(jax.random.split(key)[0], (H, 9, K))
        candidates = np.concatenate([proposals, np.clip(mean[:, None] + std[:, None] * noise, -1, 1)], axis=1)
        earned = -3 * ((candidates - goal) ** 2).sum((0, 2))
        elites = np.argsort(-earned)[:4]
        weight = np.exp((earned[elites] - earned.max()) / 2)
        weight /= weight.sum()
        mean = sum(w * candidates[:, i] for w, i in zip(weight, elites, strict=True))
        variance = sum(w * (candidates[:, i] - mean) ** 2 for w, i in zip(weight, elites, strict=True))
        std = np.clip(np.sqrt(variance), 0.3, 0.5)
    assert (std == 0.3).any()
    assert (std > 0.3).any()
    np.testing.assert_allclose(found.plan.mean, mean, rtol=1e-9)
    np.testing.assert_allclose(found.plan.std, std, rtol=1e-9)
    np.testing.assert_allclose(found.weight[elites], weight, rtol=1e-9)
    assert np.count_nonzero(found.weight) == 4
    actions = jax.vmap(lambda key: explored_action(found, key))(jax.random.split(KEY, 2000))
    drawn = candidates[0, rng.choice(elites, 100_000, p=weight)] + std[0] * rng.normal(size=(100_000, K))
    for moment in (1, 2):
        expected = (np.clip(drawn, -1, 1) ** moment).mean(0)
        np.testing.assert_allclose((actions**moment).mean(0), expected, atol=0.04)


def test_exactly_as_many_elites_count_where_returns_are_equal():
    weight = elite_weights(jnp.zeros(6), 2, 1.0)
    assert sorted(weight.tolist()) == [0, 0, 0, 0, 0.5, 0.5]


@exact
@pytest.mark.parametrize("logit", [-9.0, 9.0], ids=["goes on", "ends"])
def test_what_plans_earn_is_rewards_and_then_the_value_unless_it_ends(logit):
    biases = (*MODEL.termination.biases[:-1], np.array([logit * 100]))
    changed = eqx.tree_at(lambda found: found.termination.biases, MODEL, biases)
    planner = Planner(changed, POLICY, MODEL.critics, GAMMA, 0, None)
    state, actions = encoded(np.ones(3)), np.random.default_rng(1).uniform(-1, 1, (H, 5, K))
    found = planner.returns(jnp.asarray(state), KEY, jnp.asarray(actions))
    total, discount, states = np.zeros(5), 1.0, np.broadcast_to(state, (5, 6))
    for action in actions:
        pair = np.concatenate([states, action], axis=-1)
        total = total + discount * scalar(network(MODEL.reward, pair))
        states = simplices(network(MODEL.dynamics, pair))
        discount = GAMMA * discount if logit < 0 else 0.0
    last = policy_of(POLICY, jnp.asarray(states)).sample(KEY)
    pair = np.concatenate([states, last], axis=-1)
    value = np.mean([scalar(network(MODEL.critics, pair, i)) for i in range(2)], axis=0)
    np.testing.assert_allclose(found, total + discount * value, rtol=1e-9)


SMALL = {"latent_size": 4, "simnorm_size": 2, "encoder_arch": (6,), "net_arch": (6,), "n_critics": 3, "n_bins": 5}
SMALL |= {"n_candidates": 8, "n_policy_candidates": 2, "n_elite": 3, "n_iterations": 2, "batch_size": B, "horizon": H}


def float32(tree):
    return jax.tree.map(lambda leaf: leaf.astype(np.float32) if leaf.dtype == np.float64 else leaf, tree)


@pytest.fixture(scope="module")
def learner():
    return jax.jit(lambda: tegu.TDMPC2(**SMALL).init(KEY, SPEC))()


@pytest.mark.slow
def test_an_update_moves_all_networks_and_the_encoder_by_less(learner):
    made = tegu.TDMPC2(**SMALL, learning_rate=1e-2, encoder_learning_rate_scale=0.3, critic_dropout=0.1, tau=0.25)
    update = jax.jit(made.update)(learner, Batch(float32(windows()), jnp.ones(B)), KEY)
    after = update.learner

    def furthest(one, other):
        return max(float(abs(a - b).max()) for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True))

    # Adam's first step moves every parameter that has a gradient by the learning rate
    assert furthest(after.model.representation, learner.model.representation) == pytest.approx(3e-3, rel=1e-2)
    for part in ("dynamics", "reward", "critics", "termination"):
        assert furthest(getattr(after.model, part), getattr(learner.model, part)) == pytest.approx(1e-2, rel=1e-2)
    assert furthest(after.policy, learner.policy) > 1e-3
    old, new, found = (x.weights[-1] for x in (learner.target_critics, after.model.critics, after.target_critics))
    np.testing.assert_allclose(found, 0.75 * old + 0.25 * new, atol=1e-6)
    assert all(np.isfinite(value) for value in update.metrics.values())


@pytest.mark.slow
def test_plans_begin_with_that_of_the_step_before(learner):
    made = tegu.TDMPC2(**SMALL)
    memory = made.begin(learner, KEY, 2)
    assert memory.shape == (2, H, K)
    decision = jax.jit(lambda memory: made.act(learner, jnp.ones((2, 3)), memory, KEY, explore=False))(memory)
    np.testing.assert_array_equal(decision.memory[:, -1], 0)
    assert (decision.memory[:, :-1] != 0).all()
    np.testing.assert_array_equal(np.clip(decision.action, LOW, HIGH), decision.action)
    warmed = made.at(Clock.of(0, 10))
    random = jax.jit(lambda memory: warmed.act(learner, jnp.ones((2, 3)), memory, KEY, explore=True))(memory)
    np.testing.assert_array_equal(random.memory, memory)
    assert made.begin(learner, KEY, 2).dtype == np.float32


def test_without_planning_the_policy_acts(learner):
    made = tegu.TDMPC2(**SMALL, plan=False)
    assert made.begin(learner, KEY, 2) == ()
    seen = jnp.ones((2, 3))
    decision = made.act(learner, seen, (), KEY, explore=False)
    action = policy_of(learner.policy, learner.model.encode(seen)).mode()
    np.testing.assert_allclose(decision.action, learner.model.to_space(action), rtol=1e-6)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"latent_size": 12}, "latent_size must be a multiple of simnorm_size, got 12 and 8"),
        ({"n_elite": 200}, "n_elite must be at most n_candidates, got 200 of 128"),
        ({"n_policy_candidates": 200}, "n_policy_candidates must be at most n_candidates, got 200 of 128"),
        ({"min_std": 3.0}, "min_std must be at most max_std, got 3.0 and 2.0"),
        ({"horizon": 1}, "horizon must be from 2 to 100,000, got 1"),
        ({"bin_limit": 81}, "bin_limit must be from 1 to 80, got 81"),
        ({"gradient_steps": 0}, "gradient_steps must be at least 1, or -1, got 0"),
    ],
)
def test_settings_that_do_not_fit_are_named(settings, said):
    with pytest.raises(tegu.TeguError, match=f"TDMPC2: {said}"):
        tegu.TDMPC2(**settings).validate(SPEC)


@pytest.mark.parametrize(
    ("space", "said"),
    [
        (spaces.Discrete(3), "needs a Box action space"),
        (spaces.Box(-1, np.inf, (1,)), "needs finite action bounds"),
        (spaces.Box(0, 5, (1,), np.int32), "needs actions of floats"),
    ],
)
def test_actions_must_be_continuous(space, said):
    with pytest.raises(tegu.TeguError, match=f"TDMPC2 {said}"):
        tegu.TDMPC2().validate(EnvironmentSpec("test", SPEC.observation_space, space))


class Aim(Environment):
    """Every step shows a new number, and pays minus the square of how far the action is from it."""

    id: str = eqx.field(static=True, kw_only=True, default="aim")
    max_episode_steps: int | None = eqx.field(static=True, kw_only=True, default=10)

    @property
    def observation_space(self):
        return spaces.Box(-1, 1, (1,))

    @property
    def action_space(self):
        return spaces.Box(-1, 1, (1,))

    def reset(self, key):
        shown = jax.random.uniform(key, (1,), minval=-1)
        return shown, shown

    def step(self, state, action, key):
        shown, observation = self.reset(key)
        return Timestep(shown, observation, -((action - state) ** 2).sum(), jnp.bool_(False))


@pytest.mark.long
@pytest.mark.parametrize("plan", [True, False], ids=["plans", "policy"])
def test_it_learns_to_aim(plan):
    """Actions at random earn -6.7 in ten steps, the best constant -3.3. Plans and the policy alone, two seeds each."""
    settings = {"latent_size": 16, "encoder_arch": (32,), "net_arch": (32,), "n_critics": 2, "n_candidates": 32}
    settings |= {"n_elite": 6, "n_iterations": 3, "batch_size": 64, "learning_rate": 1e-3, "gamma": 0.5}
    algorithm = tegu.TDMPC2(**settings, learning_starts=200, gradient_steps=4, train_freq=4, plan=plan)
    agent = tegu.train(Aim(), algorithm, steps=2_000, n_envs=4, seeds=2, folder=None)
    assert (agent.evaluate(40).returns.mean(axis=1) > -1.0).all()
