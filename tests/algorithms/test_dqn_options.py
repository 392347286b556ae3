"""DQN's options against NumPy float64: what they aim at, how they explore, and what they exclude."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces
from masked_steps import KEY, SPEC, START, A, N, batches, learner_of, long_steps, observations
from scipy.special import log_softmax, softmax

import tegu
from tegu.algorithms.dqn import DQN
from tegu.algorithms.registry import algorithm
from tegu.core.errors import TeguError
from tegu.core.schedule import Clock
from tegu.core.spec import EnvironmentSpec
from tegu.experience.base import Batch, Prioritized, Uniform
from tegu.nn.mlp import MLP

SMALL = {"net_arch": (6,), "batch_size": N, "gamma": 0.9}
ROWS = np.arange(N)
TARGET = jax.jit(lambda algorithm, learner, rows: algorithm.target(learner, rows, algorithm.gamma, KEY))
UPDATE = jax.jit(lambda algorithm, learner, batch: algorithm.update(learner, batch, KEY))

pytestmark = pytest.mark.usefixtures("x64")


def relu(x):
    return np.maximum(x, 0)


def outputs_of(numerics, network, observation, n=None):
    """``[N, A]``, or ``[N, A, n]``, of a network without dueling or noise."""
    mlp = network.mlp if n is None else network.body
    found = numerics.mlp(mlp, observation["x"].astype(np.float64), relu)
    return found if n is None else found.reshape(N, A, n)


def best_legal(values, observation):
    return np.where(observation["action_mask"], values, -np.inf).argmax(axis=1)


def after(batch, discount, following):
    """``r + gamma`` times what follows, ``[N]`` or ``[N, n]``, and r alone where the task terminated."""
    extra = (1,) * (following.ndim - 1)
    reward, discount = (np.broadcast_to(x, N).reshape(N, *extra) for x in (batch.reward, discount * ~batch.terminated))
    return reward + discount * following


def test_double_evaluates_the_online_networks_choice_with_the_target_network(numerics):
    """van Hasselt et al. 2016, equation 4, among legal actions."""
    algorithm = DQN(double=True, **SMALL)
    learner, batch = learner_of(algorithm), next(batches())
    online, target = (outputs_of(numerics, each, batch.next_observation) for each in (learner.online, learner.target))
    chosen, greedy = (best_legal(values, batch.next_observation) for values in (online, target))
    assert (chosen != greedy).any()
    found = TARGET(algorithm, learner, batch)
    np.testing.assert_allclose(found, after(batch, 0.9, target[ROWS, chosen]), rtol=1e-6)


def soft(values, observation):
    """Log-probabilities of Munchausen's policy, which are -inf where an action is illegal."""
    return log_softmax(np.where(observation["action_mask"], values / 0.5, -np.inf), axis=1)


def munchausen_target(numerics, network, batch, discount, n=None):
    """Vieillard et al. 2020, section 2; with ``n`` quantiles, the policy is that of their means."""
    now, following = (outputs_of(numerics, network, seen, n) for seen in (batch.observation, batch.next_observation))
    means = (now, following) if n is None else (now.mean(axis=2), following.mean(axis=2))
    taken = soft(means[0], batch.observation)[ROWS, batch.action - START]
    policy = soft(means[1], batch.next_observation)
    value = np.zeros(following[:, 0].shape)
    for row, a in np.ndindex(N, A):
        if batch.next_observation["action_mask"][row, a]:
            value[row] += np.exp(policy[row, a]) * (following[row, a] - 0.5 * policy[row, a])
    batch = batch._replace(reward=batch.reward + 0.8 * np.clip(0.5 * taken, -0.4, 0))
    assert len(set(batch.reward)) == N
    return after(batch, discount, value)


def legal(batch, rng):
    """The same batch with actions that were legal."""
    mask = batch.observation["action_mask"]
    action = np.array([rng.choice(np.flatnonzero(row)) for row in mask]) + START
    return batch._replace(action=action.astype(np.int32))


MUNCHAUSEN = {"munchausen_alpha": 0.8, "munchausen_temperature": 0.5, "munchausen_clip": -0.4, "munchausen": True}


