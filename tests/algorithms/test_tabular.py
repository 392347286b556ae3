"""Sarsa, Double Q-learning, Q(lambda) and Monte Carlo control against their definitions in NumPy float64."""

from functools import partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import tegu
from tegu.algorithms.double_q_learning import DoubleQLearning
from tegu.algorithms.monte_carlo import MonteCarlo, first_visits
from tegu.algorithms.q_lambda import QLambda
from tegu.algorithms.registry import algorithm
from tegu.algorithms.sarsa import Sarsa
from tegu.core.errors import TeguError
from tegu.core.schedule import Clock
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Step
from tegu.training.fused import Fused
from tegu.training.plan import spec_of

S, A, T, B = 3, 2, 5, 2
FIRST_STATE, FIRST_ACTION = 4, -1  # spaces need not begin at 0
SPEC = EnvironmentSpec("test", spaces.Discrete(S, start=FIRST_STATE), spaces.Discrete(A, start=FIRST_ACTION))
EPSILON = 0.25  # exact in float32
KEY = jax.random.key(0)
CLOSE = {"rtol": 1e-9, "atol": 1e-9}
NAMES = ["sarsa", "n-step-sarsa", "expected-sarsa", "double-q-learning", "q-lambda", "monte-carlo"]

now = partial(jax.jit, static_argnames="explore")
UPDATE = jax.jit(lambda algorithm, learner, batch, key: algorithm.update(learner, batch, key)[:2])
ACT = now(lambda algorithm, *given, explore: algorithm.act(*given, explore=explore))

shares = st.floats(0, 1)
tables = arrays(np.float64, (S, A), elements=st.floats(-5, 5, width=32))


@st.composite
def rollouts(draw, extras=()):
    """``T`` steps of ``B`` environments, states and actions counted from 0; extras of a shape, from 0 to 1."""

    def of(dtype, elements, shape=()):
        return draw(arrays(dtype, (T, B, *shape), elements=elements))

    terminated = of(bool, st.booleans())
    return Step(
        of(np.int32, st.integers(0, S - 1)),
        of(np.int32, st.integers(0, A - 1)),
        of(np.float64, st.floats(-10, 10, width=32)),
        of(np.int32, st.integers(0, S - 1)),
        terminated,
        of(bool, st.booleans()) & ~terminated,
        of(np.float64, st.floats(0, 1, allow_subnormal=False), extras),  # XLA takes those for 0, and a tie
    )


def as_seen(steps):
    """The steps as the environment names its states and actions."""
    return steps._replace(
        observation=steps.observation + FIRST_STATE,
        action=steps.action + FIRST_ACTION,
        next_observation=steps.next_observation + FIRST_STATE,
    )


def with_values(learner, values):
    """A learner whose table holds ``values``."""
    where = learner._fields[0]
    return learner._replace(**{where: type(learner[0])(jnp.asarray(values), learner[0].spaces)})


def in_mean(values):
    """The value of a state under the epsilon-greedy policy."""
    return EPSILON * np.mean(values) + (1 - EPSILON) * np.max(values)


def chosen(noise, values):
    """The epsilon-greedy action: its first number says whether it is random, the greatest of the others which."""
    return np.argmax(noise[1:] if noise[0] < EPSILON else values)


def return_of(steps, t, b, gamma, worth):
    """The rewards from ``t`` on to the end of the episode, or as far as they are known: then the next state is
    ``worth`` so much, ``[T, B]``."""
    total = 0.0
    for k in range(t, T):
        total += gamma ** (k - t) * steps.reward[k, b]
        if steps.terminated[k, b]:
            return total
        if steps.truncated[k, b] or k == T - 1:
            return total + gamma ** (k + 1 - t) * worth[k, b]
    raise AssertionError


def now_with(algorithm):
    """With a number for epsilon, as ``at`` gives one."""
    return algorithm.at(Clock.of(1, 1))


def exploring(cls, **settings):
    return now_with(cls(**settings, exploration_initial_eps=EPSILON, exploration_final_eps=EPSILON))


