"""Tree search in tic-tac-toe, against perfect play and the books that a search must keep."""

import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tegu.arena.players import RandomPlayer
from tegu.arena.positions import begin, join, play, take
from tegu.arena.solve import solve
from tegu.environments.games.tic_tac_toe import TicTacToe
from tegu.errors import TeguError
from tegu.search import planning

GAME, KEY = TicTacToe(), jax.random.key(0)
EXPLORING = {"gumbel": planning.gumbel, "puct": planning.puct}
GREEDY = {
    "gumbel": partial(planning.gumbel, noise=0.0),
    "puct": partial(planning.puct, dirichlet_fraction=0.0, temperature=0.0),
}
both = pytest.mark.parametrize("kind", ["gumbel", "puct"])


def uniform(parameters, positions):
    """Knows nothing."""
    return jnp.zeros(positions["action_mask"].shape), jnp.zeros(len(positions["to_play"]))


def fickle(parameters, positions):
    """Thinks something different of every position, without reason, and is sure that finished games go on well."""
    code = positions["board"].reshape(-1, 9) @ 3.0 ** jnp.arange(9) + 0.1 * positions["to_play"]
    return jnp.sin(code[:, None] * (1 + jnp.arange(9.0))), jnp.cos(7 * code)


@partial(jax.jit, static_argnames=("search", "evaluate", "simulations"))
def found(search, positions, key, evaluate=uniform, simulations=32):
    return search(GAME, evaluate, (), positions, key, simulations=simulations)


def random_positions(n, stones, seed=0):
    """Up to ``n`` positions after so many random moves in which the game goes on."""
    positions = begin(GAME, n)
    for ply in range(stones):
        timestep = play(GAME, positions, RandomPlayer().act(positions, jax.random.key(1000 * seed + ply)))
        positions = take(timestep.state, np.flatnonzero(~timestep.terminated))
    return positions


def mixed(seed):
    """32 positions from anywhere in the game."""
    positions = join(*(random_positions(8, stones, seed) for stones in range(9)))
    rows = np.random.default_rng(seed).permutation(len(positions["to_play"]))
    return take(positions, rows[:32])


def position(drawing):
    """``x.o`` row by row; x is the first player, and to move if there are as many of both."""
    stones = np.array([{"x": 1, "o": -1, ".": 0}[mark] for mark in drawing.replace(" ", "")], np.int8)
    one = {"board": stones.reshape(3, 3), "to_play": np.int32(stones.sum()), "action_mask": stones == 0}
    return {name: np.asarray(leaf)[None] for name, leaf in one.items()}


def chosen(values, found):
    return np.take_along_axis(np.asarray(values), np.asarray(found.action)[:, None], axis=1)[:, 0]


# Perfect play


@pytest.fixture(scope="module")
def late():
    """Positions with four to eight stones and what each action is worth under perfect play."""
    positions = join(*(random_positions(16, stones) for stones in range(4, 9)))
    return positions, solve(GAME).action_values(positions)


@pytest.fixture(scope="module")
def searched(late):
    """Both searches of these positions with many simulations."""
    return {kind: found(search, late[0], KEY, simulations=400) for kind, search in GREEDY.items()}


@both
def test_with_many_simulations_every_move_is_perfect(kind, late, searched):
    """Without any knowledge but the rules."""
    _, exact = late
    assert len(exact) > 60
    np.testing.assert_array_equal(chosen(exact, searched[kind]), exact.max(axis=1))


@both
def test_with_many_simulations_values_come_to_be_exact(kind, late, searched):
    """Those of the action taken; where all actions are worth the same, also that of the position."""
    _, exact = late
    best, its = exact.max(axis=1), searched[kind]
    np.testing.assert_allclose(chosen(its.action_values, its), best, atol=0.25)
    alike = (np.isinf(exact) | (exact == best[:, None])).all(axis=1)
    assert alike.sum() > 10
    np.testing.assert_allclose(its.value[alike], best[alike], atol=0.25)


# Signs

