"""MuZero against plain loops in NumPy float64, and with models that are small enough to know all about them."""

import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

import tegu
from tegu.algorithms.latent_model import LatentModel, unit_range
from tegu.algorithms.muzero_targets import (
    Searched,
    following_values,
    scaled_gradient,
    targets,
    unroll_losses,
    unroll_weights,
)
from tegu.core.schedule import Clock
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Step
from tegu.experience.base import Batch
from tegu.nn.description import title
from tegu.training.plan import spec_of

KEY, K, N, B, A, START = jax.random.key(0), 3, 2, 40, 3, 1
T = K + N
SPEC = EnvironmentSpec(
    "test",
    spaces.Dict({"x": spaces.Box(-9, 9, (2,)), "action_mask": spaces.MultiBinary(A)}),
    spaces.Discrete(A, start=START),
    n_envs=2,
)
SMALL = {"latent_size": 4, "net_arch": (6,), "support_size": 5, "simulations": 4}
ALGORITHM = tegu.MuZero(**SMALL, unroll_steps=K, n_steps=N, batch_size=B, gamma=0.9, learning_rate=1e-2)
NETWORK = jax.tree.map(
    lambda leaf: leaf + 0.3 * np.random.default_rng(leaf.size).normal(size=leaf.shape).astype(np.float32),
    FRESH := LatentModel(KEY, SPEC, 4, (6,), "auto", 5),
)
exact = pytest.mark.usefixtures("x64")


def observations(rng):
    mask = rng.random((T, B, A)) < 0.6
    mask[..., 0] |= ~mask.any(-1)
    return {"x": rng.normal(size=(T, B, 2)), "action_mask": mask.astype(np.int8)}


def windows(seed=0):
    """With ends of both kinds, and with both at once."""
    rng = np.random.default_rng(seed)
    ends = rng.integers(8, size=(T, B))
    policy = rng.dirichlet(np.ones(A), size=(T, B))
    return Step(
        observations(rng),
        rng.integers(START, START + A, (T, B)).astype(np.int32),
        rng.normal(size=(T, B)) * 3,
        observations(rng),
        (ends == 0) | (ends == 2),
        (ends == 1) | (ends == 2),
        Searched(policy, rng.normal(size=(T, B))),
    )


def by_hand(steps, next_value, gamma):
    """Value, reward, whether they are known, and whether the episode goes on, of each state in a plain loop."""
    value, reward, known, paid, goes_on = (np.zeros((K + 1, B)) for _ in range(5))
    for b in range(B):
        state = "goes on"
        for k in range(K + 1):
            if k:
                paid[k, b] = state != "cut"
                if state == "goes on":
                    reward[k, b] = steps.reward[k - 1, b]
                    if steps.terminated[k - 1, b]:
                        state = "over"
                    elif steps.truncated[k - 1, b]:
                        state = "cut"
            goes_on[k, b], known[k, b] = state == "goes on", state != "cut"
            if state != "goes on":
                continue
            discount = 1.0
            for t in range(k, k + N):
                value[k, b] += discount * steps.reward[t, b]
                discount *= gamma
                if steps.terminated[t, b]:
                    break
                if steps.truncated[t, b] or t == k + N - 1:
                    value[k, b] += discount * next_value[t, b]
                    break
    return value, reward, known, paid, goes_on


@exact
@pytest.mark.parametrize("gamma", [0.9, -1.0], ids=["alone", "two players in turn"])
def test_targets_are_those_of_a_plain_loop(gamma):
    for seed in range(3):
        steps = windows(seed)
        next_value = np.random.default_rng(seed + 10).normal(size=(T, B))
        found = targets(jax.tree.map(jnp.asarray, steps), jnp.asarray(next_value), K, N, gamma)
        value, reward, known, paid, goes_on = by_hand(steps, next_value, gamma)
        assert {0, 1} == set(known.ravel()) == set(goes_on.ravel())
        assert (known != goes_on).any(), "some are absorbed"
        np.testing.assert_array_equal(found.goes_on, goes_on)
        np.testing.assert_array_equal(found.known, known)
        np.testing.assert_array_equal(found.reward_known, paid)
        np.testing.assert_allclose(found.value, value, rtol=1e-12)
        np.testing.assert_allclose(found.reward, reward, rtol=1e-12)
        np.testing.assert_array_equal(found.policy, steps.extras.policy[: K + 1])


