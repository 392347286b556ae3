"""R2D2 against plain loops in NumPy float64."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

import tegu
from tegu.algorithms.r2d2 import R2D2
from tegu.core.schedule import Clock
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Step
from tegu.experience.base import Batch
from tegu.nn.recurrent import LSTMState, Observed
from tegu.returns import rescaled, unscaled

KEY = jax.random.key(0)
BURN_IN, LENGTH, N, B, A, START, WIDTH = 2, 3, 2, 4, 3, 1, 4
T = BURN_IN + LENGTH + N - 1
SPEC = EnvironmentSpec(
    "test",
    spaces.Dict({"x": spaces.Box(-9, 9, (2,)), "action_mask": spaces.MultiBinary(A)}),
    spaces.Discrete(A, start=START),
    n_envs=2,
)
ALGORITHM = R2D2(
    burn_in=BURN_IN,
    sequence_length=LENGTH,
    n_steps=N,
    batch_size=B,
    gamma=0.9,
    net_arch=(3,),
    lstm_hidden_size=WIDTH,
    activation="tanh",
    learning_rate=1e-2,
).at(Clock(0, 1000))
UPDATE = jax.jit(lambda learner, batch: ALGORITHM.update(learner, batch, KEY))
VALUES = jax.jit(lambda network, steps: ALGORITHM.values(network, steps))

exact = pytest.mark.usefixtures("x64")


def observations(rng):
    mask = rng.random((T, B, A)) < 0.6
    mask[..., 0] |= ~mask.any(-1)
    return {"x": rng.normal(size=(T, B, 2)), "action_mask": mask.astype(np.int8)}


def sequences(seed=0):
    """With ends of both kinds in the burn-in and after it."""
    rng = np.random.default_rng(seed)
    ends = rng.integers(4, size=(T, B))
    assert (ends[:BURN_IN] < 2).any()
    assert {0, 1, 2} <= set(ends[BURN_IN:].ravel())
    actions = rng.integers(START, START + A, (T, B)).astype(np.int32)
    stored = LSTMState(*rng.normal(size=(2, T, B, WIDTH)))
    seen, following = observations(rng), observations(rng)
    return Step(seen, actions, rng.normal(size=(T, B)) * 3, following, ends == 0, ends == 1, stored)


def learner_of():
    """One whose target network is not its online network."""
    return ALGORITHM.init(KEY, SPEC)._replace(target=ALGORITHM.init(jax.random.key(1), SPEC).online)


def by_hand(network, steps):
    """Values of observations and next observations, step by step from the stored state."""
    values, next_values = np.zeros((2, T, B, A))
    for b in range(B):
        state = LSTMState(steps.extras.hidden[0, b], steps.extras.cell[0, b])
        for t in range(T):
            if t and (steps.terminated | steps.truncated)[t - 1, b]:
                state = LSTMState(np.zeros(WIDTH), np.zeros(WIDTH))
            seen = {"x": steps.observation["x"][t, b], "action_mask": steps.observation["action_mask"][t, b]}
            later = {"x": steps.next_observation["x"][t, b], "action_mask": np.ones(A, np.int8)}
            values[t, b], state = network(seen, state)
            next_values[t, b] = network(later, state)[0]
    return values, next_values


def targets(learner, steps):
    """n rewards of the episode, then the target network's value of what the online network would do."""
    online, target = (by_hand(network, steps)[1] for network in (learner.online, learner.target))
    found = np.zeros((LENGTH, B))
    for b in range(B):
        for i in range(LENGTH):
            total, discount = 0.0, 1.0
            for t in range(BURN_IN + i, BURN_IN + i + N):
                total, discount = total + discount * steps.reward[t, b], discount * 0.9
                if steps.terminated[t, b] or steps.truncated[t, b]:
                    break
            legal = steps.next_observation["action_mask"][t, b].astype(bool)
            best = np.where(legal, online[t, b], -np.inf).argmax()
            if not steps.terminated[t, b]:
                total += discount * float(unscaled(target[t, b, best]))
            found[i, b] = np.sign(total) * (np.sqrt(abs(total) + 1) - 1) + 1e-3 * total
    return found


@exact
def test_scaling_has_its_inverse():
    x = np.concatenate([-np.logspace(-3, 5, 50), [0], np.logspace(-3, 5, 50)])
    np.testing.assert_allclose(unscaled(rescaled(x)), x, rtol=1e-7, atol=1e-9)
    small = np.concatenate([-np.logspace(-6, 3, 30), np.logspace(-6, 3, 30)]).astype(np.float32)
    expected = np.sign(small) * (((np.sqrt(1 + 4e-3 * (np.abs(small.astype(np.float64)) + 1.001)) - 1) / 2e-3) ** 2 - 1)
    found = unscaled(jnp.asarray(small))
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-15)
    np.testing.assert_allclose(rescaled(jnp.array([3.0, -3.0])), [1.003, -1.003], rtol=1e-12)