@pytest.mark.parametrize("n", [None, 4])
def test_munchausen_has_a_soft_value_and_a_reward_for_the_log_policy(numerics, n):
    """Of the target network; with quantiles the policy is that of their means, and each of them moves."""
    kind = {} if n is None else {"distribution": "quantiles", "n_quantiles": n}
    algorithm = DQN(**MUNCHAUSEN, **SMALL, **kind)
    learner, batch = learner_of(algorithm), legal(next(batches()), np.random.default_rng(0))
    expected = munchausen_target(numerics, learner.target, batch, 0.9, n)
    np.testing.assert_allclose(TARGET(algorithm, learner, batch), expected, rtol=1e-5)


def test_munchausen_adds_to_the_first_reward_of_several(numerics):
    algorithm, rng, stream = DQN(n_steps=3, **MUNCHAUSEN, **SMALL), np.random.default_rng(0), batches()
    learner = learner_of(algorithm)
    window = jax.tree.map(lambda *steps: np.stack(steps), *(legal(next(stream), rng) for _ in range(3)))
    batch, discount = long_steps(window, 0.9)
    target = munchausen_target(numerics, learner.target, batch, discount)
    value = outputs_of(numerics, learner.online, batch.observation)[ROWS, batch.action - START]
    distance = abs(value - target)
    loss = np.where(distance <= 1, distance**2 / 2, distance - 0.5).mean()
    np.testing.assert_allclose(UPDATE(algorithm, learner, Batch(window, jnp.ones(N))).metrics["loss"], loss, rtol=1e-5)


def cross_entropy(logits, target):
    return -(target * log_softmax(logits, axis=1)).sum(axis=1)


def quantile_loss(prediction, target):
    """Dabney et al. 2018a, equation 10, with kappa = 1 and as many quantiles as targets."""
    n = prediction.shape[1]
    u = target[:, None, :] - prediction[:, :, None]
    huber = np.where(abs(u) <= 1, u**2 / 2, abs(u) - 0.5)
    middle = (np.arange(n) + 0.5)[:, None] / n
    return (abs(middle - (u < 0)) * huber).mean(axis=2).sum(axis=1)


def projected(returns, probability, atoms):
    """``[N, n]``: each return's probability goes to the atoms around it, the more the nearer."""
    step = atoms[1] - atoms[0]
    share = [np.interp(np.clip(returns, atoms[0], atoms[-1]), atoms, np.eye(len(atoms))[i]) for i in range(len(atoms))]
    assert step > 0
    return np.stack([(each * probability).sum(axis=1) for each in share], axis=1)


@pytest.mark.parametrize("distribution", ["categorical", "quantiles"])
def test_a_distributional_update_is_numpys(distribution, numerics):
    """Greedy in the mean among legal actions, the loss weighted, gradients by finite differences, Adam; priorities."""
    n, atoms = 4, np.linspace(-2, 2, 4)
    settings = {"n_atoms": n, "v_min": -2.0, "v_max": 2.0, "n_quantiles": n, "learning_rate": 1e-2}
    algorithm = DQN(distribution=distribution, prioritized=True, max_grad_norm=1e9, **settings, **SMALL)
    learner, batch, weight = learner_of(algorithm), next(batches()), np.random.default_rng(0).random(N)
    following = outputs_of(numerics, learner.target, batch.next_observation, n)
    categorical = distribution == "categorical"
    means = softmax(following, axis=2) @ atoms if categorical else following.mean(axis=2)
    best = following[ROWS, best_legal(means, batch.next_observation)]
    if categorical:
        target = projected(after(batch, 0.9, np.tile(atoms, (N, 1))), softmax(best, axis=1), atoms)
    else:
        target = after(batch, 0.9, best)
    loss_of = cross_entropy if categorical else quantile_loss

    def loss(network):
        taken = outputs_of(numerics, network, batch.observation, n)[ROWS, batch.action - START]
        return (weight * loss_of(taken, target)).mean()

    gradient = numerics.gradient(loss, learner.online)
    expected = numerics.Adam(1e9, 1e-8).step(learner.online, gradient, 1e-2)
    after_update, metrics, feedback = UPDATE(algorithm, learner, Batch(batch, weight))
    np.testing.assert_allclose(numerics.flat(after_update.online), numerics.flat(expected), rtol=1e-5, atol=1e-7)

    taken = outputs_of(numerics, learner.online, batch.observation, n)[ROWS, batch.action - START]
    entropy = -(target * np.log(np.where(target > 0, target, 1))).sum(axis=1) if categorical else 0
    np.testing.assert_allclose(feedback.priority, loss_of(taken, target) - entropy, rtol=1e-5)
    np.testing.assert_allclose(metrics["loss"], (weight * feedback.priority).mean(), rtol=1e-6)
    values, aims = (softmax(taken, axis=1) @ atoms, target @ atoms) if categorical else (taken.mean(1), target.mean(1))
    for name, figure in numerics.value_metrics(values, aims, gradient).items():
        np.testing.assert_allclose(metrics[name], figure, rtol=1e-5, err_msg=name)


