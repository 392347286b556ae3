"""Matches: who plays whom from where, and what is counted."""

import json

import jax
import numpy as np
import pytest

from tegu.analysis.statistics import score_interval
from tegu.arena.base import GameResults
from tegu.arena.match import play_match, points, round_robin
from tegu.arena.openings import openings
from tegu.arena.players import MCTSPlayer, MinimaxPlayer, RandomPlayer
from tegu.core.errors import TeguError
from tegu.environments.games.connect_four import ConnectFour
from tegu.environments.games.tic_tac_toe import TicTacToe

KEY = jax.random.key(0)


class Scripted:
    """Takes the first or the last legal action, and remembers what it was shown."""

    def __init__(self, name, last=False):
        self.name, self.last, self.seen = name, last, []

    def act(self, positions, key):
        self.seen.append(positions)
        mask = positions["action_mask"]
        assert mask.any(axis=1).all(), "nobody is asked once the game is over"
        return mask.shape[1] - 1 - mask[:, ::-1].argmax(axis=1) if self.last else mask.argmax(axis=1)


def by_hand(game, position, players):
    """The first player's reward when ``players`` go on from one position."""
    while True:
        player = players[int(position["to_play"])]
        batch = {name: np.asarray(leaf)[None] for name, leaf in position.items()}
        timestep = game.step(position, player.act(batch, KEY)[0], KEY)
        if timestep.terminated:
            return float(timestep.reward["first"])
        position = timestep.state


@pytest.mark.parametrize("plies", [0, 3, 4])
def test_each_opening_is_played_with_both_colours(plies):
    game, a, b = TicTacToe(), Scripted("a"), Scripted("b", last=True)
    match = play_match(game, a, b, 10, KEY, opening_plies=plies)
    opened = a.seen[0]
    np.testing.assert_array_equal(opened["board"], b.seen[0]["board"])
    assert (np.abs(opened["board"]).sum(axis=(1, 2)) == plies).all()
    first, second = [], []
    for row in range(5):
        position = {name: leaf[row] for name, leaf in opened.items()}
        first.append(by_hand(game, position, (a, b)))
        second.append(-by_hand(game, position, (b, a)))
    assert match.as_first == GameResults.of(np.array(first))
    assert match.as_second == GameResults.of(np.array(second))
    np.testing.assert_allclose(match.pair_scores, [(x + y + 2) / 4 for x, y in zip(first, second, strict=True)])
    assert match.total.games == 10
    assert match.score == pytest.approx(match.pair_scores.mean())


def test_players_who_are_the_same_share_the_points_of_every_opening():
    match = play_match(TicTacToe(), Scripted("a"), Scripted("b"), 40, KEY)
    assert (match.pair_scores == 0.5).all()
    assert match.as_first == GameResults(match.as_second.losses, match.as_second.draws, match.as_second.wins)


def test_decided_openings_are_drawn_again():
    opened = openings(TicTacToe(), 300, 7, KEY)
    assert opened["action_mask"].any(axis=1).all()
    assert (np.abs(opened["board"]).sum(axis=(1, 2)) == 7).all()
    assert len(np.unique(opened["board"], axis=0)) > 50
    with pytest.raises(TeguError, match="nearly always over after 9 random moves"):
        openings(TicTacToe(), 2, 9, KEY)


@pytest.mark.slow
def test_the_key_decides_everything():
    game = ConnectFour()
    matches = [play_match(game, MCTSPlayer(game, 20), RandomPlayer(), 20, jax.random.key(seed)) for seed in (1, 1, 2)]
    data = [json.dumps(match.to_json()) for match in matches]
    assert data[0] == data[1] != data[2]
    np.testing.assert_array_equal(matches[0].pair_scores, matches[1].pair_scores)
    found = matches[0].to_json()
    assert found.keys() == {"players", "games", "first", "second", "total", "score", "interval"}
    assert found["interval"][0] < found["score"] < found["interval"][1]


def test_perfect_play_beats_chance_and_draws_with_itself():
    game = TicTacToe()
    perfect = MinimaxPlayer(game)
    against_chance = play_match(game, perfect, RandomPlayer(), 200, KEY, opening_plies=0)
    assert against_chance.total.losses == 0
    assert against_chance.score > 0.8
    assert play_match(game, perfect, perfect, 20, KEY, opening_plies=0).total == GameResults(0, 20, 0)


def test_everybody_plays_everybody():
    game, players = TicTacToe(), [Scripted("a"), Scripted("b", last=True), Scripted("c")]
    matches = round_robin(game, players, 20, KEY)
    assert list(matches) == [(0, 1), (0, 2), (1, 2)]
    assert matches[0, 1].names == ("a", "b")
    won = points(matches, 3)
    np.testing.assert_array_equal(won + won.T, 20 * (1 - np.eye(3)))
    assert won[0, 1] == matches[0, 1].total.points == won[2, 1]
    assert won[0, 2] == 10


@pytest.mark.parametrize(
    ("games", "says"),
    [(0, "an even"), (1, "an even"), (7, "an even"), (-2, "an even"), (10**12, "at most 1,000,000, got 1,")],
)
def test_games_come_in_pairs(games, says):
    with pytest.raises(TeguError, match=f"games must be {says}"):
        play_match(TicTacToe(), RandomPlayer(), RandomPlayer(), games, KEY)


def test_the_interval_of_a_score():
    """Wilson's interval holds the probabilities that a normal test does not reject: its ends solve a quadratic."""
    z = 1.959963984540054
    low, high, n = score_interval([1] * 7 + [0] * 3)
    assert n == 10
    for end in (low, high):
        assert (0.7 - end) ** 2 == pytest.approx(z**2 * end * (1 - end) / 10)
    assert score_interval([1] * 20)[:2] == pytest.approx((20 / (20 + z**2), 1))
    assert np.isnan(score_interval([]).low)


@pytest.mark.parametrize("win", [0.5, 0.8, 0.95])
def test_the_interval_covers(win):
    """95 % of the time or more, with draws as well."""
    random = np.random.default_rng(0)
    draws = (1 - win) / 2
    scores = random.choice([1, 0.5, 0], (1000, 50), p=[win, draws, 1 - win - draws])
    low, high = np.array([score_interval(row)[:2] for row in scores]).T
    assert ((low <= win + draws / 2) & (win + draws / 2 <= high)).mean() > 0.93
