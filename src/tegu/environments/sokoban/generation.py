"""Levels of Sokoban that can be solved: a random room, then the game played backwards in it (Racanière et al. 2017).

Many levels are made side by side, with one step of the random walks for all at once. Only a bit generator's raw numbers
are drawn, which NumPy promises not to change, and only integers are computed: a seed gives the same levels everywhere.
"""

from functools import lru_cache

import numpy as np

from tegu.core.errors import TeguError
from tegu.environments.sokoban.levels import BOX, DIRECTIONS, PLAYER, TARGET, WALL

_BATCH = 2_000  #: rooms that are made side by side
_TURN = 35  #: per cent of the steps in which the walk that carves a room turns
_STEPS_BACK = 300  #: of the game played backwards
_LEAVE = 5  #: per cent of these in which the player leaves a box that it could pull
_TRIED, _WANTED = 500, 5  #: rooms that are tried before a pool is made, and how many of them must become levels

_BRUSHES = np.array(
    [
        [[0, 0, 0], [1, 1, 1], [0, 0, 0]],
        [[0, 1, 0], [0, 1, 0], [0, 1, 0]],
        *(np.rot90([[0, 0, 0], [0, 1, 1], [0, 1, 0]], turns) for turns in range(4)),
        *(np.rot90([[0, 0, 0], [0, 1, 1], [0, 1, 1]], turns) for turns in range(4)),
    ],
    bool,
)
"""What a step of the walk clears around itself: lines, corners and squares."""


class _Draws:
    """Random whole numbers that are the same with every release of NumPy."""

    def __init__(self, *entropy: int):
        self._bits = np.random.PCG64(np.random.SeedSequence(entropy))

    def below(self, bound: int, shape: tuple[int, ...]) -> np.ndarray:
        """Uniform in 0 to ``bound - 1``, int64, but for a bias of ``bound / 2**32``."""
        raw = self._bits.random_raw(int(np.prod(shape))).reshape(shape)
        return ((raw >> np.uint64(32)) % np.uint64(bound)).astype(np.int64)


@lru_cache(maxsize=16)
def generate(n_levels: int, size: int, boxes: int, seed: int) -> np.ndarray:
    """``n_levels`` levels, int8 ``[N, size, size]``. Each can be solved, with no fewer than ``boxes + 1`` pushes, and
    has no box on a target. More levels of the same seed begin with the same ones."""
    draws, found, count = _Draws(seed, size, boxes), [], 0
    while count < n_levels:
        found.append(_levels(draws, _BATCH, size, boxes))
        count += len(found[-1])
    pool = np.concatenate(found)[:n_levels]
    pool.flags.writeable = False
    return pool


@lru_cache(maxsize=64)
def require_levels(size: int, boxes: int) -> None:
    """Raise ``TeguError`` where hardly any room of this size becomes a level with so many boxes."""
    if len(_levels(_Draws(0, size, boxes), _TRIED, size, boxes)) < _WANTED:
        raise TeguError(f"hardly any level of {size} x {size} cells with {boxes} boxes can be generated: fewer boxes?")


def _levels(draws: _Draws, rooms: int, size: int, boxes: int) -> np.ndarray:
    """The levels that so many rooms become."""
    placed = _placed(draws, _rooms(draws, rooms, size), boxes)
    return _backwards(draws, placed) if len(placed) else placed


def _rooms(draws: _Draws, n: int, size: int) -> np.ndarray:
    """Walls and floor, int8 ``[n, size, size]``: a random walk clears what is around it, ``3.4 size`` times."""
    inner, every = size - 2, np.arange(n)
    position, heading = draws.below(inner, (n, 2)), draws.below(4, (n,))
    floor = np.zeros((n, size, size), bool)
    for _ in range(round(3.4 * size)):
        heading = np.where(draws.below(100, (n,)) < _TURN, draws.below(4, (n,)), heading)
        position = np.clip(position + DIRECTIONS[heading], 0, inner - 1)
        cleared = _BRUSHES[draws.below(len(_BRUSHES), (n,))]
        for row, column in np.ndindex(3, 3):
            floor[every, position[:, 0] + row, position[:, 1] + column] |= cleared[:, row, column]
    floor[:, [0, -1]] = floor[:, :, [0, -1]] = False
    return np.where(floor, 0, WALL).astype(np.int8)


def _placed(draws: _Draws, rooms: np.ndarray, boxes: int) -> np.ndarray:
    """The rooms that are large enough, with a player and all boxes on targets at random: a game at its end."""
    n, size, _ = rooms.shape
    levels = rooms.reshape(n, -1).copy()
    order = np.argsort(draws.below(2**31, levels.shape) + (levels == WALL) * 2**31, axis=1, kind="stable")
    enough = (levels == 0).sum(axis=1) > boxes + 1
    np.put_along_axis(levels, order[:, :1], PLAYER, axis=1)
    np.put_along_axis(levels, order[:, 1 : 1 + boxes], BOX | TARGET, axis=1)
    return levels[enough].reshape(-1, size, size)


def _backwards(draws: _Draws, levels: np.ndarray) -> np.ndarray:
    """Play from the end towards a beginning: the player walks at random and pulls the boxes that are behind it.

    Of each game the position with the highest score is kept: how often another box was pulled than before, times the
    sum of the distances (in rows and columns) from each box to the nearest target. That sum is at most the number of
    pushes that solve a level, and must be more than the number of boxes. Games without such a position are left out.
    """
    n, size, _ = levels.shape
    first, cells = np.arange(n) * size * size, levels.ravel().copy()  # the cells of all games in one row
    best, best_score = levels.copy(), np.zeros(n, np.int64)
    far, offsets = _distances(levels).ravel(), DIRECTIONS @ np.array([size, 1])
    boxes = (levels & BOX > 0).sum(axis=(1, 2))
    player = first + np.argmax(levels.reshape(n, -1) & PLAYER > 0, axis=1)
    last, changes, distance, off = np.full(n, -1), *np.zeros((3, n), np.int64)
    for _ in range(_STEPS_BACK):
        chance = draws.below(400, (n,))
        step = offsets[chance % 4]
        to, behind = player + step, player - step
        moves = cells[to] & (WALL | BOX) == 0
        pulls = moves & (cells[behind] & BOX > 0) & (chance // 4 >= _LEAVE)
        cells[player] += (pulls * BOX - moves * PLAYER).astype(np.int8)
        cells[to] += (moves * PLAYER).astype(np.int8)
        cells[behind] -= (pulls * BOX).astype(np.int8)
        changes += pulls & (behind != last)
        distance += pulls * (far[player] - far[behind])
        off += pulls * ((far[player] > 0).astype(np.int64) - (far[behind] > 0))
        last = np.where(pulls, player, last)
        player = np.where(moves, to, player)
        score = changes * distance * ((off == boxes) & (distance > boxes))
        better = np.flatnonzero(score > best_score)
        best[better], best_score[better] = cells.reshape(levels.shape)[better], score[better]
    return best[best_score > 0]


def _distances(levels: np.ndarray) -> np.ndarray:
    """From each cell to the nearest target, in rows and columns, int64 ``[n, size, size]``."""
    n, size, _ = levels.shape
    _, row, column = np.nonzero(levels & TARGET)
    targets = np.stack([row, column], axis=-1).reshape(n, -1, 2)
    steps = np.abs(targets[..., None] - np.arange(size))  # [n, targets, 2, size]
    return (steps[:, :, 0, :, None] + steps[:, :, 1, None, :]).min(axis=1)