ONE_MOVE_WINS = position("xx. oo. ...")
ALL_MOVES_LOSE = position("x.x .o. x.o")  # o to move: x threatens two lines
THE_LAST_SQUARE_DRAWS = position("xox xoo ox.")


@both
@pytest.mark.parametrize("evaluate", [uniform, fickle])
def test_a_win_at_hand_is_worth_one(kind, evaluate):
    """Exactly, whoever says what of the position after it."""
    its = found(GREEDY[kind], ONE_MOVE_WINS, KEY, evaluate, 64)
    assert its.action[0] == 2
    assert its.action_values[0, 2] == 1
    assert its.value[0] > 0.6


@both
def test_a_lost_position_is_worth_minus_one(kind):
    """To the player to move, who is the second."""
    its = found(GREEDY[kind], ALL_MOVES_LOSE, KEY, simulations=200)
    legal = ALL_MOVES_LOSE["action_mask"][0]
    assert (its.action_values[0, legal] < -0.8).all()
    assert its.value[0] < -0.8


@both
@pytest.mark.parametrize("evaluate", [uniform, fickle])
def test_the_end_of_a_game_is_worth_what_it_pays_and_nothing_lies_behind_it(kind, evaluate):
    """However often it is visited."""
    its = found(GREEDY[kind], THE_LAST_SQUARE_DRAWS, KEY, evaluate, 64)
    assert its.visits[0].tolist() == [0] * 8 + [64]
    assert its.action_values[0, 8] == 0


@both
def test_colours_do_not_matter(kind):
    """With the colours and the turn exchanged the same is found."""
    positions = mixed(1)
    turned = positions | {"board": -positions["board"], "to_play": 1 - positions["to_play"]}
    one, other = (found(GREEDY[kind], each, KEY) for each in (positions, turned))
    np.testing.assert_array_equal(one.visits, other.visits)
    np.testing.assert_array_equal(one.value, other.value)


# The books


@both
@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 1000))
def test_simulations_begin_with_legal_actions_and_are_all_counted(kind, seed):
    positions = mixed(seed)
    legal = positions["action_mask"]
    its = jax.device_get(found(EXPLORING[kind], positions, jax.random.key(seed), fickle))
    assert (its.action.dtype, its.visits.dtype) == (np.int32, np.int32)
    np.testing.assert_array_equal(its.visits.sum(axis=1), 32)
    assert not its.visits[~legal].any()
    assert not its.policy[~legal].any()
    assert not its.action_values[~legal].any()
    assert chosen(legal, its).all()
    np.testing.assert_allclose(its.policy.sum(axis=1), 1, rtol=1e-5)


@both
@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 1000))
def test_a_positions_value_is_the_mean_of_all_that_was_seen_of_it(kind, seed):
    """What the evaluator said first, and what came of each simulation."""
    positions = mixed(seed)
    its = jax.device_get(found(EXPLORING[kind], positions, jax.random.key(seed), fickle))
    _, first = fickle((), positions)
    total = np.asarray(first) + (its.visits * its.action_values).sum(axis=1)
    np.testing.assert_allclose(its.value, total / 33, atol=1e-5)


