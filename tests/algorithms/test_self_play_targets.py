"""Targets of auxiliary heads, against games looked through by hand, and their losses against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tegu.algorithms.self_play_targets import (
    SearchResult,
    Target,
    auxiliary_losses,
    expected_end,
    mean_of,
    symmetric_targets,
    targets,
    weight_of,
)
from tegu.arena.positions import begin, play
from tegu.core.step import Step
from tegu.environments.games.go import Go

GAME = Go(size=3, komi=0.5, max_moves=9)
T, B, POINTS = 60, 4, 9


def test_what_is_expected_of_the_end_is_what_the_losses_teach():
    """Where the heads say exactly this, the losses have no gradient."""
    random = np.random.default_rng(3)
    outputs = {
        "ownership": random.normal(size=(5, 9)).astype(np.float32),
        "score": random.normal(size=(5, 1)).astype(np.float32),
        "reply": random.normal(size=(5, 10)).astype(np.float32),
    }
    expected = expected_end(outputs, (3, 3))
    assert {name: value.shape for name, value in expected.items()} == {"ownership": (5, 3, 3), "score": (5,)}
    sure = jnp.ones(5, bool)
    known = {
        "ownership": Target(expected["ownership"], sure),
        "score": Target(expected["score"] / POINTS, sure),  # which are in points for each point of the board
    }
    gradient = jax.grad(lambda outputs: sum(auxiliary_losses(outputs, known).values()))(outputs)
    assert max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(gradient)) < 1e-6
    assert expected_end({"reply": outputs["reply"]}, (3, 3)) == {}


def owners(board):
    """Whose each point is: a point is a player's if walks over empty points from it meet that player's stones alone."""
    found = np.zeros_like(board)
    for start in np.ndindex(board.shape):
        seen, todo, met = {start}, [start], set()
        while todo:
            row, column = todo.pop()
            if board[row, column]:
                met.add(int(board[row, column]))
                continue
            beside = (row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)
            new = {(r, c) for r, c in beside if 0 <= r < len(board) and 0 <= c < len(board)} - seen
            seen |= new
            todo += new
        found[start] = met.pop() if len(met) == 1 else 0
    return found


@pytest.fixture(scope="module")
def steps():
    """Games of random moves ``[T, B]``; some moves count as random, some searches as fast, some games are cut."""
    random, position, found = np.random.default_rng(0), begin(GAME, B), []
    for _ in range(T):
        action = np.array([random.choice(np.flatnonzero(mask)) for mask in position["action_mask"]])
        timestep = play(GAME, position, action)
        cut = (random.random(B) < 0.05) & ~timestep.terminated
        policy = random.dirichlet(np.ones(POINTS + 1), B).astype(np.float32)
        flags = random.random((2, B)) < [[0.1], [0.5]]
        result = SearchResult(policy, np.zeros(B, np.float32), *flags)
        found.append(Step(position, action, timestep.reward, timestep.state, timestep.terminated, cut, result))
        over = timestep.terminated | cut
        fresh = begin(GAME, B)
        position = {
            name: np.where(over.reshape((-1,) + (1,) * (leaf.ndim - 1)), fresh[name], leaf)
            for name, leaf in timestep.state.items()
        }
    return jax.tree.map(lambda *leaves: np.stack(leaves), *found)


@pytest.fixture(scope="module")
def found(steps):
    return jax.device_get(jax.jit(lambda steps: targets(GAME, steps, ("ownership", "score", "reply")))(steps))


def end_of(steps, t, b):
    """The step with which the game of step ``t`` ends; None if it is cut, goes by chance, or is not over in time."""
    for later in range(t, T):
        if steps.truncated[later, b] or steps.extras.random[later, b]:
            return None
        if steps.terminated[later, b]:
            return later
    return None


def test_ownership_and_score_are_those_of_the_games_last_position(steps, found):
    known = 0
    for t, b in np.ndindex(T, B):
        end = end_of(steps, t, b)
        assert found["ownership"].known[t, b] == found["score"].known[t, b] == (end is not None)
        if end is not None:
            known += 1
            sign = 1 if steps.observation["to_play"][t, b] == 0 else -1
            area = owners(steps.next_observation["board"][end, b])
            np.testing.assert_array_equal(found["ownership"].value[t, b], sign * area)
            assert found["score"].value[t, b] == np.float32(sign * (area.sum() - 0.5) / POINTS)
    assert 20 < known < T * B - 20


def test_the_reply_is_the_next_search_if_there_is_one_to_learn_from(steps, found):
    ended = steps.terminated | steps.truncated | steps.extras.random
    for t, b in np.ndindex(T, B):
        expected = t + 1 < T and not ended[t, b] and steps.extras.full[t + 1, b]
        assert found["reply"].known[t, b] == expected
        if expected:
            np.testing.assert_array_equal(found["reply"].value[t, b], steps.extras.policy[t + 1, b])
    steps = jax.tree.map(jnp.asarray, steps)
    every = targets(GAME, steps._replace(extras=steps.extras._replace(full=None)), ["reply"])
    assert list(every) == ["reply"]
    np.testing.assert_array_equal(every["reply"].known[:-1], ~ended[:-1])
    assert not every["reply"].known[-1].any()


def test_targets_turn_with_the_board(steps):
    """Whose points a turned board's are, is what they were, turned; the reply turns as any policy does."""
    last, policy, known = (
        jax.tree.map(lambda leaf: leaf[40], steps.next_observation),
        steps.extras.policy[40],
        [True] * B,
    )
    own, score = np.stack([owners(board) for board in last["board"]]), np.arange(B, dtype=np.float32)
    given = {"ownership": Target(own, known), "score": Target(score, known), "reply": Target(policy, known)}

    @jax.jit
    def images(index):
        every = jnp.full(B, index)
        boards, policies = jax.vmap(GAME.symmetric)(every, jnp.asarray(last["board"])[..., None], policy)
        return boards[..., 0], policies, symmetric_targets(GAME, every, jnp.zeros((B, 3, 3, 7)), policy, given)

    for index in range(8):
        boards, policies, found = jax.device_get(images(index))
        np.testing.assert_array_equal(found["ownership"].value, [owners(board) for board in boards])
        np.testing.assert_array_equal(found["reply"].value, policies)
        np.testing.assert_array_equal(found["score"].value, score)
        assert index == 0 or (found["ownership"].value != own).any()