@pytest.mark.slow
def test_a_games_outcome_is_that_of_the_player_to_move():
    """Who moved last won: with as many rewards as moves, the target is 1 and -1 in turn, and 0 after the end."""
    reward = np.zeros((T, 1), np.float32)
    reward[2] = 1
    ends = reward > 0
    steps = Step((), (), reward, (), ends, np.zeros_like(ends), Searched(np.ones((T, 1, 1)), reward))
    found = targets(jax.tree.map(jnp.asarray, steps), jnp.full((T, 1), 0.3), 2, 3, -1.0)
    np.testing.assert_array_equal(found.value[:, 0], [1, -1, 1])
    np.testing.assert_array_equal(found.reward[:, 0], [0, 0, 0])
    later = targets(jax.tree.map(lambda leaf: jnp.asarray(leaf[1:]), steps), jnp.full((T - 1, 1), 0.3), 3, 1, -1.0)
    np.testing.assert_array_equal(later.value[2:, 0], [0, 0])
    np.testing.assert_array_equal(later.reward[:, 0], [0, 0, 1, 0])


@pytest.mark.slow
@exact
def test_what_follows_a_step_is_worth_what_its_search_said():
    """And what a time limit cut off, or comes after the window, what the network says of the true next observation.

    With ``n_steps`` it says so of all that follows so many."""
    steps = windows()
    own = np.asarray(NETWORK.expected(steps.next_observation))
    for n_steps, asked in ((None, T - 1), (N, N - 1)):
        found = np.asarray(following_values(NETWORK, jax.tree.map(jnp.asarray, steps), n_steps))
        cut = steps.truncated.copy()
        cut[asked:] = True
        expected = np.where(cut, own, np.roll(steps.extras.value, -1, axis=0))
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@exact
def test_distributions_are_two_hot_on_the_scale_of_h():
    x = np.concatenate([-np.logspace(-2, 1.5, 20), [0, 1, -1], np.logspace(-2, 1.5, 20), [1e4, -1e4]])
    h = np.sign(x) * (np.sqrt(np.abs(x) + 1) - 1) + 1e-3 * x
    expected = np.zeros((len(x), 11))
    for row, scaled in zip(expected, np.clip(h, -5, 5), strict=True):
        below = min(int(np.floor(scaled)) + 5, 9)
        row[below + 1] = scaled + 5 - below
        row[below] = 1 - row[below + 1]
    found = NETWORK.distribution(jnp.asarray(x))
    np.testing.assert_allclose(found, expected, atol=1e-12)
    np.testing.assert_allclose(NETWORK.scalar(jnp.log(found + 1e-300))[:-2], x[:-2], rtol=1e-6, atol=1e-9)


@exact
def test_states_lie_between_0_and_1():
    x = np.random.default_rng(0).normal(size=(5, 7)) * 10
    expected = (x - x.min(1, keepdims=True)) / (np.ptp(x, axis=1)[:, None] + 1e-5)
    np.testing.assert_allclose(unit_range(jnp.asarray(x)), expected, rtol=1e-12)
    assert not np.asarray(unit_range(jnp.ones((1, 3)))).any()
    state = NETWORK.represent(jax.tree.map(lambda leaf: leaf[0], windows().observation))
    after, _ = NETWORK.step(state, jnp.full(B, START + 1, jnp.int32))
    for found in (state, after):
        np.testing.assert_allclose(found.min(axis=1), 0)
        np.testing.assert_allclose(found.max(axis=1), 1, atol=1e-4)


@pytest.mark.slow
def test_a_fresh_network_expects_nothing():
    state = FRESH.represent(jax.tree.map(lambda leaf: jnp.asarray(leaf[0], jnp.float32), windows().observation))
    logits, value = FRESH.predict(state)
    _, reward = FRESH.step(state, jnp.full(B, START, jnp.int32))
    assert not np.asarray(logits).any()
    np.testing.assert_allclose(FRESH.scalar(value), 0, atol=1e-6)
    np.testing.assert_allclose(FRESH.scalar(reward), 0, atol=1e-6)
    titles = {name: title(part) for name, part in ALGORITHM.networks(ALGORITHM.init(KEY, SPEC))}
    assert titles["representation"].startswith("MLP 2-6-4"), "and nothing of images, where there are none"


