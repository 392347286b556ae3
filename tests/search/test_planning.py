"""Tree search in tic-tac-toe, against perfect play and the books that a search must keep."""

import sys
from functools import partial

import jax
import jax.numpy as jnp
import mctx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tegu.arena.openings import openings
from tegu.arena.positions import begin, join, play, take
from tegu.arena.solve import solve
from tegu.core.errors import TeguError
from tegu.environments.games.tic_tac_toe import TicTacToe
from tegu.search import planning

GAME, KEY = TicTacToe(), jax.random.key(0)
EXPLORING = {"gumbel": planning.gumbel, "puct": planning.puct}
GREEDY = {
    "gumbel": partial(planning.gumbel, noise=0.0),
    "puct": partial(planning.puct, dirichlet_fraction=0.0, temperature=0.0),
}
SIMULATIONS = 32
both = pytest.mark.parametrize("kind", ["gumbel", "puct"])
seeds = given(seed=st.integers(0, 10_000))


def uniform(parameters, positions):
    """Knows nothing."""
    return jnp.zeros(positions["action_mask"].shape), jnp.zeros(len(positions["to_play"]))


def fickle(strength, positions):
    """Thinks something else of every position, without reason, also of those in which the game is over; nothing of any
    at ``strength`` 0."""
    code = positions["board"].reshape(-1, 9) @ 3.0 ** jnp.arange(9) + 1.1 + positions["to_play"]
    return strength * jnp.sin(code[:, None] * (1 + jnp.arange(9.0))), strength * jnp.cos(7 * code)


RULES, FICKLE = planning.known_rules(GAME, uniform), planning.known_rules(GAME, fickle)


def position(drawing):
    """``x.o`` row by row; x is the first player, and to move if there are as many of both."""
    stones = np.array([{"x": 1, "o": -1, ".": 0}[mark] for mark in drawing.replace(" ", "")], np.int8)
    one = {"board": stones.reshape(3, 3), "to_play": np.int32(stones.sum()), "action_mask": stones == 0}
    return {name: np.asarray(leaf)[None] for name, leaf in one.items()}


KNOWN = join(
    position("xx. oo. ..."),  # the third square wins
    position("x.x .o. x.o"),  # o is to move: x threatens two lines
    position("xox xoo ox."),  # the last square draws
    position("xox oxo ox."),  # the last square wins
)
WINS_AT_ONCE, LOST, DRAWN = 0, 1, 2  #: rows of these


def mixed(seed):
    """32 positions: those known, and random ones from anywhere in the game."""
    several = [openings(GAME, 4, stones, jax.random.fold_in(jax.random.key(seed), stones)) for stones in range(8)]
    return take(join(KNOWN, *several), slice(32))


def chosen(values, found):
    return np.take_along_axis(np.asarray(values), np.asarray(found.action)[:, None], axis=1)[:, 0]


# Perfect play


@pytest.fixture(scope="module")
def late():
    """Positions with four to seven stones, and those known, with what each action is worth under perfect play."""
    positions = join(KNOWN, *(openings(GAME, 10, stones, KEY) for stones in range(4, 8)))
    return positions, solve(GAME).action_values(positions)


@pytest.fixture(scope="module")
def searched(late):
    """Both searches of these positions, and of the same with the colours exchanged, with many simulations."""
    positions, _ = late
    turned = positions | {"board": -positions["board"], "to_play": 1 - positions["to_play"]}

    def many(search):
        compiled = jax.jit(lambda positions: search(RULES, (), positions, KEY, simulations=400))
        return [jax.device_get(compiled(each)) for each in (positions, turned)]

    return {kind: many(search) for kind, search in GREEDY.items()}


@both
@pytest.mark.long
def test_with_many_simulations_every_move_is_perfect(kind, late, searched):
    """Without any knowledge but the rules."""
    _, exact = late
    np.testing.assert_array_equal(chosen(exact, searched[kind][0]), exact.max(axis=1))


