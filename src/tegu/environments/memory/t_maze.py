"""The T-maze: which way to turn at the end is shown at the beginning, and has to be remembered."""

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from tegu.core.errors import TeguError
from tegu.environments.base import Environment, Timestep
from tegu.environments.drawing import GREEN, INK, PAPER, RED, Canvas

FORWARD, LEFT, RIGHT = range(3)
START_LEFT, START_RIGHT, CORRIDOR, JUNCTION = (1.0, 1.0, 0.0), (0.0, 1.0, 1.0), (1.0, 0.0, 1.0), (0.0, 1.0, 0.0)


class TMaze(Environment):
    """A corridor of ``length`` steps to a junction (Bakker 2002, section 4; rewards and observations are his).

    Only the first observation shows which way to turn at the junction. Turning there ends the episode and pays 4 if it
    is that way, else -0.1. Walking into a wall, everywhere else by turning and at the junction by going on, pays
    -0.1; going forward pays 0. Without a memory nothing better than 1.95 on average is possible. The state is int32
    ``[2]``: the place, and the way, 1 for left and 2 for right.
    """

    length: int = eqx.field(static=True, default=10)
    id: str = eqx.field(static=True, kw_only=True, default="TMaze-v0")
    max_episode_steps: int | None = eqx.field(static=True, kw_only=True, default=None)

    def __post_init__(self) -> None:
        if isinstance(self.length, bool) or not isinstance(self.length, int) or self.length < 1:
            raise TeguError(f"{self.id}: length must be a whole number from 1, got {self.length!r}")
        if self.max_episode_steps is None:
            self.max_episode_steps = 5 * (self.length + 1)

    @property
    def observation_space(self) -> gymnasium.spaces.Box:
        return gymnasium.spaces.Box(0, 1, (3,), np.float32)

    @property
    def action_space(self) -> gymnasium.spaces.Discrete:
        return gymnasium.spaces.Discrete(3)

    def reset(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        state = jnp.stack([jnp.zeros((), jnp.int32), jax.random.randint(key, (), LEFT, RIGHT + 1)])
        return state, self.observe(state)

    def step(self, state: jax.Array, action: jax.Array, key: jax.Array) -> Timestep:
        place, way = state
        ends = (place == self.length) & (action != FORWARD)
        moves = (place < self.length) & (action == FORWARD)
        reward = jnp.where(moves, 0.0, jnp.where(ends & (action == way), 4.0, -0.1))
        state = jnp.stack([place + moves, way])
        return Timestep(state, self.observe(state), reward, ends)

    def observe(self, state: jax.Array) -> jax.Array:
        """What is seen of a state: the way at the start, the junction at the end, else the corridor."""
        place, way = state
        start = jnp.where(way == LEFT, jnp.array(START_LEFT), jnp.array(START_RIGHT))
        later = jnp.where(place == self.length, jnp.array(JUNCTION), jnp.array(CORRIDOR))
        return jnp.where(place == 0, start, later)

    def image(self, state: np.ndarray) -> np.ndarray:
        """The maze from above; the way that pays is green."""
        place, way = map(int, state)
        cell = 480 // (self.length + 2)
        canvas = Canvas(cell * (self.length + 2), 5 * cell, PAPER)

        def square(column: float, row: float, colour: tuple[int, int, int], size: float = 0.94) -> None:
            middle, half = ((column + 0.5) * cell, (row + 0.5) * cell), size * cell / 2
            canvas.rectangle((middle[0] - half, middle[1] - half, middle[0] + half, middle[1] + half), colour)

        for column in range(self.length + 1):
            square(column + 0.5, 2, (222, 222, 216))
        for row, turn in ((1, LEFT), (3, RIGHT)):
            square(self.length + 0.5, row, GREEN if turn == way else RED)
        square(place + 0.5, 2, INK, 0.5)
        return canvas.array()

    def text(self, state: np.ndarray) -> str:
        place, way = map(int, state)
        corridor = "".join("@" if column == place else "." for column in range(self.length + 1))
        above, below = ("+", "-") if way == LEFT else ("-", "+")
        return f"{' ' * self.length}{above}\n{corridor}\n{' ' * self.length}{below}"
