"""Hindsight against plain lists of episodes: which goals rows may get, how often, and what is then paid."""

from collections import Counter
from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from tegu.core.errors import TeguError
from tegu.core.step import Step
from tegu.experience.base import STRATEGIES, Feedback, Hindsight, Replay, Uniform, hindsight
from tegu.experience.buffer import ReplayBuffer
from tegu.experience.hindsight import with_goal
from tegu.training.learning import cut_episodes

ADD = jax.jit(ReplayBuffer.add, static_argnums=(2, 3))
DRAWS = 6_000
REACH = 2  #: how near a goal is enough
OWN = -1000  #: what episodes desire by themselves is this or less, what is achieved more


class Numbers:
    """Goals are numbers ``[1]``: a step pays how far it is from the goal, and those very near end the task."""

    @staticmethod
    def compute_reward(achieved_goal, desired_goal):
        return -abs(achieved_goal - desired_goal)[0]

    @staticmethod
    def compute_terminated(achieved_goal, desired_goal):
        return abs(achieved_goal - desired_goal)[0] < REACH


DRAW = jax.jit(partial(ReplayBuffer.draw, goals=Numbers), static_argnums=(2, 3))


class History:
    """Steps of ``n_envs`` environments in plain lists. Every step achieves a number of its own, hundreds apart but for
    every third, which is near the one before; goals of their own are negative."""

    def __init__(self, n_envs, seed=0, ends=0.15):
        self.rng, self.n_envs, self.ends, self.steps = np.random.default_rng(seed), n_envs, ends, []
        self.episode, self.number = list(range(n_envs)), n_envs

    def block(self, length):
        """The next steps, ``[length * n_envs, ...]``."""
        first = len(self.steps)
        for row in range(first, first + length * self.n_envs):
            env = row % self.n_envs
            achieved = 100.0 * row - (0 if row // self.n_envs % 3 else 100.0 * self.n_envs - 1)
            desired = float(OWN * (1 + self.episode[env]))
            fallen, cut = self.rng.random(2) < self.ends
            step = {"row": row, "env": env, "episode": self.episode[env], "achieved": achieved, "desired": desired}
            self.steps.append(step | {"terminated": bool(fallen), "truncated": bool(cut and not fallen)})
            if fallen or cut:
                self.end(env)
        return self.arrays(self.steps[first:])

    def end(self, env):
        self.episode[env], self.number = self.number, self.number + 1

    @staticmethod
    def arrays(steps):
        def column(name, dtype=np.float32):
            return np.array([step[name] for step in steps], dtype)

        def seen(achieved):
            goals = {"achieved_goal": achieved[:, None], "desired_goal": column("desired")[:, None]}
            return {"observation": column("row")[:, None], **goals}

        before = seen(np.full(len(steps), np.nan, np.float32))  # what was achieved before a step is nobody's goal
        flags = column("terminated", bool), column("truncated", bool)
        return Step(
            before, column("row", np.int32), np.full(len(steps), 7, np.float32), seen(column("achieved")), *flags
        )

    def later(self, row, held, strategy="future"):
        """What the episode of a row achieved from then on, in the end or ever, as far as it is held."""
        mine, first = self.steps[row], row if strategy == "future" else 0
        found = [s["achieved"] for s in self.steps[first:] if s["row"] in held and s["episode"] == mine["episode"]]
        return found[-1:] if strategy == "final" else found


def filled(n_envs, length, blocks, capacity, n_steps=1, k=4, seed=0, strategy="future"):
    """A buffer, what it declares, its history in lists, and the rows that it holds."""
    experience = Replay(capacity, DRAWS, 0, 1, 1, n_steps, Hindsight(k, strategy))
    history = History(n_envs, seed)
    written = [history.block(length) for _ in range(blocks)]
    buffer = ReplayBuffer.empty(written[0], experience)
    for block in written:
        buffer = ADD(buffer, block, experience, n_envs)
    return buffer, experience, history, range(len(history.steps))[-buffer.capacity :]


SHAPES = [  # environments, steps in a block, blocks, capacity
    (1, 1, 9, 20),  # not yet full
    (1, 4, 9, 20),  # around, and the oldest episode has lost its beginning
    (3, 2, 4, 24),  # just full
    (3, 5, 7, 45),
    (2, 6, 5, 12),  # a single block
]


@pytest.mark.parametrize(
    ("shape", "strategy"),
    [*((shape, "future") for shape in SHAPES), *((shape, name) for shape in SHAPES[1:4] for name in STRATEGIES[1:])],
)
def test_goals_are_those_that_the_same_episode_reached(shape, strategy):
    """All that a strategy names and no others; each row as often as another, and each of its goals as often."""
    buffer, experience, history, held = filled(*shape, strategy=strategy)
    (steps, weight), _ = DRAW(buffer, jax.random.key(1), experience, shape[0])
    np.testing.assert_array_equal(weight, np.ones(DRAWS, np.float32))
    goals = steps.observation["desired_goal"][:, 0].tolist()
    possible = {}
    for row in held:
        later = history.later(row, held, strategy)
        assert later
        possible[row, history.steps[row]["desired"]] = 1 / 5 / len(held)
        possible |= {(row, goal): 4 / 5 / len(held) / len(later) for goal in later}
    drawn = list(zip(steps.action.tolist(), goals, strict=True))
    assert set(drawn) <= set(possible)
    times = Counter(drawn)
    counts, expected = [times[pair] for pair in possible], [DRAWS * p for p in possible.values()]
    assert stats.chisquare(counts, expected).pvalue > 1e-3
    assert len(possible) > 2 * len(held) or strategy == "final"


@pytest.mark.parametrize("shape", SHAPES[1:4])
def test_what_is_paid_and_what_ends_follows_from_the_goals(shape):
    """In plain Python, step by step; rows that keep their goal keep everything, whatever it was that they were paid."""
    buffer, experience, history, _ = filled(*shape)
    steps = jax.device_get(DRAW(buffer, jax.random.key(2), experience, shape[0]).batch.rows)
    seen = set()
    for i, row in enumerate(steps.action):
        was, goal = history.steps[row], float(steps.next_observation["desired_goal"][i, 0])
        near = abs(was["achieved"] - goal) < REACH
        if goal == was["desired"]:
            expected = 7.0, was["terminated"], was["truncated"]
        else:
            ended = was["terminated"] or was["truncated"]
            over = was["terminated"] or near  # it was not the goal that ended it
            expected = -abs(was["achieved"] - goal), over, ended and not over
        assert (steps.reward[i], steps.terminated[i], steps.truncated[i]) == expected
        assert steps.observation["desired_goal"][i, 0] == goal
        assert steps.observation["observation"][i, 0] == row
        assert steps.next_observation["achieved_goal"][i, 0] == was["achieved"]
        assert np.isnan(steps.observation["achieved_goal"][i, 0])
        seen.add((near, was["terminated"], was["truncated"]))
    assert {(True, False, False), (True, False, True), (False, True, False), (False, False, True)} <= seen
    types = [(leaf.shape[1:], leaf.dtype) for leaf in jax.tree.leaves(steps)]
    assert types == [(leaf.shape[1:], leaf.dtype) for leaf in jax.tree.leaves(history.arrays(history.steps))]


def test_a_success_is_none_any_more_for_another_goal():
    """Its episode has still ended there, and what comes next counts again; a fall stays a fall for every goal."""
    common = {"achieved": 50.0, "truncated": False}
    success = common | {"row": 0, "desired": 50.5, "terminated": True}
    fall, step = success | {"desired": 90.0}, success | {"terminated": False}
    far = with_goal(History.arrays([success, fall, step]), np.full((3, 1), 9, np.float32), Numbers)
    np.testing.assert_array_equal(far.terminated, [False, True, False])
    np.testing.assert_array_equal(far.truncated, [True, False, False])
    np.testing.assert_array_equal(far.reward, [-41, -41, -41])


@pytest.mark.parametrize("k", [1, 9])
def test_the_share_of_other_goals_is_k_of_k_plus_1(k):
    buffer, experience, _, _ = filled(3, 5, 7, 45, k=k)
    goals = DRAW(buffer, jax.random.key(3), experience, 3).batch.rows.observation["desired_goal"]
    assert stats.binomtest(int((goals > OWN).sum()), DRAWS, k / (k + 1)).pvalue > 1e-3


def test_windows_have_one_goal_from_their_first_step_on():
    """Which that step's episode reached; each step is paid for it, and ends where the episode did."""
    n_envs, n_steps = 2, 3
    buffer, experience, history, held = filled(n_envs, 6, 4, 36, n_steps)
    steps = jax.device_get(DRAW(buffer, jax.random.key(4), experience, n_envs).batch.rows)
    assert steps.action.shape == (n_steps, DRAWS)
    goals = steps.observation["desired_goal"][..., 0]
    relabelled = goals[0] > OWN
    assert relabelled.any()
    for window in range(DRAWS):
        rows = [history.steps[row] for row in steps.action[:, window]]
        assert [row["row"] - rows[0]["row"] for row in rows] == [0, n_envs, 2 * n_envs]
        if not relabelled[window]:
            assert goals[:, window].tolist() == [row["desired"] for row in rows]
            continue
        assert (goals[:, window] == goals[0, window]).all()
        assert goals[0, window] in history.later(rows[0]["row"], held)
        for i, row in enumerate(rows):
            distance = abs(row["achieved"] - goals[0, window])
            assert steps.reward[i, window] == -distance
            assert steps.terminated[i, window] == (row["terminated"] or distance < REACH)
            ended = steps.terminated[i, window] or steps.truncated[i, window]
            assert ended == (row["terminated"] or row["truncated"] or distance < REACH)


@pytest.mark.slow
def test_a_cut_episode_has_no_later_goals():
    """What an environment does after its episode was left belongs to another one, though no step says so."""
    n_envs = 2
    history, experience = History(n_envs, ends=0), Replay(24, DRAWS, 0, 1, 1, draw=Hindsight(4))
    first = history.block(6)
    buffer = ADD(ReplayBuffer.empty(first, experience), first, experience, n_envs)
    buffer = jax.jit(cut_episodes)(buffer, jnp.array([False, True]))
    history.end(1)
    buffer = ADD(buffer, history.block(6), experience, n_envs)
    drawn = DRAW(buffer, jax.random.key(5), experience, n_envs).batch.rows
    goals = drawn.observation["desired_goal"][:, 0]
    held = range(24)
    for row in held:
        reached = set(goals[(drawn.action == row) & (goals > OWN)].tolist())
        assert reached == set(history.later(row, held))


def test_episodes_are_counted_alike_however_steps_come():
    """One by one, in blocks, or as a buffer that goes on from its arrays."""
    found = []
    for length in (1, 2, 6):
        buffer, _, history, held = filled(2, length, 12 // length, 24)
        counts = np.asarray(buffer.rows.episode)[: len(held)]
        for env in range(2):
            mine = [history.steps[row]["episode"] for row in held if row % 2 == env]
            changes = np.cumsum([0, *(now != before for before, now in pairwise(mine))])
            np.testing.assert_array_equal(counts[env::2], changes)
        found.append(counts)
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_rows_may_be_revised_as_without_hindsight():
    buffer, experience, _, _ = filled(1, 4, 2, 8)
    nothing = Step(*[None] * 7)
    revised = buffer.revise(np.array([3]), Feedback(rows=nothing._replace(action=np.int32([99]))), experience)
    np.testing.assert_array_equal(revised.rows.steps.action, [0, 1, 2, 99, 4, 5, 6, 7])
    jax.tree.map(np.testing.assert_array_equal, revised.rows._replace(steps=()), buffer.rows._replace(steps=()))


def test_what_a_hyper_parameter_means():
    assert hindsight(0) == Uniform()
    assert hindsight(3) == Hindsight(3)
    assert hindsight(3, "final") == Hindsight(3, "final") != Hindsight(3)
    with pytest.raises(TeguError, match="goal_selection_strategy must be one of future, final, episode, got 'random'"):
        hindsight(0, "random")


def test_rows_that_are_no_steps_are_refused():
    with pytest.raises(TeguError, match=r"hindsight needs steps whole: take must keep Step, it keeps dict"):
        ReplayBuffer.empty({"x": np.zeros(4)}, Replay(8, 4, 0, 1, 1, draw=Hindsight(4)))
