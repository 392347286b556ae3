"""Networks against plain NumPy, and how they are initialised."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from tegu.core.spec import EnvironmentSpec
from tegu.nn.distributions import DiagonalGaussian
from tegu.nn.heads import ActionValue, ActorCritic, DeterministicPolicy, QNetwork
from tegu.nn.mlp import ACTIVATIONS, MLP
from tegu.spaces.bounds import from_unit

KEY = jax.random.key(0)


SIZES = (3, 16, 8, 2)
NUMPY = {
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
    "elu": lambda x: np.where(x > 0, x, np.exp(np.minimum(x, 0)) - 1),
    "gelu": lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
}
SPEC = EnvironmentSpec("test", spaces.Box(-1, 1, (3,)), spaces.Discrete(4))
CONTINUOUS = EnvironmentSpec("test", spaces.Box(-1, 1, (3,)), spaces.Box(-1, 1, (2,)))
LOPSIDED = EnvironmentSpec(
    "test", spaces.Box(-1, 1, (3,)), spaces.Box(np.float32([[-1, 0], [2, -5]]), np.float32([[1, 3], [4, 5]]))
)


def made(kind, *arguments):
    """``kind(KEY, *arguments)`` with NumPy weights; made in one compiled call."""
    return jax.device_get(jax.jit(lambda: kind(KEY, *arguments))())


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("activation", NUMPY)
def test_mlp_is_matrix_products_and_activations(activation):
    """Every layer but the last is followed by the activation; the batch may have any shape."""
    rng = np.random.default_rng(0)
    mlp = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), jax.eval_shape(lambda: MLP(KEY, SIZES, activation)))
    x = rng.normal(size=(5, 2, 3))
    expected = np.empty((5, 2, 2))
    for row in np.ndindex(5, 2):
        hidden = x[row]
        for weight, bias in list(zip(mlp.weights, mlp.biases, strict=True))[:-1]:
            hidden = NUMPY[activation](hidden @ weight + bias)
        expected[row] = hidden @ mlp.weights[-1] + mlp.biases[-1]
    outputs = jax.jit(lambda x: (mlp(x), mlp(x[0]), mlp(x[0, 0])))(x)
    for output, part in zip(outputs, (expected, expected[0], expected[0, 0]), strict=True):
        np.testing.assert_allclose(output, part, rtol=1e-10, atol=1e-12)


def test_these_are_all_activations():
    assert ACTIVATIONS.keys() == NUMPY.keys()


@pytest.mark.usefixtures("x64")
def test_orthogonal_weights_scaled_by_gains_and_zero_biases():
    """W W^T or W^T W, whichever is the smaller, is gain^2 I."""
    gains = (2**0.5, 1.0, 0.01)
    mlp = made(MLP, SIZES, "tanh", gains)
    for weight, bias, gain in zip(mlp.weights, mlp.biases, gains, strict=True):
        small = weight @ weight.T if weight.shape[0] < weight.shape[1] else weight.T @ weight
        np.testing.assert_allclose(small, gain**2 * np.eye(min(weight.shape)), atol=1e-12)
        assert not bias.any()


def test_uniform_weights_and_biases_fill_their_bounds():
    """Within +-1/sqrt(inputs), with the variance of a uniform distribution, bound^2 / 3."""
    mlp = made(MLP, (100, 400, 25), "relu")
    for weight, bias, inputs in zip(mlp.weights, mlp.biases, (100, 400), strict=True):
        bound = inputs**-0.5
        for values in (weight, bias):
            assert abs(values).max() <= bound
            assert abs(values).max() > 0.9 * bound
        np.testing.assert_allclose(weight.var(), bound**2 / 3, rtol=0.05)
        np.testing.assert_allclose(weight.mean(), 0, atol=0.02 * bound)


def test_keys_decide_and_layers_differ():
    one, same, other = (MLP(jax.random.key(seed), (4, 4, 4), "relu") for seed in (0, 0, 1))
    for a, b, c in zip(one.weights, same.weights, other.weights, strict=True):
        np.testing.assert_array_equal(a, b)
        assert (a != c).all()
    assert (one.weights[0] != one.weights[1]).all()
    assert (one.weights[0][0] != one.biases[0]).all()


def test_actor_and_critic_are_initialised_as_in_stable_baselines3():
    """Gains sqrt(2) in hidden layers, 0.01 for the actor's outputs and 1 for the critic's."""
    network = made(ActorCritic, SPEC, (8, 8), "tanh", 0.0)
    for mlp, squares in ((network.actor, (2, 2, 1e-4)), (network.critic, (2, 2, 1))):
        for weight, square in zip(mlp.weights, squares, strict=True):
            small = weight @ weight.T if weight.shape[0] < weight.shape[1] else weight.T @ weight
            np.testing.assert_allclose(small, square * np.eye(len(small)), atol=2e-6 * max(square, 1))
    assert network.log_std.shape == (0,)


def test_a_continuous_policy_starts_with_the_given_spread():
    network = made(ActorCritic, CONTINUOUS, (8,), "tanh", -0.5)
    policy, _ = network(np.zeros((7, 3), np.float32))
    assert isinstance(policy, DiagonalGaussian)
    assert policy.mean.shape == (7, 2)
    np.testing.assert_array_equal(policy.log_std, [-0.5, -0.5])
    _, value = network(np.zeros((5, 7, 3), np.float32))
    assert value.shape == (5, 7)


def test_actor_and_critic_share_nothing():
    """The value's gradient in the actor, and the policy's in the critic, is exactly zero."""
    network, x = made(ActorCritic, SPEC, (8,), "tanh", 0.0), jnp.ones((4, 3))
    value = jax.jit(jax.grad(lambda n: n(x)[1].sum()))(network)
    policy = jax.jit(jax.grad(lambda n: n(x)[0].log_prob(jnp.zeros(4, int)).sum()))(network)
    assert not any(leaf.any() for leaf in jax.tree.leaves((value.actor, policy.critic)))
    assert all(leaf.any() for leaf in jax.tree.leaves((value.critic.weights, policy.actor.weights)))


def test_an_actor_may_see_less_than_its_critic():
    """The first features only; the policy's gradient in the others is exactly zero, the value's is not."""
    network = made(ActorCritic, SPEC, (8,), "tanh", 0.0, spaces.Box(-1, 1, (2,)))
    assert network.actor.weights[0].shape == (2, 8)
    assert network.critic.weights[0].shape == (3, 8)
    x = jnp.ones((4, 3))
    policy, value = jax.grad(lambda x: network(x)[0].logits.sum())(x), jax.grad(lambda x: network(x)[1].sum())(x)
    assert policy[:, :2].any()
    assert not policy[:, 2].any()
    assert value[:, 2].all()


def test_a_deterministic_policy_is_a_tanh_within_the_bounds():
    """Scaled to [-1, 1], of any shape, for batches of any shape."""
    network, x = made(DeterministicPolicy, LOPSIDED, (8,), "relu"), np.random.default_rng(0).normal(size=(5, 2, 3))
    unit = np.tanh(network.mlp(x)).reshape(5, 2, 2, 2)
    scaled = network(np.float32(x))
    np.testing.assert_allclose(scaled, unit, rtol=1e-5)
    action = from_unit(LOPSIDED.action_space, scaled)
    np.testing.assert_allclose(action, unit * [[1, 1.5], [1, 5]] + [[0, 1.5], [3, 0]], rtol=1e-5, atol=1e-5)
    assert action.dtype == jnp.float32


def test_a_deterministic_policy_reaches_its_bounds_and_no_further():
    network = made(DeterministicPolicy, LOPSIDED, (), "relu")
    far = from_unit(LOPSIDED.action_space, network(np.float32([[1e4, 1e4, 1e4], [-1e4, 1e4, -1e4]])))
    low, high = LOPSIDED.action_space.low, LOPSIDED.action_space.high
    assert ((far == low) | (far == high)).all()


def test_an_action_value_is_the_mlp_of_observation_and_action():
    network, rng = made(ActionValue, LOPSIDED, (8,), "relu"), np.random.default_rng(0)
    x, action = rng.normal(size=(5, 6, 3)).astype(np.float32), rng.normal(size=(5, 6, 2, 2)).astype(np.float32)
    value = network(x, action)
    assert value.shape == (5, 6)
    joined = np.concatenate([x, action.reshape(5, 6, 4)], axis=-1)
    np.testing.assert_allclose(value, network.mlp(joined)[..., 0], rtol=1e-5)


def test_q_values_are_the_mlp_of_the_features():
    spec = EnvironmentSpec("test", spaces.Discrete(5, start=1), spaces.Discrete(4))
    network = made(QNetwork, spec, (8,), "relu")
    observation = jnp.array([[1, 5, 3], [2, 2, 4]])
    values = network(observation)
    assert values.shape == (2, 3, 4)
    np.testing.assert_allclose(values[1, 2], network.mlp(jnp.eye(5)[3]), rtol=1e-6)


def test_no_hidden_layers_is_a_linear_map():
    mlp = made(MLP, (3, 2), "relu")
    np.testing.assert_allclose(mlp(jnp.eye(3)), mlp.weights[0] + mlp.biases[0], rtol=1e-6)
