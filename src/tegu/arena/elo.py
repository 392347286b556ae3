"""Elo ratings from games between several players: maximum likelihood in the model of Bradley & Terry (1952)."""

from statistics import NormalDist
from typing import NamedTuple

import numpy as np

_SCALE = 400 / np.log(10)  # Elo points for each unit of log odds: 400 points are odds of 10 to 1
_ANCHOR = 0.5  # games that every player has drawn with an imaginary one of average strength


class Ratings(NamedTuple):
    """One rating for each player, with an interval. Only differences mean something."""

    elo: np.ndarray  #: float64 ``[P]``
    half_width: np.ndarray  #: float64 ``[P]``: of the interval


def ratings(points: np.ndarray, confidence: float = 0.95, reference: int | None = None) -> Ratings:
    """Ratings from ``points[i, j]``, the points of player ``i`` against ``j``: 1 for a win, 1/2 for a draw.

    They are differences to the mean of all players, or to ``reference``, a player who then has 0; so are the intervals.

    A player is expected to win ``1 / (1 + 10 ** (-difference / 400))`` points in a game. Draws enter as half a win and
    half a loss. Someone who won every game would be infinitely strong: half a game drawn against an imaginary player
    of average strength keeps all ratings finite and moves the others hardly at all. The interval follows from Fisher's
    information; with many draws it is too wide rather than too narrow.
    """
    points = np.asarray(points, np.float64)
    games, n_players = points + points.T, len(points)
    strength = np.zeros(n_players)
    for _ in range(200):
        expected = _logistic(strength[:, None] - strength[None])
        anchored = _logistic(strength)
        gradient = (points - games * expected).sum(axis=1) + _ANCHOR * (0.5 - anchored)
        information = _information(games * expected * (1 - expected), _ANCHOR * anchored * (1 - anchored))
        step = np.clip(np.linalg.solve(information, gradient), -1, 1)  # from afar, Newton's steps lead too far
        strength = strength + step
        if np.abs(step).max() < 1e-10:
            break
    zero = np.full(n_players, 1 / n_players) if reference is None else np.eye(n_players)[reference]
    from_zero = np.eye(n_players) - zero  # takes ratings to differences
    covariance = from_zero @ np.linalg.inv(information) @ from_zero.T
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    return Ratings(_SCALE * from_zero @ strength, _SCALE * z * np.sqrt(covariance.diagonal()))


def _information(weights: np.ndarray, anchor: np.ndarray) -> np.ndarray:
    """Minus the second derivatives of the log likelihood, ``[P, P]``."""
    return np.diag(weights.sum(axis=1) + anchor) - weights


def _logistic(log_odds: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-log_odds))
