"""Returns and advantages against their definitions, written out in NumPy float64."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tegu.core.step import Step
from tegu.returns import (
    bootstrapped_returns,
    discounted_sums,
    gae,
    lambda_returns,
    n_step,
    next_values,
    outcomes,
    td_target,
)

pytestmark = pytest.mark.usefixtures("x64")

T, B = 8, 2
GAE = jax.jit(gae)
BOOTSTRAPPED = jax.jit(bootstrapped_returns)
N_STEP = jax.jit(n_step)
OUTCOMES = jax.jit(outcomes)
CLOSE = {"rtol": 1e-10, "atol": 1e-10}

numbers = arrays(np.float64, (T, B), elements=st.floats(-10, 10, width=32))
shares = st.floats(0, 1)
flags = arrays(np.bool_, (T, B))
ends = st.tuples(flags, flags).map(lambda pair: (pair[0], pair[1] & ~pair[0]))  # an end is of one kind only
cases = st.tuples(numbers, numbers, numbers, ends).map(lambda case: (*case[:3], *case[3]))


def by_definition(rewards, values, next_values, terminated, truncated, gamma, gae_lambda):
    """A_t = sum over l of (gamma lambda)^l delta_{t+l}, up to and with the last step of t's episode."""
    advantages = np.zeros_like(rewards)
    for b in range(rewards.shape[1]):
        for t in range(len(rewards)):
            for k in range(t, len(rewards)):
                future = 0.0 if terminated[k, b] else gamma * next_values[k, b]
                delta = rewards[k, b] + future - values[k, b]
                advantages[t, b] += (gamma * gae_lambda) ** (k - t) * delta
                if terminated[k, b] or truncated[k, b]:
                    break
    return advantages


@settings(deadline=None, max_examples=200)
@given(cases, shares, shares)
def test_gae_is_its_definition(case, gamma, gae_lambda):
    np.testing.assert_allclose(GAE(*case, gamma, gae_lambda), by_definition(*case, gamma, gae_lambda), **CLOSE)


@settings(deadline=None, max_examples=100)
@given(cases, shares)
def test_bootstrapped_returns_are_their_definition(case, gamma):
    """The rewards up to the end of the episode, or up to where it is cut and then the next value there."""
    rewards, _, next_values, terminated, truncated = case
    expected = np.zeros_like(rewards)
    for t, b in np.ndindex(T, B):
        for k in range(t, T):
            expected[t, b] += gamma ** (k - t) * rewards[k, b]
            if terminated[k, b]:
                break
            if truncated[k, b] or k == T - 1:
                expected[t, b] += gamma ** (k - t + 1) * next_values[k, b]
                break
    found = BOOTSTRAPPED(rewards, next_values, terminated, truncated, gamma)
    np.testing.assert_allclose(found, expected, **CLOSE)


def test_gae_by_hand():
    """Deltas 1, 2, 4 in one episode with gamma lambda = 1/2: 1 + 2/2 + 4/4, 2 + 4/2, 4."""
    rewards, zeros, never = np.array([[1.0], [2.0], [4.0]]), np.zeros((3, 1)), np.zeros((3, 1), bool)
    np.testing.assert_allclose(gae(rewards, zeros, zeros, never, never, 0.5, 1.0).ravel(), [3, 4, 4], rtol=1e-15)


@settings(deadline=None, max_examples=50)
@given(cases, shares, shares)
def test_episodes_in_one_batch_are_as_good_as_alone(case, gamma, gae_lambda):
    """A batch with boundaries inside gives what its episodes give one by one."""
    together = np.asarray(GAE(*case, gamma, gae_lambda))
    for b in range(B):
        column = [part[:, b : b + 1] for part in case]
        cuts = np.flatnonzero((column[3] | column[4])[:, 0]) + 1
        pieces = [np.split(part, cuts) for part in column]
        alone = [GAE(*episode, gamma, gae_lambda) for episode in zip(*pieces, strict=True) if len(episode[0])]
        np.testing.assert_allclose(together[:, b : b + 1], np.concatenate(alone), **CLOSE)


