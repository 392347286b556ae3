"""Images in the axes that Stable-Baselines3's models see them in."""

import numpy as np
import pytest
from gymnasium import spaces

from tegu.sb3 import (
    DQN,
    DummyVecEnv,
    FakeImageEnv,
    SimpleMultiObsEnv,
    VecFrameStack,
    VecTransposeImage,
    is_vecenv_wrapped,
)
from tegu.sb3.vec_parts import as_in
from tegu.sb3.vec_wrappers import with_channels_first


def images(**more):
    return FakeImageEnv(screen_height=40, screen_width=38, n_channels=2, **more)


@pytest.mark.slow
@pytest.mark.parametrize("channel_first", [False, True])
def test_a_model_sees_channels_first_and_takes_both(channel_first):
    model = DQN("CnnPolicy", images(channel_first=channel_first), buffer_size=20, batch_size=32, learning_starts=4)
    assert is_vecenv_wrapped(model.get_env(), VecTransposeImage) == (not channel_first)
    assert model.observation_space.shape == model.get_env().reset().shape[1:] == (2, 40, 38)
    model.learn(10)  # of fewer rows than a batch
    assert model.replay_buffer.observations.shape[2:] == (2, 40, 38)
    seen = np.random.default_rng(0).integers(0, 256, (3, 40, 38, 2), np.uint8)
    there = np.moveaxis(seen, -1, 1)
    np.testing.assert_array_equal(
        model.predict(seen, deterministic=True)[0], model.predict(there, deterministic=True)[0]
    )
    assert model.predict(seen[0], deterministic=True)[0] == model.predict(there[0], deterministic=True)[0]


class Standardised(FakeImageEnv):
    """Images that are no pixels."""

    def __init__(self):
        super().__init__(screen_height=36, screen_width=36, n_channels=1, channel_first=True)
        self.observation_space = spaces.Box(-10, 10, (1, 36, 36), np.float32)

    def reset(self, **more):
        seen, info = super().reset(**more)
        return seen.astype(np.float32) / 100, info

    def step(self, action):
        seen, *rest = super().step(action)
        return seen.astype(np.float32) / 100, *rest


def test_images_that_are_no_pixels_are_taken_as_they_are_or_refused():
    with pytest.raises(AssertionError, match=r"DQN: the CnnPolicy divides by 255, .*normalize_images=False") as error:
        DQN("CnnPolicy", Standardised(), buffer_size=20)
    assert "\n" not in str(error.value)
    DQN("MlpPolicy", Standardised(), buffer_size=20)
    asked = {"normalize_images": False, "features_extractor_kwargs": {"features_dim": 8}}
    model = DQN("CnnPolicy", Standardised(), buffer_size=20, policy_kwargs=asked)
    assert model.algorithm.features_extractor == "nature+raw"
    assert DQN("CnnPolicy", images(), buffer_size=20, policy_kwargs=asked).algorithm == model.algorithm
    several = DQN(
        "MultiInputPolicy", SimpleMultiObsEnv(), buffer_size=20, policy_kwargs={"normalize_images": False}
    ).algorithm
    assert several.features_extractor == "auto+raw:256"


def test_images_of_a_dict_are_turned_and_the_rest_stays():
    vector = with_channels_first(DummyVecEnv([lambda: SimpleMultiObsEnv(channel_last=True)]))
    assert vector.observation_space["img"].shape == (1, 64, 64)
    seen = vector.venv.reset()
    turned = as_in(vector.observation_space, seen)
    np.testing.assert_array_equal(turned["img"], seen["img"].transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(turned["vec"], seen["vec"])
    np.testing.assert_array_equal(as_in(vector.observation_space, turned)["img"], turned["img"])


def test_what_has_no_other_axes_stays_as_it_is():
    vectors = [
        VecFrameStack(DummyVecEnv([lambda: images(channel_first=True)]), 3),
        VecTransposeImage(DummyVecEnv([images]), skip=True),
        VecTransposeImage(DummyVecEnv([images])),
        DummyVecEnv([SimpleVector]),
    ]
    assert [with_channels_first(vector) is vector for vector in vectors] == [True] * 4


class SimpleVector(FakeImageEnv):
    """No image."""

    def __init__(self):
        super().__init__()
        self.observation_space = spaces.Box(0, 1, (3,), np.float32)