@pytest.fixture(scope="module")
def trees():
    """The whole trees of both searches: arrays ``[B, N, ...]`` of which the first ``N`` nodes are there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planning, "_read", lambda found: found.search_tree)
        grown = {
            kind: jax.device_get(jax.jit(lambda p, s=search: s(GAME, fickle, (), p, KEY, simulations=64))(mixed(2)))
            for kind, search in EXPLORING.items()
        }
    return grown


@both
def test_every_node_keeps_the_books_of_its_subtree(kind, trees):
    """It was visited once more often than left, and is worth the mean of what was seen in it."""
    tree = trees[kind]
    there = tree.node_visits > 0
    np.testing.assert_array_equal(tree.node_visits[there], 1 + tree.children_visits.sum(-1)[there])
    onward = tree.children_rewards + tree.children_discounts * tree.children_values
    total = tree.raw_values + (tree.children_visits * onward).sum(-1)
    np.testing.assert_allclose(tree.node_values[there], (total / np.maximum(tree.node_visits, 1))[there], atol=1e-5)


@both
def test_a_child_is_its_parents_next_position_with_the_sign_turned(kind, trees):
    """Position, reward for the player who moved, and discount follow from the rules."""
    tree = trees[kind]
    rows, nodes, actions = np.nonzero(tree.children_visits)
    parents = {name: leaf[rows, nodes] for name, leaf in tree.embeddings.items()}
    children = {name: leaf[rows, tree.children_index[rows, nodes, actions]] for name, leaf in tree.embeddings.items()}
    timestep = play(GAME, parents, actions)
    jax.tree.map(np.testing.assert_array_equal, children, timestep.state)
    mine = np.where(parents["to_play"] == 0, timestep.reward["first"], timestep.reward["second"])
    np.testing.assert_array_equal(tree.children_rewards[rows, nodes, actions], mine)
    discount = np.where(timestep.terminated, 0, -1)
    np.testing.assert_array_equal(tree.children_discounts[rows, nodes, actions], discount)


@both
def test_no_illegal_action_is_tried_anywhere_in_a_tree(kind, trees):
    """But behind the end of a game, where it counts for nothing."""
    tree = trees[kind]
    legal = tree.embeddings["action_mask"]
    goes_on = legal.any(axis=-1, keepdims=True)
    assert not tree.children_visits[~legal & goes_on].any()
    assert not goes_on[tree.node_visits > 0].all(), "some nodes are ends of games"


# Chance


@both
def test_keys_decide(kind):
    """The same key finds the same; another one something else, unless nothing is left to chance."""
    positions = mixed(3)
    one, same, other = (found(EXPLORING[kind], positions, key, fickle) for key in (KEY, KEY, jax.random.key(1)))
    jax.tree.map(np.testing.assert_array_equal, one, same)
    assert (one.visits != other.visits).any()
    one, other = (found(GREEDY[kind], positions, key, fickle) for key in (KEY, jax.random.key(1)))
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_puct_draws_actions_from_visits():
    """At temperature 1; each of many searches of one position from its own."""
    many = {name: np.repeat(leaf, 2000, axis=0) for name, leaf in position("x.. .o. ...").items()}
    its = found(planning.puct, many, KEY, fickle, 8)
    expected = np.asarray(its.policy).sum(axis=0)
    np.testing.assert_allclose(its.policy, its.visits / 8, rtol=1e-6)
    counts = np.bincount(its.action, minlength=9)
    likely = expected > 5
    assert counts[~likely].sum() < 30
    assert (
        stats.chisquare(counts[likely], counts[likely].sum() * expected[likely] / expected[likely].sum()).pvalue > 1e-3
    )


def test_puct_at_temperature_0_plays_the_most_visited():
    its = found(GREEDY["puct"], mixed(4), KEY, fickle)
    np.testing.assert_array_equal(chosen(its.visits, its), its.visits.max(axis=1))


@pytest.mark.parametrize("considered", [2, 4])
def test_gumbel_looks_at_no_more_actions_than_it_may(considered):
    its = found(partial(planning.gumbel, max_considered=considered), mixed(5), KEY, fickle)
    expected = np.minimum(mixed(5)["action_mask"].sum(axis=1), considered)
    np.testing.assert_array_equal((np.asarray(its.visits) > 0).sum(axis=1), expected)


def test_gumbels_policy_prefers_what_the_search_found_to_be_better():
    """Of two visited actions that the evaluator thought equal, the better one."""
    its = jax.device_get(found(planning.gumbel, mixed(6), KEY))
    for visits, values, policy in zip(its.visits, its.action_values, its.policy, strict=True):
        seen = np.flatnonzero(visits)
        by_value = seen[np.argsort(values[seen], kind="stable")]
        assert (np.diff(policy[by_value]) >= -1e-6).all()


def test_without_mctx_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "mctx", None)
    with pytest.raises(TeguError, match=r"tree search needs tegu\[search\]: pip install 'tegu\[search\]'"):
        planning.gumbel(GAME, uniform, (), begin(GAME, 1), KEY, simulations=4)