def linear(r, g):
    """A model of one number: represented by a factor ``r``, multiplied by ``g`` at each step, which is its value."""
    return SimpleNamespace(
        represent=lambda x: r * x,
        step=lambda state, action: (g * state, jnp.zeros((*state.shape, 2))),
        predict=lambda state: (
            jnp.zeros((*state.shape, 2)),
            jnp.stack([state, jnp.zeros_like(state)], axis=-1),
        ),
        distribution=lambda scalar: jnp.stack([scalar, 1 - scalar], axis=-1),
        scalar=lambda logits: logits[..., 0],
    )


@exact
def test_gradients_are_scaled_as_in_the_paper():
    """By 1 / K for each state after the first, and by half at each step of the dynamics: by hand.

    With s_k = r g^k x the loss is log(1 + exp(s_k)) - y s_k, whose derivative by s_k is sigmoid(s_k) - y. By r it is
    that times g^k x, halved k times. By g, the use in step j of k is halved k - j times.
    """
    x, r, g, y = 0.7, 1.3, 0.8, 0.25
    steps = windows()._replace(observation=jnp.full((T, 1), x), action=np.zeros((T, 1), np.int32))
    ones = jnp.ones((K + 1, 1), bool)
    known = SimpleNamespace(
        policy=jnp.full((K + 1, 1, 2), 0.5), value=jnp.full((K + 1, 1), y), reward=jnp.ones((K + 1, 1)),
        goes_on=ones, known=ones, reward_known=ones,
    )  # fmt: skip

    def loss(r, g):
        each, _ = unroll_losses(linear(r, g), steps, known)
        return (unroll_weights(K) * each["value_loss"]).sum()

    by_r, by_g = 0.0, 0.0
    for k in range(K + 1):
        slope = (1 / (1 + np.exp(-r * g**k * x)) - y) / (K if k else 1)
        by_r += slope * g**k * x * 0.5**k
        by_g += sum(slope * r * x * g ** (k - 1) * 0.5 ** (k - j) for j in range(1, k + 1))
    np.testing.assert_allclose(jax.grad(loss, argnums=(0, 1))(r, g), (by_r, by_g), rtol=1e-6)
    np.testing.assert_allclose(scaled_gradient(jnp.asarray(3.0), 0.5), 3.0)


@pytest.mark.slow
@exact
def test_losses_are_cross_entropies_of_an_unrolled_model():
    """Nothing is learned of policies after an end, nor of anything after a time limit."""
    steps = windows()
    network = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), NETWORK)
    known = targets(jax.tree.map(jnp.asarray, steps), jnp.asarray(steps.extras.value), K, N, 0.9)
    found, value = unroll_losses(network, jax.tree.map(jnp.asarray, steps), known)
    state = network.represent(jax.tree.map(lambda leaf: leaf[0], steps.observation))
    np.testing.assert_allclose(value, network.scalar(network.value(state)), rtol=1e-9)

    def cross_entropy(logits, target):
        logits = np.asarray(logits)
        return -(np.asarray(target) * (logits - np.log(np.exp(logits).sum(-1, keepdims=True)))).sum(-1)

    for k in range(K + 1):
        reward = jnp.zeros((B, 11))
        if k:
            state, reward = network.step(state, steps.action[k - 1])
        goes_on, sure, paid = (np.asarray(each[k]) for each in (known.goes_on, known.known, known.reward_known))
        policy = cross_entropy(network.policy(state), steps.extras.policy[k]) * goes_on
        of_value = cross_entropy(network.value(state), network.distribution(known.value[k])) * sure
        of_reward = cross_entropy(reward, network.distribution(known.reward[k])) * paid
        for name, expected in (("policy_loss", policy), ("value_loss", of_value), ("reward_loss", of_reward)):
            np.testing.assert_allclose(found[name][k], expected, rtol=1e-6, atol=1e-9)


# Acting and searching again


def learner(algorithm=ALGORITHM):
    made = algorithm.init(KEY, SPEC)
    target = algorithm.init(jax.random.key(1), SPEC).online
    stirred = [
        jax.tree.map(lambda leaf, by=by: leaf + 0.1 * jnp.sin(by * jnp.arange(leaf.size)).reshape(leaf.shape), network)
        for network, by in ((made.online, 2.0), (target, 1.0))
    ]
    return made._replace(online=stirred[0], target=stirred[1])