@pytest.mark.slow
@both
def test_with_many_simulations_values_tell_how_a_game_ends(kind, late, searched):
    """They are nearer to what the actions taken are worth than to any other result, and near to it on the whole; where
    all actions are worth the same, so are those of the positions."""
    _, exact = late
    best, its = exact.max(axis=1), searched[kind][0]
    alike = (np.isinf(exact) | (exact == best[:, None])).all(axis=1)
    assert alike.sum() > 10
    for values, expected in ((chosen(its.action_values, its), best), (its.value[alike], best[alike])):
        np.testing.assert_allclose(values, expected, atol=0.5)
        assert np.abs(values - expected).mean() < 0.1


@pytest.mark.slow
@both
def test_a_lost_position_is_worth_minus_one_to_the_player_to_move(kind, searched):
    """Who is the second player there."""
    its = searched[kind][0]
    assert its.value[1] < -0.8
    assert (its.action_values[1, KNOWN["action_mask"][1]] < -0.8).all()


@pytest.mark.slow
@both
def test_colours_do_not_matter(kind, searched):
    one, other = searched[kind]
    np.testing.assert_array_equal(one.visits, other.visits)
    np.testing.assert_array_equal(one.value, other.value)


@pytest.mark.slow
def test_gumbels_policy_prefers_what_the_search_found_to_be_better(searched):
    """Of two actions that the evaluator thought equal, the one with the higher value."""
    its = searched["gumbel"][0]
    for visits, values, policy in zip(its.visits, its.action_values, its.policy, strict=True):
        seen = np.flatnonzero(visits)
        assert (np.diff(policy[seen][np.argsort(values[seen], kind="stable")]) >= -1e-6).all()


# The books


@pytest.fixture(scope="module")
def grown():
    """A search of 32 positions with a fickle evaluator, exploring: what it found, and its trees ``[B, N, ...]``."""
    read = planning._read
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planning, "_read", lambda found, value: (read(found, value), found.search_tree))
        compiled = {
            kind: jax.jit(partial(search, FICKLE, simulations=SIMULATIONS)) for kind, search in EXPLORING.items()
        }
        for search in compiled.values():
            search(1.0, mixed(0), KEY)
    return lambda kind, positions, key, strength=1.0: jax.device_get(compiled[kind](strength, positions, key))


@both
@settings(deadline=None, max_examples=15)
@seeds
def test_simulations_begin_with_legal_actions_and_are_all_counted(grown, kind, seed):
    positions = mixed(seed)
    legal = positions["action_mask"]
    its, _ = grown(kind, positions, jax.random.key(seed))
    assert (its.action.dtype, its.visits.dtype) == (np.int32, np.int32)
    np.testing.assert_array_equal(its.visits.sum(axis=1), SIMULATIONS)
    for told in (its.visits, its.policy, its.action_values):
        assert not told[~legal].any()
    assert chosen(legal, its).all()
    np.testing.assert_allclose(its.policy.sum(axis=1), 1, rtol=1e-5)


def visit_mean(value, its):
    """The mean of what the evaluator said first and of what came of each simulation."""
    return (value + (its.visits * its.action_values).sum(axis=1)) / (1 + SIMULATIONS)


@settings(deadline=None, max_examples=10)
@seeds
def test_with_puct_a_positions_value_is_the_mean_of_all_that_was_seen_of_it(grown, seed):
    positions = mixed(seed)
    its, _ = grown("puct", positions, jax.random.key(seed))
    np.testing.assert_allclose(its.value, visit_mean(np.asarray(fickle(1.0, positions)[1]), its), atol=1e-5)


