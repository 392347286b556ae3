"""The players, against perfect play and threats found naively."""

import equinox as eqx
import jax
import numpy as np
import pytest
from arena.conftest import Fixed, Planner, Taste, untrained

from tegu.arena.base import Explains
from tegu.arena.players import AgentPlayer, MCTSPlayer, MinimaxPlayer, RandomPlayer
from tegu.arena.positions import begin, join, play, take
from tegu.arena.solve import exhaustive, solve
from tegu.arena.uct import search
from tegu.core.errors import TeguError
from tegu.environments.games.connect_four import ConnectFour
from tegu.environments.games.tic_tac_toe import TicTacToe

KEY = jax.random.key(0)


def random_positions(game, plies, n, seed=0):
    """Positions after ``plies`` random moves in which the game goes on."""
    positions = begin(game, n)
    for ply in range(plies):
        timestep = play(game, positions, RandomPlayer().act(positions, jax.random.key(seed + 1000 * ply)))
        positions = take(timestep.state, np.flatnonzero(~timestep.terminated))
    return positions


def winning(game, positions):
    """Whether an action wins at once, bool ``[B, A]``."""
    found = np.zeros(positions["action_mask"].shape, bool)
    rows, actions = np.nonzero(positions["action_mask"])
    timestep = play(game, take(positions, rows), actions)
    found[rows, actions] = timestep.reward["first"] * (1 - 2 * positions["to_play"][rows]) > 0
    return found


def threats(game, positions):
    """Where the other player would win at once."""
    return winning(game, positions | {"to_play": 1 - positions["to_play"]})


def test_chance_plays_every_legal_action_equally_often():
    game = TicTacToe()
    position = random_positions(game, 4, 10)
    many = {name: np.repeat(leaf[:1], 5000, axis=0) for name, leaf in position.items()}
    counts = np.bincount(RandomPlayer().act(many, KEY), minlength=9)
    legal = position["action_mask"][0]
    assert counts[~legal].sum() == 0
    np.testing.assert_allclose(counts[legal] / 5000, 0.2, atol=0.03)


@pytest.mark.slow
def test_rollouts_are_all_counted():
    game = ConnectFour()
    positions = join(begin(game, 1), *(random_positions(game, plies, 3) for plies in (10, 20, 30)))
    visits, wins = search(game, positions, 300, KEY)
    np.testing.assert_array_equal(visits.sum(axis=1), 300)
    assert (visits[~positions["action_mask"]] == 0).all()
    assert (visits[positions["action_mask"]] > 0).all()
    assert ((wins >= 0) & (wins <= visits)).all()


@pytest.mark.long
def test_more_rollouts_come_nearer_to_perfect_play():
    """Over random positions of tic-tac-toe: how often the move is one of the best, and the error of its value."""
    game = TicTacToe()
    positions = join(*(random_positions(game, plies, 25) for plies in range(7)))
    exact = solve(game).action_values(positions)
    right, error = [], []
    for rollouts in (20, 200, 2000):
        visits, wins = (np.asarray(array) for array in search(game, positions, rollouts, KEY))
        move = visits.argmax(axis=1)[:, None]
        chosen = np.take_along_axis(exact, move, axis=1)[:, 0]
        right.append((chosen == exact.max(axis=1)).mean())
        mean = np.take_along_axis(2 * wins / np.maximum(visits, 1) - 1, move, axis=1)[:, 0]
        error.append(np.abs(mean - chosen).mean())
    assert right == sorted(right)
    assert error == sorted(error, reverse=True)
    assert right[-1] > 0.97
    assert error[-1] < 0.2


@pytest.mark.slow
@pytest.mark.parametrize("side", ["first", "second"])
def test_search_never_loses_tic_tac_toe(side):
    tally = exhaustive(TicTacToe(), MCTSPlayer(TicTacToe(), 1500), side, KEY)
    assert tally.losses == 0
    assert tally.wins > 50


@pytest.mark.slow
def test_search_wins_at_once_and_blocks_in_connect_four():
    game = ConnectFour()
    positions = join(*(random_positions(game, plies, 100, seed=plies) for plies in (8, 12, 16, 20, 24)))
    wins, blocks = winning(game, positions), threats(game, positions)
    player = MCTSPlayer(game, 1000)
    now = take(positions, np.flatnonzero(wins.any(axis=1)))
    chosen = player.act(now, KEY)
    assert len(chosen) > 100
    assert wins[wins.any(axis=1)][np.arange(len(chosen)), chosen].all()
    must = ~wins.any(axis=1) & (blocks.sum(axis=1) == 1)
    assert must.sum() > 30
    # where blocking loses as well, because a second threat lies above, any move is as good
    chosen = player.act(take(positions, np.flatnonzero(must)), KEY)
    timestep = play(game, take(positions, np.flatnonzero(must)), blocks[must].argmax(axis=1))
    holds = ~winning(game, timestep.state).any(axis=1)
    assert (blocks[must][np.arange(len(chosen)), chosen] | ~holds).all()