def test_priorities_are_absolute_errors_and_weights_those_of_the_batch(numerics):
    """A row of weight 0 teaches nothing."""
    algorithm = DQN(prioritized=True, **SMALL)
    learner, batch = learner_of(algorithm), next(batches())
    weight = jnp.arange(N) / N
    found, _, feedback = UPDATE(algorithm, learner, Batch(batch, weight))
    values = outputs_of(numerics, learner.online, batch.observation)[ROWS, batch.action - START]
    target = outputs_of(numerics, learner.target, batch.next_observation)
    best = target[ROWS, best_legal(target, batch.next_observation)]
    np.testing.assert_allclose(feedback.priority, abs(values - after(batch, 0.9, best)), rtol=1e-5)
    other = batch._replace(reward=batch.reward + 9 * (ROWS == 0))
    same = UPDATE(algorithm, learner, Batch(other, weight)).learner
    np.testing.assert_array_equal(numerics.flat(same.online), numerics.flat(found.online))


@pytest.mark.parametrize(("steps", "beta"), [(0, 0.4), (250, 0.55), (1000, 1.0)])
def test_priorities_are_declared_and_their_correction_rises_to_1(steps, beta):
    draw = DQN(prioritized=True, prioritized_alpha=0.7).at(Clock.of(steps, 1000)).experience.draw
    assert isinstance(draw, Prioritized)
    np.testing.assert_allclose((draw.alpha, draw.beta), (0.7, beta), rtol=1e-6)
    assert DQN().at(Clock.of(steps, 1000)).experience.draw == Uniform()


class Asked(eqx.Module):
    """A network for which returns are uniform in [0, 1]: the return at a fraction is the fraction."""

    weight: jax.Array
    spaces: object = eqx.field(static=True)

    def __call__(self, observation, fractions):
        n = observation["x"].shape[0]
        return jnp.broadcast_to(fractions, (n, fractions.shape[-1]))[:, None, :].repeat(A, axis=1) + self.weight


def test_implicit_quantiles_are_compared_at_the_fractions_at_which_they_were_asked():
    """After termination with reward 0 an update's loss is N E[(1 - tau) tau^2 / 2] = N / 24 for uniform tau."""
    n = 4000
    algorithm = DQN(distribution="implicit-quantiles", n_quantiles=n, n_target_quantiles=1, **SMALL)
    network, batch = Asked(jnp.zeros(()), SPEC.spaces), next(batches(terminated=True))
    learner = algorithm.init(KEY, SPEC)._replace(online=network, target=network)
    learner = learner._replace(optimizer=algorithm.optimizer().init(network))
    metrics = UPDATE(algorithm, learner, Batch(batch._replace(reward=np.zeros(N)), jnp.ones(N))).metrics
    np.testing.assert_allclose(metrics["loss"], n / 24, rtol=0.02)
    np.testing.assert_allclose(metrics["q_mean"], 0.5, rtol=0.02)


# Noise


def test_noise_takes_the_place_of_epsilon_once_learning_has_begun():
    noisy = DQN(noisy=True, learning_starts=50, exploration_final_eps=0.3)
    assert [float(noisy.at(Clock.of(steps, 100)).exploration_rate) for steps in (0, 49, 50, 100)] == [1, 1, 0, 0]


