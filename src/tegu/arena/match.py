"""Matches between two players: each opening is played twice, each player moving first once."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import jax
import numpy as np

from tegu.algorithms.hyper_parameters import whole_within
from tegu.analysis.statistics import Interval, score_interval
from tegu.arena.base import FORFEIT, GameResults, Player, SeesMoves
from tegu.arena.openings import Openings, draw
from tegu.arena.positions import join, play, take
from tegu.core.errors import TeguError
from tegu.environments.games.base import Game, Position
from tegu.runs.schema import MOST_AT_ONCE


class Match(NamedTuple):
    """The result of a match for the first player named."""

    names: tuple[str, str]
    as_first: GameResults  #: games in which that player moved first
    as_second: GameResults
    pair_scores: np.ndarray  #: float64 ``[games / 2]``, in [0, 1]: the mean of the two games of each opening
    openings: Openings  #: ``[games / 2]``: each was played twice

    @property
    def total(self) -> GameResults:
        return self.as_first.plus(self.as_second)

    @property
    def score(self) -> float:
        """The fraction of points won; a draw is half a point."""
        return self.total.points / self.total.games

    @property
    def interval(self) -> Interval:
        """Of the score (95 %). Two games from one opening are not independent: the pairs are."""
        return score_interval(self.pair_scores)

    def to_json(self) -> dict[str, Any]:
        low, high, _ = self.interval
        results = {"first": self.as_first, "second": self.as_second, "total": self.total}
        return {
            "players": list(self.names),
            "games": self.total.games,
            **{name: games._asdict() for name, games in results.items()},
            "score": self.score,
            "interval": [float(low), float(high)],
        }


def play_match(game: Game, a: Player, b: Player, games: int, key: jax.Array, opening_plies: int | None = None) -> Match:
    """``games`` games side by side, half of them with ``a`` moving first. The same ``key`` gives the same match.

    Each opening of ``opening_plies`` random moves is played twice, once with either player moving first. ``None``
    chooses openings that are fair to both, as far as that is known (``tegu.arena.openings.draw``).
    """
    return round_robin(game, (a, b), games, key, opening_plies)[0, 1]


def round_robin(
    game: Game, players: Sequence[Player], games: int, key: jax.Array, opening_plies: int | None = None
) -> dict[tuple[int, int], Match]:
    """A round robin, ``games`` games of each pair: matches by the indices of the players, the lower first.

    All matches are played from the same openings, which are those of ``play_match``.
    """
    if games < 2 or games % 2:
        raise TeguError(f"games must be an even number, two for each opening, got {games}")
    whole_within("games", games, 2, MOST_AT_ONCE)
    opening_key, key = jax.random.split(key)
    opened = draw(game, games // 2, opening_plies, opening_key)
    pairs = combinations(range(len(players)), 2)
    return {(i, j): _played(game, players[i], players[j], opened, key) for i, j in pairs}


def _played(game: Game, a: Player, b: Player, opened: Openings, key: jax.Array) -> Match:
    pairs = len(opened.positions["to_play"])
    games = 2 * pairs
    positions = join(opened.positions, opened.positions)
    rewards = np.zeros(games)  # of the first player; ``a`` in the first half
    live = np.ones(games, bool)
    moves = np.concatenate([opened.moves, opened.moves])  # [games, plies]
    halves = (np.arange(pairs), np.arange(pairs, games))
    while live.any():
        key, *keys = jax.random.split(key, 3)
        to_move = positions["to_play"][live][0]  # the same in all games: the turn passes with every move
        players = (a, b) if to_move == 0 else (b, a)
        actions = [
            _ask(player, take(positions, half), moves[half], half, live[half], act_key)
            for player, half, act_key in zip(players, halves, keys, strict=True)
        ]
        moves = np.column_stack([moves, np.concatenate(actions)])
        given_up = live & (moves[:, -1] == FORFEIT)
        timestep = play(game, positions, np.where(given_up, 0, moves[:, -1]))
        result = np.where(given_up, -1 if to_move == 0 else 1, timestep.reward["first"])
        rewards = np.where(live, result, rewards)
        positions, live = timestep.state, live & ~timestep.terminated & ~given_up
    own = rewards[halves[0]], -rewards[halves[1]]
    return Match((a.name, b.name), GameResults.of(own[0]), GameResults.of(own[1]), (own[0] + own[1] + 2) / 4, opened)


def points(matches: Mapping[tuple[int, int], Match], n_players: int) -> np.ndarray:
    """The points of each player against each other, float64 ``[P, P]``, as ``tegu.arena.elo.ratings`` takes it."""
    won = np.zeros((n_players, n_players))
    for (i, j), match in matches.items():
        won[i, j], won[j, i] = match.total.points, match.total.games - match.total.points
    return won


def _ask(
    player: Player, positions: Position, moves: np.ndarray, games: np.ndarray, live: np.ndarray, key: jax.Array
) -> np.ndarray:
    """The actions of ``player``; it sees only games that go on.

    One that sees positions alone gets some of them again to fill up the batch.
    """
    actions, rows = np.zeros(len(live), np.int32), np.flatnonzero(live)
    if not len(rows):
        return actions
    if isinstance(player, SeesMoves):
        actions[rows] = player.act_after(moves[rows], take(positions, rows), games[rows], key)
    else:
        rows = np.resize(rows, len(live))
        actions[rows] = player.act(take(positions, rows), key)
    return actions
