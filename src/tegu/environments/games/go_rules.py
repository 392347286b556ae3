"""The rules of Go on arrays: stones, captures, liberties, areas.

Boards are ``[size, size]``, their points are numbered row by row.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

_OUTSIDE = 2  # in a board's place beyond its edge


class Stones(NamedTuple):
    """What lies on a board."""

    board: jax.Array  #: int8: 1 black, -1 white, 0 empty
    chain: jax.Array  #: int16: the number of one point of the stone's chain, the same for all of it; -1 where none is
    liberty: jax.Array  #: int16: the only liberty of a stone's chain; -1 where it has more or there is no stone


def placed(stones: Stones, point: jax.Array, colour: jax.Array, suicide: bool) -> Stones:
    """After ``colour`` (1 or -1) played at ``point``, which must be legal; nothing changes at -1."""
    here = numbers(len(stones.board)) == point
    taken = (stones.board == -colour) & (stones.liberty == point) & (point >= 0)
    own = jnp.where(stones.board == colour, stones.chain, -1)
    board = jnp.where(here, colour, jnp.where(taken, 0, stones.board)).astype(jnp.int8)
    joined = here
    for beside in _around(own, -1):
        number = jnp.where(here, beside, -1).max()  # of the own chain on that side, or -1
        joined |= (own == number) & (number >= 0)
    chain = jnp.where(joined, point, jnp.where(taken, -1, stones.chain))
    low, high = _liberties(board, chain)
    if suicide:
        dead = (chain == point) & (point >= 0) & (low > high)
        board, chain = jnp.where(dead, 0, board), jnp.where(dead, -1, chain)
        low, high = _liberties(board, chain)
    return Stones(board, chain, jnp.where((board != 0) & (low == high), low, -1))


def suicidal(stones: Stones, colour: jax.Array) -> jax.Array:
    """On which empty points a stone of ``colour`` would leave its chain without a liberty."""
    at, lives = numbers(len(stones.board)), jnp.zeros(stones.board.shape, bool)
    sides = zip(_around(stones.board, _OUTSIDE), _around(stones.liberty, -1), strict=True)
    for beside, liberty in sides:
        lives |= beside == 0
        lives |= (beside == colour) & (liberty != at)  # a chain that has another liberty
        lives |= (beside == -colour) & (liberty == at)  # one that would be taken
    return ~lives


def areas(board: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The areas of Black and White, int32: stones, and empty points from which only these are reached.

    ``board`` is int8 ``[size, size]``.
    """
    count = jax.lax.population_count
    black, white = (count(rows).sum().astype(jnp.int32) for rows in _areas(board))
    return black, white


def owners(board: jax.Array) -> jax.Array:
    """Whose area each point is in: int8 ``[size, size]``, 1 Black's, -1 White's, 0 neither's."""
    bits = jnp.arange(board.shape[1], dtype=jnp.uint32)
    black, white = ((rows[:, None] >> bits & 1).astype(jnp.int8) for rows in _areas(board))
    return black - white


def _areas(board: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The points of the two areas, uint32 ``[size]``: each row is held as the bits of one integer."""
    bits = jnp.uint32(1) << jnp.arange(board.shape[1], dtype=jnp.uint32)
    black, white, empty = (jnp.where(board == what, bits, 0).sum(axis=1) for what in (1, -1, 0))

    def reached(stones: jax.Array) -> jax.Array:
        def grown(rows: jax.Array) -> jax.Array:
            none = jnp.zeros(1, rows.dtype)
            vertical = jnp.append(rows[1:], none) | jnp.append(none, rows[:-1])
            return rows | ((vertical | rows << 1 | rows >> 1) & empty)

        start = stones, grown(stones)
        return jax.lax.while_loop(
            lambda both: (both[0] != both[1]).any(), lambda both: (both[1], grown(both[1])), start
        )[1]

    by_black, by_white = reached(black), reached(white)
    return by_black & ~by_white, by_white & ~by_black


def board_hash(board: jax.Array) -> jax.Array:
    """Of a board: uint32 ``[2]``, the sum of its stones' random numbers (as Zobrist 1970, who xors them)."""
    black, white = _keys(len(board))
    keys = jnp.where((board == 1)[..., None], black, jnp.where((board == -1)[..., None], white, jnp.uint32(0)))
    return keys.sum(axis=(0, 1), dtype=jnp.uint32)


def repeats(stones: Stones, colour: jax.Array, history: jax.Array, suicide: bool) -> jax.Array:
    """On which points a stone of ``colour`` would make a board of the ``history``: bool ``[size, size]``."""
    size = len(stones.board)
    black, white = _keys(size).reshape(2, -1, 2)
    own, other = jnp.where(colour == 1, black, white), jnp.where(colour == 1, white, black)

    def lost(side: jax.Array, keys: jax.Array) -> jax.Array:
        """What the hash loses at each point with the stones that have it as their only liberty: ``[points, 2]``."""
        at = jnp.where((stones.board == side) & (stones.liberty >= 0), stones.liberty, size**2).ravel()
        return jnp.zeros((size**2 + 1, 2), jnp.uint32).at[at].add(keys)[:-1]

    now = board_hash(stones.board)
    after = now + own - lost(-colour, other)
    if suicide:
        after = jnp.where(suicidal(stones, colour).reshape(-1, 1), now - lost(colour, own), after)
    return (after[:, None] == history).all(axis=-1).any(axis=-1).reshape(size, size)


def numbers(size: int) -> np.ndarray:
    """The numbers of the points, int16 ``[size, size]``."""
    return np.arange(size**2, dtype=np.int16).reshape(size, size)


def _around(plane: jax.Array | np.ndarray, outside: int) -> list[jax.Array]:
    """For each point what is above, below, to the left and to the right of it: four times ``[size, size]``."""
    framed = jnp.pad(plane, 1, constant_values=outside)
    return [framed[:-2, 1:-1], framed[2:, 1:-1], framed[1:-1, :-2], framed[1:-1, 2:]]


def _liberties(board: jax.Array, chain: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The least and the greatest number among the liberties of each stone's chain: int16 ``[size, size]`` each.

    They are the same where there is one liberty, and the least is the greater one where there is none. Where there is
    no stone they say nothing.
    """
    size, none = len(board), np.iinfo(np.int16).max
    free = [(beside == 0, number) for beside, number in zip(_around(board, _OUTSIDE), _beside(size), strict=True)]
    low = jnp.stack([jnp.where(empty, number, none) for empty, number in free]).min(axis=0).astype(jnp.int16)
    high = jnp.stack([jnp.where(empty, number, -1) for empty, number in free]).max(axis=0).astype(jnp.int16)
    chains = jnp.where(chain < 0, size**2, chain).ravel()

    def of_chain(plane: jax.Array, least: int) -> jax.Array:
        return jnp.full(size**2 + 1, least, jnp.int16).at[chains].max(plane.ravel())[chains].reshape(size, size)

    return -of_chain(-low, -none), of_chain(high, -1)


def _beside(size: int) -> list[np.ndarray]:
    """The numbers of the points around each point, int16; what they are beyond the edge says nothing."""
    return [numbers(size) + np.int16(step) for step in (-size, size, -1, 1)]


def _keys(size: int) -> np.ndarray:
    """The random numbers of black and of white stones: uint32 ``[2, size, size, 2]``."""
    return np.random.default_rng(0).integers(2**32, size=(2, size, size, 2), dtype=np.uint32)
