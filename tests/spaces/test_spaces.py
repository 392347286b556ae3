"""What spaces mean to a network, and the mapping of actions to their bounds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tegu.core.errors import TeguError
from tegu.spaces.bounds import to_bounds
from tegu.spaces.features import action_mask, features, n_features, require, zeros

BOX = spaces.Box(-1, 1, (2, 3))
IMAGE = spaces.Box(0, 255, (4, 3, 1), np.uint8)
DICT = spaces.Dict({"z": spaces.Discrete(2), "a": BOX, "action_mask": spaces.MultiBinary(4), "m": spaces.Discrete(3)})


def one_hot(index, n):
    return np.eye(n)[index]


# (space, features of one observation written out)
EXPECTED = {
    "box": (BOX, lambda o: o.ravel()),
    "scalar box": (spaces.Box(-1, 1, ()), lambda o: o.ravel()),
    "image": (IMAGE, lambda o: o.ravel() / 255),
    "integers": (spaces.Box(-9, 9, (3,), np.int32), lambda o: o),
    "discrete": (spaces.Discrete(4), lambda o: one_hot(o, 4)),
    "discrete from 2": (spaces.Discrete(4, start=2), lambda o: one_hot(o - 2, 4)),
    "discrete from -2": (spaces.Discrete(4, start=-2), lambda o: one_hot(o + 2, 4)),
    "multi-discrete": (
        spaces.MultiDiscrete([3, 2], start=[0, 5]),
        lambda o: np.concatenate([one_hot(o[0], 3), one_hot(o[1] - 5, 2)]),
    ),
    "square multi-discrete": (
        spaces.MultiDiscrete([[3, 2], [1, 4]]),
        lambda o: np.concatenate([one_hot(i, n) for i, n in zip(o.ravel(), (3, 2, 1, 4), strict=True)]),
    ),
    "multi-binary": (spaces.MultiBinary(3), lambda o: o),
    "square multi-binary": (spaces.MultiBinary((2, 3)), lambda o: o.ravel()),
    "dict": (DICT, lambda o: np.concatenate([o["a"].ravel(), one_hot(o["m"], 3), one_hot(o["z"], 2)])),
    "nested dict": (
        spaces.Dict(
            {"b": spaces.Dict({"d": spaces.Discrete(2), "c": spaces.Box(0, 1, (1,))}), "a": spaces.Discrete(3)}
        ),
        lambda o: np.concatenate([one_hot(o["a"], 3), o["b"]["c"], one_hot(o["b"]["d"], 2)]),
    ),
}


def samples(space, n):
    space.seed(0)
    return [space.sample() for _ in range(n)]


def stacked(observations, shape):
    """Observations as a loop holds them: ``[*shape, ...]`` on the device."""
    return jax.tree.map(lambda *leaves: jnp.asarray(np.reshape(leaves, (*shape, *np.shape(leaves[0])))), *observations)


@pytest.mark.parametrize("shape", [(), (6,), (2, 3)], ids=["alone", "[B]", "[T,B]"])
@pytest.mark.parametrize("name", EXPECTED)
def test_features_are_what_they_should_be_in_every_batch_shape(name, shape):
    space, expected = EXPECTED[name]
    observations = samples(space, int(np.prod(shape)))
    result = features(space, stacked(observations, shape))
    assert result.shape == (*shape, n_features(space))
    assert result.dtype == jnp.float32
    rows = np.asarray(result).reshape(-1, n_features(space))
    np.testing.assert_allclose(rows, [expected(o) for o in observations], rtol=1e-6)


def test_a_dict_of_nothing_but_a_mask_is_refused():
    """There would be nothing to learn from, and nothing to join."""
    with pytest.raises(TeguError):
        require("PPO", "observation", spaces.Dict({"action_mask": spaces.MultiBinary(2)}), spaces.Space)


def test_a_mask_is_found_in_a_dict_and_only_there():
    observation = {"action_mask": jnp.array([[1, 0, 1, 1]], jnp.int8)}
    mask = action_mask(DICT, observation)
    assert mask.dtype == bool
    np.testing.assert_array_equal(mask, [[True, False, True, True]])
    assert action_mask(BOX, jnp.zeros((1, 2, 3))) is None
    assert action_mask(spaces.Dict({"a": BOX}), {"a": jnp.zeros((1, 2, 3))}) is None


@pytest.mark.parametrize("name", EXPECTED)
def test_zeros_are_shaped_like_samples(name):
    space, _ = EXPECTED[name]
    small = {np.dtype(np.float64): np.float32, np.dtype(np.int64): np.int32}

    def same(zero, sample):
        sample = np.asarray(sample)
        assert (zero.shape, zero.dtype) == (sample.shape, small.get(sample.dtype, sample.dtype))
        assert not zero.any()

    jax.tree.map(same, zeros(space), space.sample())


# Action bounds

floats = st.floats(allow_nan=False, allow_subnormal=False, width=32)  # compiled code takes subnormal numbers for 0
edges = st.floats(-(2.0**100), 2.0**100, allow_subnormal=False, width=32)
bounds = st.tuples(edges, edges).map(sorted)


@settings(deadline=None, max_examples=300)
@given(st.tuples(bounds, bounds), arrays(np.float32, 2, elements=floats))
def test_mapped_actions_are_always_in_the_space(limits, action):
    """Asymmetric bounds per component and any float32, infinite ones included; what was inside already is not moved."""
    low, high = np.array(limits, np.float32).T
    space = spaces.Box(low, high)
    for mapped in (to_bounds(space, action), np.asarray(to_bounds(space, jnp.asarray(action)))):
        assert space.contains(mapped)
        np.testing.assert_array_equal(mapped, np.minimum(np.maximum(action, low), high))


def test_a_million_actions_stay_inside_bounds_that_float32_rounds():
    space = spaces.Box(np.float32([-0.1, 0.3]), np.float32([0.7, 1 / 3]))
    actions = np.random.default_rng(0).normal(0, 1, (500_000, 2)).astype(np.float32)
    for mapped in (to_bounds(space, actions), np.asarray(to_bounds(space, jnp.asarray(actions)))):
        assert mapped.dtype == space.dtype
        assert ((mapped >= space.low) & (mapped <= space.high)).all()


@pytest.mark.parametrize("to_array", [np.asarray, jnp.asarray], ids=["numpy", "jax"])
def test_float64_bounds_hold_for_float32_actions(to_array):
    """0.1 rounds up and -0.1 down in float32: both would lie outside. Mapping warns of nothing."""
    space = spaces.Box(-0.1, 0.1, (2,), np.float64)
    mapped = np.asarray(to_bounds(space, to_array(np.float32([-5, 5]))), np.float64)  # warnings are errors here
    assert space.contains(mapped)


@pytest.mark.parametrize("to_array", [np.asarray, jnp.asarray], ids=["numpy", "jax"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int32])
def test_integer_boxes_get_integers_inside(to_array, dtype):
    space = spaces.Box(-100 if dtype != np.uint8 else 3, 100, (4,), dtype)
    mapped = np.asarray(to_bounds(space, to_array(np.float32([-1e6, -0.9, 50.2, 1e6]))))
    assert space.contains(mapped)


def test_other_spaces_pass_unchanged():
    action = jnp.arange(3)
    assert to_bounds(spaces.Discrete(5, start=2), action) is action
    assert to_bounds(spaces.MultiDiscrete([2, 2]), action) is action


# Refusals


def refusal(*arguments):
    with pytest.raises(TeguError) as caught:
        require(*arguments)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_wrong_space_is_refused_by_name():
    message = refusal("DQN", "action", spaces.Box(-1, 1, (2,)), spaces.Discrete)
    assert message == "DQN needs a Discrete action space, the environment has Box(-1.0, 1.0, (2,), float32)"
    message = refusal("PPO", "action", spaces.Text(3), spaces.Discrete, spaces.Box)
    assert message.startswith("PPO needs a Discrete or Box action space, the environment has Text(")
    assert "Discrete observation space" in refusal("Q-learning", "observation", BOX, spaces.Discrete)


@pytest.mark.parametrize(("low", "high"), [(-np.inf, np.inf), (0, np.inf), (-np.inf, 1)])
def test_unbounded_actions_are_refused(low, high):
    assert "finite action bounds" in refusal("PPO", "action", spaces.Box(low, high, (2,)), spaces.Box)
    require("PPO", "observation", spaces.Box(low, high, (2,)), spaces.Space)  # observations may be unbounded


UNSUPPORTED = {
    "tuple": spaces.Tuple([spaces.Discrete(2)]),
    "text": spaces.Text(3),
    "sequence": spaces.Sequence(spaces.Discrete(2)),
    "graph": spaces.Graph(spaces.Discrete(2), None),
    "dict of a tuple": spaces.Dict({"a": spaces.Tuple([BOX])}),
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_unsupported_observations_are_refused_with_what_is_supported(name):
    message = refusal("PPO", "observation", UNSUPPORTED[name], spaces.Space)
    assert "is not supported: expected Box, Discrete, MultiDiscrete, MultiBinary or" in message


def test_a_refusal_is_one_line_whatever_the_space():
    """Also where Gymnasium writes bounds that differ by component as a matrix over several lines."""
    low = -np.arange(1.0, 7, dtype=np.float32).reshape(2, 3)
    refusal("DQN", "action", spaces.Box(low, np.full((2, 3), np.inf, np.float32)), spaces.Discrete)
    refusal("PPO", "action", spaces.Box(low, np.full((2, 3), np.inf, np.float32)), spaces.Box)
    refusal("PPO", "observation", spaces.Tuple([spaces.Box(low, -low)]), spaces.Space)


def test_fitting_spaces_pass():
    require("DQN", "action", spaces.Discrete(2), spaces.Discrete)
    require("PPO", "action", spaces.Box(-1, 1, (2,)), spaces.Discrete, spaces.Box)
    for space, _ in EXPECTED.values():
        require("PPO", "observation", space, spaces.Space)
