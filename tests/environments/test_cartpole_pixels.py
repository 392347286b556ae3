"""Cart-pole as a picture: what is in it, and what is not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tegu.core.errors import TeguError
from tegu.environments.classic.cartpole import CartPole
from tegu.environments.pixels.cartpole import CART, THICKNESS, VIEW, CartPolePixels

UPRIGHT = jnp.zeros(4)


def drawn(theta, size):
    """The picture by brute force: the share of 16 x 16 points of each pixel that are on the cart or the pole."""
    fine = (np.arange(size * 16) + 0.5) * 2 * VIEW / (size * 16)
    x, y = fine - VIEW, fine[::-1, None]
    on_cart = (abs(x) < CART[0]) & (y < 2 * CART[1])
    tip = 2 * np.array([np.sin(theta), np.cos(theta)])
    above = y - 2 * CART[1]
    along = np.clip((x * tip[0] + above * tip[1]) / 4, 0, 1)
    on_pole = (x - along * tip[0]) ** 2 + (above - along * tip[1]) ** 2 < THICKNESS**2
    return (on_cart | on_pole).reshape(size, 16, size, 16).mean(axis=(1, 3))


@pytest.mark.parametrize("size", [24, 48])
@pytest.mark.parametrize("theta", [0.0, 0.1, -0.2])
def test_pixels_are_as_bright_as_the_part_of_them_that_is_covered(size, theta):
    picture = CartPolePixels(size).observe(jnp.array([0.7, 2.0, theta, -1.0]))
    assert (picture.shape, picture.dtype) == ((size, size, 1), np.uint8)
    found = np.asarray(picture)[..., 0] / 255
    assert abs(found - drawn(theta, size)).max() < 0.3, "edges are straight here, and corners are not seen"
    assert abs(found - drawn(theta, size)).mean() < 0.01


def test_a_picture_shows_how_the_pole_leans_and_nothing_else():
    world = CartPolePixels()
    seen = world.observe(UPRIGHT)
    np.testing.assert_array_equal(world.observe(jnp.array([9.0, 2.0, 0.0, -1.0])), seen)
    np.testing.assert_array_equal(seen, seen[:, ::-1], err_msg="it is its mirror image")
    leans = [np.asarray(world.observe(UPRIGHT.at[2].set(theta)), float)[..., 0] for theta in (-0.01, 0.0, 0.01)]
    np.testing.assert_allclose(leans[0], leans[2][:, ::-1], atol=1)
    assert abs(leans[2] - leans[1]).sum() > 255, "a hundredth of a radian shows"


def test_a_push_is_several_steps_of_the_physics_which_stop_with_the_episode():
    world, physics, key = CartPolePixels(frame_skip=3), CartPole(x_threshold=np.inf, length=1.0), jax.random.key(0)
    state = jnp.array([50.0, 0.3, 0.05, 0.2])
    now, expected = world.step(state, 1, key), state
    for _ in range(3):
        expected = physics.step(expected, 1, key).state
    np.testing.assert_allclose(now.state, expected, rtol=1e-6)
    assert not now.terminated
    assert now.reward == 1
    falls = jnp.array([0.0, 0.0, 0.2, 3.0])
    now = world.step(falls, 0, key)
    np.testing.assert_allclose(now.state, physics.step(falls, 0, key).state, rtol=1e-6)
    assert now.terminated


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"size": 7}, "size must be from 8 to 256 pixels, got 7"),
        ({"frame_skip": 0}, "frame_skip must be a whole number from 1, got 0"),
    ],
)
def test_what_cannot_be_drawn_is_refused(wrong, says):
    with pytest.raises(TeguError, match=says):
        CartPolePixels(**wrong)
