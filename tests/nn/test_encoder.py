"""What networks make of images: which Boxes are images, where they lie among the features, and that they can learn."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

import tegu
from tegu.core.spec import EnvironmentSpec
from tegu.nn.description import describe
from tegu.nn.encoder import Encoder, images
from tegu.nn.heads import ActionValue, ActorCritic, DeterministicPolicy, QNetwork
from tegu.spaces.features import features, n_features

KEY = jax.random.key(0)
ATARI = spaces.Box(0, 255, (84, 84, 4), np.uint8)
SMALL = spaces.Box(0, 1, (10, 9, 3), np.float32)
MIXED = spaces.Dict(
    {
        "action_mask": spaces.MultiBinary(2),
        "above": spaces.Box(-1, 1, (2,)),
        "camera": SMALL,
        "light": spaces.Discrete(3),
    }
)


def spec_of(space, actions=None):
    return EnvironmentSpec("test", space, actions or spaces.Discrete(2))


@pytest.mark.parametrize(
    ("space", "sizes"),
    [
        (ATARI, [(84, 84, 4)]),
        (spaces.Box(0, 255, (4, 84, 84), np.uint8), [(84, 84, 4)]),
        (spaces.Box(0, 255, (3, 40, 60), np.uint8), [(40, 60, 3)]),
        (spaces.Box(0, 255, (40, 60, 3), np.uint8), [(40, 60, 3)]),
        (spaces.Box(0, 1, (8, 8, 111), np.float32), [(8, 8, 111)]),  # PettingZoo's chess
        (spaces.Box(0, 1, (10, 10, 10), np.float32), [(10, 10, 10)]),
        (spaces.Box(0, 1, (7, 7, 3), np.float32), []),  # too small to be looked at by pieces
        (spaces.Box(0, 255, (84, 84), np.uint8), []),
        (spaces.Discrete(4), []),
        (MIXED, [(10, 9, 3)]),
        (spaces.Dict({"a": spaces.Dict({"left": SMALL, "right": SMALL}), "b": SMALL}), [(10, 9, 3)] * 3),
    ],
)
def test_images_are_boxes_of_three_dimensions(space, sizes):
    found = list(images(space))
    assert [image.size for image in found] == sizes
    stops = [image.stop for image in found]
    assert [image.start for image in found[1:]] == stops[:-1]
    assert all(stop <= n_features(space) for stop in stops)


@pytest.mark.parametrize(
    ("extractor", "space", "outputs"),
    [
        ("auto", ATARI, 7 * 7 * 64),
        ("impala", ATARI, 11 * 11 * 32),
        ("minatar", ATARI, 82 * 82 * 16),
        ("flatten", ATARI, 84 * 84 * 4),
        ("auto", SMALL, 8 * 7 * 16),
        ("auto", MIXED, 2 + 8 * 7 * 16 + 3),
        ("auto", spaces.Box(-1, 1, (5,)), 5),
    ],
)
def test_sizes_are_those_of_the_papers(extractor, space, outputs):
    encoder = eqx.filter_eval_shape(Encoder, KEY, space, extractor)
    assert encoder.outputs == outputs


def test_each_image_goes_through_its_network_and_the_rest_stays():
    """The parts keep their order; the batch may have any shape; a channel-first image is a turned one."""
    encoder, rng = Encoder(KEY, MIXED, "auto"), np.random.default_rng(0)
    camera = rng.uniform(size=(2, 5, 10, 9, 3)).astype(np.float32)
    above, light = rng.uniform(size=(2, 5, 2)).astype(np.float32), rng.integers(0, 3, (2, 5))
    seen = {"action_mask": np.ones((2, 5, 2), np.int8), "above": above, "camera": camera, "light": light}
    out = encoder(features(MIXED, seen))
    weight, bias = encoder.networks[0].layers[0].weight, encoder.networks[0].layers[0].bias
    expected = np.zeros((2, 5, 8, 7, 16))
    for i, j in np.ndindex(8, 7):
        expected[:, :, i, j] = np.maximum(np.tensordot(camera[:, :, i : i + 3, j : j + 3], weight, 3) + bias, 0)
    np.testing.assert_allclose(out[..., 2:-3], expected.reshape(2, 5, -1), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(out[..., :2], above)
    np.testing.assert_array_equal(out[..., -3:], np.eye(3)[light])

    turned = spaces.Box(0, 1, (3, 10, 9), np.float32)
    first, last = Encoder(KEY, turned, "auto"), Encoder(KEY, SMALL, "auto")
    flat = features(turned, np.moveaxis(camera, -1, -3))
    np.testing.assert_allclose(first(flat), last(features(SMALL, camera)), rtol=1e-5, atol=1e-6)


def test_pixels_are_scaled_by_their_bounds():
    """What a network sees does not depend on the type of the pixels."""
    pixels = np.random.default_rng(0).integers(0, 256, (2, 10, 9, 3))
    kinds = [(0, 255, np.uint8), (0, 255, np.float32), (0, 255, np.int32)]
    seen = []
    for low, high, dtype in kinds:
        space = spaces.Box(low, high, (10, 9, 3), dtype)
        (image,) = images(space)
        seen.append(image.of(features(space, pixels.astype(dtype))))
    for each in seen:
        np.testing.assert_allclose(each, pixels / 255, rtol=1e-6)
    unbounded = spaces.Box(-np.inf, np.inf, (10, 9, 3), np.float32)
    (image,) = images(unbounded)
    np.testing.assert_array_equal(image.of(features(unbounded, pixels.astype(np.float32))), pixels)


def test_raw_pixels_stay_as_they_are():
    """Whatever their type and their bounds; the convolutions are those of scaled ones."""
    pixels = np.random.default_rng(0).integers(0, 256, (2, 10, 9, 3))
    for low, high, dtype in [(0, 255, np.uint8), (0, 255, np.float32), (-1000, 1000, np.float32), (0, 255, np.int32)]:
        space = spaces.Box(low, high, (10, 9, 3), dtype)
        raw, usual = Encoder(KEY, space, "minatar+raw"), Encoder(KEY, space, "minatar")
        found = features(space, pixels.astype(dtype))
        np.testing.assert_allclose(raw.images[0].of(found), pixels, rtol=1e-6)
        assert raw.title == usual.title == "MinAtar CNN 10x9x3"
        (image,) = usual.images
        np.testing.assert_allclose(raw(scaled_down(space, found, image)), usual(found), rtol=1e-4, atol=1e-5)
    assert Encoder(KEY, SMALL, "auto+raw:16").outputs == 16


def scaled_down(space, found, image):
    """Features of which the raw pixels are what ``image`` makes of those of ``found``."""
    pixels = np.asarray(image.of(found)).reshape(2, -1)
    return pixels / 255 if space.dtype == np.uint8 else pixels


@pytest.mark.parametrize("key", [jax.random.key(0), jax.random.key(1)])
def test_convolutions_begin_apart_from_all_other_layers(key):
    """A key's splits are folds of small numbers: an image's weights must come from none of them."""
    network = QNetwork(key, spec_of(SMALL), (4,), "relu")
    first = np.asarray(network.encoder.networks[0].layers[0].weight).ravel()
    drawn = [jax.random.uniform(jax.random.fold_in(key, i), (len(first),), minval=-1.0) for i in range(300)]
    others = [*drawn, jax.random.uniform(key, (len(first),), minval=-1.0)]
    assert max(abs(np.corrcoef(first, each)[0, 1]) for each in others) < 0.5


def test_standardised_images_are_not_scaled_again():
    """Of PPO with normalize_observation, whatever the bounds of the space."""
    space = spaces.Box(0, 255, (10, 9, 3), np.float32)
    for normalize, high in ((False, 255), (True, 1)):
        algorithm = tegu.PPO(normalize_observation=normalize, net_arch=(4,))
        learner = eqx.filter_eval_shape(algorithm.init, KEY, spec_of(space))
        assert [image.high for image in learner.network.encoder.images] == [high]


def test_impala_is_the_papers_network():
    """One stage by hand: convolution, maximum, two residual blocks."""
    space = spaces.Box(0, 1, (8, 8, 1), np.float32)
    network = Encoder(KEY, space, "impala").networks[0]
    (first, blocks), x = network.stages[0], np.random.default_rng(0).uniform(size=(2, 8, 8, 1)).astype(np.float32)
    single = eqx.tree_at(lambda n: n.stages, network, (network.stages[0],))

    padded = np.pad(np.asarray(first(x)), ((0, 0), (0, 1), (0, 1), (0, 0)), constant_values=-np.inf)
    expected = np.stack(
        [np.stack([padded[:, i : i + 3, j : j + 3].max((1, 2)) for j in (0, 2, 4, 6)], 1) for i in (0, 2, 4, 6)], 1
    )
    for inner, outer in blocks:
        expected = expected + outer(np.maximum(inner(np.maximum(expected, 0)), 0))
    np.testing.assert_allclose(single(x), np.maximum(expected, 0), rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_actor_and_critic_share_what_sees_images():
    network = ActorCritic(KEY, spec_of(SMALL), (4,), "tanh", 0.0)
    x = jnp.ones((2, n_features(SMALL)))
    value = jax.grad(lambda n: n(x)[1].sum())(network)
    policy = jax.grad(lambda n: n(x)[0].log_prob(jnp.zeros(2, int)).sum())(network)
    for gradient in (value, policy):
        assert all(leaf.any() for leaf in jax.tree.leaves(gradient.encoder))
    assert not any(leaf.any() for leaf in jax.tree.leaves((value.actor, policy.critic)))
    assert describe(network.parts).startswith("MinAtar CNN 10x9x3; actor MLP 896-4-2, tanh; critic MLP 896-4-1")


def test_continuous_actions_from_images():
    spec, x = spec_of(SMALL, spaces.Box(-1, 1, (2,))), jnp.ones((3, 10, 9, 3))
    action = DeterministicPolicy(KEY, spec, (4,), "relu")(x)
    assert action.shape == (3, 2)
    assert ActionValue(KEY, spec, (4,), "relu")(x, action).shape == (3,)


@pytest.mark.parametrize("gain", [None, 1.5])
def test_a_layer_may_follow_the_convolutions(gain):
    """A linear map and a ReLU, of each image its own; the rest of the features stays, and so do the convolutions."""
    space = spaces.Dict({"a": SMALL, "b": SMALL, "c": spaces.Box(-1, 1, (2,))})
    plain, wide = (Encoder(KEY, space, name, gain) for name in ("minatar", "minatar:5"))
    x = jax.random.uniform(jax.random.key(1), (3, 2 * 270 + 2))
    before, after = np.asarray(plain(x), np.float64), np.asarray(wide(x))
    assert wide.outputs == after.shape[-1] == 5 + 5 + 2
    for i, layer in enumerate(wide.layers):
        (weights,), (biases,) = layer.weights, layer.biases
        expected = np.maximum(before[:, 896 * i : 896 * (i + 1)] @ np.float64(weights) + np.float64(biases), 0)
        np.testing.assert_allclose(after[:, 5 * i : 5 * (i + 1)], expected, rtol=1e-4, atol=1e-5)
        if gain is not None:
            np.testing.assert_allclose(weights.T @ weights, gain**2 * np.eye(5), atol=1e-4)
    np.testing.assert_array_equal(after[:, 10:], x[:, 540:])
    assert not np.array_equal(wide.layers[0].weights[0], wide.layers[1].weights[0])


def test_an_image_is_described():
    assert describe([("", QNetwork(KEY, spec_of(SMALL), (4,), "relu"))]).startswith(
        "MinAtar CNN 10x9x3, MLP 896-4-2, relu; "
    )
    network = QNetwork(KEY, spec_of(SMALL), (4,), "relu", "auto:16")
    assert describe([("", network)]).startswith("MinAtar CNN 10x9x3-16, MLP 16-4-2, relu; ")


@pytest.mark.parametrize("algorithm", [tegu.DQN, tegu.PPO])
@pytest.mark.parametrize(
    ("extractor", "space", "message"),
    [
        ("cnn", ATARI, "must be one of auto, flatten, nature, impala, minatar, attention, got 'cnn'"),
        ("flatten:8", ATARI, "features_extractor must be one of auto, .* got 'flatten:8'"),
        ("flatten+raw", ATARI, "features_extractor must be one of auto, .* got 'flatten\\+raw'"),
        ("nature+lidar", ATARI, "features_extractor must be one of auto, .* got 'nature\\+lidar'"),
        ("nature:no", ATARI, "'nature:no' must end in the width of a layer, such as nature:256"),
        ("nature", spaces.Box(-1, 1, (4,)), "features_extractor nature is for images, .* the observations are Box"),
        ("nature", SMALL, "features_extractor nature needs images of at least 36x36 pixels, got 10x9"),
    ],
)
def test_what_does_not_fit_is_said(algorithm, extractor, space, message):
    with pytest.raises(tegu.TeguError, match=message):
        algorithm(features_extractor=extractor).validate(spec_of(space))


class Lamp(tegu.Environment):
    """One of four corners of a picture is bright; the action that names it is worth 1. Episodes of one step."""

    id: str = eqx.field(static=True, kw_only=True, default="Lamp")

    @property
    def observation_space(self):
        return spaces.Box(0, 255, (8, 8, 1), np.uint8)

    @property
    def action_space(self):
        return spaces.Discrete(4)

    def reset(self, key):
        corner = jax.random.randint(key, (), 0, 4)
        row, column = 1 + 4 * (corner // 2), 1 + 4 * (corner % 2)
        return corner, jnp.zeros((8, 8, 1), jnp.uint8).at[row, column].set(255)

    def step(self, state, action, key):
        _, observation = self.reset(key)
        reward = jnp.float32(action == state)
        return tegu.Timestep(state, observation, reward, jnp.bool_(True))


@pytest.mark.slow
@pytest.mark.parametrize(
    "algorithm",
    [
        tegu.DQN(learning_rate=3e-3, learning_starts=200, net_arch=(16,), buffer_size=2000),
        tegu.PPO(learning_rate=3e-3, n_steps=32, batch_size=64, n_epochs=4, net_arch=(16,)),
    ],
    ids=["dqn", "ppo"],
)
def test_images_are_learned_from(algorithm):
    """A random policy finds the lamp once in four."""
    agent = tegu.train(Lamp(), algorithm, steps=6_000, n_envs=4, seed=0, folder=None)
    assert agent.evaluate(100).mean > 0.9
