"""Freeway: lead a chicken across eight lanes of traffic, again and again."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from tegu.environments.minatar.base import DOWN, LANES, LAST, NONE, SIZE, UP, MinAtar, ahead, cell, lanes, moved, toward

_COLUMN = 4  # of the chicken
_CHICKEN_INTERVAL = 3  # steps between two moves of the chicken
_SLOWEST = 5  # steps that a slow car waits
_STEPS = 2500


class FreewayState(NamedTuple):
    """The state of a game. Each of rows 1 to 8 has one car: its fields are ``[8]``."""

    y: jax.Array  #: the chicken's row
    move_timer: jax.Array  #: steps until the chicken can move
    steps_left: jax.Array
    x: jax.Array  #: columns of the cars
    rightwards: jax.Array  #: bool: which way they move
    interval: jax.Array  #: steps between two moves, 1 to 5
    timer: jax.Array  #: steps until the next move


class Freeway(MinAtar):
    """MinAtar's Freeway. Reaching the top pays 1. A game takes 2501 steps.

    The chicken can move up or down every third step. A car that meets it, as well as reaching the top, puts it back at
    the bottom. At the top all cars get new directions and speeds; they go round from one side of the grid to the other.
    """

    channels = ("chicken", "car", "speed1", "speed2", "speed3", "speed4", "speed5")
    symbols = "@C12345"
    minimal_actions = (NONE, UP, DOWN)
    n_draws = len(LANES)
    id: str = eqx.field(static=True, kw_only=True, default="MinAtar/Freeway-v0")
    # The game itself ends then, by termination; that it does is worth knowing beforehand.
    max_episode_steps: int | None = eqx.field(static=True, kw_only=True, default=_STEPS + 1)

    def begin(self, draws: jax.Array) -> FreewayState:
        interval, rightwards = _random_cars(draws)
        return FreewayState(
            y=jnp.int32(LAST),
            move_timer=jnp.int32(_CHICKEN_INTERVAL),
            steps_left=jnp.int32(_STEPS),
            x=jnp.zeros(len(LANES), jnp.int32),
            rightwards=rightwards,
            interval=interval,
            timer=interval,
        )

    def play(
        self, game: FreewayState, action: jax.Array, draws: jax.Array
    ) -> tuple[FreewayState, jax.Array, jax.Array]:
        step = jnp.where(game.move_timer == 0, toward(action, DOWN, UP), 0)
        y = moved(game.y, step)
        move_timer = jnp.where(step == 0, game.move_timer, _CHICKEN_INTERVAL)
        across = y == 0
        y = jnp.where(across, LAST, y)

        interval, rightwards = _random_cars(draws)
        interval = jnp.where(across, interval, game.interval)
        rightwards = jnp.where(across, rightwards, game.rightwards)
        timer = jnp.where(across, interval, game.timer)
        x = jnp.where(timer == 0, (game.x + ahead(rightwards)) % SIZE, game.x)
        hit = (((game.x == _COLUMN) | (x == _COLUMN)) & (y == LANES)).any()

        new = FreewayState(
            y=jnp.where(hit, LAST, y),
            move_timer=jnp.maximum(move_timer - 1, 0),
            steps_left=game.steps_left - 1,
            x=x,
            rightwards=rightwards,
            interval=interval,
            timer=jnp.where(timer == 0, interval, timer - 1),
        )
        return new, across, new.steps_left < 0

    def planes(self, game: FreewayState) -> list[jax.Array]:
        behind = (game.x - ahead(game.rightwards)) % SIZE
        trails = [lanes(behind, game.interval == interval) for interval in range(1, _SLOWEST + 1)]
        return [cell(game.y, _COLUMN), lanes(game.x, np.ones(len(LANES), bool)), *trails]


def _random_cars(draws: jax.Array) -> tuple[jax.Array, jax.Array]:
    """New intervals and directions of the cars: ten combinations, each as probable as the others."""
    return 1 + (_SLOWEST * (2 * draws % 1)).astype(jnp.int32), draws >= 0.5