@pytest.mark.usefixtures("x64")
class TestUpdates:
    @pytest.mark.parametrize("expected", [False, True])
    @settings(deadline=None, max_examples=50)
    @given(rollouts((A + 1,)), tables, shares, shares)
    def test_sarsa(self, expected, steps, before, learning_rate, gamma):
        """Returns from the old table as far as the rollout goes, then the steps in order of time."""
        algorithm = exploring(Sarsa, n_steps=T, expected=expected, learning_rate=learning_rate, gamma=gamma)
        learner = with_values(algorithm.init(KEY, SPEC), before)
        learner, metrics = UPDATE(algorithm, learner, as_seen(steps), KEY)

        worth = np.zeros((T, B))
        for t, b in np.ndindex(T, B):
            values = before[steps.next_observation[t, b]]
            worth[t, b] = in_mean(values) if expected else values[chosen(steps.extras[t, b], values)]
        table, errors = before.copy(), []
        for t, b in np.ndindex(T, B):
            pair = steps.observation[t, b], steps.action[t, b]
            errors.append(return_of(steps, t, b, gamma, worth) - table[pair])
            table[pair] += learning_rate * errors[-1]
        np.testing.assert_allclose(learner.table.values, table, **CLOSE)
        np.testing.assert_allclose(metrics["td_error"], np.abs(errors).mean(), **CLOSE)

    @settings(deadline=None, max_examples=50)
    @given(rollouts(), shares, shares, st.integers(0, 1000))
    def test_double_q_learning(self, steps, learning_rate, gamma, seed):
        """Three steps in order: there are coins for which the plain loop comes to the same tables."""
        before = np.random.default_rng(seed).normal(size=(2, S, A))  # without ties, which rounding would decide
        steps = jax.tree.map(lambda leaf: leaf[:3, :1], steps)
        algorithm = exploring(DoubleQLearning, learning_rate=learning_rate, gamma=gamma)
        learner = with_values(algorithm.init(KEY, SPEC), before)
        learner, metrics = UPDATE(algorithm, learner, as_seen(steps), jax.random.key(seed))
        found = []
        for coins in product((0, 1), repeat=3):
            table, errors = before.copy(), []
            for t, one in enumerate(coins):
                s, a, s_next = (leaf[t, 0] for leaf in (steps.observation, steps.action, steps.next_observation))
                future = table[1 - one, s_next, np.argmax(table[one, s_next])]
                target = steps.reward[t, 0] + gamma * future * (not steps.terminated[t, 0])
                errors.append(target - table[one, s, a])
                table[one, s, a] += learning_rate * errors[-1]
            same = np.allclose(learner.tables.values, table, **CLOSE)
            found.append(same and np.isclose(metrics["td_error"], np.abs(errors).mean(), **CLOSE))
        assert any(found)

    @pytest.mark.parametrize("accumulating", [False, True])
    def test_q_lambda(self, accumulating):
        """Two environments side by side through many episodes; every step is the box's, with traces by hand."""
        settings = {"learning_rate": 0.3, "gamma": 0.9, "trace_decay": 0.8, "accumulating": accumulating}
        algorithm, random = exploring(QLambda, **settings), np.random.default_rng(1)
        learner = algorithm.init(KEY, SPEC)
        table, traces, cut = np.zeros((S, A)), np.zeros((B, S, A)), 0
        memory = algorithm.begin(learner, KEY, B)
        for t in range(80):
            state, next_state = random.integers(0, S, (2, B))
            reward, ends = random.normal(size=B), random.integers(0, 8, B)  # 0 terminates, 1 truncates
            given = learner, state + FIRST_STATE, memory, jax.random.key(t)
            decision = ACT(algorithm, *given, explore=True)
            action = np.asarray(decision.action) - FIRST_ACTION
            for b in range(B):
                greedy = np.isclose(table[state[b], action[b]], table[state[b]].max(), rtol=1e-12, atol=1e-12)
                cut += not greedy
                traces[b] *= 0.9 * 0.8 * greedy
                traces[b, state[b], action[b]] = 1 + accumulating * traces[b, state[b], action[b]]
            np.testing.assert_allclose(decision.extras, traces, **CLOSE)
            for b in range(B):
                future = 0.9 * table[next_state[b]].max() * (ends[b] != 0)
                table += 0.3 * (reward[b] + future - table[state[b], action[b]]) * traces[b]
            steps = Step(state, action, reward, next_state, ends == 0, ends == 1, decision.extras)
            batch = as_seen(jax.tree.map(lambda leaf: leaf[None], steps))
            learner, _ = UPDATE(algorithm, learner, batch, KEY)
            np.testing.assert_allclose(learner.table.values, table, **CLOSE)
            over = (ends < 2)[:, None, None]  # the loop begins a memory anew with every episode
            traces, memory = np.where(over, 0, traces), jnp.where(over, 0, decision.memory)
        assert 10 < cut < 70

    @pytest.mark.slow
    @settings(deadline=None, max_examples=50)
    @given(rollouts(), rollouts(), st.sampled_from([0.0, 0.4]), shares)
    def test_monte_carlo(self, one, other, learning_rate, gamma):
        """After two rollouts each value is the average of all returns of first visits; or newer ones count for more."""
        algorithm = exploring(MonteCarlo, n_steps=T, learning_rate=learning_rate, gamma=gamma)
        learner = algorithm.init(KEY, SPEC)
        returns = {}
        for steps in (one, other):
            worth = np.apply_along_axis(in_mean, 1, learner.table.values)[steps.next_observation]
            learner, _ = UPDATE(algorithm, learner, as_seen(steps), KEY)
            seen = [set() for _ in range(B)]
            for t, b in np.ndindex(T, B):
                pair = int(steps.observation[t, b]), int(steps.action[t, b])
                if pair not in seen[b]:
                    seen[b].add(pair)
                    returns.setdefault(pair, []).append(return_of(steps, t, b, gamma, worth))
                if steps.terminated[t, b] or steps.truncated[t, b]:
                    seen[b].clear()
        for pair in np.ndindex(S, A):
            value, known = 0.0, returns.get(pair, [])
            assert learner.visits[pair] == len(known)
            for count, each in enumerate(known, 1):
                value += max(1 / count, learning_rate) * (each - value)
            np.testing.assert_allclose(learner.table.values[pair], value, **CLOSE)
            if known and not learning_rate:
                np.testing.assert_allclose(value, np.mean(known), **CLOSE)