@settings(deadline=None, max_examples=10)
@seeds
def test_with_gumbel_a_positions_value_is_what_the_improved_policy_is_worth(grown, seed):
    """By the completed action values of mctx, without the factor by which they are added to logits."""
    its, tree = grown("gumbel", mixed(seed), jax.random.key(seed))
    transform = partial(
        mctx.qtransform_completed_by_mix_value, rescale_values=False, value_scale=1.0, maxvisit_init=0.0
    )
    scaled = jax.vmap(transform, in_axes=(0, None))(tree, tree.ROOT_INDEX)
    completed = scaled / its.visits.max(axis=1, keepdims=True)
    np.testing.assert_allclose(its.value, (its.policy * completed).sum(axis=1), atol=1e-5)


def test_the_value_of_a_policy_by_hand():
    """Two visits found 1, one found -1, and the third action, never tried, counts as the mixed value:
    (0.4 + 3 (0.5 * 1 - 0.3 * 1) / 0.8) / 4 = 0.2875."""
    policy, logits = jnp.array([[0.6, 0.1, 0.3]]), jnp.log(jnp.array([[0.5, 0.3, 0.2]])) + 7
    visits, values = jnp.array([[2, 1, 0]]), jnp.array([[1.0, -1.0, 0.0]])
    value = planning.improved_value(policy, logits, jnp.array([0.4]), visits, values)
    np.testing.assert_allclose(value, [0.6 - 0.1 + 0.3 * 0.2875], rtol=1e-6)


def test_gumbel_values_positions_as_minimax_does_after_few_simulations(grown):
    """Where the mover wins in one, where he loses whatever he does, and where the last square draws; elsewhere better
    than the mean of all simulations, half of which look at moves that nobody would play."""
    positions = mixed(0)
    exact = solve(GAME).values(positions)
    its, _ = grown("gumbel", positions, KEY, strength=0.0)
    np.testing.assert_allclose(its.value[WINS_AT_ONCE], 1, atol=0.05)
    np.testing.assert_allclose(its.value[LOST], -1, atol=0.35)
    np.testing.assert_allclose(its.value[DRAWN], 0, atol=1e-6)
    mean = visit_mean(0, its)
    assert mean[WINS_AT_ONCE] < 0.7
    assert np.abs(its.value - exact).mean() < 0.6 * np.abs(mean - exact).mean()


@both
def test_the_end_of_a_game_is_worth_what_it_pays_and_nothing_lies_behind_it(grown, kind):
    """A win 1 and a draw 0, exactly, however often they are visited and whatever is thought of what follows."""
    its, _ = grown(kind, mixed(0), KEY)
    assert its.visits[2:4, 8].tolist() == [SIMULATIONS] * 2
    assert its.action_values[2:4, 8].tolist() == [0, 1]


@both
def test_every_node_keeps_the_books_of_its_subtree(grown, kind):
    """It was visited once more often than left, and is worth the mean of what was seen in it."""
    _, tree = grown(kind, mixed(1), KEY)
    there = tree.node_visits > 0
    np.testing.assert_array_equal(tree.node_visits[there], 1 + tree.children_visits.sum(-1)[there])
    onward = tree.children_rewards + tree.children_discounts * tree.children_values
    total = tree.raw_values + (tree.children_visits * onward).sum(-1)
    np.testing.assert_allclose(tree.node_values[there], (total / np.maximum(tree.node_visits, 1))[there], atol=1e-5)


@both
def test_a_child_is_what_the_rules_say_and_belongs_to_the_other_player(grown, kind):
    """Its position, the reward of the player who moved, and the sign of what follows."""
    _, tree = grown(kind, mixed(1), KEY)
    rows, nodes, actions = np.nonzero(tree.children_visits)
    before, after = (
        {name: leaf[rows, index] for name, leaf in tree.embeddings.items()}
        for index in (nodes, tree.children_index[rows, nodes, actions])
    )
    timestep = play(GAME, before, actions)
    jax.tree.map(np.testing.assert_array_equal, after, timestep.state)
    paid = np.where(before["to_play"] == 0, timestep.reward["first"], timestep.reward["second"])
    np.testing.assert_array_equal(tree.children_rewards[rows, nodes, actions], paid)
    discount = np.where(timestep.terminated, 0, -1)
    np.testing.assert_array_equal(tree.children_discounts[rows, nodes, actions], discount)


