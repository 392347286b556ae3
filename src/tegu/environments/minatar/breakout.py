"""Breakout: keep a ball in play with a paddle and break all bricks."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from tegu.environments.minatar.base import LAST, LEFT, NONE, RIGHT, SIZE, MinAtar, cell, moved, toward

_WALL = np.zeros((SIZE, SIZE), bool)
_WALL[1:4] = True


class BreakoutState(NamedTuple):
    """The state of a game."""

    paddle: jax.Array  #: its column; it is in the last row
    x: jax.Array  #: the ball's column
    y: jax.Array  #: the ball's row
    dx: jax.Array  #: 1 to the right, -1 to the left
    dy: jax.Array  #: 1 down, -1 up
    trail: jax.Array  #: row and column of the ball one step ago, ``[2]``
    struck: jax.Array  #: bool: the ball was in the wall a step ago and breaks no other brick on its way out
    bricks: jax.Array  #: bool ``[10, 10]``


class Breakout(MinAtar):
    """MinAtar's Breakout. A brick pays 1. Missing the ball ends the game.

    The ball moves along diagonals and begins at the left or the right side. The sides, the top, the three rows of
    bricks and the paddle reflect it; the paddle sends it back the way it came if it was not above the paddle before.
    Once all bricks are broken, there are new ones when the ball has come down.
    """

    channels = ("paddle", "ball", "trail", "brick")
    symbols = "=o.#"
    minimal_actions = (NONE, LEFT, RIGHT)
    n_draws = 1
    id: str = eqx.field(static=True, kw_only=True, default="MinAtar/Breakout-v0")

    def begin(self, draws: jax.Array) -> BreakoutState:
        right = draws[0] >= 0.5  # where the ball begins
        x, y = jnp.where(right, LAST, 0), jnp.int32(3)
        return BreakoutState(
            paddle=jnp.int32(4),
            x=x,
            y=y,
            dx=jnp.where(right, -1, 1),
            dy=jnp.int32(1),
            trail=jnp.stack([y, x]),
            struck=jnp.bool_(False),
            bricks=jnp.asarray(_WALL),
        )

    def play(
        self, game: BreakoutState, action: jax.Array, draws: jax.Array
    ) -> tuple[BreakoutState, jax.Array, jax.Array]:
        paddle = moved(game.paddle, toward(action, RIGHT, LEFT))
        to_x, to_y = game.x + game.dx, game.y + game.dy
        x, y = jnp.clip(to_x, 0, LAST), jnp.maximum(to_y, 0)
        dx = jnp.where(x == to_x, game.dx, -game.dx)

        at_top = to_y < 0
        brick = game.bricks & cell(to_y, x)
        in_wall = brick.any()
        breaks = in_wall & ~game.struck
        at_bottom = (to_y == LAST) & ~in_wall
        hit = at_bottom & (paddle == game.x)
        hit_edge = at_bottom & ~hit & (paddle == x)
        bricks = jnp.where(at_bottom & ~game.bricks.any(), _WALL, game.bricks & ~(brick & breaks))

        new = BreakoutState(
            paddle=paddle,
            x=x,
            y=jnp.where(breaks | hit | hit_edge, game.y, y),
            dx=jnp.where(hit_edge, -dx, dx),
            dy=jnp.where(at_top | breaks | hit | hit_edge, -game.dy, game.dy),
            trail=jnp.stack([game.y, game.x]),
            struck=in_wall,
            bricks=bricks,
        )
        return new, breaks, at_bottom & ~hit & ~hit_edge

    def planes(self, game: BreakoutState) -> list[jax.Array]:
        return [cell(LAST, game.paddle), cell(game.y, game.x), cell(*game.trail), game.bricks]
