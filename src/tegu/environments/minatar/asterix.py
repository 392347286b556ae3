"""Asterix: collect gold and keep away from enemies, which both cross the grid ever faster."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from tegu.environments.minatar.base import (
    DOWN,
    LANES,
    LAST,
    LEFT,
    NONE,
    RIGHT,
    UP,
    MinAtar,
    ahead,
    cell,
    inside,
    lanes,
    moved,
    toward,
)

_RAMP_INTERVAL = 100


class Entities(NamedTuple):
    """Enemies and gold in rows 1 to 8, no more than one in each: fields ``[8]``."""

    present: jax.Array  #: bool
    x: jax.Array  #: column
    rightwards: jax.Array  #: bool: which way it moves
    gold: jax.Array  #: bool


class AsterixState(NamedTuple):
    """The state of a game."""

    x: jax.Array  #: the player's column
    y: jax.Array  #: the player's row
    entities: Entities
    spawn_interval: jax.Array  #: steps from one entity to the next
    spawn_timer: jax.Array  #: steps until then
    move_interval: jax.Array  #: steps after which all entities move by one cell
    move_timer: jax.Array
    ramp_timer: jax.Array
    ramps: jax.Array  #: how often the game has become harder


class Asterix(MinAtar):
    """MinAtar's Asterix. Gold pays 1. Touching an enemy ends the game.

    The player moves in four directions. Every few steps an entity, gold with probability 1/3, enters an empty row from
    the left or the right. With ``difficulty_ramping`` they come more often after each 102 steps, and after each second
    time they also move more often.
    """

    channels = ("player", "enemy", "trail", "gold")
    symbols = "@E.$"
    minimal_actions = (NONE, LEFT, UP, RIGHT, DOWN)
    n_draws = 3

    difficulty_ramping: bool = eqx.field(kw_only=True, default=True)
    id: str = eqx.field(static=True, kw_only=True, default="MinAtar/Asterix-v0")

    def begin(self, draws: jax.Array) -> AsterixState:
        nothing = jnp.zeros(len(LANES), bool)
        return AsterixState(
            x=jnp.int32(5),
            y=jnp.int32(5),
            entities=Entities(nothing, jnp.zeros(len(LANES), jnp.int32), nothing, nothing),
            spawn_interval=jnp.int32(10),
            spawn_timer=jnp.int32(10),
            move_interval=jnp.int32(5),
            move_timer=jnp.int32(5),
            ramp_timer=jnp.int32(_RAMP_INTERVAL),
            ramps=jnp.int32(0),
        )

    def play(
        self, game: AsterixState, action: jax.Array, draws: jax.Array
    ) -> tuple[AsterixState, jax.Array, jax.Array]:
        spawns, moves = game.spawn_timer == 0, game.move_timer == 0
        present, x, rightwards, gold = _spawn(game.entities, spawns, draws)
        player_x = moved(game.x, toward(action, RIGHT, LEFT))
        player_y = moved(game.y, toward(action, DOWN, UP), LANES[0], LANES[-1])

        def touched(x: jax.Array) -> jax.Array:
            return (player_y == LANES) & (x == player_x)

        # What the player walked into is gone, if it is gold, before the rest moves.
        collected = present & gold & touched(x)
        hit = present & ~gold & touched(x)
        x = x + jnp.where(moves & present, ahead(rightwards), 0)
        present = present & inside(x) & ~collected
        collected = collected | (present & gold & touched(x))
        hit = hit | (present & ~gold & touched(x))
        present = present & ~collected

        ramping = self.difficulty_ramping & ((game.spawn_interval > 1) | (game.move_interval > 1))
        harder = ramping & (game.ramp_timer < 0)
        move_harder = harder & (game.move_interval > 1) & (game.ramps % 2 == 1)
        new = AsterixState(
            x=player_x,
            y=player_y,
            entities=Entities(present, x, rightwards, gold),
            spawn_interval=game.spawn_interval - (harder & (game.spawn_interval > 1)),
            spawn_timer=jnp.where(spawns, game.spawn_interval, game.spawn_timer) - 1,
            move_interval=game.move_interval - move_harder,
            move_timer=jnp.where(moves, game.move_interval, game.move_timer) - 1,
            ramp_timer=jnp.where(harder, _RAMP_INTERVAL, game.ramp_timer - ramping),
            ramps=game.ramps + harder,
        )
        return new, collected.sum(), hit.any()

    def planes(self, game: AsterixState) -> list[jax.Array]:
        present, x, rightwards, gold = game.entities
        behind = x - ahead(rightwards)
        return [cell(game.y, game.x), lanes(x, present & ~gold), lanes(behind, present), lanes(x, present & gold)]


def _spawn(entities: Entities, spawns: jax.Array, draws: jax.Array) -> Entities:
    """One more entity, if it is time: from the left or the right, an enemy or gold, in any of the empty rows."""
    from_left, gold = draws[0] < 1 / 2, draws[1] < 1 / 3
    free = ~entities.present
    nth = (draws[2] * free.sum()).astype(jnp.int32)
    new = free & (jnp.cumsum(free) - 1 == nth) & spawns
    return Entities(
        present=entities.present | new,
        x=jnp.where(new, jnp.where(from_left, 0, LAST), entities.x),
        rightwards=jnp.where(new, from_left, entities.rightwards),
        gold=jnp.where(new, gold, entities.gold),
    )