def test_losses_are_numpys_over_what_is_known():
    random = np.random.default_rng(2)
    known = np.array([True, False, True])
    own, score = random.integers(-1, 2, (3, 2, 2)), random.normal(size=3)
    reply = random.dirichlet(np.ones(5), 3)
    outputs = {
        "ownership": random.normal(size=(3, 2, 2, 1)),
        "score": random.normal(size=(3, 1)),
        "reply": random.normal(size=(3, 5)),
    }
    values = {"ownership": own, "score": score, "reply": reply}
    say = jax.jit(
        lambda outputs, values: auxiliary_losses(outputs, {name: Target(values[name], known) for name in values})
    )
    losses = say(outputs, values)

    expected = np.tanh(outputs["ownership"][..., 0])
    own_chance = (1 + own) / 2
    cross = -(own_chance * np.log((1 + expected) / 2) + (1 - own_chance) * np.log((1 - expected) / 2))
    chances = np.exp(outputs["reply"]) / np.exp(outputs["reply"]).sum(axis=1, keepdims=True)
    by_hand = {
        "ownership": cross.mean(axis=(1, 2)),
        "score": (outputs["score"][:, 0] - score) ** 2,
        "reply": -(reply * np.log(chances)).sum(axis=1),
    }
    assert losses.keys() == by_hand.keys()
    for name, each in by_hand.items():
        np.testing.assert_allclose(losses[name], each[known].mean(), rtol=1e-5, err_msg=name)
    nothing = auxiliary_losses({"score": jnp.ones((3, 1))}, {"score": Target(jnp.zeros(3), jnp.zeros(3, bool))})
    assert nothing["score"] == 0


def test_a_game_is_decided_by_five_clear_searches_in_a_row_until_it_ends():
    random = np.random.default_rng(3)
    value, ended = random.choice([-0.95, 0.2, 0.95], (200, 3), p=[0.4, 0.1, 0.5]), random.random((200, 3)) < 0.05
    found = weight_of(jnp.asarray(value), jnp.asarray(ended), 0.9)
    for b in range(3):
        clear, decided = 0, False
        for t in range(200):
            clear = clear + 1 if abs(value[t, b]) > 0.9 else 0
            decided |= clear >= 5
            assert found[t, b] == np.float32(0.1 if decided else 1)
            if ended[t, b]:
                clear, decided = 0, False
    assert 0.1 < (found < 1).mean() < 0.9


def test_means_are_weighted_by_what_there_is():
    errors, some, weight = np.array([1.0, 2.0, 6.0]), np.array([True, False, True]), np.array([0.25, 1.0, 0.75])
    assert mean_of(jnp.asarray(errors), None) == 3
    assert mean_of(jnp.asarray(errors), some, None) == 3.5
    assert mean_of(jnp.asarray(errors), None, weight, some) == 4.75
    assert mean_of(jnp.asarray(errors), some, ~some) == 0
