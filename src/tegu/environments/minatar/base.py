"""What the MinAtar games share: a grid of 10 x 10 cells, six actions that may stick, observations and drawings."""

from typing import ClassVar, NamedTuple

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from tegu.core.errors import TeguError
from tegu.core.step import PyTree
from tegu.environments.base import Environment, Timestep
from tegu.environments.drawing import INK, PAPER, Canvas, Colour

SIZE = 10  #: cells in a row and in a column
LAST = SIZE - 1
NONE, LEFT, UP, RIGHT, DOWN, FIRE = range(6)  #: the actions
LANES = np.arange(1, LAST, dtype=np.int32)  #: the rows in which entities cross the grid

_COLOURS: tuple[Colour, ...] = (
    (96, 196, 120),
    (232, 92, 80),
    (112, 122, 140),
    (244, 200, 72),
    (92, 160, 232),
    (198, 120, 214),
    (240, 146, 62),
    (120, 220, 220),
    (170, 136, 104),
    (236, 236, 228),
)
_GROUND: Colour = (30, 34, 44)


class State(NamedTuple):
    """The state of a game and what may happen again."""

    game: PyTree
    last_action: jax.Array  #: int32, the action that was played last; ``NONE`` at first


class MinAtar(Environment):
    """A miniature of an Atari game (Young & Tian 2019, arXiv:1903.03176), with the rules of the package MinAtar 1.0.15.

    An observation, bool ``[10, 10, C]``, says for each cell and each of ``C`` channels whether there is such a thing.
    Actions 0 to 5 are none, left, up, right, down and fire; with ``use_minimal_action_set`` (ids ending in ``-v1``)
    only those that do something in the game, in the same order. With probability ``sticky_action_prob`` the last action
    is played again in place of the one that was chosen; the first step of an episode has none as the last. There is no
    time limit.

    A game defines ``channels``, ``symbols``, ``minimal_actions``, ``n_draws``, ``begin``, ``play`` and ``planes``.
    """

    channels: ClassVar[tuple[str, ...]]  #: the kinds of things
    symbols: ClassVar[str]  #: a character for each of them, for drawings as text
    minimal_actions: ClassVar[tuple[int, ...]]
    n_draws: ClassVar[int] = 0  #: how many random numbers ``begin`` and ``play`` take

    sticky_action_prob: float = eqx.field(kw_only=True, default=0.1)
    use_minimal_action_set: bool = eqx.field(static=True, kw_only=True, default=False)

    def __check_init__(self) -> None:
        if not 0 <= self.sticky_action_prob <= 1:
            raise TeguError(f"{self.id}: sticky_action_prob must be from 0 to 1, got {self.sticky_action_prob}")
        for name in ("use_minimal_action_set", "difficulty_ramping"):
            if not isinstance(given := getattr(self, name, False), bool):
                raise TeguError(f"{self.id}: {name} must be True or False, got {given!r}")

    def begin(self, draws: jax.Array) -> PyTree:
        """The first state of a game. ``draws``: ``[n_draws]`` random numbers, uniform in [0, 1)."""
        raise AttributeError(f"{type(self).__name__} must define begin")

    def play(self, game: PyTree, action: jax.Array, draws: jax.Array) -> tuple[PyTree, jax.Array, jax.Array]:
        """One step. ``action`` is one of the six. Returns the next state, the reward and whether the game is over."""
        raise AttributeError(f"{type(self).__name__} must define play")

    def planes(self, game: PyTree) -> list[jax.Array]:
        """The channels of an observation in order, bool ``[10, 10]`` each: row and column."""
        raise AttributeError(f"{type(self).__name__} must define planes")

    @property
    def observation_space(self) -> gymnasium.spaces.Box:
        shape = (SIZE, SIZE, len(self.channels))
        return gymnasium.spaces.Box(0, 1, shape, np.bool_)  # type: ignore[arg-type]  # which Gymnasium accepts

    @property
    def action_space(self) -> gymnasium.spaces.Discrete:
        return gymnasium.spaces.Discrete(len(self.minimal_actions) if self.use_minimal_action_set else 6)

    def observe(self, game: PyTree) -> jax.Array:
        """What an agent sees of a state, bool ``[10, 10, C]``."""
        return jnp.moveaxis(jnp.stack(self.planes(game)), 0, -1)  # stacking along the last axis is half as fast again

    def reset(self, key: jax.Array) -> tuple[State, jax.Array]:
        game = self.begin(jax.random.uniform(key, (self.n_draws,)))
        return State(game, jnp.int32(NONE)), self.observe(game)

    def step(self, state: State, action: jax.Array, key: jax.Array) -> Timestep:
        return self.step_for(state, action, jax.random.uniform(key, (1 + self.n_draws,)))

    def step_for(self, state: State, action: jax.Array, draws: jax.Array) -> Timestep:
        """The step for given random numbers, uniform in [0, 1): one for the sticky action, then those of ``play``."""
        if self.use_minimal_action_set:
            action = jnp.asarray(self.minimal_actions)[action]
        action = jnp.where(draws[0] < self.sticky_action_prob, state.last_action, action)
        game, reward, terminated = self.play(state.game, action, draws[1:])
        return Timestep(State(game, action), self.observe(game), reward.astype(jnp.float32), terminated)

    def image(self, state: State) -> np.ndarray:
        """A square in the colour of its channel for each thing; where there are several, one within the other."""
        cell, margin, legend = 48, 10, 84
        width = SIZE * cell + 2 * margin
        canvas = Canvas(width, width + legend, INK)
        canvas.rectangle((0, 0, width, width), _GROUND)
        for row, column, found in self._things(state):
            x, y = margin + cell * column, margin + cell * row
            for depth, channel in enumerate(found):
                inset = 2 + 8 * depth
                box = (x + inset, y + inset, x + cell - inset, y + cell - inset)
                canvas.rectangle(box, _COLOURS[channel], radius=6)
        for channel, name in enumerate(self.channels):
            x, y = margin + channel % 4 * 122, width + 10 + channel // 4 * 24
            canvas.rectangle((x, y, x + 14, y + 14), _COLOURS[channel], radius=3)
            canvas.text((x + 66, y + 7), name.replace("_", " "), PAPER, 12)
        return canvas.array()

    def text(self, state: State) -> str:
        """Two characters to a cell, of the first two channels with something there, and what they mean."""
        cells = np.full((SIZE, SIZE), "  ")
        for row, column, found in self._things(state):
            cells[row, column] = "".join(self.symbols[channel] for channel in found[:2]).ljust(2)
        rule = "+" + "-" * 2 * SIZE + "+"
        legend = "   ".join(f"{symbol} {name}" for symbol, name in zip(self.symbols, self.channels, strict=True))
        return "\n".join([rule, *("|" + "".join(row) + "|" for row in cells), rule, legend])

    def _things(self, state: State) -> list[tuple[int, int, list[int]]]:
        """Row, column and channels of each cell in which there is something."""
        seen = np.asarray(eqx.filter_jit(self.observe)(state.game))
        occupied = np.argwhere(seen.any(axis=-1)).tolist()
        return [(row, column, np.flatnonzero(seen[row, column]).tolist()) for row, column in occupied]