@both
def test_no_illegal_action_is_tried_anywhere_in_a_tree(grown, kind):
    """But behind the end of a game, where it counts for nothing."""
    _, tree = grown(kind, mixed(1), KEY)
    legal = tree.embeddings["action_mask"]
    goes_on = legal.any(axis=-1)
    assert not tree.children_visits[~legal & goes_on[..., None]].any()
    assert not goes_on[tree.node_visits > 0].all(), "some nodes are ends of games"


# Chance


@both
def test_keys_decide_what_an_exploring_search_finds(grown, kind):
    one, same, other = (grown(kind, mixed(2), key)[0] for key in (KEY, KEY, jax.random.key(1)))
    jax.tree.map(np.testing.assert_array_equal, one, same)
    assert (one.visits != other.visits).any()


def test_noise_at_the_root_is_dirichlets_over_the_legal_actions():
    """20 of 362: no part of the fraction asked for is lost, and the draws are distributed as they should."""
    fraction, alpha, legal = 0.25, 0.3, np.arange(362) % 18 == 2
    n = 20
    assert legal.sum() == n
    prior = np.where(legal, np.arange(362), 0) / np.arange(362)[legal].sum()
    batch = [jnp.broadcast_to(each, (500, 362)) for each in (prior.astype(np.float32), legal)]
    noisy = np.asarray(planning.dirichlet_noise(KEY, *batch, fraction, alpha), float)
    assert not noisy[:, ~legal].any()
    noise = (noisy - (1 - fraction) * prior)[:, legal] / fraction
    np.testing.assert_allclose(noise.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(noise.mean(axis=0), 1 / n, atol=0.016)
    np.testing.assert_allclose(noise.var(axis=0).mean(), (1 / n) * (1 - 1 / n) / (n * alpha + 1), rtol=0.1)
    # one action of a Dirichlet draw is Beta(alpha, (n - 1) alpha)
    assert stats.kstest(noise[:, 3], stats.beta(alpha, (n - 1) * alpha).cdf).pvalue > 1e-3


def test_puct_searches_with_the_noise_asked_for(grown):
    """A sparse draw leaves some action hardly any noise: it keeps three quarters of its prior, and no more."""
    positions = mixed(5)
    several = positions["action_mask"].sum(axis=1) >= 4
    prior = jax.nn.softmax(jnp.where(positions["action_mask"], fickle(1.0, positions)[0], -jnp.inf))
    _, tree = grown("puct", positions, KEY)
    ratio = jax.nn.softmax(tree.children_prior_logits[:, tree.ROOT_INDEX]) / prior
    least = np.nanmin(ratio[several], axis=1)
    assert several.sum() > 10
    assert (least > 0.7499).all()
    assert np.median(least) < 0.76


@pytest.mark.slow
def test_puct_draws_actions_from_visits(grown):
    """At temperature 1: as often as the policies say, over all actions of many searches."""
    found = [grown("puct", mixed(3), jax.random.key(seed))[0] for seed in range(40)]
    drawn, expected = np.zeros(9), np.zeros(9)
    for its in found:
        np.testing.assert_allclose(its.policy, its.visits / SIMULATIONS, rtol=1e-6)
        drawn += np.bincount(its.action, minlength=9)
        expected += its.policy.sum(axis=0)
    assert stats.chisquare(drawn, expected).pvalue > 1e-3


def test_puct_explores_as_much_as_it_is_told():
    """Where the third square wins: with a large constant all five legal moves are tried alike, with 0 hardly any but
    that one."""
    wins = take(KNOWN, slice(1))
    search = jax.jit(lambda c: GREEDY["puct"](RULES, (), wins, KEY, simulations=40, c_init=c).visits[0])
    legal = wins["action_mask"][0]
    assert np.ptp(np.asarray(search(1000.0))[legal]) <= 1
    assert search(0.0)[2] > 30


@pytest.fixture(scope="module")
def greedily():
    """The same without exploring; Gumbel looks at four actions."""
    searches = GREEDY | {"gumbel": partial(GREEDY["gumbel"], max_considered=4)}
    compiled = {
        kind: jax.jit(lambda positions, key, s=search: s(FICKLE, 1.0, positions, key, simulations=SIMULATIONS))
        for kind, search in searches.items()
    }
    return lambda kind, key: jax.device_get(compiled[kind](mixed(4), key))


@both
def test_a_greedy_search_leaves_nothing_to_chance(greedily, kind):
    """But, with PUCT, which of the most visited actions it takes."""
    one, other = (greedily(kind, jax.random.key(seed)) for seed in (0, 1))
    np.testing.assert_array_equal(one.visits, other.visits)
    np.testing.assert_array_equal(chosen(one.visits, one), chosen(one.visits, other))


def test_puct_at_temperature_0_plays_the_most_visited(greedily):
    its = greedily("puct", KEY)
    np.testing.assert_array_equal(chosen(its.visits, its), its.visits.max(axis=1))


def test_gumbel_looks_at_no_more_actions_than_it_may(greedily):
    expected = np.minimum(mixed(4)["action_mask"].sum(axis=1), 4)
    np.testing.assert_array_equal((greedily("gumbel", KEY).visits > 0).sum(axis=1), expected)


def test_without_mctx_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "mctx", None)
    with pytest.raises(TeguError, match=r"tree search needs tegu\[search\]: pip install 'tegu\[search\]'"):
        planning.gumbel(RULES, (), begin(GAME, 1), KEY, simulations=4)


