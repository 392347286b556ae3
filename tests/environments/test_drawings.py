"""Pictures and text drawings of the environments."""

import jax
import numpy as np
import pytest

from tegu.environments.classic.cartpole import CartPole
from tegu.environments.grids.cliff_walking import CliffWalking
from tegu.environments.grids.frozen_lake import FrozenLake
from tegu.environments.grids.taxi import Taxi


def test_a_picture_shows_the_state(environment):
    pytest.importorskip("PIL")
    state = jax.device_get(environment.reset(jax.random.key(0))[0])
    picture = environment.image(state)
    height, width, _ = picture.shape
    assert picture.dtype == np.uint8
    assert picture.shape[2:] == (3,)
    assert height % 2 == width % 2 == 0
    assert 400 <= width <= 600
    np.testing.assert_array_equal(picture, environment.image(state))
    other = jax.tree.map(
        lambda leaf: leaf + {"i": np.int32(1), "f": np.float32(0.2), "b": False}[leaf.dtype.kind], state
    )
    assert (picture != environment.image(other)).any()


def test_the_cart_stands_where_it_is_and_the_pole_leans_as_it_does():
    left = CartPole().text(np.float32([-1.2, 0, -0.2, 0])).splitlines()
    right = CartPole().text(np.float32([1.2, 0, 0.2, 0])).splitlines()
    upright = CartPole().text(np.float32([0, 0, 0, 0])).splitlines()
    assert "\\" in left[0]
    assert "/" in right[0]
    assert all(line.index("|") == len(upright[-2]) // 2 for line in upright[:-4])
    cart = [lines[-4].index("┴") for lines in (left, upright, right)]
    assert cart[1] - cart[0] == cart[2] - cart[1] == 18  # a quarter of the track of 72
    assert left[0].index("\\") < cart[0]
    assert right[0].index("/") > cart[2]
    assert right[-1] == "cart +1.20 m   pole +11.5°"


@pytest.mark.parametrize("x", [-9.0, -2.4, 2.4, 9.0])
@pytest.mark.parametrize("theta", [-0.4, 0.4])
def test_a_cart_at_or_beyond_the_end_is_still_drawn_within_the_width(x, theta):
    lines = CartPole().text(np.float32([x, 0, theta, 0])).splitlines()
    assert "┌──┴──┐" in lines[-4]
    assert max(map(len, lines)) <= 79


def test_the_lake():
    assert FrozenLake().text(np.int32(6)) == " S  F  F  F\n F  H [F] H\n F  F  F  H\n H  F  F  G"


def test_the_cliff():
    lines = CliffWalking().text(np.int32(36)).splitlines()
    assert lines[:3] == [" ." + "  ." * 11] * 3
    assert lines[3] == "[S]" + " C " * 10 + " G"


def test_the_taxi():
    waiting = ((2 * 5 + 3) * 5 + 2) * 4 + 1
    assert (
        Taxi().text(np.int32(waiting))
        == """\
+-------------------+
| R     |         G |
|       |           |
|            [ ]    |
|   |       |       |
| Y |       | B     |
+-------------------+
passenger at Y, to G"""
    )
    riding = ((0 * 5 + 4) * 5 + 4) * 4 + 3
    lines = Taxi().text(np.int32(riding)).splitlines()
    assert lines[1] == "| R     |        [G]|"
    assert lines[-1] == "passenger in the taxi, to B"