def moved(position: jax.Array, step: jax.Array, low: int = 0, high: int = LAST) -> jax.Array:
    """A position a step further, held between ``low`` and ``high``."""
    return jnp.clip(position + step, low, high)


def toward(action: jax.Array, positive: int, negative: int) -> jax.Array:
    """1 for the one action, -1 for the other, 0 for the rest."""
    return (action == positive).astype(jnp.int32) - (action == negative)


def ahead(rightwards: jax.Array) -> jax.Array:
    """The step to the right, 1, or to the left, -1."""
    return jnp.where(rightwards, 1, -1)


def inside(column: jax.Array) -> jax.Array:
    return (column >= 0) & (column <= LAST)


def cell(row: ArrayLike, column: ArrayLike) -> jax.Array:
    """True in one cell: bool ``[10, 10]``."""
    return (np.arange(SIZE)[:, None] == row) & (np.arange(SIZE) == column)


def lanes(column: jax.Array, present: jax.Array | np.ndarray) -> jax.Array:
    """True where the entities of the lanes are, of which each holds one at most: bool ``[10, 10]`` from ``[8]``."""
    return jnp.pad((column[:, None] == np.arange(SIZE)) & present[:, None], ((1, 1), (0, 0)))


def cells(row: jax.Array, column: jax.Array, present: jax.Array) -> jax.Array:
    """True in the cells of all that is present, if they are on the grid: bool ``[10, 10]`` from ``[N]``."""
    bits = jnp.where(present, 1 << (column + 1), 0)  # columns -1 to 10 as bits 0 to 11
    in_row = jnp.where(np.arange(SIZE)[:, None] == row, bits, 0)
    return (jax.lax.reduce_or(in_row, (1,))[:, None] >> np.arange(1, SIZE + 1)) % 2 == 1
