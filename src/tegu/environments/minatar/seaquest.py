"""Seaquest: a submarine shoots fish and other submarines, rescues divers, and must come up for air."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from tegu.core.step import PyTree
from tegu.environments.minatar.base import (
    DOWN,
    FIRE,
    LANES,
    LAST,
    LEFT,
    RIGHT,
    SIZE,
    UP,
    MinAtar,
    ahead,
    cell,
    cells,
    inside,
    moved,
    toward,
)

_CHANNELS = "sub_front sub_back friendly_bullet trail enemy_bullet enemy_fish enemy_sub oxygen_gauge diver_gauge diver"
_FULL_TANK = 200  # steps that the oxygen lasts
_MOST_DIVERS = 6
_SHOT_INTERVAL, _ENEMY_SHOT_INTERVAL = 5, 10  # steps between two shots of the player, and of a submarine
_SPAWN_INTERVAL, _MOVE_INTERVAL, _FASTEST = 20, 5, 2  # of enemies: at first, and the least between two moves
_DIVER_SPAWN_INTERVAL, _DIVER_MOVE_INTERVAL = 30, 5

# How many there can be at once. A bullet is gone after 9 steps and a diver after 59. Enemies are gone after 29 when
# they are fastest, and they are that long before one comes with every step.
_BULLETS, _DIVERS, _ENEMIES = 2, 2, 32


class Bullets(NamedTuple):
    """The player's bullets, the newest first: fields ``[2]``."""

    present: jax.Array  #: bool
    x: jax.Array
    y: jax.Array
    rightwards: jax.Array  #: bool


class Divers(NamedTuple):
    """Divers in the water, the newest first: fields ``[2]``."""

    present: jax.Array  #: bool
    x: jax.Array
    y: jax.Array
    rightwards: jax.Array  #: bool
    timer: jax.Array  #: steps until it moves


class Enemies(NamedTuple):
    """Fish and submarines, the newest first: fields ``[32]``."""

    present: jax.Array  #: bool
    x: jax.Array
    y: jax.Array
    rightwards: jax.Array  #: bool
    timer: jax.Array  #: steps until it moves
    armed: jax.Array  #: bool: a submarine, which shoots; a fish does not
    shot_timer: jax.Array  #: steps until it shoots


class SeaquestState(NamedTuple):
    """The state of a game."""

    x: jax.Array  #: the column of the player's front
    y: jax.Array  #: the player's row; 0 is the surface
    rightwards: jax.Array  #: bool: the way the player faces
    shot_timer: jax.Array  #: steps until the player can shoot
    oxygen: jax.Array  #: steps that it lasts
    rescued: jax.Array  #: divers on board
    bullets: Bullets
    enemy_bullets: jax.Array  #: bool ``[2, 10, 10]``: those that go left, and right
    divers: Divers
    diver_timer: jax.Array  #: steps until the next diver comes
    enemies: Enemies
    spawn_interval: jax.Array  #: steps from one enemy to the next
    spawn_timer: jax.Array
    move_interval: jax.Array  #: steps between two moves of an enemy
    ramps: jax.Array  #: how often the game has become harder


