"""The contract of players of board games, and counts of results."""

from typing import NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np

from tegu.environments.games.base import Position


class Player(Protocol):
    """A player of a board game."""

    name: str

    def act(self, positions: Position, key: jax.Array) -> np.ndarray:
        """Choose actions, int ``[B]``, for a batch of positions ``[B, ...]`` in none of which the game is over."""
        ...


FORFEIT, RESIGNATION = -1, -2  #: in place of an action, which are never negative: the game is lost


@runtime_checkable
class SeesMoves(Player, Protocol):
    """A player that matches ask with the moves of its games, such as a program that has a board of its own."""

    def act_after(self, moves: np.ndarray, positions: Position, games: np.ndarray, key: jax.Array) -> np.ndarray:
        """Choose actions, ``FORFEIT`` or ``RESIGNATION``, int ``[B]``, in ``positions`` ``[B, ...]``.

        The game is over in none of them.

        ``moves`` int ``[B, M]`` are the actions that led there from the start of the game; ``games`` int ``[B]`` are
        numbers that tell the games apart, each the same throughout a game.
        """
        ...


class ExpectedEnd(NamedTuple):
    """What a player expects of the end of a game, for the player to move; None where it does not know."""

    score: float | None = None  #: points by which the player to move will be ahead
    ownership: np.ndarray | None = None  #: float ``[H, W]``: from 1, a point will be its own, to -1, the other's


class Explanation(NamedTuple):
    """What a player thinks of a position. Values lie in [-1, 1] and are those of the player to move."""

    policy: np.ndarray  #: float ``[A]``: probability of each action, after a search its fraction of the visits
    value: float  #: of the position
    action_values: np.ndarray | None = None  #: float ``[A]``, NaN where unknown
    visits: np.ndarray | None = None  #: int ``[A]``: simulations of a search that began with each action
    prior: np.ndarray | None = None  #: float ``[A]``: probability of each action before the search
    lines: np.ndarray | None = None  #: int ``[A, D]``: each action and what follows it, -1 beyond what is known
    end: ExpectedEnd = ExpectedEnd()


@runtime_checkable
class Explains(Protocol):
    """A player that can be asked for its numbers."""

    def explain(self, position: Position, key: jax.Array) -> Explanation | None:
        """The numbers behind an action in one position (no batch axis); None if there are none after all."""
        ...


@runtime_checkable
class ExpectsEnd(Protocol):
    """A player that can be asked for the end of a game, without a search."""

    def expected_end(self, position: Position) -> ExpectedEnd:
        """What it expects of one position (no batch axis)."""
        ...


class GameResults(NamedTuple):
    """How games ended for one of the players."""

    wins: int = 0
    draws: int = 0
    losses: int = 0

    @property
    def games(self) -> int:
        return self.wins + self.draws + self.losses

    @property
    def points(self) -> float:
        """A win counts 1, a draw a half."""
        return self.wins + self.draws / 2

    @classmethod
    def of(cls, rewards: np.ndarray) -> "GameResults":
        """Count games that ended with ``rewards`` ``[N]`` for the player."""
        return cls(int((rewards > 0).sum()), int((rewards == 0).sum()), int((rewards < 0).sum()))

    def plus(self, other: "GameResults") -> "GameResults":
        return GameResults(self.wins + other.wins, self.draws + other.draws, self.losses + other.losses)