def test_each_table_of_double_q_learning_learns_about_half_the_steps():
    """One pair that pays 1 for 400 steps: after n steps a table holds 1 - (1 - alpha)^n, both together know of 400."""
    algorithm = DoubleQLearning(learning_rate=0.01, gamma=0.0)
    paid = Step(
        *(np.full((400, 1), value) for value in (FIRST_STATE, FIRST_ACTION, np.float32(1), FIRST_STATE)),
        *[np.zeros((400, 1), bool)] * 2,
    )
    learner, _ = UPDATE(algorithm, algorithm.init(KEY, SPEC), paid, KEY)
    counts = np.log(1 - np.asarray(learner.tables.values)[:, 0, 0]) / np.log(1 - 0.01)
    assert counts.sum() == pytest.approx(400, abs=0.1)
    assert counts.min() > 160  # 4 standard deviations below 200


def test_double_q_learning_acts_by_the_sum_of_both_tables():
    algorithm = DoubleQLearning()
    learner = with_values(algorithm.init(KEY, SPEC), [[[3.0, 0], [0, 1], [0, 0]], [[0, 2.0], [0, 1], [1, 0]]])
    action = ACT(algorithm, learner, FIRST_STATE + jnp.arange(S), (), KEY, explore=False).action
    np.testing.assert_array_equal(action - FIRST_ACTION, [0, 1, 0])


def test_first_visits_are_counted_by_episode():
    """Pairs a b a | a b | of one environment, and a a a a a of another, which is never cut."""
    state = np.array([[0, 0], [1, 0], [0, 0], [0, 0], [1, 0]])
    ended = np.array([[0, 0], [0, 0], [1, 0], [0, 0], [1, 0]], bool)
    steps = Step(state, np.zeros_like(state), None, None, ended, np.zeros_like(ended))
    np.testing.assert_array_equal(first_visits(steps, (S, A)).T, [[1, 1, 0, 1, 1], [1, 0, 0, 0, 0]])


@pytest.mark.slow
def test_sarsa_learns_from_the_action_that_is_taken_next():
    """But where the update itself changes what is greedy there, or a new episode begins."""
    cliff = tegu.make("CliffWalking-v1")
    sarsa = Sarsa(exploration_initial_eps=EPSILON, exploration_final_eps=0.0, exploration_fraction=1.0)
    loop = Fused(sarsa, cliff, spec_of(cliff.id, cliff, 1))
    iterate = jax.jit(partial(loop.iteration, learns=True))
    state, intended, explored, compared = loop.init(jnp.int32(3), sarsa), None, 0, 0
    for t in range(400):
        before = np.asarray(state.learner.table.values)
        state, _, (steps, _, _) = iterate(state, sarsa, Clock.of(t, 400), Clock.of(t + 1, 400))
        here, there = int(steps.observation[0, 0]), int(steps.next_observation[0, 0])
        if intended is not None:
            compared += 1
            assert steps.action[0, 0] == intended
        noise, values = np.asarray(steps.extras[0, 0]), before[there]
        random = noise[0] < np.float32(EPSILON * (1 - (t + 1) / 400))
        explored += random
        over = steps.terminated[0, 0] or (here == there and not random)
        intended = None if over else np.argmax(noise[1:] if random else values)
    assert compared > 200
    assert explored > 30


def test_n_step_sarsa_of_one_step_is_sarsa_and_names_are_variants():
    assert algorithm("n-step-sarsa", {"n_steps": 1}).experience == algorithm("sarsa", {}).experience
    assert algorithm("expected-sarsa", {}).expected
    assert algorithm("n-step-sarsa", {}).n_steps > 1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("observation", "action"),
    [(spaces.Box(-1, 1, (2,)), spaces.Discrete(2)), (spaces.Discrete(2), spaces.MultiDiscrete([2, 2]))],
)
def test_spaces_without_a_table_are_refused(name, observation, action):
    with pytest.raises(TeguError, match=r"^[\w() -]+ needs a Discrete (observation|action) space, the environment has"):
        algorithm(name, {}).validate(EnvironmentSpec("test", observation, action))


@pytest.mark.parametrize(
    ("name", "given", "says"),
    [
        ("sarsa", {"n_steps": 0}, "Sarsa: n_steps must be at least 1, got 0"),
        ("q-lambda", {"trace_decay": 1.5}, "QLambda: trace_decay must be from 0 to 1, got 1.5"),
        ("monte-carlo", {"learning_rate": -1}, "MonteCarlo: learning_rate must be at least 0, got -1"),
        ("double-q-learning", {"gamma": 2}, "DoubleQLearning: gamma must be from 0 to 1, got 2"),
    ],
)
def test_values_out_of_range_are_refused(name, given, says):
    with pytest.raises(TeguError, match=says):
        algorithm(name, given)