class Seaquest(MinAtar):
    """MinAtar's Seaquest. A fish or a submarine that is shot pays 1, six divers brought up pay up to 10.

    The player comes up by moving to the first row. This needs a diver on board and leaves one fewer there; six leave
    together and pay the cells of the oxygen gauge. It fills the tank and, with ``difficulty_ramping``, makes enemies
    come more often, and every second time also move more often. The game ends when an enemy or its bullet meets the
    player, when the oxygen has run out, or when the player comes up with no diver.

    As in the package, there is one diver fewer than none after six were brought up, and with fewer than none one can
    come up again, too.
    """

    channels = tuple(_CHANNELS.split())
    symbols = "@=-.*fSodD"
    minimal_actions = tuple(range(6))
    n_draws = 5

    difficulty_ramping: bool = eqx.field(kw_only=True, default=True)
    id: str = eqx.field(static=True, kw_only=True, default="MinAtar/Seaquest-v0")

    def begin(self, draws: jax.Array) -> SeaquestState:
        return SeaquestState(
            x=jnp.int32(5),
            y=jnp.int32(0),
            rightwards=jnp.bool_(False),
            shot_timer=jnp.int32(0),
            oxygen=jnp.int32(_FULL_TANK),
            rescued=jnp.int32(0),
            bullets=_none(Bullets, _BULLETS),
            enemy_bullets=jnp.zeros((2, SIZE, SIZE), bool),
            divers=_none(Divers, _DIVERS),
            diver_timer=jnp.int32(_DIVER_SPAWN_INTERVAL),
            enemies=_none(Enemies, _ENEMIES),
            spawn_interval=jnp.int32(_SPAWN_INTERVAL),
            spawn_timer=jnp.int32(_SPAWN_INTERVAL),
            move_interval=jnp.int32(_MOVE_INTERVAL),
            ramps=jnp.int32(0),
        )

    def play(
        self, game: SeaquestState, action: jax.Array, draws: jax.Array
    ) -> tuple[SeaquestState, jax.Array, jax.Array]:
        spawns, diver_spawns = game.spawn_timer == 0, game.diver_timer == 0
        enemies = _spawn_enemy(game.enemies, spawns, draws[:3], game.move_interval)
        divers = _spawn_diver(game.divers, diver_spawns, draws[3:])

        fires = (action == FIRE) & (game.shot_timer == 0)
        bullets = _add(game.bullets, Bullets(fires, game.x, game.y, game.rightwards))
        x = moved(game.x, toward(action, RIGHT, LEFT))
        y = moved(game.y, toward(action, DOWN, UP), 0, LANES[-1])
        rightwards = jnp.where((action == LEFT) | (action == RIGHT), action == RIGHT, game.rightwards)

        bullets, enemies, shot = _move_bullets(bullets, enemies)
        divers, rescued = _move_divers(divers, x, y, game.rescued)
        fired = enemies.present & enemies.armed & (enemies.shot_timer == 0)
        bullets, enemies, shot_too, met = _move_enemies(bullets, enemies, x, y, game.move_interval)
        enemy_bullets, struck = _move_enemy_bullets(game.enemy_bullets, enemies, fired, cell(y, x))

        comes_up = (y == 0) & (game.y > 0)
        refills = comes_up & (rescued != 0)
        all_rescued = refills & (rescued == _MOST_DIVERS)
        bonus = jnp.where(all_rescued, _gauge(game.oxygen), 0)
        harder = self.difficulty_ramping & refills & ((game.spawn_interval > 1) | (game.move_interval > _FASTEST))
        move_harder = harder & (game.move_interval > _FASTEST) & (game.ramps % 2 == 1)
        new = SeaquestState(
            x=x,
            y=y,
            rightwards=rightwards,
            shot_timer=jnp.maximum(jnp.where(fires, _SHOT_INTERVAL, game.shot_timer) - 1, 0),
            oxygen=jnp.where(refills, _FULL_TANK, game.oxygen - (y > 0)),
            rescued=jnp.where(all_rescued, 0, rescued) - refills,
            bullets=bullets,
            enemy_bullets=enemy_bullets,
            divers=divers,
            diver_timer=jnp.where(diver_spawns, _DIVER_SPAWN_INTERVAL, game.diver_timer) - 1,
            enemies=enemies,
            spawn_interval=game.spawn_interval - (harder & (game.spawn_interval > 1)),
            spawn_timer=jnp.where(spawns, game.spawn_interval, game.spawn_timer) - 1,
            move_interval=game.move_interval - move_harder,
            ramps=game.ramps + harder,
        )
        over = met | struck | (game.oxygen <= 0) | (comes_up & ~refills)
        return new, shot + shot_too + bonus, over

    def planes(self, game: SeaquestState) -> list[jax.Array]:
        fish, subs = game.enemies.present & ~game.enemies.armed, game.enemies.present & game.enemies.armed
        bottom, column = np.arange(SIZE)[:, None] == LAST, np.arange(SIZE)
        return [
            cell(game.y, game.x),
            cell(game.y, game.x - ahead(game.rightwards)),
            _cells_of(game.bullets),
            _cells_of(game.enemies, behind=True) | _cells_of(game.divers, behind=True),
            game.enemy_bullets.any(axis=0),
            cells(game.enemies.y, game.enemies.x, fish),
            cells(game.enemies.y, game.enemies.x, subs),
            bottom & (column < _gauge(game.oxygen)),
            bottom & (column >= LAST - game.rescued) & (column < LAST),
            _cells_of(game.divers),
        ]


def _none(kind: Any, n: int) -> Any:
    """``n`` places for things of a kind, with nothing there."""
    flags = ("present", "rightwards", "armed")
    return kind(*(jnp.zeros(n, bool if field in flags else jnp.int32) for field in kind._fields))


def _add(things: PyTree, new: PyTree) -> PyTree:
    """``things`` with a new one before them in place of the last, which is long gone, if the new one is ``present``."""
    more = jax.tree.map(lambda one, old: jnp.concatenate([one[None], old[:-1]]), new, things)
    return jax.tree.map(lambda fields, old: jnp.where(new.present, fields, old), more, things)


def _spawn_enemy(enemies: Enemies, spawns: jax.Array, draws: jax.Array, interval: jax.Array) -> Enemies:
    """One more enemy, if it is time: a submarine with probability 1/3; none in a row where others come towards it."""
    from_left, armed, y = draws[0] < 1 / 2, draws[1] < 1 / 3, _lane(draws[2])
    blocked = (enemies.present & (enemies.y == y) & (enemies.rightwards != from_left)).any()
    x = jnp.where(from_left, 0, LAST)
    new = Enemies(spawns & ~blocked, x, y, from_left, interval, armed, jnp.int32(_ENEMY_SHOT_INTERVAL))
    return _add(enemies, new)


