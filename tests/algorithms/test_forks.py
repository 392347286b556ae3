"""Games that begin in the middle of earlier ones: each is played again by the rules, move by move."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from tegu.acting.jax_collector import CollectorState, JaxCollector, keep_earlier
from tegu.algorithms.alphazero import AlphaZero
from tegu.arena.positions import begin, play
from tegu.environments.games.go import Go
from tegu.environments.games.tic_tac_toe import TicTacToe
from tegu.exploration import masked
from tegu.search.planning import Search

B, T, KEY = 32, 80, jax.random.key(0)
GO, SHORT = Go(size=2, komi=0.5, max_moves=10, superko=True), TicTacToe(max_episode_steps=5)


class Chance(AlphaZero):
    """It does not search: it plays at random, and thinks the same of all positions."""

    def plan(self, learner, positions, key, *, simulations, explore):
        nothing = jnp.zeros(positions["action_mask"].shape)
        noise = jax.random.uniform(key, nothing.shape)
        action = masked(noise, positions["action_mask"]).argmax(axis=-1)
        return Search(action.astype(jnp.int32), nothing, nothing[:, 0] + 0.25, nothing.astype(jnp.int32), nothing)


class Played(NamedTuple):
    """A game that began within the steps of one environment."""

    begins: int  #: the step
    before: int | None  #: after how many moves of the game before it was forked; None: it was not
    actions: list[int]  #: all moves from the empty board on


class Paid(TicTacToe):
    """Every move pays the first player one point."""

    def step(self, state, action, key):
        one = jnp.float32(1)
        return super().step(state, action, key)._replace(reward={"first": one, "second": -one})


def collected(game, **settings):
    """The steps ``[T, B]`` of many games, the kept outcomes, and the sums over the games that ended."""
    algorithm = Chance(**settings)
    collector = JaxCollector(algorithm, game, B)

    def collect(algorithm, key):
        state = collector.start(algorithm, None, key)
        _, steps, ended = collector.collect(algorithm, None, state, jax.random.fold_in(key, 1), T)
        return steps, algorithm.take(None, steps)[1].outcome, ended

    return jax.device_get(jax.jit(collect)(algorithm, KEY))


def at(tree, *index):
    return jax.tree.map(lambda leaf: leaf[index], tree)


def same(one, other):
    return all((one[name] == other[name]).all() for name in one)


def line_of(game, actions):
    """The positions of a game, batches of one, by the rules of ``game``; its last timestep."""
    positions, last = [begin(game, 1)], None
    for action in actions:
        assert positions[-1]["action_mask"][0, action]
        last = play(game, positions[-1], np.array([action]))
        positions.append(last.state)
    return positions, last


def games_of(game, steps, env):
    """All games of an environment that ended, in their order."""
    found, began, actions, before, line = [], 0, [], None, []
    for t in range(T):
        if t == began:
            position = at(steps.observation, slice(t, t + 1), env)
            before = None
            if not same(position, begin(game, 1)):
                matches = [k for k in range(1, len(line) - 1) if same(line[k], position)]
                assert matches, "it begins at no position of the game before"
                before = matches[0]
            actions = actions[: before or 0]
        actions.append(int(steps.action[t, env]))
        if steps.terminated[t, env] or steps.truncated[t, env]:
            line, last = line_of(game, actions)
            assert same(line[-1], at(steps.next_observation, slice(t, t + 1), env))
            assert last.terminated[0] == steps.terminated[t, env]
            assert last.reward["first"][0] == steps.reward["first"][t, env]
            found.append(Played(began, before, actions))
            began = t + 1
    return found


@pytest.mark.slow
def test_a_forked_game_is_one_before_up_to_a_move_and_then_a_random_one():
    steps, outcome, _ = collected(GO, fork_fraction=0.5)
    games = {env: games_of(GO, steps, env) for env in range(B)}
    later = [played for each in games.values() for played in each[1:]]
    forked = [played for played in later if played.before is not None]
    # a game of one move, of which there are none here, could not be forked
    assert min(len(played.actions) for played in later) > 1
    assert stats.binomtest(len(forked), len(later), 0.5).pvalue > 1e-3
    assert len({played.before for played in forked}) > 4
    for env, each in games.items():
        for played in each:
            moves = len(played.actions) - (played.before or 0)
            span = slice(played.begins, played.begins + moves)
            random = steps.extras.random[span, env]
            np.testing.assert_array_equal(random, (np.arange(moves) == 0) & (played.before is not None))
            # the result counts from the fork on, but not for the position before the random move
            to_play = steps.observation["to_play"][span, env]
            result = steps.reward["first"][span, env][-1] * np.where(to_play == 0, 1, -1)
            np.testing.assert_array_equal(outcome[span, env], np.where(random, 0.25, result))


@pytest.mark.slow
def test_random_openings_are_played_besides():
    """A fork within the opening goes on with what was left of it."""
    steps, _, _ = collected(GO, fork_fraction=0.5, random_moves=3)
    longest = {True: set(), False: set()}
    for env in range(B):
        for played in games_of(GO, steps, env):
            moves = len(played.actions) - (played.before or 0)
            random = steps.extras.random[played.begins : played.begins + moves, env]
            n = int(random.sum())
            assert random[:n].all()
            if played.before is not None:
                assert 1 <= n <= max(3 - played.before, 1)
            longest[played.before is not None].add(n)
    assert longest == {True: {1, 2}, False: {0, 1, 2, 3}}


@pytest.mark.slow
def test_the_clock_of_a_forked_game_counts_from_the_empty_board():
    steps, _, _ = collected(SHORT, fork_fraction=0.7)
    stones = np.abs(steps.next_observation["board"]).sum(axis=(2, 3))
    np.testing.assert_array_equal(stones >= 5, steps.truncated | (steps.terminated & (stones == 5)))
    assert sum(played.before is not None for env in range(B) for played in games_of(SHORT, steps, env)) > 100


@pytest.mark.slow
def test_a_forked_game_is_paid_from_the_fork_on():
    steps, _, ended = collected(Paid(), fork_fraction=0.7)
    last = [np.flatnonzero(column)[-1] for column in steps.terminated.T]
    assert ended.total_reward["first"] == sum(last) + B
    assert ended.length > ended.total_reward["first"]


@pytest.mark.parametrize("random_moves", [0, 2])
def test_without_a_fork_games_are_as_they_were(random_moves):
    plain = collected(GO, random_moves=random_moves)
    jax.tree.map(np.testing.assert_array_equal, collected(GO, random_moves=random_moves, fork_fraction=0.0), plain)
    assert JaxCollector(AlphaZero(), GO, 2).start(AlphaZero(), None, KEY).earlier is None


def test_each_moment_of_an_episode_is_kept_alike():
    n, length = 6000, 7

    def moment(elapsed):
        return CollectorState(jnp.full(n, elapsed), (), (), jnp.full(n, elapsed), jnp.zeros(n))

    kept = moment(99)
    for elapsed in range(1, length + 1):
        ended = jnp.full(n, elapsed == length)
        kept = keep_earlier(kept, moment(elapsed), ended, jax.random.fold_in(KEY, elapsed))
    counts = np.bincount(kept.env_state)
    assert counts[0] == 0
    assert len(counts) == length
    assert stats.chisquare(counts[1:]).pvalue > 1e-3
