"""Dyna-Q, prioritised sweeping and adaptive dynamic programming against their definitions in NumPy float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from tegu.algorithms.adaptive_dp import AdaptiveDP
from tegu.algorithms.dyna_q import DynaQ
from tegu.algorithms.prioritized_sweeping import PrioritizedSweeping
from tegu.algorithms.registry import algorithm
from tegu.algorithms.tabular_model import empty_model, seen
from tegu.core.errors import TeguError
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Step
from tegu.environments.grids.exact import policy_value, value_iteration
from tegu.environments.grids.frozen_lake import FrozenLake

S, A, T, B = 5, 3, 6, 2
FIRST_STATE, FIRST_ACTION = 3, -1  # spaces need not begin at 0
SPEC = EnvironmentSpec("test", spaces.Discrete(S, start=FIRST_STATE), spaces.Discrete(A, start=FIRST_ACTION))
GAMMA = 0.9
UPDATE = jax.jit(lambda algorithm, *given: algorithm.update(*given)[:2])


@pytest.fixture
def precise():
    with jax.enable_x64(True):
        yield


def steps_of(seed, length=T):
    """Random steps ``[length, B]`` counted from 0."""
    random = np.random.default_rng(seed)

    def below(n):
        return random.integers(n, size=(length, B)).astype(np.int32)

    ended = random.random((2, length, B)) < 0.2
    return Step(below(S), below(A), random.normal(size=(length, B)), below(S), ended[0], ended[1] & ~ended[0], ())


def as_seen(steps):
    """The steps as the environment names its states and actions."""
    return steps._replace(
        observation=steps.observation + FIRST_STATE,
        action=steps.action + FIRST_ACTION,
        next_observation=steps.next_observation + FIRST_STATE,
    )


def in_order(steps):
    """``(s, a, r, s', terminated)`` one after the other."""
    for t in range(len(steps.reward)):
        for b in range(B):
            yield tuple(
                part[t, b].item()
                for part in (steps.observation, steps.action, steps.reward, steps.next_observation, steps.terminated)
            )


class Counted:
    """What was seen, as lists of outcomes: ``(r, s')``, where ``s'`` is None at the end of an episode."""

    def __init__(self):
        self.outcomes = {}

    def see(self, state, action, reward, next_state, terminated):
        self.outcomes.setdefault((state, action), []).append((reward, None if terminated else next_state))

    def backup(self, values, state, action):
        return np.mean(
            [
                reward + (0.0 if next_state is None else GAMMA * values[next_state].max())
                for reward, next_state in self.outcomes[state, action]
            ]
        )


def learned(method, batches):
    """The learner after several updates, and the keys that these were given."""
    learner, keys = method.init(jax.random.key(1), SPEC), list(jax.random.split(jax.random.key(2), len(batches)))
    for batch, key in zip(batches, keys, strict=True):
        learner, _ = UPDATE(method, learner, as_seen(batch), key)
    return learner, keys


def test_the_model_is_what_was_counted(precise):
    steps, model, counted = steps_of(0, 40), empty_model(S, A), Counted()
    for state, action, reward, next_state, terminated in in_order(steps):
        step = Step(*map(jnp.asarray, (state, action, reward, next_state, terminated, False)), ())
        model = seen(model, step)
        counted.see(state, action, reward, next_state, terminated)
    for (state, action), outcomes in counted.outcomes.items():
        ends = [S if next_state is None else next_state for _, next_state in outcomes]
        np.testing.assert_array_equal(model.outcomes[state, action], np.bincount(ends, minlength=S + 1))
        assert model.visits[state, action] == len(outcomes)
        assert model.rewards[state, action] == pytest.approx(sum(reward for reward, _ in outcomes), abs=1e-6)
    assert model.visits.sum() == 40 * B


@pytest.mark.parametrize("planning_steps", [0, 4])
def test_dyna_q(precise, planning_steps):
    method = DynaQ(planning_steps=planning_steps, learning_rate=0.3, gamma=GAMMA, initial_value=0.5)
    batches = [steps_of(seed) for seed in range(3)]
    learner, keys = learned(method, batches)

    values, counted, tried = np.full((S, A), 0.5), Counted(), []
    for batch, key in zip(batches, keys, strict=True):
        for (state, action, *rest), drawn in zip(in_order(batch), jax.random.split(key, T * B), strict=True):
            reward, next_state, terminated = rest
            future = 0.0 if terminated else GAMMA * values[next_state].max()
            values[state, action] += 0.3 * (reward + future - values[state, action])
            counted.see(state, action, *rest)
            if (state, action) not in tried:
                tried.append((state, action))
            for index in np.asarray(jax.random.randint(drawn, (planning_steps,), 0, jnp.int32(len(tried)))):
                pair = tried[index]
                values[pair] += 0.3 * (counted.backup(values, *pair) - values[pair])
    np.testing.assert_allclose(learner.table.values, values, rtol=1e-6, atol=1e-6)
    assert learner.n_tried == len(tried)


def test_every_pair_can_be_tried(precise):
    """All pairs, the last of them again and again: the list of those tried has no room for one more."""
    pairs = [(s, a) for s in range(S) for a in range(A)] + [(S - 1, A - 1)] * 3
    states, actions = (np.array(column, np.int32)[:, None] for column in zip(*pairs, strict=True))
    zeros = np.zeros(states.shape)
    steps = Step(states, actions, zeros + 1.0, states, zeros > 1, zeros > 1, ())
    learner = DynaQ().init(jax.random.key(0), SPEC)
    learner, _ = UPDATE(DynaQ(), learner, as_seen(steps), jax.random.key(1))
    assert learner.n_tried == S * A
    assert sorted(learner.tried.tolist()) == list(range(S * A))


@pytest.mark.parametrize("planning_steps", [1, 5])
def test_prioritized_sweeping(precise, planning_steps):
    method = PrioritizedSweeping(planning_steps=planning_steps, threshold=0.05, gamma=GAMMA)
    batches = [steps_of(seed) for seed in range(3)]
    learner, _ = learned(method, batches)

    values, counted, priority = np.zeros((S, A)), Counted(), np.zeros((S, A))
    for batch in batches:
        for state, action, *rest in in_order(batch):
            counted.see(state, action, *rest)
            error = abs(counted.backup(values, state, action) - values[state, action])
            if error > 0.05:
                priority[state, action] = max(priority[state, action], error)
            for _ in range(planning_steps):
                if priority.max() == 0:
                    break
                best = np.unravel_index(priority.argmax(), priority.shape)
                before = values[best[0]].max()
                values[best] = counted.backup(values, *best)
                priority[best] = 0
                change = abs(values[best[0]].max() - before)
                for pair, outcomes in counted.outcomes.items():
                    share = np.mean([next_state == best[0] for _, next_state in outcomes])
                    if GAMMA * share * change > 0.05:
                        priority[pair] = max(priority[pair], GAMMA * share * change)
    np.testing.assert_allclose(learner.table.values, values, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(learner.priority, priority, rtol=1e-6, atol=1e-6)


def test_adaptive_dp(precise):
    method = AdaptiveDP(sweeps=2, gamma=GAMMA, initial_value=-0.5)
    batches = [steps_of(seed) for seed in range(2)]
    learner, _ = learned(method, batches)

    values, counted = np.full((S, A), -0.5), Counted()
    for batch in batches:
        for state, action, *rest in in_order(batch):
            counted.see(state, action, *rest)
            for _ in range(2):
                old = values.copy()
                for pair in counted.outcomes:
                    values[pair] = counted.backup(old, *pair)
    np.testing.assert_allclose(learner.table.values, values, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "method",
    [PrioritizedSweeping(planning_steps=500, threshold=1e-6, gamma=0.9), AdaptiveDP(sweeps=5, gamma=0.9)],
    ids=["sweeping", "dp"],
)
def test_planning_comes_to_what_value_iteration_finds(method):
    """Every action of a slippery lake is seen as often as its outcomes are probable: the model is the lake itself, and
    its greedy policy is optimal in the lake."""
    lake = FrozenLake()
    states, actions, outcomes = lake.probability.shape
    times = np.rint(lake.probability * 3).astype(int)
    seen = [
        (s, a, k) for s in range(states) for a in range(actions) for k in range(outcomes) for _ in range(times[s, a, k])
    ]
    s, a, k = (np.array(column)[:, None] for column in zip(*seen, strict=True))
    order = np.random.default_rng(0).permutation(len(s))
    s, a, k = s[order], a[order], k[order]
    reward, terminated = lake.reward[s, a, k].astype(np.float32), lake.terminated[s, a, k]
    steps = Step(
        s.astype(np.int32), a.astype(np.int32), reward, lake.next_state[s, a, k], terminated, terminated & False, ()
    )
    spec = EnvironmentSpec("lake", lake.observation_space, lake.action_space)
    learner, _ = UPDATE(method, method.init(jax.random.key(0), spec), steps, jax.random.key(0))
    best = value_iteration(lake, method.gamma)
    alive = ~lake.terminated[np.arange(states), 0].all(axis=-1) | (best.values > 0)
    np.testing.assert_allclose(learner.table.values[alive], best.action_values[alive], atol=2e-3)
    greedy = policy_value(lake, np.asarray(learner.table.values).argmax(axis=1), method.gamma)
    assert greedy @ lake.initial == pytest.approx(best.values @ lake.initial, abs=1e-6)


@pytest.mark.parametrize("name", ["dyna-q", "prioritized-sweeping", "adaptive-dp"])
def test_environments_without_a_small_table_are_refused(name):
    with pytest.raises(TeguError, match=r"its model counts the outcomes of every action, at most 50,000,000 numbers"):
        algorithm(name, {}).validate(EnvironmentSpec("test", spaces.Discrete(10_000), spaces.Discrete(4)))
    with pytest.raises(TeguError, match="needs a Discrete observation space"):
        algorithm(name, {}).validate(EnvironmentSpec("test", spaces.Box(-1, 1, (2,)), spaces.Discrete(2)))