@settings(deadline=None, max_examples=100)
@given(cases, shares, shares, st.integers(0, T - 1))
def test_truncation_is_worth_the_next_value_more_than_termination(case, gamma, gae_lambda, t):
    """At the step itself the two differ by exactly gamma V(next), before it in the episode by the decayed share."""
    *rest, terminated, truncated = case
    at = np.zeros((T, B), bool)
    at[t] = True
    clock = np.asarray(GAE(*rest, terminated & ~at, truncated | at, gamma, gae_lambda))
    death = np.asarray(GAE(*rest, terminated | at, truncated & ~at, gamma, gae_lambda))
    difference = clock - death
    np.testing.assert_allclose(difference[t], gamma * rest[2][t], **CLOSE)
    np.testing.assert_array_equal(difference[t + 1 :], 0)
    for b in range(B):
        for k in range(t):
            linked = not (terminated | truncated)[k:t, b].any()
            expected = (gamma * gae_lambda) ** (t - k) * gamma * rest[2][t, b] if linked else 0.0
            np.testing.assert_allclose(difference[k, b], expected, **CLOSE)


@settings(deadline=None, max_examples=100)
@given(cases, shares)
def test_lambda_0_is_the_td_residual(case, gamma):
    rewards, values, next_values, terminated, _ = case
    residual = rewards + gamma * next_values * ~terminated - values
    np.testing.assert_allclose(GAE(*case, gamma, 0.0), residual, **CLOSE)
    np.testing.assert_allclose(td_target(rewards, next_values, terminated, gamma), residual + values, **CLOSE)


@settings(deadline=None, max_examples=100)
@given(cases, shares)
def test_lambda_1_is_the_monte_carlo_return_minus_the_value(case, gamma):
    """Where each next value is the value of the next step, as within an episode of one policy's values."""
    rewards, values, next_values, terminated, truncated = case
    done = terminated | truncated
    next_values = np.where(done, next_values, np.concatenate([values[1:], next_values[-1:]]))
    expected = np.zeros((T, B))
    for b in range(B):
        for t in range(T):
            discount = 1.0
            for k in range(t, T):
                expected[t, b] += discount * rewards[k, b]
                discount *= gamma
                if done[k, b] or k == T - 1:
                    expected[t, b] += 0.0 if terminated[k, b] else discount * next_values[k, b]
                    break
    advantages = GAE(rewards, values, next_values, terminated, truncated, gamma, 1.0)
    np.testing.assert_allclose(advantages, expected - values, **CLOSE)


@settings(deadline=None, max_examples=100)
@given(cases, cases, shares, shares, st.integers(0, T - 1), st.booleans())
def test_what_follows_a_boundary_changes_nothing_before_it(case, other, gamma, gae_lambda, t, dies):
    *_, terminated, truncated = case
    terminated[t], truncated[t] = dies, not dies
    changed = [np.concatenate([mine[: t + 1], theirs[t + 1 :]]) for mine, theirs in zip(case, other, strict=True)]
    before, after = GAE(*case, gamma, gae_lambda), GAE(*changed, gamma, gae_lambda)
    np.testing.assert_array_equal(before[: t + 1], after[: t + 1])


@settings(deadline=None, max_examples=50)
@given(cases, shares, shares)
def test_gae_is_linear_in_rewards_and_values(case, gamma, gae_lambda):
    scaled = GAE(*(3 * part for part in case[:3]), *case[3:], gamma, gae_lambda)
    np.testing.assert_allclose(scaled, 3 * GAE(*case, gamma, gae_lambda), **CLOSE)


def test_nothing_leaks_from_behind_a_termination():
    """Not even a NaN: the value of what no longer exists is never multiplied, it is left out."""
    rewards, values, terminated = np.ones((3, 1)), np.zeros((3, 1)), np.array([[False], [True], [False]])
    next_values = np.array([[0.0], [np.nan], [0.0]])
    advantages = gae(rewards, values, next_values, terminated, np.zeros_like(terminated), 0.9, 0.9)
    np.testing.assert_allclose(advantages.ravel(), [1 + 0.81, 1, 1], rtol=1e-12)
    assert td_target(np.ones(1), np.full(1, np.nan), np.ones(1, bool), 0.9) == 1