@pytest.mark.slow
@pytest.mark.parametrize("search", ["gumbel", "puct"])
def test_no_illegal_action_is_chosen(search):
    """And what is deterministic does not depend on the key."""
    made = dataclasses.replace(ALGORITHM, search=search)
    seen = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), windows().observation)
    act = jax.jit(made.act, static_argnames="explore")
    for explore in (False, True):
        decision = act(learner(), seen, (), KEY, explore=explore)
        mask = np.asarray(seen["action_mask"], bool)
        assert mask[np.arange(B), decision.action - START].all()
        assert not np.asarray(decision.extras.policy)[~mask].any()
        np.testing.assert_allclose(decision.extras.policy.sum(axis=1), 1, rtol=1e-5)
    if search == "gumbel":
        one, other = (act(learner(), seen, (), jax.random.key(seed), explore=False) for seed in (1, 2))
        np.testing.assert_array_equal(one.action, other.action)


@pytest.mark.slow
def test_what_is_searched_again_is_what_the_target_network_finds():
    """It replaces what is stored of the first steps of some windows, and of no others."""
    made = dataclasses.replace(ALGORITHM, n_reanalysed=7)
    steps = jax.tree.map(jnp.asarray, windows())
    fresh, feedback = jax.jit(made.reanalysed)(learner().target, steps, KEY)
    changed = np.flatnonzero(np.asarray(fresh.extras.value[0] != steps.extras.value[0]))
    assert len(changed) == 7
    for new, old, kept in zip(fresh.extras, steps.extras, feedback.rows.extras, strict=True):
        np.testing.assert_array_equal(new[1:], old[1:])
        np.testing.assert_array_equal(new[0], kept)
        np.testing.assert_array_equal(np.delete(new[0], changed, axis=0), np.delete(old[0], changed, axis=0))
    choice_key, search_key = jax.random.split(KEY)
    order = jax.random.permutation(choice_key, B)[:7]
    assert set(order.tolist()) == set(changed.tolist())
    seen = jax.tree.map(lambda leaf: leaf[0, order], steps.observation)
    found = jax.jit(lambda *given: made.plan_with(*given, made.simulations, True))(learner().target, seen, search_key)
    np.testing.assert_allclose(fresh.extras.policy[0, order], found.policy, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(fresh.extras.value[0, order], found.value, rtol=1e-5)
    assert feedback.rows._replace(extras=None) == Step(*[None] * 7)


@pytest.mark.slow
@exact
@pytest.mark.parametrize(("bootstrap", "search_again"), [("network", 0), ("search", 0), ("search", 5)])
def test_an_update_is_that_of_a_plain_loss(bootstrap, search_again):
    """Of weighted windows, with what the target network says and not the online one; and the priorities."""
    given = {"vf_coef": 0.4, "l2": 1e-3, "bootstrap": bootstrap, "n_reanalysed": search_again, "prioritized": True}
    made = dataclasses.replace(ALGORITHM, **given, target_update_interval=10**6).at(Clock(0, 1000))
    double = jax.tree.map(lambda leaf: leaf.astype(jnp.float64) if leaf.dtype == jnp.float32 else leaf, learner(made))
    double = double._replace(online=jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), NETWORK))
    steps, weight = jax.tree.map(jnp.asarray, windows()), jnp.asarray(np.random.default_rng(5).random(B))
    update = jax.jit(lambda one, rows: made.update(one, Batch(rows, weight), KEY))
    after = update(double, steps)
    if search_again:
        steps, _ = jax.jit(made.reanalysed)(double.target, steps, KEY)
    rows = jax.device_get(steps)
    next_value = np.roll(rows.extras.value, -1, axis=0)
    own = np.asarray(double.target.expected(steps.next_observation))
    asked = rows.truncated.copy()
    asked[(T if bootstrap == "search" else N) - 1 :] = True
    value, reward, known, paid, goes_on = by_hand(rows, np.where(asked, own, next_value), 0.9)

    def plain(network):
        """Equation 1 of the paper, and what is predicted of the first state."""
        total, state = 0.0, network.represent(jax.tree.map(lambda leaf: leaf[0], steps.observation))
        first = network.scalar(network.value(state))
        for k in range(K + 1):
            pays = 0.0
            if k:
                state = scaled_gradient(state, 0.5)
                state, logits = network.step(state, steps.action[k - 1])
                pays = -(jax.nn.log_softmax(logits) * network.distribution(reward[k])).sum(-1) * paid[k]
            policy = -(jax.nn.log_softmax(network.policy(state)) * rows.extras.policy[k]).sum(-1) * goes_on[k]
            worth = -(jax.nn.log_softmax(network.value(state)) * network.distribution(value[k])).sum(-1) * known[k]
            total += (policy + 0.4 * worth + pays) / (K if k else 1)
        size = sum((leaf**2).sum() for leaf in jax.tree.leaves(network))
        return (weight * total).mean() + 1e-3 * size, first

    (loss, first), gradient = jax.jit(jax.value_and_grad(plain, has_aux=True))(double.online)
    norm = np.sqrt(sum((np.asarray(leaf) ** 2).sum() for leaf in jax.tree.leaves(gradient)))
    np.testing.assert_allclose(after.metrics["loss"], loss, rtol=1e-5)
    np.testing.assert_allclose(after.metrics["grad_norm"], norm, rtol=1e-4)
    np.testing.assert_allclose(after.feedback.priority, np.abs(value[0] - first), rtol=1e-4, atol=1e-6)
    jax.tree.map(np.testing.assert_array_equal, after.learner.target, double.target)
    # Adam's first step: every number by the learning rate, against its gradient
    for old, new, slope in zip(*map(jax.tree.leaves, (double.online, after.learner.online, gradient)), strict=True):
        sure = np.abs(np.asarray(slope)) > 1e-4
        np.testing.assert_allclose((new - old)[sure], -0.01 * np.sign(slope[sure]), rtol=0.05)


