"""Bit flipping against the rules as the paper gives them, in plain Python."""

import jax
import numpy as np
import pytest

import tegu
from tegu.environments.goals.bit_flip import BitFlip

KEY = jax.random.key(0)


@pytest.mark.parametrize("n_bits", [1, 4, 15])
def test_an_action_flips_its_bit_and_only_the_goal_pays_and_ends(n_bits):
    environment, rng, ended = BitFlip(n_bits), np.random.default_rng(0), set()
    step = jax.jit(environment.step)
    for distance in range(n_bits + 1):
        desired = rng.integers(0, 2, n_bits, dtype=np.int8)
        bits = desired.copy()
        bits[rng.permutation(n_bits)[:distance]] ^= 1
        for action in range(n_bits):
            flipped = bits.copy()
            flipped[action] ^= 1
            now = step(np.stack([bits, desired]), action, KEY)
            success = flipped.tolist() == desired.tolist()
            np.testing.assert_array_equal(now.state, np.stack([flipped, desired]))
            np.testing.assert_array_equal(now.observation["observation"], flipped)
            np.testing.assert_array_equal(now.observation["achieved_goal"], flipped)
            np.testing.assert_array_equal(now.observation["desired_goal"], desired)
            assert (now.reward, now.terminated) == (0.0 if success else -1.0, success)
            assert environment.measures(now.state) == {"is_success": success}
            assert environment.observation_space.contains(jax.device_get(now.observation))
            ended.add(success)
    assert ended == {False, True}


def test_an_episode_has_as_many_steps_as_bits():
    assert [BitFlip(n).time_limit for n in (1, 15, 40)] == [1, 15, 40]
    assert tegu.make("BitFlip-v0").n_bits == 15
    assert tegu.make("BitFlip-v0", n_bits=8).time_limit == 8


def test_bits_and_goals_are_evenly_random():
    states = np.asarray(jax.vmap(BitFlip(3).reset)(jax.random.split(KEY, 6_400))[0])
    counts = np.bincount(states.reshape(6_400, 6) @ (1 << np.arange(6)), minlength=64)
    assert abs(counts - 100).max() < 50  # five standard deviations


@pytest.mark.parametrize("n_bits", [0, -1, 1.5, True, "many"])
def test_a_number_of_bits_that_cannot_be(n_bits):
    with pytest.raises(tegu.TeguError, match=r"^BitFlip-v0: n_bits must be a whole number from 1, got ") as caught:
        tegu.make("BitFlip-v0", n_bits=n_bits)
    assert "\n" not in str(caught.value)


def test_the_drawing_marks_bits_that_are_wrong():
    text = BitFlip(4).text(np.int8([[0, 1, 1, 0], [0, 0, 1, 1]]))
    assert text == "bits     0110\ndesired  0011\n          ^ ^"
    assert BitFlip(2).text(np.int8([[0, 1], [0, 1]])) == "bits     01\ndesired  01"
