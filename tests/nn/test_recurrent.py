"""The LSTM against plain NumPy, and sequences against steps."""

import jax
import numpy as np
import pytest
from gymnasium import spaces

from tegu.core.spec import EnvironmentSpec
from tegu.nn.description import describe
from tegu.nn.recurrent import LSTM, LSTMState, Observed, RecurrentQNetwork

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