def test_many_positions_are_searched_in_parts(monkeypatch):
    game, positions = TicTacToe(), random_positions(TicTacToe(), 3, 10)
    monkeypatch.setattr("tegu.arena.players._NODES", 300)
    actions = MCTSPlayer(game, 100).act(positions, KEY)
    assert actions.shape == (10,)
    assert positions["action_mask"][np.arange(10), actions].all()


def test_a_player_says_why():
    game = TicTacToe()
    position = {name: leaf[0] for name, leaf in begin(game, 1).items()}
    for square in (0, 4, 1):  # X threatens the top row; O must block
        position = {name: np.asarray(leaf) for name, leaf in game.step(position, np.int32(square), KEY).state.items()}
    exact = MinimaxPlayer(game).explain(position, KEY)
    assert exact.policy.tolist() == [0, 0, 1, 0, 0, 0, 0, 0, 0]
    np.testing.assert_array_equal(exact.action_values, [np.nan, np.nan, 0, -1, np.nan, -1, -1, -1, -1])
    assert exact.value == 0
    searched = MCTSPlayer(game, 2000).explain(position, KEY)
    assert searched.policy.argmax() == 2
    assert searched.policy.sum() == pytest.approx(1)
    np.testing.assert_array_equal(np.isnan(searched.action_values), np.isnan(exact.action_values))
    assert searched.value == pytest.approx(0, abs=0.3)
    assert not isinstance(RandomPlayer(), Explains)


def test_no_rollouts_are_refused():
    with pytest.raises(TeguError, match="at least 1 rollout, got 0"):
        MCTSPlayer(TicTacToe(), 0)


@pytest.mark.parametrize("index", [0, 1])
def test_an_agent_plays_greedily(index):
    game, trained = TicTacToe(), untrained(Fixed())
    player = AgentPlayer(trained, game, "mine", index=index)
    positions = join(*(random_positions(game, plies, 20) for plies in range(7)))
    liked = np.where(positions["action_mask"], np.asarray(trained.learner(index).scores), -np.inf)
    np.testing.assert_array_equal(player.act(positions, KEY), liked.argmax(axis=1))
    assert player.name == "mine"
    assert player.explain(take(positions, 0), KEY) is None


def test_an_agent_that_searches_says_why():
    game, trained = TicTacToe(), untrained(Planner())
    position = take(random_positions(game, 3, 5), 0)
    said = AgentPlayer(trained, game, "mine").explain(position, KEY)
    assert said.policy.sum() == pytest.approx(1)
    assert said.value == pytest.approx(0.08)
    best = AgentPlayer(trained, game, "mine").act(take(random_positions(game, 3, 5), slice(0, 1)), KEY)[0]
    assert said.action_values[best] == 0.5
    assert np.isnan(np.delete(said.action_values, best)).all()
    longer = AgentPlayer(trained, game, "mine@32", simulations=32)
    assert longer.explain(position, KEY).value == pytest.approx(0.32)


class Sized(Planner):
    """Likes a number of squares that is a hyper-parameter."""

    size: int = eqx.field(static=True, default=9)  #: squares
    bonus: float = 0.5  #: a number of acting

    def init(self, key, spec):
        return Taste(jax.random.normal(key, (self.size,)))


def test_an_agent_plays_with_other_hyper_parameters():
    """Such as a command has them, as text; not with those that would need another learner."""
    game, trained = TicTacToe(), untrained(Sized())
    settings = {"simulations": "16", "bonus": "2"}
    player = AgentPlayer(trained, game, "mine", settings=settings)
    assert player.explain(take(random_positions(game, 3, 5), 0), KEY).value == pytest.approx(0.16)
    both = AgentPlayer(trained, game, "mine", simulations=32, settings={"bonus": 2.0})
    assert both.explain(take(random_positions(game, 3, 5), 0), KEY).value == pytest.approx(0.32)
    for wrong, said in (
        ({"bonnus": "1"}, "^mine: .*has no hyper-parameter 'bonnus': did you mean bonus"),
        ({"bonus": "much"}, "^mine: bonus must be a number, got 'much'"),
        ({"size": "8"}, "^mine: size cannot be changed any more"),
    ):
        with pytest.raises(TeguError, match=said):
            AgentPlayer(trained, game, "mine", settings=wrong)


def test_agents_that_do_not_fit_are_refused():
    with pytest.raises(TeguError, match="mine plays tic-tac-toe, not connect-four"):
        AgentPlayer(untrained(Fixed()), ConnectFour(), "mine")
    with pytest.raises(TeguError, match="mine was trained with fixed, which does not search"):
        AgentPlayer(untrained(Fixed()), TicTacToe(), "mine", simulations=8)
    with pytest.raises(TeguError, match=r"mine: seed_index must lie in 0\.\.1, got 2"):
        AgentPlayer(untrained(Fixed()), TicTacToe(), "mine", index=2)