@pytest.mark.slow
@exact
def test_an_update_is_numpys(numerics):
    """Values, double Q-learning's targets over n steps, weighted squared error, the gradient and the priorities.

    The gradient is that by finite differences where the state after the burn-in does not move.
    """
    learner, steps = learner_of(), sequences()
    values, _ = by_hand(learner.online, steps)
    np.testing.assert_allclose(VALUES(learner.online, steps)[0], values, rtol=1e-8, atol=1e-10)
    target, weight = targets(learner, steps), np.array([0.2, 1.0, 0.5, 0.7])
    learned = slice(BURN_IN, BURN_IN + LENGTH)
    chosen = steps.action[learned][..., None] - START

    fixed = jax.jit(lambda state, network: network.unroll(_observed(steps, BURN_IN), state)[0][0])
    start = _after_burn_in(learner.online, steps)

    def loss(network):
        value = np.take_along_axis(np.asarray(fixed(start, network))[:LENGTH], chosen, 2)[..., 0]
        return (weight * 0.5 * (target - value) ** 2).mean()

    gradient = numerics.gradient(loss, learner.online)
    expected = numerics.Adam(40.0, 1e-3).step(learner.online, gradient, 1e-2)
    after, metrics, feedback = UPDATE(learner, Batch(steps, jnp.asarray(weight)))
    np.testing.assert_allclose(metrics["loss"], loss(learner.online), rtol=1e-7)
    np.testing.assert_allclose(numerics.flat(after.online), numerics.flat(expected), rtol=1e-5, atol=1e-7)
    taken = np.take_along_axis(values[learned], chosen, 2)[..., 0]
    for name, figure in numerics.value_metrics(taken, target, gradient).items():
        np.testing.assert_allclose(metrics[name], figure, rtol=1e-5, err_msg=name)
    errors = abs(target - taken)
    np.testing.assert_allclose(feedback.priority, 0.9 * errors.max(0) + 0.1 * errors.mean(0), rtol=1e-7)


def _observed(steps, first):
    ended = steps.terminated | steps.truncated
    begins = np.concatenate([np.zeros((1, B), bool), ended[:-1]])
    return jax.tree.map(lambda leaf: leaf[first:], Observed(steps.observation, steps.next_observation, begins))


def _after_burn_in(network, steps):
    sequence = jax.tree.map(lambda leaf: leaf[:BURN_IN], _observed(steps, 0))
    return network.unroll(sequence, jax.tree.map(lambda leaf: leaf[0], steps.extras))[1]


@exact
def test_without_a_burn_in_the_stored_state_is_where_learning_begins():
    learner, steps = learner_of(), sequences()
    algorithm = dataclasses.replace(ALGORITHM, burn_in=0)
    values, next_values = by_hand(learner.online, steps)
    found = jax.jit(lambda network, steps: algorithm.values(network, steps))(learner.online, steps)
    np.testing.assert_allclose(found[0], values, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(found[1], next_values, rtol=1e-8, atol=1e-10)


@pytest.mark.slow
def test_the_state_before_a_step_is_stored_with_it():
    learner, rng = learner_of(), np.random.default_rng(0)
    seen = {"x": rng.normal(size=(5, 2)), "action_mask": np.array([[0, 1, 0]] * 5, np.int8)}
    memory = ALGORITHM.begin(learner, KEY, 5)
    first = ALGORITHM.act(learner, seen, memory, KEY, explore=True)
    np.testing.assert_array_equal(first.extras.cell, memory.cell)
    second = ALGORITHM.act(learner, seen, first.memory, KEY, explore=False)
    np.testing.assert_array_equal(second.extras.cell, first.memory.cell)
    assert np.abs(second.memory.cell - first.memory.cell).max() > 0
    assert (first.action == START + 1).all()
    assert (second.action == START + 1).all()


def test_a_dueling_network_has_values_and_advantages_after_the_lstm():
    network, rng = dataclasses.replace(ALGORITHM, dueling=True).init(KEY, SPEC).online, np.random.default_rng(0)
    seen = {"x": rng.normal(size=(B, 2)), "action_mask": np.ones((B, A), np.int8)}
    state = network.lstm.start(B)
    values, after = network(seen, state)
    value, advantage = network.head.value(after.hidden), network.head.advantage(after.hidden)
    expected = value + advantage - advantage.mean(axis=-1, keepdims=True)
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)
    assert network.head.value.weights[0].shape == network.head.advantage.weights[0].shape == (WIDTH, WIDTH)
    np.testing.assert_allclose(
        network.hidden(seen, state)[:, :WIDTH], network.head.value.hidden(after.hidden), rtol=1e-5
    )


@pytest.mark.slow
def test_a_dueling_network_learns_from_sequences():
    algorithm = dataclasses.replace(ALGORITHM, dueling=True)
    learner = algorithm.init(KEY, SPEC)
    steps = jax.tree.map(lambda leaf: leaf.astype(np.float32) if leaf.dtype == np.float64 else leaf, sequences())
    values, next_values = by_hand(learner.online, steps)
    found = jax.jit(lambda *given: algorithm.values(*given))(learner.online, steps)
    np.testing.assert_allclose(found[0], values, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[1], next_values, rtol=1e-4, atol=1e-5)
    after = jax.jit(lambda *given: algorithm.update(*given, KEY).learner)(learner, Batch(steps, jnp.ones(B)))
    moved = jax.tree.map(lambda new, old: np.abs(new - old).max(), after.online.head, learner.online.head)
    assert min(jax.tree.leaves(moved)) > 0


def test_what_does_not_fit_is_said():
    with pytest.raises(tegu.TeguError, match="R2D2: net_arch must have a layer before the LSTM"):
        R2D2(net_arch=()).validate(SPEC)


# A turn at the junction is worth 4 or -0.1: 1.95 without a memory.
@pytest.mark.long
@pytest.mark.timeout(600)
def test_it_remembers_the_way():
    agent = tegu.train("TMaze-v0", "r2d2", seeds=3, folder=None, steps=60_000)
    assert np.median(agent.evaluate(100).returns.mean(axis=-1)) > 3.5


@pytest.mark.long
def test_without_a_memory_there_is_no_way_to_know():
    agent = tegu.train("TMaze-v0", "dqn", seeds=3, folder=None, steps=30_000)
    assert np.max(agent.evaluate(100).returns.mean(axis=-1)) < 2.5
