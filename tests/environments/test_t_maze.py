"""The T-maze, walked by hand."""

import jax
import numpy as np
import pytest

import tegu
from tegu.environments.memory.t_maze import FORWARD, LEFT, RIGHT, TMaze

KEY = jax.random.key(0)


def test_the_way_is_shown_at_the_start_only():
    maze = TMaze(length=3)
    shown = {}
    for way in (LEFT, RIGHT):
        state = np.array([0, way], np.int32)
        seen = [maze.observe(state)]
        for _ in range(3):
            step = maze.step(state, FORWARD, KEY)
            assert (step.reward, step.terminated) == (0, False)
            state = step.state
            seen.append(step.observation)
        shown[way] = np.stack(seen)
        assert [int(maze.step(state, action, KEY).terminated) for action in (FORWARD, LEFT, RIGHT)] == [0, 1, 1]
        rewards = [float(maze.step(state, action, KEY).reward) for action in (FORWARD, way, LEFT + RIGHT - way)]
        assert rewards == pytest.approx([-0.1, 4, -0.1])
        assert maze.step(state, FORWARD, KEY).state[0] == 3
    np.testing.assert_array_equal(shown[LEFT][1:], shown[RIGHT][1:])
    assert (shown[LEFT][0] != shown[RIGHT][0]).any()
    assert len(np.unique(shown[LEFT], axis=0)) == 3


def test_walls_stop():
    maze, state = TMaze(length=3), np.array([1, LEFT], np.int32)
    for action in (LEFT, RIGHT):
        step = maze.step(state, action, KEY)
        assert (int(step.state[0]), bool(step.terminated)) == (1, False)
        assert step.reward == pytest.approx(-0.1)


def test_both_ways_are_as_likely():
    states, _ = jax.vmap(TMaze().reset)(jax.random.split(KEY, 2000))
    assert abs((states[:, 1] == LEFT).mean() - 0.5) < 0.06  # five standard deviations


def test_it_has_its_name_and_says_what_does_not_fit():
    assert tegu.make("TMaze-v0", length=4).max_episode_steps == 25
    with pytest.raises(tegu.TeguError, match="TMaze-v0: length must be a whole number from 1, got 0"):
        TMaze(length=0)


def test_it_is_drawn():
    maze, state = TMaze(length=3), np.array([1, RIGHT])
    assert maze.text(state) == "   -\n.@..\n   +"
    assert maze.image(state).shape == (480, 480, 3)
