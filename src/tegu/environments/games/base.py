"""The contract of board games: two players in turn, everything in sight, one's gain the other's loss."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from tegu.environments.base import Environment, PyTree

Position = dict[str, Any]  #: what both players see, and the whole state: see ``Game``

PLAYERS = ("first", "second")


class Game(Environment):
    """A board game as an environment whose observation is its state, so that a search can go on from what it sees.

    A position is a dict of arrays: ``"board"`` int8 ``[H, W]``, 0 empty, 1 the first player's, -1 the second's;
    ``"to_play"`` int32 scalar, 0 or 1: whose turn it is; ``"action_mask"`` bool ``[A]``: the legal actions; and
    whatever else the rules must remember (Go: the ko). ``step`` plays for the player whose turn it is. It pays each of
    ``PLAYERS`` at the end, the winner 1 and the loser -1, before that and in a draw 0; an illegal action loses at once.
    The turn passes with every action, also with the last; once the game is over no action is legal.
    """

    stones: ClassVar[tuple[str, str]] = ("X", "O")  #: how the players' stones are drawn in a terminal
    n_symmetries: ClassVar[int] = 1  #: ways to turn and mirror the board that change nothing, the identity among them

    @property
    def agents(self) -> tuple[str, ...]:
        return PLAYERS

    @property
    def points(self) -> int:
        """The number of points, or squares, of the board."""
        position, _ = jax.eval_shape(self.reset, jax.random.key(0))
        return position["board"].size

    @property
    def most_moves(self) -> int:
        """After how many moves every game is over, at the latest; where a game does not say, as many as points."""
        return self.points

    def first(self) -> Position:
        """The position that matches begin with: what ``reset`` gives, but for what it may vary from game to game."""
        return self.reset(jax.random.key(0))[0]

    def features(self, position: Position) -> jax.Array:
        """What a network sees of a position, from the side of the player to move: float32 ``[H, W, C]``.

        Two planes, own stones and the other's; games that remember more add planes.
        """
        own = jnp.where(position["to_play"] == 0, 1, -1)
        return jnp.stack([position["board"] == own, position["board"] == -own], axis=-1).astype(jnp.float32)

    def symmetric(self, index: jax.Array, features: jax.Array, policy: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The ``index``-th (of ``n_symmetries``) turned or mirrored picture of ``features`` and ``policy`` ``[A]``.

        ``features`` may be any planes ``[H, W, C]``.
        """
        return features, policy

    def ownership(self, position: Position) -> jax.Array:
        """Whose each point is if the game ends here: int8 ``[H, W]``, 1 the first player's, -1 the second's, else 0.

        Only games that are about points define it, and ``score``.
        """
        raise AttributeError(f"{type(self).__name__} does not say whose points are")

    def score(self, position: Position) -> jax.Array:
        """By how many points the first player is ahead if the game ends here: a float scalar."""
        raise AttributeError(f"{type(self).__name__} has no score")

    def action_name(self, action: int) -> str:
        """What a person calls an action, such as ``"b2"``."""
        raise AttributeError(f"{type(self).__name__} must define action_name")

    def action_of(self, name: str) -> int:
        """Undo ``action_name``. Raises ``TeguError`` naming what was expected."""
        raise AttributeError(f"{type(self).__name__} must define action_of")


def payoff(winner: jax.Array) -> PyTree:
    """Rewards by player: ``winner`` is 1 if the first has just won, -1 the second, 0 neither; int scalar."""
    reward = winner.astype(jnp.float32)
    return {"first": reward, "second": -reward}


def own_reward(reward: PyTree, to_play: jax.Array | np.ndarray) -> Any:
    """The reward of the player ``to_play`` from rewards by player, any shape."""
    return jnp.where(to_play == 0, reward["first"], reward["second"])