# What is shown of a search


@both
@seeds
@settings(max_examples=5, deadline=None)
def test_lines_are_games_that_were_searched(kind, seed):
    """Each begins with an action that was visited; all its moves are legal, and it ends where the game is over."""
    positions = mixed(seed)
    found = greedy(kind, positions, seed)
    assert ((found.lines[..., 0] >= 0) == (found.visits > 0)).all()
    lengths = (found.lines >= 0).sum(axis=-1)
    assert ((found.lines >= 0) == (np.arange(found.lines.shape[-1]) < lengths[..., None])).all()  # no holes
    assert lengths.max() > 2
    rows, actions = np.nonzero(lengths)
    lines = found.lines[rows, actions]
    assert (lines[:, 0] == actions).all()
    position, ended = take(positions, rows), np.zeros(len(rows), bool)
    for moves in lines.T:
        goes_on = moves >= 0
        assert not (goes_on & ended).any()
        assert position["action_mask"][np.arange(len(rows)), moves][goes_on].all()
        timestep = play(GAME, position, np.maximum(moves, 0))
        position, ended = timestep.state, timestep.terminated


@both
def test_the_prior_is_the_network_s_over_legal_actions(kind):
    positions = mixed(0)
    found = greedy(kind, positions, 0)
    logits, _ = fickle(1.0, positions)
    legal = np.asarray(positions["action_mask"], bool)
    weights = np.where(legal, np.exp(np.asarray(logits, np.float64)), 0)
    np.testing.assert_allclose(found.prior, weights / weights.sum(axis=1, keepdims=True), rtol=1e-4, atol=1e-6)


def greedy(kind, positions, seed):
    """A search without noise."""
    found = _greedy(kind, positions, jax.random.key(seed))
    return jax.tree.map(np.asarray, found)


@partial(jax.jit, static_argnums=0)
def _greedy(kind, positions, key):
    return GREEDY[kind](FICKLE, 1.0, positions, key, simulations=SIMULATIONS)