def _spawn_diver(divers: Divers, spawns: jax.Array, draws: jax.Array) -> Divers:
    from_left = draws[0] < 1 / 2
    x = jnp.where(from_left, 0, LAST)
    return _add(divers, Divers(spawns, x, _lane(draws[1]), from_left, jnp.int32(_DIVER_MOVE_INTERVAL)))


def _lane(draw: jax.Array) -> jax.Array:
    return LANES[0] + (len(LANES) * draw).astype(jnp.int32)


def _move_bullets(bullets: Bullets, enemies: Enemies) -> tuple[Bullets, Enemies, jax.Array]:
    """The player's bullets a step further, the enemies without those that they hit, and how many these are."""
    x = bullets.x + ahead(bullets.rightwards)
    bullets = bullets._replace(x=x, present=bullets.present & inside(x))
    return _shoot(bullets, enemies, enemies.present, _order(enemies))


def _shoot(
    bullets: Bullets, enemies: Enemies, exposed: jax.Array, order: jax.Array
) -> tuple[Bullets, Enemies, jax.Array]:
    """Each bullet hits one exposed enemy in its cell, the one of the highest order, and both are gone."""
    meets = (bullets.y[:, None] == enemies.y) & (bullets.x[:, None] == enemies.x)
    rank = jnp.where(meets & bullets.present[:, None] & exposed, order, -1)
    best = rank.max(axis=1, keepdims=True)
    hit = ((rank == best) & (best >= 0)).any(axis=0)
    enemies = enemies._replace(present=enemies.present & ~hit)
    return bullets._replace(present=bullets.present & (best[:, 0] < 0)), enemies, hit.sum()


def _order(enemies: Enemies) -> jax.Array:
    """The order in which bullets hit enemies in the same cell: fish before submarines, the oldest first."""
    return jnp.arange(_ENEMIES) + jnp.where(enemies.armed, 0, _ENEMIES)


def _move_divers(divers: Divers, x: jax.Array, y: jax.Array, rescued: jax.Array) -> tuple[Divers, jax.Array]:
    """The divers a step further, without those that come on board while there is room, and how many are there now."""
    moves = divers.timer == 0
    to_x = divers.x + jnp.where(moves, ahead(divers.rightwards), 0)
    meets = divers.present & (divers.y == y) & ((divers.x == x) | (to_x == x))
    boards = meets & (rescued + jnp.cumsum(meets) <= _MOST_DIVERS)
    timer = jnp.where(moves, _DIVER_MOVE_INTERVAL, divers.timer - 1)
    present = divers.present & ~boards & inside(to_x)
    return divers._replace(present=present, x=to_x, timer=timer), rescued + boards.sum(dtype=jnp.int32)


def _move_enemies(
    bullets: Bullets, enemies: Enemies, x: jax.Array, y: jax.Array, interval: jax.Array
) -> tuple[Bullets, Enemies, jax.Array, jax.Array]:
    """The enemies a step further without those that move into a bullet, how many these are, and if the player is met.

    Here submarines are hit before fish, and the newest first.
    """
    moves = enemies.timer == 0
    to_x = enemies.x + jnp.where(moves, ahead(enemies.rightwards), 0)
    meets = enemies.present & (enemies.y == y) & ((enemies.x == x) | (to_x == x))
    arrived = enemies.present & moves  # no bullet is where the player is
    enemies = enemies._replace(
        present=enemies.present & inside(to_x),
        x=to_x,
        timer=jnp.where(moves, interval, enemies.timer - 1),
        shot_timer=jnp.where(enemies.shot_timer == 0, _ENEMY_SHOT_INTERVAL, enemies.shot_timer - 1),
    )
    return *_shoot(bullets, enemies, arrived, 2 * _ENEMIES - _order(enemies)), meets.any()


def _move_enemy_bullets(
    flying: jax.Array, enemies: Enemies, fired: jax.Array, player: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The enemies' bullets a step further, with those ``fired`` now, and whether one meets the player."""
    new = [cells(enemies.y, enemies.x, fired & (enemies.rightwards == rightwards)) for rightwards in (False, True)]
    bullets = flying | jnp.stack(new)
    left = jnp.pad(bullets[0, :, 1:], ((0, 0), (0, 1)))
    right = jnp.pad(bullets[1, :, :-1], ((0, 0), (1, 0)))
    onward = jnp.stack([left, right])
    return onward, ((bullets | onward) & player).any()


def _gauge(oxygen: jax.Array) -> jax.Array:
    """How many cells of the gauge are on."""
    return jnp.maximum(oxygen, 0) * SIZE // _FULL_TANK


def _cells_of(things: PyTree, behind: bool = False) -> jax.Array:
    """The cells of things, or those behind them: bool ``[10, 10]``."""
    x = things.x - ahead(things.rightwards) if behind else things.x
    return cells(things.y, x, things.present)
