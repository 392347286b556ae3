"""Gymnasium's Box2D environments run, and are brought back to where they stood by their actions."""

import importlib.util
import json

import numpy as np
import pytest

from tegu.environments.make import find

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("Box2D") is None, reason="Box2D is not installed"),
    # what SWIG says when Box2D is imported, in C, where it cannot become an error
    pytest.mark.filterwarnings("ignore:builtin type .* has no __module__ attribute:DeprecationWarning"),
]


@pytest.mark.parametrize(
    ("name", "n_steps"),
    [("BipedalWalker-v3", 60), ("LunarLander-v3", 90), ("LunarLanderContinuous-v3", 90), ("CarRacing-v3", 3)],
)
def test_episodes_are_played_again_to_where_they_stood(name: str, n_steps: int) -> None:
    one, other = (find(name).environments([(3, 0)]) for _ in range(2))
    one.action_space.seed(0)
    actions = [np.array([one.action_space.sample()]) for _ in range(2 * n_steps)]
    seen = one.reset()
    for action in actions[:n_steps]:
        seen = one.step(action).observation
    arrays, data = one.snapshot()
    np.testing.assert_array_equal(other.restore(arrays, json.loads(json.dumps(data)), seen), seen)
    for action in actions[n_steps:]:
        mine, theirs = one.step(action), other.step(action)
        for first, second in zip(mine[:-1], theirs[:-1], strict=True):
            np.testing.assert_array_equal(first, second)
    one.close()
    other.close()
