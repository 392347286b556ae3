"""The recurrent state-space model's parts against their definitions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tegu.nn.rssm import NOTHING, RSSM, NormalizedGRU, State, draw, mixed

pytestmark = pytest.mark.usefixtures("x64")

KEY = jax.random.key(0)


def test_a_draw_is_one_hot_and_its_gradient_that_of_the_probabilities():
    rng = np.random.default_rng(0)
    logits, noise, weight = rng.normal(size=(6, 2, 4)), rng.random((6, 2)), rng.normal(size=(6, 2, 4))
    found = draw(mixed(logits), noise)
    probability = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True) * 0.99 + 0.01 / 4
    for place in np.ndindex(6, 2):
        index = int(np.searchsorted(np.cumsum(probability[place]), noise[place], side="right"))
        np.testing.assert_array_equal(found[place], np.eye(4)[index])
    straight = jax.grad(lambda logits: (weight * draw(mixed(logits), noise)).sum())(logits)
    np.testing.assert_allclose(
        straight, jax.grad(lambda logits: (weight * jnp.exp(mixed(logits))).sum())(logits), atol=1e-12
    )
    assert np.abs(straight).max() > 0.01


def test_classes_are_drawn_as_often_as_they_are_likely():
    probability = np.array([0.1, 0.0, 0.6, 0.3])
    noise = np.random.default_rng(0).random(20_000)
    often = draw(np.log(np.broadcast_to(probability + 1e-12, (20_000, 4))), noise).mean(axis=0)
    np.testing.assert_allclose(often, probability, atol=0.015)
    ends = draw(np.log(np.broadcast_to(probability + 1e-12, (2, 4))), np.array([0.0, np.nextafter(1, 0)]))
    np.testing.assert_array_equal(ends, np.eye(4)[[0, 3]])


def test_no_class_is_less_likely_than_its_share_of_the_uniform_distribution():
    np.testing.assert_allclose(np.exp(mixed(np.array([1e3, 0.0, 0.0, 0.0]))), [0.9925, 0.0025, 0.0025, 0.0025])


def test_the_recurrent_unit_is_numpys():
    cell, rng = NormalizedGRU(KEY, 2, 3), np.random.default_rng(0)
    x, state = rng.normal(size=(5, 2)), rng.normal(size=(5, 3))
    gates = np.concatenate([x, state], axis=1) @ np.asarray(cell.weight)
    gates = gates - gates.mean(axis=1, keepdims=True)
    gates = gates / np.sqrt((gates**2).mean(axis=1, keepdims=True) + 1e-5)
    reset, update = 1 / (1 + np.exp(-gates[:, :3])), 1 / (1 + np.exp(1 - gates[:, 6:]))
    expected = update * np.tanh(reset * gates[:, 3:6]) + (1 - update) * state
    np.testing.assert_allclose(cell(x, state), expected, rtol=1e-10)


@pytest.mark.slow
def test_an_episode_within_a_sequence_begins_with_nothing():
    """What follows a boundary is what follows a fresh memory, whatever came before."""
    rssm, rng, (T, B) = RSSM(KEY, 3, 2, 4, (2, 3), 5), np.random.default_rng(0), (6, 2)
    action, embedding, noise = rng.normal(size=(T, B, 2)), rng.normal(size=(T, B, 3)), rng.random((T, B, 2))
    first = np.zeros((T, B), bool)
    first[2], first[4, 1] = True, True
    memory = rssm.memory(State(rng.normal(size=(B, 4)), np.eye(3)[[[0, 2], [1, 1]]]), jnp.ones((B, 2)))
    unroll = jax.jit(lambda *given: rssm.unroll(*given)[0])
    whole = unroll(memory, action, embedding, first, noise)
    for begin, column in ((2, slice(None)), (4, slice(1, 2))):
        n = len(range(B)[column])
        assert (rssm.start(n, 2).classes == NOTHING).all()
        rest = (each[begin:, column] for each in (action, embedding, first, noise))
        fresh = unroll(rssm.start(n, 2), *rest)
        jax.tree.map(lambda a, b, at=(begin, column): np.testing.assert_allclose(a[at[0] :, at[1]], b), whole, fresh)
    # the first row goes on from the memory, also where it says that an episode begins
    again = unroll(memory, action, embedding, first | (np.arange(T)[:, None] == 0), noise)
    jax.tree.map(np.testing.assert_array_equal, again, whole)
    other = unroll(memory._replace(action=-memory.action), action, embedding, first, noise)
    assert np.abs(other.deterministic[0] - whole.deterministic[0]).max() > 1e-3
    np.testing.assert_array_equal(other.deterministic[2:], whole.deterministic[2:])


@pytest.mark.slow
def test_actions_beyond_the_bounds_count_as_those_at_them():
    rssm = RSSM(KEY, 3, 2, 4, (2, 3), 5)
    state = rssm.recalled(rssm.start(1, 2))
    np.testing.assert_allclose(
        rssm.forward(state, jnp.array([[3.0, -0.5]])), rssm.forward(state, jnp.array([[1, -0.5]]))
    )