@settings(deadline=None, max_examples=100)
@given(numbers, flags, shares)
def test_discounted_sums_are_sums_over_each_episode_so_far(rewards, done, gamma):
    """What began before the rollout counts from its first step on."""
    expected = np.zeros((T, B))
    for b in range(B):
        for t in range(T):
            first = max([k + 1 for k in range(t) if done[k, b]], default=0)
            expected[t, b] = sum(gamma ** (t - k) * rewards[k, b] for k in range(first, t + 1))
    np.testing.assert_allclose(jax.jit(discounted_sums)(rewards, done, gamma), expected, **CLOSE)


def test_discounted_sums_know_nothing_of_other_rollouts():
    """From the end of an episode on, a rollout's second half is what it would be alone."""
    rng = np.random.default_rng(0)
    rewards, done = rng.normal(size=(T, B)), rng.random((T, B)) < 0.3
    done[T // 2 - 1] = True
    whole = discounted_sums(rewards, done, 0.9)
    halves = [discounted_sums(rewards[part], done[part], 0.9) for part in (slice(T // 2), slice(T // 2, None))]
    np.testing.assert_allclose(np.concatenate(halves), whole, rtol=1e-12)


# n-step returns


def window(rewards, terminated, truncated):
    """Steps whose observations say which they are: step t of environment b sees t, b and then t + 1, b."""
    seen = np.stack(np.broadcast_arrays(np.arange(len(rewards))[:, None], np.arange(B)), -1)
    return Step({"at": seen}, 10 * seen[..., 0], rewards, {"at": seen + np.array([1, 0])}, terminated, truncated)


windows = st.integers(1, T).flatmap(lambda n: cases.map(lambda case: window(case[0][:n], case[3][:n], case[4][:n])))


def long_steps(steps, gamma):
    """The rewards up to the end of the window or the episode, discounted, and the index of the last of them."""
    total, last = np.zeros(B), np.zeros(B, int)
    for b in range(B):
        for k in range(len(steps.reward)):
            total[b] += gamma**k * steps.reward[k, b]
            last[b] = k
            if steps.terminated[k, b] or steps.truncated[k, b]:
                break
    return total, last


@settings(deadline=None, max_examples=200)
@given(windows, shares)
def test_n_steps_are_one_long_step(steps, gamma):
    """Its reward, where it begins and ends, how it ends, and the discount of what follows it."""
    total, last = long_steps(steps, gamma)
    long, discount = N_STEP(steps, gamma)
    at = last, np.arange(B)
    np.testing.assert_allclose(long.reward, total, **CLOSE)
    np.testing.assert_allclose(discount, gamma ** (last + 1.0), **CLOSE)
    np.testing.assert_array_equal(long.observation["at"], steps.observation["at"][0])
    np.testing.assert_array_equal(long.action, steps.action[0])
    np.testing.assert_array_equal(long.next_observation["at"], steps.next_observation["at"][at])
    np.testing.assert_array_equal(long.terminated, steps.terminated[at])
    np.testing.assert_array_equal(long.truncated, steps.truncated[at])


@pytest.mark.parametrize("ends", [None, "terminated", "truncated"])
def test_the_n_step_target_by_hand(ends):
    """Rewards 1, 2, 4 with gamma = 1/2 and a future worth 8: 1 + 2/2 + 4/4 + 8/8; if the second step is the last,
    1 + 2/2 and 8/4 more unless it terminates."""
    none, second = np.zeros((3, B), bool), np.array([[False] * B, [True] * B, [False] * B])
    flags = [second if ends == kind else none for kind in ("terminated", "truncated")]
    long, discount = n_step(window(np.array([[1.0] * B, [2.0] * B, [4.0] * B]), *flags), 0.5)
    target = td_target(long.reward, np.full(B, 8.0), long.terminated, discount)
    np.testing.assert_allclose(target, {None: 4, "terminated": 2, "truncated": 4}[ends], rtol=1e-15)


@settings(deadline=None, max_examples=50)
@given(windows, shares)
def test_what_follows_the_end_of_an_episode_is_no_part_of_its_long_step(steps, gamma):
    """The next episode may pay what it likes."""
    _, last = long_steps(steps, gamma)
    follows = np.arange(len(steps.reward))[:, None] > last
    rich = steps._replace(reward=np.where(follows, 1e6, steps.reward))
    jax.tree.map(np.testing.assert_array_equal, N_STEP(rich, gamma), N_STEP(steps, gamma))


# Games of two players


@settings(deadline=None, max_examples=200)
@given(cases)
def test_outcomes_are_how_each_game_ended_seen_from_alternating_sides(case):
    """At the end the mover's reward, or what the last known position is worth; the sign turns with every move."""
    reward, value, _, terminated, truncated = case
    reward = np.where(terminated, reward, 0.0)  # games pay at the end
    expected = np.zeros((T, B))
    for b in range(B):
        for t in range(T):
            end = next((k for k in range(t, T) if terminated[k, b] or truncated[k, b]), T - 1)
            worth = reward[end, b] if terminated[end, b] else value[end, b]
            expected[t, b] = (-1) ** (end - t) * worth
    np.testing.assert_allclose(OUTCOMES(reward, terminated, truncated, value), expected, **CLOSE)


def test_outcomes_by_hand():
    """A game that the first player wins with the third move, and one that is cut when its mover stands at 0.4."""
    reward, value = np.array([[0, 0, 1, 0, 0], [9, 9, 9, 9, 0.4]])[..., None]
    terminated, truncated = np.array([[0, 0, 1, 0, 0], [0, 0, 0, 0, 1]], bool)[..., None]
    np.testing.assert_allclose(outcomes(reward, terminated, truncated, value).ravel(), [1, -1, 1, -0.4, 0.4])


class Seen:
    """A value function that counts the observations it is asked about."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, observation: jax.Array) -> jax.Array:
        jax.debug.callback(lambda n: setattr(self, "asked", self.asked + int(n)), np.prod(observation.shape[:-1]))
        return (observation**2).sum(axis=-1)


@pytest.mark.parametrize("truncations", [0, 1, 3, 17, 40])
def test_next_values_are_those_of_the_true_next_observations(truncations: int) -> None:
    """At every step that is not terminated; few are computed where few are truncated."""
    rng = np.random.default_rng(truncations)
    steps, n_envs = 20, 3
    observation, true_next = rng.normal(size=(2, steps, n_envs, 2)).astype(np.float32)
    ended = rng.permutation(steps * n_envs).reshape(steps, n_envs)
    truncated, terminated = ended < truncations, (ended >= truncations) & (ended < truncations + 5)
    goes_on = ~(truncated | terminated)[:-1]
    true_next[:-1][goes_on] = observation[1:][goes_on]

    value = Seen()
    found = jax.jit(lambda *given: next_values(value, *given))(true_next, (observation**2).sum(-1), truncated)
    expected = (true_next**2).sum(axis=-1)
    np.testing.assert_allclose(np.asarray(found)[~terminated], expected[~terminated], rtol=1e-6)
    jax.effects_barrier()
    inside = int(truncated[:-1].sum())
    assert value.asked == n_envs + -(-inside // n_envs) * n_envs


@settings(max_examples=20, deadline=None)
@given(numbers, numbers, arrays(np.float64, (T, B), elements=shares), shares)
def test_lambda_returns_mix_returns_of_all_lengths(rewards, values, discounts, lambda_) -> None:
    last = np.array([3.0, -1.0])
    found = jax.jit(lambda_returns)(rewards, discounts, values, lambda_, last)
    for t in range(T):
        total, worth = np.zeros(B), np.ones(B)
        for k in range(t, T):
            total, worth = total + worth * rewards[k], worth * discounts[k]
            total, worth = total + worth * (1 - lambda_) * values[k], worth * lambda_
        np.testing.assert_allclose(found[t], total + worth * last, **CLOSE)
