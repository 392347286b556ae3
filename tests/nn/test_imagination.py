"""Networks of planes and of imagined rollouts against plain NumPy."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from tegu.core.spec import EnvironmentSpec
from tegu.nn.description import describe
from tegu.nn.imagination import ImaginationAugmented, RolloutEncoder, Rollouts, Seen
from tegu.nn.planes import STAYS, PlaneEncoder, PlanesModel, planes_of

KEY = jax.random.key(0)
A, L, B = 3, 4, 2
SPEC = EnvironmentSpec("test", spaces.Box(-1, 1, (5,)), spaces.Discrete(A))

pytestmark = pytest.mark.usefixtures("x64")


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def some_rollouts(n=5, batch=(B,)):
    rng = np.random.default_rng(0)
    shape = *batch, A, L
    return Rollouts(*map(jnp.asarray, (rng.normal(size=(*shape, n)), rng.normal(size=shape), rng.random(shape) < 0.3)))


def test_an_lstm_reads_a_rollout_from_its_last_step_to_its_first():
    encoder, given = RolloutEncoder(KEY, SPEC, 4, 6), some_rollouts()
    x, reward, ended = map(np.asarray, given)
    weight, bias = np.asarray(encoder.lstm.weight), np.asarray(encoder.lstm.bias)
    found = np.asarray(encoder(given))
    assert found.shape == (B, A, 6)
    for b in range(B):
        for a in range(A):
            hidden = cell = np.zeros(6)
            for t in reversed(range(L)):
                read = np.concatenate([x[b, a, t], [reward[b, a, t], float(ended[b, a, t])], hidden])
                write, keep, candidate, show = np.split(read @ weight + bias, 4)
                cell = sigmoid(keep) * cell + sigmoid(write) * np.tanh(candidate)
                hidden = sigmoid(show) * np.tanh(cell)
            np.testing.assert_allclose(found[b, a], hidden, rtol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("batch", [(), (2,), (3, 2)])
def test_policy_and_value_see_the_observation_and_all_codes_side_by_side(batch):
    network = ImaginationAugmented(KEY, SPEC, (7, 6), "relu", 4, 3, imagines=True)
    rng = np.random.default_rng(1)
    weight, given = rng.normal(size=(A * 3, 7)), some_rollouts(batch=batch)
    x = rng.normal(size=(*batch, 5))
    with_codes = eqx.tree_at(lambda net: net.code_weight, network, jnp.asarray(weight))
    codes = np.asarray(network.rollout_encoder(given)).reshape((*batch, -1))
    both = np.concatenate([x, codes], axis=-1) @ np.concatenate([np.asarray(network.first.weights[0]), weight])
    hidden = np.maximum(both + np.asarray(network.first.biases[0]), 0)
    (later,), (bias,) = network.hidden.weights, network.hidden.biases
    hidden = np.maximum(hidden @ np.asarray(later) + np.asarray(bias), 0)
    policy, value = with_codes(Seen(jnp.asarray(x), given))
    expected = hidden @ np.asarray(network.actor.weights[0]) + np.asarray(network.actor.biases[0])
    np.testing.assert_allclose(policy.logits, expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(value, (hidden @ np.asarray(network.critic.weights[0]))[..., 0], rtol=1e-10, atol=1e-12)


def test_a_fresh_network_decides_as_one_without_imagination():
    network, rng = ImaginationAugmented(KEY, SPEC, (7,), "tanh", 4, 3, imagines=True), np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(B, 5)))
    for with_codes, without in zip(network(Seen(x, some_rollouts())), network(Seen(x, None)), strict=True):
        np.testing.assert_array_equal(*(jax.tree.leaves(each)[0] for each in (with_codes, without)))


@pytest.mark.parametrize(
    ("space", "planes"),
    [
        (spaces.Box(0, 1, (7, 7, 4), np.bool_), (7, 7, 4)),
        (spaces.Box(0, 1, (15, 19, 6)), (15, 19, 6)),
        (spaces.Box(0, 255, (3, 4, 3), np.uint8), (3, 4, 3)),
        (spaces.Box(0, 1, (2, 9, 4)), None),
        (spaces.Box(-1, 1, (7, 7, 4)), None),
        (spaces.Box(0, 1, (4, 9, 9)), None),
        (spaces.Box(0, 1, (9,)), None),
        (spaces.Discrete(9), None),
    ],
)
def test_planes_are_boxes_of_three_dimensions_from_0_to_1(space, planes):
    assert planes_of(space) == planes


@pytest.mark.parametrize(("side", "seen"), [((3, 3), 4), ((7, 7), 16), ((15, 19), 80)])
def test_planes_of_any_size_are_looked_at(side, seen):
    space = spaces.Box(0, 1, (*side, 2))
    encoder = PlaneEncoder(KEY, space, 5)
    assert encoder.outputs == seen * 5
    x = jnp.ones((2, 3, 2 * side[0] * side[1]))
    assert encoder(x).shape == (2, 3, seen * 5)
    assert encoder.inputs == 2 * side[0] * side[1]
    vector = PlaneEncoder(KEY, spaces.Box(-1, 1, (4,)), 5)
    assert vector(x) is x
    assert not jax.tree.leaves(vector)


def convolved(layer, x):
    """A convolution of one image ``[H, W, C]`` with zeros around it, number by number."""
    height, width, _ = x.shape
    padded, weight = np.pad(x, ((1, 1), (1, 1), (0, 0))), np.asarray(layer.weight)
    out = np.empty((height, width, weight.shape[-1]))
    for i in range(height):
        for j in range(width):
            out[i, j] = np.tensordot(padded[i : i + 3, j : j + 3], weight, 3) + np.asarray(layer.bias)
    return out


def dense(layer, x):
    return x @ np.asarray(layer.weight) + np.asarray(layer.bias)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(3, 3, 2), (4, 6, 3)])
def test_a_model_of_planes_is_numpys(shape):
    """Actions lie on planes of their own; between the convolutions every cell sees the whole."""
    model, rng = PlanesModel(KEY, shape, A, 5), np.random.default_rng(0)
    planes, action = rng.random((2, *shape)), np.eye(A)[[2, 0]]
    found = model(jnp.asarray(planes), jnp.asarray(action))
    for each, x in enumerate(planes):
        laid = np.broadcast_to(action[each], (*shape[:2], A))
        hidden = np.maximum(convolved(model.first, np.concatenate([x, laid], axis=-1)), 0)
        pooled = np.concatenate([hidden.mean((0, 1)), hidden.max((0, 1))])
        hidden = np.maximum(convolved(model.second, hidden) + dense(model.everywhere, pooled), 0)
        cells = dense(model.cells, hidden) + STAYS * (2 * x - 1)
        pooled = np.concatenate([hidden.mean((0, 1)), hidden.max((0, 1))])
        expected = cells, *dense(model.outcome, pooled)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one[each], other, rtol=1e-10, atol=1e-12)


def test_the_networks_say_what_they_are():
    network = ImaginationAugmented(KEY, SPEC, (7, 6), "relu", 4, 3, imagines=True)
    said = describe(network.parts)
    for part in ("MLP 5-7, relu", "actor MLP 6-3", "rollout encoder", "LSTM 3", "rollout policy"):
        assert part in said
    without = ImaginationAugmented(KEY, SPEC, (7,), "relu", 4, 3, imagines=False)
    assert "rollout" not in describe(without.parts)
