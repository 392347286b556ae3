"""The LSTM and the GRU against plain NumPy, and sequences against steps."""

import jax
import numpy as np
import pytest
from gymnasium import spaces

from tegu.core.spec import EnvironmentSpec
from tegu.nn.description import describe
from tegu.nn.recurrent import (
    GRU,
    LSTM,
    LSTMState,
    Observed,
    RecurrentActorCritic,
    RecurrentQNetwork,
    Sequences,
)

KEY = jax.random.key(0)
T, B = 6, 2
SPEC = EnvironmentSpec("test", spaces.Box(-1, 1, (3,)), spaces.Discrete(4))

pytestmark = pytest.mark.usefixtures("x64")


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_an_lstm_is_numpys():
    """Gates from the input and the hidden state; the cell keeps some of itself and takes some of the candidate."""
    lstm, rng = LSTM(KEY, 3, 5), np.random.default_rng(0)
    x, hidden, cell = (rng.normal(size=(7, 2, n)) for n in (3, 5, 5))
    found = lstm(x, LSTMState(hidden, cell))
    weight, bias = np.asarray(lstm.weight), np.asarray(lstm.bias)
    write, keep, candidate, show = (
        x @ weight[:3, part] + hidden @ weight[3:, part] + bias[part]
        for part in (slice(0, 5), slice(5, 10), slice(10, 15), slice(15, 20))
    )
    expected = sigmoid(keep) * cell + sigmoid(write) * np.tanh(candidate)
    np.testing.assert_allclose(found.cell, expected, rtol=1e-10)
    np.testing.assert_allclose(found.hidden, sigmoid(show) * np.tanh(expected), rtol=1e-10)
    assert np.abs(weight).max() <= 5**-0.5
    assert not np.any(lstm.start(4).hidden)


def test_a_gru_is_numpys():
    """The reset gate decides how much of the state the candidate sees, the update gate how much of it is kept."""
    gru, rng = GRU(KEY, 3, 5), np.random.default_rng(0)
    x, state = (rng.normal(size=(7, 2, n)) for n in (3, 5))
    gates = [
        (x @ np.asarray(gru.input_weight)[:, part] + np.asarray(gru.input_bias)[part],
         state @ np.asarray(gru.state_weight)[:, part] + np.asarray(gru.state_bias)[part])
        for part in (slice(0, 5), slice(5, 10), slice(10, 15))
    ]  # fmt: skip
    reset, keep = (sigmoid(a + b) for a, b in gates[:2])
    candidate = np.tanh(gates[2][0] + reset * gates[2][1])
    np.testing.assert_allclose(gru(x, state), (1 - keep) * candidate + keep * state, rtol=1e-10)
    assert not np.any(gru.start(4))


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_an_actor_critic_goes_through_a_sequence_as_step_by_step(cell):
    """And so do its gradients: the derivative of a loss of all steps, by finite differences of the steps one by one."""
    network, rng = RecurrentActorCritic(KEY, SPEC, (5,), "tanh", 0.0, cell, 4), np.random.default_rng(0)
    x, weight = rng.normal(size=(B, T, 3)), rng.normal(size=(2, B, T))
    begins = rng.random((B, T)) < 0.4
    begins[:, 0] = False, True
    memory = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), network.start(B))

    def at_once(network):
        policy, value = network(Sequences(x, begins, memory))
        return (weight[0] * value + weight[1] * policy.logits[..., 1]).sum()

    def one_by_one(network):
        total = 0.0
        for b in range(B):
            now = jax.tree.map(lambda leaf: leaf[b], memory)  # noqa: B023
            for t in range(T):
                now = jax.tree.map(np.zeros_like, now) if begins[b, t] else now
                now = network.remember(x[b, t], now)
                policy, value = network.of_memory(now)
                total += weight[0, b, t] * value + weight[1, b, t] * policy.logits[1]
        return total

    loss, gradient = jax.jit(jax.value_and_grad(at_once))(network)
    np.testing.assert_allclose(loss, one_by_one(network), rtol=1e-9)
    direction = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), network)
    up, down = (
        one_by_one(jax.tree.map(lambda p, d: p + sign * 1e-5 * d, network, direction)) for sign in (1, -1)  # noqa: B023
    )  # fmt: skip
    slope = sum(jax.tree.leaves(jax.tree.map(lambda g, d: (g * d).sum(), gradient, direction)))
    np.testing.assert_allclose(slope, (up - down) / 2e-5, rtol=1e-6)
    assert all(np.any(leaf) for leaf in jax.tree.leaves((gradient.actor_cell, gradient.critic_cell)))


def test_a_sequence_is_its_steps_one_by_one():
    """Episodes begin with zeros; the values of next observations follow from the state after the step."""
    network, rng = RecurrentQNetwork(KEY, SPEC, (5,), "tanh", "auto", 4), np.random.default_rng(0)
    seen, following = rng.normal(size=(2, T, B, 3))
    begins = rng.random((T, B)) < 0.4
    begins[0] = False, True
    state = LSTMState(*rng.normal(size=(2, B, 4)))
    (values, next_values), last = jax.jit(lambda *given: network.unroll(*given))(
        Observed(seen, following, begins), state
    )
    for b in range(B):
        now = jax.tree.map(lambda leaf: leaf[b], state)  # noqa: B023
        for t in range(T):
            if begins[t, b]:
                now = jax.tree.map(lambda leaf: leaf[0], network.lstm.start(1))
            value, now = network(seen[t, b], now)
            np.testing.assert_allclose(values[t, b], value, rtol=1e-9)
            np.testing.assert_allclose(next_values[t, b], network(following[t, b], now)[0], rtol=1e-9)
        np.testing.assert_allclose(last.cell[b], now.cell, rtol=1e-9)


def test_it_is_described():
    network = RecurrentQNetwork(KEY, SPEC, (5,), "tanh", "auto", 4)
    assert describe([("", network)]) == "MLP 3-5, tanh, LSTM 4, MLP 4-4, tanh; 200 parameters"


@pytest.mark.parametrize(("cell", "shown"), [("lstm", "LSTM 4"), ("gru", "GRU 4")])
def test_an_actor_critic_is_described(cell, shown):
    network = RecurrentActorCritic(KEY, SPEC, (5,), "tanh", 0.0, cell, 4)
    found = describe(network.parts)
    assert found.startswith(f"actor {shown}, MLP 4-5-4, tanh; critic {shown}, MLP 4-5-1, tanh; ")
