"""Space Invaders: shoot the aliens before they, or their bullets, reach the cannon."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from tegu.environments.minatar.base import FIRE, LAST, LEFT, NONE, RIGHT, SIZE, MinAtar, cell, moved, toward

_SHOT_INTERVAL = 5  # steps between two shots of the cannon
_ALIEN_SHOT_INTERVAL = 10
_SLOWEST, _FASTEST = 12, 6  # steps between two moves of the first wave, and of the last
_WAVE = np.zeros((SIZE, SIZE), bool)
_WAVE[:4, 2:8] = True


class SpaceInvadersState(NamedTuple):
    """The state of a game. Bullets and aliens are bool ``[10, 10]``: row and column."""

    x: jax.Array  #: the cannon's column; it is in the last row
    shot_timer: jax.Array  #: steps until the cannon can shoot
    friendly_bullets: jax.Array
    enemy_bullets: jax.Array
    aliens: jax.Array
    rightwards: jax.Array  #: bool: which way the aliens move
    alien_interval: jax.Array  #: steps between two moves of the aliens while they are many
    alien_timer: jax.Array
    alien_shot_timer: jax.Array


class SpaceInvaders(MinAtar):
    """MinAtar's Space Invaders. An alien that is shot pays 1. An alien or a bullet at the cannon ends the game.

    The aliens move sideways, and down whenever one is at the side to which they move; the game also ends when they
    would move below the last row. Few of them move faster. Every ten steps the lowest alien in the column nearest to
    the cannon shoots. When all are gone, the next wave comes, with ``difficulty_ramping`` faster than the last one.
    """

    channels = ("cannon", "alien", "alien_left", "alien_right", "friendly_bullet", "enemy_bullet")
    symbols = "AM<>'!"
    minimal_actions = (NONE, LEFT, RIGHT, FIRE)

    difficulty_ramping: bool = eqx.field(kw_only=True, default=True)
    id: str = eqx.field(static=True, kw_only=True, default="MinAtar/SpaceInvaders-v0")

    def begin(self, draws: jax.Array) -> SpaceInvadersState:
        nothing = jnp.zeros((SIZE, SIZE), bool)
        return SpaceInvadersState(
            x=jnp.int32(5),
            shot_timer=jnp.int32(0),
            friendly_bullets=nothing,
            enemy_bullets=nothing,
            aliens=jnp.asarray(_WAVE),
            rightwards=jnp.bool_(False),
            alien_interval=jnp.int32(_SLOWEST),
            alien_timer=jnp.int32(_SLOWEST),
            alien_shot_timer=jnp.int32(_ALIEN_SHOT_INTERVAL),
        )

    def play(
        self, game: SpaceInvadersState, action: jax.Array, draws: jax.Array
    ) -> tuple[SpaceInvadersState, jax.Array, jax.Array]:
        fires = (action == FIRE) & (game.shot_timer == 0)
        x = moved(game.x, toward(action, RIGHT, LEFT))
        cannon = cell(LAST, x)
        friendly = _move_bullets(game.friendly_bullets | (cell(LAST, game.x) & fires), -1)
        enemy = _move_bullets(game.enemy_bullets, 1)

        moves = game.alien_timer == 0
        aliens, rightwards, landed = _move_aliens(game.aliens, game.rightwards, moves)
        over = (cannon & (enemy | game.aliens | aliens)).any() | landed

        shoots = game.alien_shot_timer == 0
        enemy = enemy | (_nearest_alien(aliens, x) & shoots)
        shot = aliens & friendly
        left = aliens & ~shot
        cleared = ~left.any()
        faster = self.difficulty_ramping & cleared & (game.alien_interval > _FASTEST)

        reload = jnp.minimum(game.aliens.sum(dtype=jnp.int32), game.alien_interval)
        new = SpaceInvadersState(
            x=x,
            shot_timer=jnp.maximum(jnp.where(fires, _SHOT_INTERVAL, game.shot_timer) - 1, 0),
            friendly_bullets=friendly & ~shot,
            enemy_bullets=enemy,
            aliens=jnp.where(cleared, _WAVE, left),
            rightwards=rightwards,
            alien_interval=game.alien_interval - faster,
            alien_timer=jnp.where(moves, reload, game.alien_timer) - 1,
            alien_shot_timer=jnp.where(shoots, _ALIEN_SHOT_INTERVAL, game.alien_shot_timer) - 1,
        )
        return new, shot.sum(), over

    def planes(self, game: SpaceInvadersState) -> list[jax.Array]:
        left, right = game.aliens & ~game.rightwards, game.aliens & game.rightwards
        return [cell(LAST, game.x), game.aliens, left, right, game.friendly_bullets, game.enemy_bullets]


def _move_bullets(bullets: jax.Array, down: int) -> jax.Array:
    """Bullets one row further down (1) or up (-1); those at the end are gone."""
    return jnp.pad(bullets[:-1], ((1, 0), (0, 0))) if down == 1 else jnp.pad(bullets[1:], ((0, 1), (0, 0)))


def _move_aliens(aliens: jax.Array, rightwards: jax.Array, moves: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The aliens a step further if it is time, which way they go on, and whether they went below the last row."""
    turns = moves & jnp.where(rightwards, aliens[:, LAST], aliens[:, 0]).any()
    sideways = jnp.where(rightwards, jnp.roll(aliens, 1, axis=1), jnp.roll(aliens, -1, axis=1))
    onward = jnp.where(turns, jnp.roll(aliens, 1, axis=0), sideways)
    return jnp.where(moves, onward, aliens), rightwards ^ turns, turns & aliens[LAST].any()


def _nearest_alien(aliens: jax.Array, x: jax.Array) -> jax.Array:
    """The cell of the lowest alien in the column nearest to ``x``, the left one of two: bool ``[10, 10]``."""
    distance = jnp.where(aliens.any(axis=0), jnp.abs(np.arange(SIZE) - x), SIZE)
    lowest = jnp.where(aliens, np.arange(SIZE)[:, None], -1).max(axis=0)
    return cell(lowest, jnp.argmin(distance)) & aliens