def test_noise_explores_and_evaluation_uses_the_mean_weights(numerics):
    """Other keys, other actions; without exploration the key does not matter."""
    algorithm = DQN(noisy=True, noisy_sigma=5.0, learning_starts=0, **SMALL).at(Clock.of(1, 2))
    learner, seen = learner_of(algorithm), observations(np.random.default_rng(0), 200)
    act = jax.jit(lambda *given, explore: algorithm.act(*given, explore=explore), static_argnames="explore")
    one, same, other = (act(learner, seen, (), jax.random.key(seed), explore=True).action for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert 0 < (one != other).mean() < 1
    calm, still = (act(learner, seen, (), jax.random.key(seed), explore=False).action for seed in (0, 1))
    np.testing.assert_array_equal(calm, still)
    q = numerics.mlp(learner.online.mean.mlp, seen["x"].astype(np.float64), relu)
    np.testing.assert_array_equal(calm - START, best_legal(q, seen))


def test_online_and_target_network_have_noise_of_their_own():
    """With the same weights, a state that is its own successor and one action, they would agree otherwise."""
    spec = EnvironmentSpec("test", spaces.Box(-1, 1, (2,)), spaces.Discrete(1))
    batch = next(batches(terminated=False))
    batch = batch._replace(action=np.zeros(N, int), reward=np.zeros(N), observation=np.ones((N, 2)))
    batch = batch._replace(next_observation=batch.observation)
    for sigma, differs in ((0.0, False), (0.5, True)):
        algorithm = DQN(noisy=True, noisy_sigma=sigma, **(SMALL | {"gamma": 1.0}))
        loss = UPDATE(algorithm, algorithm.init(KEY, spec), Batch(batch, jnp.ones(N))).metrics["loss"]
        assert (loss > 1e-6) == differs


# Options together

TOGETHER = {
    "rainbow": {},
    "rainbow of quantiles": {"name": "rainbow", "distribution": "quantiles"},
    "double iqn": {"name": "iqn", "double": True},
    "munchausen-iqn": {"dueling": True, "noisy": True, "prioritized": True, "n_steps": 2},
}


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=[pytest.mark.long] * (case != "munchausen-iqn")) for case in TOGETHER]
)
def test_options_go_together(case):
    """Two updates, with finite numbers, that change all parameters; legal actions alone are chosen."""
    settings = {"name": case} | TOGETHER[case]
    name = settings.pop("name")
    sizes = {"n_atoms": 5, "n_quantiles": 3, "n_target_quantiles": 2, "n_acting_quantiles": 2, "n_cosines": 3}
    made = algorithm(name, SMALL | sizes | {"learning_starts": 0, "net_arch": [4]} | settings)
    learner, stream = learner_of(made), batches()
    for _ in range(2):
        rows = next(stream)
        if made.n_steps > 1:
            rows = jax.tree.map(lambda *steps: np.stack(steps), *(next(stream) for _ in range(made.n_steps)))
        before = learner
        learner, metrics, feedback = UPDATE(made, learner, Batch(rows, jnp.ones(N)))
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((learner, metrics)) if leaf.dtype.kind == "f")
        changed = jax.tree.map(lambda one, other: bool((one != other).any()), before.online, learner.online)
        assert all(jax.tree.leaves(changed))
        assert made.prioritized == (feedback.priority is not None)
        if made.prioritized:
            assert feedback.priority.shape == (N,)
            assert (feedback.priority >= 0).all()
    now, seen = made.at(Clock.of(1, 2)), observations(np.random.default_rng(0), 100)
    chosen = jax.jit(lambda learner: now.act(learner, seen, (), KEY, explore=True).action)(learner)
    assert seen["action_mask"][np.arange(100), np.asarray(chosen) - START].all()


class Wild(eqx.Module):
    """A network whose outputs for one action mean nothing."""

    network: eqx.Module
    size: float

    @property
    def spaces(self):
        return self.network.spaces

    def __call__(self, *inputs):
        outputs = self.network(*inputs)
        return outputs.at[:, 1].set(self.size * jnp.linspace(-1.0, 2.0, outputs.shape[-1]))


