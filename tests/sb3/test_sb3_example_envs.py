"""The environments that Stable-Baselines3's own tests and examples play in."""

import gymnasium
import numpy as np
import pytest

from tegu.sb3 import (
    BitFlippingEnv,
    FakeImageEnv,
    IdentityEnv,
    IdentityEnvBox,
    IdentityEnvMultiBinary,
    IdentityEnvMultiDiscrete,
    check_env,
)
from tegu.sb3.errors import ArgumentError

MADE = {
    "identity": lambda: IdentityEnv(4),
    "box": lambda: IdentityEnvBox(-10, 10),
    "multi-discrete": lambda: IdentityEnvMultiDiscrete(3),
    "multi-binary": lambda: IdentityEnvMultiBinary(3),
    "image": lambda: FakeImageEnv(screen_height=40, screen_width=38, n_channels=2),
    "image-first": lambda: FakeImageEnv(screen_height=40, screen_width=38, channel_first=True, discrete=False),
    "bits": lambda: BitFlippingEnv(4, continuous=True),
    "numbers": lambda: BitFlippingEnv(4, discrete_obs_space=True),
    "pixels": lambda: BitFlippingEnv(4, image_obs_space=True, channel_first=False),
}


@pytest.mark.parametrize("name", MADE)
def test_keep_gymnasiums_contract(name):
    check_env(MADE[name](), warn=False)


@pytest.mark.parametrize("name", ["identity", "box", "multi-discrete", "multi-binary"])
def test_what_is_seen_is_the_right_action_until_time_is_up(name):
    env = MADE[name]()
    seen, _ = env.reset(seed=1)
    again, _ = env.reset(seed=1)
    np.testing.assert_array_equal(seen, again)
    for step in range(100):
        wrong = step % 3 == 0
        action = (seen + 1) % 3 if wrong and name != "box" else seen + wrong * 0.1
        right = bool(np.all(action == seen)) if name != "box" else not wrong
        seen, reward, terminated, truncated, _ = env.step(action)
        assert (reward, terminated, truncated) == (float(right), False, step == 99)


def test_a_box_may_be_met_nearly():
    env = IdentityEnvBox(eps=0.5)
    seen, _ = env.reset(seed=0)
    assert env.step(seen + 0.49)[1] == 1.0
    assert env.step(env.state + 0.51)[1] == 0.0


def test_images_have_the_shape_asked_for():
    assert MADE["image"]().observation_space.shape == (40, 38, 2)
    assert MADE["image-first"]().observation_space.shape == (1, 40, 38)
    assert isinstance(MADE["image-first"]().action_space, gymnasium.spaces.Box)


@pytest.mark.parametrize("continuous", [False, True])
def test_bits_are_flipped_until_all_are_one(continuous):
    env = BitFlippingEnv(5, continuous=continuous, max_steps=9)
    env.reset()
    env.state[:] = bits = np.array([1, 0, 1, 0, 0])
    for i in np.flatnonzero(bits == 0):
        action = np.where(np.arange(5) == i, 0.1, -0.1) if continuous else i
        seen, reward, terminated, truncated, info = env.step(action)
        bits[i] = 1
        np.testing.assert_array_equal(seen["achieved_goal"], bits)
        reached = bool(bits.all())
        assert (reward, terminated, truncated, info) == (reached - 1.0, reached, False, {"is_success": reached})
    while env.current_step < 9:
        *_, truncated, _ = env.step(np.full(5, 0.1) if continuous else 0)
        assert truncated == (env.current_step == 9)


@pytest.mark.parametrize("name", ["bits", "numbers", "pixels"])
def test_goals_are_compared_one_by_one_or_many_at_once(name):
    env = MADE[name]()
    space = env.observation_space["desired_goal"]
    space.seed(0)
    one, other = (np.array([space.sample() for _ in range(40)]) for _ in range(2))
    other[::2] = one[::2]
    expected = [0.0 if np.array_equal(*pair) else -1.0 for pair in zip(one, other, strict=True)]
    np.testing.assert_array_equal(env.compute_reward(one, other, {}), expected)
    assert [float(env.compute_reward(*pair, {})) for pair in zip(one, other, strict=True)] == expected
    assert -1.0 in expected


def test_bits_are_shown_as_a_number_or_an_image():
    numbers, pixels = MADE["numbers"](), MADE["pixels"]()
    for env in (numbers, pixels):
        env.reset()
        env.state = np.array([1, 0, 1, 1], np.int8)
    assert numbers.step(0)[0]["observation"] == 0b1100  # the first bit is the lowest
    image = pixels.step(0)[0]["observation"]
    assert image.shape == (36, 36, 1)
    assert image.ravel()[:5].tolist() == [0, 0, 255, 255, 0]
    assert image.sum() == 510


def test_what_does_not_go_together_is_said():
    with pytest.raises(ArgumentError, match="give dim or space, not both"):
        IdentityEnv(2, gymnasium.spaces.Discrete(2))
    with pytest.raises(ArgumentError, match="give discrete_obs_space or image_obs_space, not both"):
        BitFlippingEnv(discrete_obs_space=True, image_obs_space=True)