@pytest.mark.slow
def test_the_target_network_follows_when_it_is_due():
    made = dataclasses.replace(ALGORITHM, target_update_interval=20).at(Clock(0, 1000))
    steps, before = jax.tree.map(jnp.asarray, windows()), learner(made)
    due, _ = made.take(before, jax.tree.map(lambda leaf: leaf.reshape((-1, *leaf.shape[2:]))[:20], steps))
    after = jax.jit(made.update)(due, Batch(steps, jnp.ones(B)), KEY).learner
    jax.tree.map(np.testing.assert_array_equal, after.target, before.online)


@pytest.mark.slow
def test_in_a_game_the_player_to_move_is_paid():
    """Who made the last move has won; the other one is not asked. No illegal move is chosen."""
    made = dataclasses.replace(ALGORITHM, support_size=1, gamma=1.0)
    game = tegu.make("tic-tac-toe")
    fresh = made.init(KEY, spec_of("tic-tac-toe", game, 4))
    position = jax.tree.map(lambda leaf: jnp.stack([leaf] * 4), game.reset(KEY)[1])
    position["to_play"] = jnp.array([0, 1, 0, 1], jnp.int32)
    position["action_mask"] = jax.random.bernoulli(KEY, 0.5, (4, 9)).at[:, 0].set(True)
    decision = jax.jit(made.act, static_argnames="explore")(fresh, position, (), KEY, explore=True)
    assert np.asarray(position["action_mask"])[np.arange(4), decision.action].all()
    lines = jax.jit(lambda one: made.plan(fresh, one, KEY, simulations=8, explore=False).lines)(position)
    assert (lines[..., 1:] == -1).all(), "only first moves are known to be legal"
    assert np.isin(lines[..., 0], [*range(9), -1]).all()
    first = jnp.array([[1.0, -1.0, -1.0, 0.0]])
    one = jax.tree.map(lambda leaf: leaf[None], position)
    steps = Step(one, decision.action[None], {"first": first, "second": -first}, one, first != 0, first > 2)
    _, kept = made.take(fresh, steps)
    np.testing.assert_array_equal(kept.reward, [[1, 1, -1, 0]])
    assert made.discount(fresh.online) == -1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("environment", "settings", "says"),
    [
        ("CartPole-v1", {"search": "uct"}, "search must be one of gumbel, puct, got 'uct'"),
        ("CartPole-v1", {"bootstrap": "none"}, "bootstrap must be one of network, search, got 'none'"),
        ("CartPole-v1", {"n_reanalysed": 200}, "n_reanalysed must be at most batch_size, got 200 and 128"),
        ("Pendulum-v1", {}, "needs a Discrete action space"),
        ("tic-tac-toe", {"features_extractor": "nature"}, "features_extractor must be auto or flatten in board games"),
        ("simple_push_v3", {}, "needs a single agent or a board game in JAX"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(environment, settings, says):
    with pytest.raises(tegu.TeguError, match=says) as caught:
        tegu.train(environment, tegu.MuZero(**settings), steps=100, folder=None)
    assert "\n" not in str(caught.value)
