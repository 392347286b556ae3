"""The lizard's rules, each written out by hand."""

import itertools

import jax
import numpy as np
import pytest

from tegu.environments.grids.exact import value_iteration
from tegu.environments.grids.lizard import Lizard, policy_text

# 0 1 cricket   1 empty 1   2 empty 2
# 3 empty 3     4 bird      5 empty 4
# 6 empty 5     7 empty 6   8 5 crickets
# State: (next state, reward, terminated) for left, right, up, down.
RULES = {
    0: [(0, -1, False), (1, -1, False), (0, -1, False), (3, -1, False)],
    1: [(0, +1, False), (2, -1, False), (1, -1, False), (4, -10, True)],
    2: [(1, -1, False), (2, -1, False), (2, -1, False), (5, -1, False)],
    3: [(3, -1, False), (4, -10, True), (0, +1, False), (6, -1, False)],
    5: [(4, -10, True), (5, -1, False), (2, -1, False), (8, +10, True)],
    6: [(6, -1, False), (7, -1, False), (3, -1, False), (6, -1, False)],
    7: [(6, -1, False), (8, +10, True), (4, -10, True), (7, -1, False)],
}


@pytest.mark.parametrize(("state", "action"), list(itertools.product(RULES, range(4))))
def test_every_move(state, action):
    timestep = Lizard().step(np.int32(state), np.int32(action), jax.random.key(0))
    assert (int(timestep.state), float(timestep.reward), bool(timestep.terminated)) == RULES[state][action]
    assert timestep.observation == timestep.state
    assert not timestep.truncated


def test_an_episode_begins_in_the_bottom_left_corner():
    lizard = Lizard()
    for seed in range(3):
        assert [int(value) for value in lizard.reset(jax.random.key(seed))] == [6, 6]
    assert lizard.state_names[6] == "empty 5"


def test_what_a_user_sees():
    lizard = Lizard()
    assert lizard.id == "lizard"
    assert lizard.max_episode_steps == 100
    assert (lizard.observation_space.n, lizard.action_space.n) == (9, 4)
    assert lizard.action_names == ("left", "right", "up", "down")
    assert lizard.state_names[0] == "1 cricket"
    assert lizard.state_names[4] == "bird"
    assert lizard.state_names[8] == "5 crickets"


def test_the_one_cricket_is_never_used_up():
    step, state, rewards = jax.jit(Lizard().step), np.int32(3), []
    for action in (2, 3, 2, 3, 2):
        state, _, reward, _, _ = step(state, np.int32(action), jax.random.key(0))
        rewards.append(float(reward))
    assert rewards == [1, -1, 1, -1, 1]


def test_dynamic_programming_finds_what_trying_every_policy_finds():
    """All 4^7 deterministic policies, valued from the rules above, without the environment's tables."""
    gamma, living = 0.99, list(RULES)
    policies = np.array(list(itertools.product(range(4), repeat=len(living))))
    onward = np.zeros((len(policies), 7, 7))
    rewards = np.zeros((len(policies), 7))
    for place, state in enumerate(living):
        for action, (next_state, reward, terminated) in enumerate(RULES[state]):
            chosen = policies[:, place] == action
            rewards[chosen, place] = reward
            if not terminated:
                onward[chosen, place, living.index(next_state)] = 1
    values = np.linalg.solve(np.eye(7) - gamma * onward, rewards[..., None])[..., 0]
    solution = value_iteration(Lizard(), gamma)
    np.testing.assert_allclose(solution.values[living], values.max(axis=0), atol=1e-8)
    np.testing.assert_array_equal(solution.values[[4, 8]], 0)
    assert solution.values[6] == pytest.approx(-1 + gamma * 10)


def test_the_drawing_in_text():
    assert (
        Lizard().text(np.int32(0))
        == """\
┌──────────────┬──────────────┬──────────────┐
│  1 cricket   │              │              │
│    LIZARD    │              │              │
├──────────────┼──────────────┼──────────────┤
│              │     bird     │              │
│              │              │              │
├──────────────┼──────────────┼──────────────┤
│              │              │  5 crickets  │
│              │              │              │
└──────────────┴──────────────┴──────────────┘"""
    )


def test_a_policy_in_text():
    values = np.zeros((9, 4))
    best = [1, 1, 3, 2, 0, 3, 1, 1, 0]
    values[np.arange(9), best] = 2.5
    values[:, 2] -= 10.126
    values[3] = [-1, -2, 7.25, -3]
    assert (
        policy_text(Lizard(), values)
        == """\
                 left     right        up      down
1 cricket        0.00      2.50*   -10.13      0.00
empty 1          0.00      2.50*   -10.13      0.00
empty 2          0.00      0.00    -10.13      2.50*
empty 3         -1.00     -2.00      7.25*    -3.00
bird          the end
empty 4          0.00      0.00    -10.13      2.50*
empty 5          0.00      2.50*   -10.13      0.00
empty 6          0.00      2.50*   -10.13      0.00
5 crickets    the end

┌──────────────┬──────────────┬──────────────┐
│  1 cricket   │              │              │
│      →       │      →       │      ↓       │
├──────────────┼──────────────┼──────────────┤
│              │     bird     │              │
│      ↑       │              │      ↓       │
├──────────────┼──────────────┼──────────────┤
│              │              │  5 crickets  │
│      →       │      →       │              │
└──────────────┴──────────────┴──────────────┘"""
    )
