"""Matches between two players: each opening is played twice, each player moving first once."""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import combinations
from typing import Any, NamedTuple

import jax
import numpy as np

from tegu.algorithms.hyper_parameters import whole_within
from tegu.analysis.statistics import Interval, score_interval
from tegu.arena.base import GameResults, Player, SeesMoves
from tegu.arena.openings import Openings, draw
from tegu.arena.positions import join, play, take
from tegu.core.errors import TeguError
from tegu.environments.games.base import Game, Position
from tegu.runs.schema import MOST_AT_ONCE


class Games(NamedTuple):
    """``N`` games that are over."""

    moves: list[list[int]]  #: ``[N]``: actions from the start of each game; the last one is negative if it was given up
    rewards: np.ndarray  #: float64 ``[N]``: of the player who moved first
    positions: Position  #: ``[N, ...]``: how they ended


class Match(NamedTuple):
    """The result of a match for the first player named."""

    names: tuple[str, str]
    as_first: GameResults  #: games in which that player moved first
    as_second: GameResults
    pair_scores: np.ndarray  #: float64 ``[games / 2]``, in [0, 1]: the mean of the two games of each opening
    openings: Openings  #: ``[games / 2]``: each was played twice
    played: Games  #: all games, first those in which the first player named moved first

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


def self_play(game: Game, player: Player, games: int, key: jax.Array, opening_plies: int | None = None) -> Games:
    """``games`` games of a player against itself, side by side, each from an opening of its own (``play_match``)."""
    whole_within("games", games, 1, MOST_AT_ONCE)
    opening_key, key = jax.random.split(key)
    opened = draw(game, games, opening_plies, opening_key)
    return _finished(game, [(np.arange(games), (player, player))], opened.positions, opened.moves, key)


def _played(game: Game, a: Player, b: Player, opened: Openings, key: jax.Array) -> Match:
    pairs = len(opened.positions["to_play"])
    tables = [(np.arange(pairs), (a, b)), (np.arange(pairs, 2 * pairs), (b, a))]
    both = join(opened.positions, opened.positions), np.concatenate([opened.moves, opened.moves])
    played = _finished(game, tables, *both, key)
    own = played.rewards[:pairs], -played.rewards[pairs:]
    results = GameResults.of(own[0]), GameResults.of(own[1])
    return Match((a.name, b.name), *results, (own[0] + own[1] + 2) / 4, opened, played)


def _finished(
    game: Game,
    tables: Sequence[tuple[np.ndarray, tuple[Player, Player]]],
    positions: Position,
    moves: np.ndarray,
    key: jax.Array,
) -> Games:
    """Play on from ``positions`` ``[N, ...]``, to which ``moves`` ``[N, plies]`` led. ``tables``: rows, and who plays
    there, the player who moves first at the start of a game first."""
    games = len(moves)
    rewards, lengths, live = np.zeros(games), np.zeros(games, int), np.ones(games, bool)
    while live.any():
        key, *keys = jax.random.split(key, 1 + len(tables))
        to_move = int(positions["to_play"][live][0])  # the same in all games: the turn passes with every move
        actions = [
            _ask(players[to_move], take(positions, rows), moves[rows], rows, live[rows], act_key)
            for (rows, players), act_key in zip(tables, keys, strict=True)
        ]
        moves = np.column_stack([moves, np.concatenate(actions)])
        given_up = live & (moves[:, -1] < 0)
        timestep = play(game, positions, np.where(given_up, 0, moves[:, -1]))
        result = np.where(given_up, -1 if to_move == 0 else 1, timestep.reward["first"])
        rewards, lengths = np.where(live, result, rewards), np.where(live, moves.shape[1], lengths)
        goes_on = live & ~given_up
        positions = jax.tree.map(partial(_where, goes_on), timestep.state, positions)
        live = goes_on & ~timestep.terminated
    return Games([list(map(int, row[:n])) for row, n in zip(moves, lengths, strict=True)], rewards, positions)


def _where(rows: np.ndarray, new: np.ndarray, old: np.ndarray) -> np.ndarray:
    return np.where(rows.reshape(-1, *[1] * (new.ndim - 1)), new, old)


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