@pytest.mark.parametrize("name", ["c51", "munchausen-iqn"])
def test_targets_look_at_legal_actions_only(name):
    """Whatever the networks say of an illegal next action, were it 10^6, changes nothing."""
    double = {} if name == "munchausen-iqn" else {"double": True}
    made = algorithm(name, SMALL | double)
    learner, batch = learner_of(made), next(batches(terminated=False))
    for seen in (batch.observation, batch.next_observation):
        seen["action_mask"][:] = [1, 0, 1]
    batch.action[:] = START
    found = [
        TARGET(made, learner._replace(online=Wild(learner.online, size), target=Wild(learner.target, size)), batch)
        for size in (1.0, 1e6)
    ]
    np.testing.assert_array_equal(*found)


# What is refused


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"distribution": "gaussian"}, "DQN: distribution must be one of expectation, categorical, quantiles, impl"),
        ({"v_min": 1.0, "v_max": 1.0}, r"DQN: v_min must be below v_max, got 1\.0 and 1\.0"),
        ({"distribution": "categorical", "v_min": 20.0}, r"DQN: v_min must be below v_max, got 20\.0 and 10\.0"),
        ({"munchausen": True, "double": True}, "DQN: munchausen cannot be used with double"),
        ({"munchausen": True, "distribution": "categorical"}, "DQN: munchausen cannot be used with a categorical dist"),
        ({"n_atoms": 1}, "DQN: n_atoms must be from 2 to 100,000, got 1"),
        ({"n_quantiles": 0}, "DQN: n_quantiles must be from 1 to 100,000, got 0"),
        ({"n_cosines": -3}, "DQN: n_cosines must be from 1 to 100,000, got -3"),
        ({"kappa": 0.0}, r"DQN: kappa must be above 0, got 0\.0"),
        ({"noisy_sigma": -0.5}, r"DQN: noisy_sigma must be at least 0, got -0\.5"),
        ({"prioritized_alpha": -1.0}, r"DQN: prioritized_alpha must be from 0 to 1, got -1\.0"),
        ({"prioritized_beta": 1.5}, r"DQN: prioritized_beta must be from 0 to 1, got 1\.5"),
        ({"munchausen_temperature": 0.0}, r"DQN: munchausen_temperature must be above 0, got 0\.0"),
        ({"munchausen_clip": 1.0}, r"DQN: munchausen_clip must be at most 0, got 1\.0"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_in_one_line(settings, message):
    with pytest.raises(TeguError, match=message) as caught:
        DQN(**settings).validate(SPEC)
    assert "\n" not in str(caught.value)


class Linear(eqx.Module):
    mlp: MLP
    outputs: tuple = eqx.field(static=True)

    def __call__(self, observation):
        return self.mlp(observation["x"]).reshape(-1, *self.outputs)


def network_of(*outputs):
    def network(key, spec):
        return Linear(MLP(key, (2, int(np.prod(outputs))), "relu"), outputs)

    return network


def test_a_network_of_ones_own_says_as_much_of_each_action_as_the_distribution_needs():
    made = DQN(distribution="quantiles", n_quantiles=5, network=network_of(A, 5), **SMALL)
    made.validate(SPEC)
    learner = made.init(KEY, SPEC)
    assert TARGET(made, learner, next(batches())).shape == (N, 5)
    with pytest.raises(TeguError, match=r"must return float64\[B, 3, 5\] .* it returned float64\[B, 3\]"):
        DQN(distribution="quantiles", n_quantiles=5, network=network_of(A), **SMALL).validate(SPEC)


@pytest.mark.parametrize(
    ("settings", "option"),
    [({"dueling": True}, "dueling"), ({"noisy": True}, "noisy"), ({"distribution": "implicit-quantiles"}, "implicit-")],
)
def test_options_that_make_the_network_exclude_ones_own(settings, option):
    with pytest.raises(TeguError, match=f"DQN: {option}.* needs Tegu's network, it cannot be used with your own"):
        DQN(network=network_of(A), **settings).validate(SPEC)


def test_rainbow_is_its_six_parts():
    made = tegu.Rainbow()
    assert (made.name, made.double, made.dueling, made.prioritized, made.noisy) == ("rainbow", True, True, True, True)
    assert (made.n_steps, made.distribution, made.n_atoms, made.prioritized_alpha) == (3, "categorical", 51, 0.5)
    assert made == algorithm("rainbow", {})
    assert tegu.Rainbow(n_steps=5).n_steps == 5
