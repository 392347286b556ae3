"""What diagnoses a network: against matrices of known rank, units that are dead on purpose, and layers by hand."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from tegu.algorithms.diagnostics import dead_units, effective_rank, network_metrics
from tegu.algorithms.dqn import DQN
from tegu.algorithms.r2d2 import R2D2
from tegu.algorithms.return_distributions import Categorical
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Step
from tegu.nn.heads import ActionValue, QNetwork
from tegu.nn.noisy import NoisyNetwork
from tegu.nn.recurrent import LSTMState, RecurrentQNetwork
from tegu.nn.return_network import ReturnNetwork

KEY = jax.random.key(0)
SPEC = EnvironmentSpec("test", spaces.Box(-9, 9, (3,)), spaces.Discrete(2))
CONTINUOUS = EnvironmentSpec("test", spaces.Box(-9, 9, (3,)), spaces.Box(-1, 1, (2,)))
X = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)
RANK = jax.jit(effective_rank, static_argnames="delta")


def with_singular_values(singular, n=40, units=24):
    """A matrix that has them: Q diag(s) V^T with random orthogonal Q and V."""
    rng, k = np.random.default_rng(1), len(singular)
    left, right = (np.linalg.qr(rng.normal(size=(size, k)))[0] for size in (n, units))
    return (left * singular @ right.T).astype(np.float32)


@pytest.mark.parametrize(("n", "units"), [(40, 24), (24, 40)])
@pytest.mark.parametrize("k", [1, 7, 24])
def test_the_effective_rank_of_equal_singular_values_is_their_number(k, n, units):
    assert RANK(with_singular_values(np.full(k, 3.0), n, units)) == k


def test_the_effective_rank_is_the_least_number_of_directions_that_hold_all_but_delta():
    """Of falling singular values, counted in a loop."""
    for ratio in (0.3, 0.7, 0.9):
        singular = ratio ** np.arange(20)
        for delta in (0.01, 0.1):
            k, held = 0, 0.0
            while held < (1 - delta) * singular.sum():
                held, k = held + singular[k], k + 1
            assert RANK(with_singular_values(singular), delta=delta) == k


def test_of_many_rows_the_first_64_count():
    """Whatever the others hold; singular values by NumPy, in float64."""
    rng = np.random.default_rng(2)
    activations = np.maximum(
        rng.normal(size=(70, 6)) @ rng.normal(size=(6, 200)) + 0.05 * rng.normal(size=(70, 200)), 0
    )
    sums = np.cumsum(np.linalg.svd(activations[:64], compute_uv=False))
    activations[64:] = 1e3
    for delta in (0.01, 0.3):
        assert RANK(activations.astype(np.float32), delta=delta) == (sums < (1 - delta) * sums[-1]).sum() + 1


def test_what_is_always_0_has_no_rank_and_is_dead():
    assert RANK(np.zeros((8, 5), np.float32)) == 0
    assert dead_units(np.zeros((8, 5), np.float32)) == 1


def test_a_unit_is_dead_at_a_fortieth_of_the_mean_of_all():
    """The mean size of ten units is 1, of which some have 0, 0.02 and 0.03; signs do not matter."""
    size = np.array([0.0, 0.02, 0.03, *[9.95 / 7] * 7])
    activations = np.array([1, -1, 1, -1], np.float32)[:, None] * size.astype(np.float32)
    assert dead_units(activations) == pytest.approx(0.2)
    assert dead_units(activations, tau=0.0) == pytest.approx(0.1)
    assert dead_units(activations * 1000, tau=0.05) == pytest.approx(0.3)


@pytest.mark.parametrize("killed", [0, 5, 16])
def test_units_that_were_switched_off_are_counted(killed):
    """In the last hidden layer, by a bias that no input lifts above 0; what is left has no more directions."""
    network = jax.jit(lambda: QNetwork(KEY, SPEC, (8, 16), "relu"))()
    bias = np.asarray(network.mlp.biases[1]) + 2  # without more, some are dead by chance
    bias = jnp.where(jnp.arange(16) < killed, -100.0, bias)
    network = eqx.tree_at(lambda network: network.mlp.biases[1], network, bias)
    found = jax.jit(network_metrics)(network, X)
    assert found["dead_units"] == pytest.approx(killed / 16)
    assert found["effective_rank"] <= 16 - killed
    assert (found["effective_rank"] > 0) == (killed < 16)


class Own(eqx.Module):
    weight: jax.Array

    def __call__(self, x):
        return x @ self.weight


def own_network(key, spec):
    return Own(jax.random.normal(key, (3, 2)))


def test_layers_of_a_persons_own_network_are_unknown():
    made = DQN(network=own_network)
    learner = jax.eval_shape(lambda: made.init(KEY, SPEC))
    assert made.diagnose(learner, Step(X, *[()] * 5)) == {}


# The last layer of every network is linear in what is called hidden


def linear(mlp, hidden):
    return hidden @ np.asarray(mlp.weights[-1]) + np.asarray(mlp.biases[-1])


def of_q_network(network, hidden):
    return linear(network.mlp, hidden)


def of_distribution(network, hidden):
    return linear(network.body, hidden).reshape(len(X), 2, 5)


def of_dueling(network, hidden):
    value, advantage = (linear(part, h) for part, h in zip(streams(network), np.split(hidden, 2, axis=-1), strict=True))
    return value[:, None] + (advantage - advantage.mean(axis=1, keepdims=True))[..., None]


def streams(network):
    return network.body.value, network.body.advantage


FRACTIONS = np.array([0.1, 0.4, 0.8], np.float32)
NETWORKS = {
    "q": (lambda: QNetwork(KEY, SPEC, (8, 6), "relu", layer_norm=True), (X,), of_q_network),
    "noisy": (lambda: NoisyNetwork(QNetwork(KEY, SPEC, (6,), "tanh"), 0.5), (X,), lambda n, h: linear(n.mean.mlp, h)),
    "distribution": (
        lambda: ReturnNetwork(KEY, SPEC, (5,), (6,), "relu", dueling=False, cosines=None), (X,), of_distribution
    ),
    "dueling": (lambda: ReturnNetwork(KEY, SPEC, (1,), (8, 6), "relu", dueling=True, cosines=None), (X,), of_dueling),
    "implicit": (
        lambda: ReturnNetwork(KEY, SPEC, (-1,), (8, 6), "relu", dueling=False, cosines=4),
        (X, FRACTIONS),
        lambda network, hidden: linear(network.body.head, hidden),
    ),
    "critic": (
        lambda: ActionValue(KEY, CONTINUOUS, (6,), "relu"), (X, X[:, :2]), lambda n, h: linear(n.mlp, h)[:, 0]
    ),
    "recurrent": (
        lambda: RecurrentQNetwork(KEY, SPEC, (8,), "relu", "auto", 6),
        (X, LSTMState(X @ np.ones((3, 6), np.float32), np.ones((64, 6), np.float32))),
        lambda network, hidden: linear(network.head, hidden),
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", NETWORKS)
def test_outputs_are_linear_in_the_last_hidden_layer(kind):
    """Of an implicit quantile network, the mean over the fractions is."""
    make, inputs, last_layer = NETWORKS[kind]

    def both():
        network = make()
        return network, network.hidden(*inputs), network(*inputs)

    network, hidden, outputs = jax.device_get(jax.jit(both)())
    outputs = outputs.mean(axis=-1) if kind == "implicit" else outputs[0] if kind == "recurrent" else outputs
    np.testing.assert_allclose(last_layer(network, hidden), outputs, rtol=1e-4, atol=1e-5)
    assert (hidden >= 0).all() == (kind not in ("noisy", "recurrent"))


# What learners expect


def test_c51_aims_at_what_it_expects_of_its_target():
    """Within the atoms' range the projection keeps the mean, so the mean error is that of the expectations."""
    returns = Categorical(21, -10.0, 10.0)
    logits = np.random.default_rng(0).normal(size=(6, 21)).astype(np.float32)
    reward, terminated = np.linspace(-1, 1, 6, dtype=np.float32), np.arange(6) % 2 == 0
    target = returns.target(logits, reward, terminated, 0.5)
    expected = reward + 0.5 * ~terminated * np.asarray(returns.mean(logits))
    np.testing.assert_allclose(returns.expected(target), expected, rtol=1e-4, atol=1e-5)


def test_r2d2_expects_returns_as_they_are_and_not_as_they_are_scaled():
    made = R2D2(net_arch=(8,), lstm_hidden_size=6)
    state = LSTMState(np.zeros((64, 6), np.float32), np.ones((64, 6), np.float32))

    def both():
        learner = made.init(KEY, SPEC)
        values = 100 * learner.online(X, state)[0]
        bigger = jax.tree.map(lambda leaf: 100 * leaf, learner.online.head)
        online = eqx.tree_at(lambda network: network.head, learner.online, bigger)
        return values, made.expected_return(learner._replace(online=online), X, state).value

    values, expected = jax.jit(both)()
    best = values.max(axis=1)
    scaled = np.sign(expected) * (np.sqrt(abs(expected) + 1) - 1) + 1e-3 * expected
    np.testing.assert_allclose(scaled, best, rtol=1e-3, atol=1e-3)
    assert abs(expected).max() > 2 * abs(best).max()
