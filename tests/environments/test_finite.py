"""Finite environments: their tables against Gymnasium's, and their sampling against their tables."""

from collections import defaultdict

import gymnasium
import jax
import numpy as np
import pytest
from scipy import stats

from tegu.environments.grids.cliff_walking import CliffWalking
from tegu.environments.grids.finite import FiniteEnvironment, neighbour, tabulate
from tegu.environments.grids.frozen_lake import FrozenLake
from tegu.environments.grids.lizard import Lizard
from tegu.environments.grids.taxi import Taxi

GAMES = [FrozenLake(), FrozenLake("8x8"), CliffWalking(), CliffWalking(is_slippery=True), Taxi()]


def merged(outcomes):
    """Probability by (next state, reward, terminated), without what cannot happen."""
    total = defaultdict(float)
    for probability, next_state, reward, terminated in outcomes:
        if probability > 0:
            total[int(next_state), float(reward), bool(terminated)] += float(probability)
    return dict(total)


def tables(environment):
    return environment.probability, environment.next_state, environment.reward, environment.terminated


@pytest.mark.parametrize("ours", GAMES, ids=lambda game: game.id)
def test_all_tables_are_gymnasiums(ours):
    theirs = gymnasium.make(ours.id).unwrapped
    assert ours.probability.shape[:2] == (theirs.observation_space.n, theirs.action_space.n)
    np.testing.assert_allclose(ours.initial, theirs.initial_state_distrib, rtol=1e-12)
    for state, actions in theirs.P.items():
        for action, outcomes in actions.items():
            own = merged(zip(*(table[state, action] for table in tables(ours)), strict=True))
            assert own == pytest.approx(merged(outcomes), rel=1e-12), (state, action)


def test_firm_ice_is_gymnasiums():
    theirs = gymnasium.make("FrozenLake-v1", is_slippery=False).unwrapped
    ours = FrozenLake(is_slippery=False)
    for state in range(16):
        for action in range(4):
            own = merged(zip(*(table[state, action] for table in tables(ours)), strict=True))
            assert own == merged(theirs.P[state][action])


def test_names_follow_gymnasiums_numbers():
    assert FrozenLake().action_names == ("left", "down", "right", "up")
    assert CliffWalking().action_names == ("up", "right", "down", "left")
    assert Taxi().action_names == ("south", "north", "east", "west", "pickup", "dropoff")
    assert FrozenLake().state_names[5] == "1,1 hole"
    assert CliffWalking().state_names[36] == "3,0 start"
    assert Taxi().state_names[((1 * 5 + 2) * 5 + 4) * 4 + 3] == "1,2 taxi-B"


def test_slips_happen_as_often_as_the_tables_say():
    lake, draws = FrozenLake(), 3000
    step = jax.jit(jax.vmap(lake.step, in_axes=(None, None, 0)))
    for number, (state, action) in enumerate(np.ndindex(16, 4)):
        expected = merged(zip(*(table[state, action] for table in tables(lake)), strict=True))
        timestep = step(np.int32(state), np.int32(action), jax.random.split(jax.random.key(number), draws))
        happened = (np.asarray(column) for column in (timestep.state, timestep.reward, timestep.terminated))
        seen = merged(zip(np.ones(draws), *happened, strict=True))
        assert seen.keys() == expected.keys()
        counts = [seen[outcome] for outcome in expected]
        if len(counts) > 1:
            assert stats.chisquare(counts, [draws * p for p in expected.values()]).pvalue > 1e-4, (state, action)


def test_first_states_are_as_likely_as_the_distribution_says():
    taxi, draws = Taxi(), 60_000
    state, observation = jax.jit(jax.vmap(taxi.reset))(jax.random.split(jax.random.key(0), draws))
    np.testing.assert_array_equal(state, observation)
    counts = np.bincount(state, minlength=500)
    assert counts[taxi.initial == 0].sum() == 0
    possible = taxi.initial > 0
    assert stats.chisquare(counts[possible], draws * taxi.initial[possible]).pvalue > 1e-4


@pytest.mark.parametrize(
    ("game", "random_step", "random_reset"),
    [(Lizard(), False, False), (CliffWalking(), False, False), (FrozenLake(), True, False), (Taxi(), False, True)],
    ids=lambda value: getattr(value, "id", None),
)
def test_random_numbers_are_drawn_only_where_chance_plays(game, random_step, random_reset):
    key = jax.random.key(0)
    step = str(jax.make_jaxpr(game.step)(np.int32(0), np.int32(0), key))
    reset = str(jax.make_jaxpr(game.reset)(key))
    assert ("random_bits" in step) == random_step
    assert ("random_bits" in reset) == random_reset


def coin(**changes):
    """State 0: action 0 goes to 1, 2 or stays with unequal chances; state 1 and 2 end."""

    def outcomes(state, action):
        if state == 0 and action == 0:
            return [(0.0, 0, 5.0, False), (0.7, 1, 0.5, False), (0.0, 0, 5.0, False), (0.3, 2, -0.25, False)]
        return [(1.0, state, 0.0, True)]

    names = ("probability", "next_state", "reward", "terminated")
    fields = dict(zip(names, tabulate(outcomes, 3, 2), strict=True), initial=np.array([0.25, 0, 0.75]), id="coin")
    return FiniteEnvironment(**{**fields, **changes})


def test_impossible_outcomes_never_happen():
    keys = jax.random.split(jax.random.key(0), 20_000)
    timestep = jax.vmap(coin().step, in_axes=(None, None, 0))(np.int32(0), np.int32(0), keys)
    assert set(np.unique(timestep.state)) == {1, 2}
    assert set(np.unique(timestep.reward)) == {-0.25, 0.5}
    assert np.mean(timestep.state == 1) == pytest.approx(0.7, abs=0.015)
    assert set(np.unique(jax.vmap(coin().reset)(keys)[0])) == {0, 2}


def test_default_names_are_numbers():
    assert coin().state_names == ("0", "1", "2")
    assert coin().action_names == ("0", "1")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reward": np.zeros((3, 2, 1))}, "all tables"),
        ({"initial": np.array([0.5, 0.5])}, "initial distribution"),
        ({"state_names": ("one", "two")}, "names"),
        ({"next_state": np.full((3, 2, 4), 3)}, "every next state"),
        ({"next_state": np.full((3, 2, 4), -1)}, "every next state"),
        ({"initial": np.array([0.5, 0.4, 0.0])}, "sum to 1"),
        ({"probability": np.full((3, 2, 4), 0.2)}, "sum to 1"),
        ({"probability": np.tile([1.5, -0.5, 0.0, 0.0], (3, 2, 1))}, "not be negative"),
    ],
)
def test_tables_that_make_no_sense_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        coin(**changes)


def test_walls_keep_the_mover_in_place():
    assert [neighbour(0, move, 2, 3) for move in ("left", "right", "up", "down")] == [0, 1, 0, 3]
    assert [neighbour(5, move, 2, 3) for move in ("left", "right", "up", "down")] == [4, 5, 2, 5]
