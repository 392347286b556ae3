"""Sokoban: push all boxes onto targets; what is pushed into a corner stays there."""

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from tegu.core.errors import TeguError
from tegu.environments.base import Environment, Timestep
from tegu.environments.sokoban.generation import generate, require_levels
from tegu.environments.sokoban.levels import BOX, DIRECTIONS, PLAYER, TARGET, WALL, level_text, read_levels
from tegu.environments.sokoban.tiles import N_CELLS, TILE, picture, tiles

UP, DOWN, LEFT, RIGHT, NONE = range(5)  #: the actions
PLANES = (WALL, TARGET, BOX, PLAYER)  #: what the planes of an observation show
STEP, ON_TARGET, OFF_TARGET, SOLVED = -0.1, 1.0, -1.0, 10.0  #: rewards
SMALLEST, LARGEST = 5, 30  #: cells in a row

_STEPS = np.concatenate([DIRECTIONS, [(0, 0)]])


class Sokoban(Environment):
    """Sokoban as in the Imagination-Augmented Agents (Weber et al. 2017): rewards, actions and time limit are theirs.

    The player moves up, down, left or right (actions 0 to 3) or stays (4), and pushes the box in front of it if the
    cell behind that is free. Each step pays -0.1, a box pushed onto a target 1, one pushed off a target -1, and the
    step after which all are on targets 10 more; that ends the episode.

    The state is the room, int8 ``[size, size]``: a cell is the sum of what is there, wall 1, target 2, box 4, player 8.
    An observation, bool ``[size, size, 4]``, shows each of these on a plane; with ``pixels`` it is a picture, uint8
    ``[8 size, 8 size, 3]``.

    ``reset`` draws one of ``n_levels`` levels, which follow from ``levels_seed`` and can all be solved, or one of those
    in a text file (see ``read_levels``), if ``levels`` names it.
    """

    size: int = eqx.field(static=True, default=7)  #: cells in a row and in a column, with the walls
    boxes: int = eqx.field(static=True, default=2)  #: boxes of generated levels
    n_levels: int = eqx.field(static=True, kw_only=True, default=5_000)  #: generated levels
    levels_seed: int = eqx.field(static=True, kw_only=True, default=0)  #: other levels for another number
    levels: str | None = eqx.field(static=True, kw_only=True, default=None)  #: a file of levels, or a folder of them
    pixels: bool = eqx.field(static=True, kw_only=True, default=False)  #: observe a picture
    id: str = eqx.field(static=True, kw_only=True, default="Sokoban-7x7-v0")
    max_episode_steps: int | None = eqx.field(static=True, kw_only=True, default=120)
    _read: tuple[bytes, int] | None = eqx.field(static=True, init=False, repr=False)  # the file's levels, as bytes

    def __post_init__(self) -> None:
        for name, least, most in (
            ("size", SMALLEST, LARGEST),
            ("boxes", 1, (self.size - 2) ** 2 - 2 if isinstance(self.size, int) else 1),
            ("n_levels", 1, 1_000_000),
            ("levels_seed", 0, 2**63 - 1),
        ):
            given = getattr(self, name)
            if isinstance(given, bool) or not isinstance(given, int) or not least <= given <= most:
                raise TeguError(f"{self.id}: {name} must be a whole number from {least} to {most:,}, got {given!r}")
        if not isinstance(self.pixels, bool):
            raise TeguError(f"{self.id}: pixels must be True or False, got {self.pixels!r}")
        if self.levels is not None and not isinstance(self.levels, str):
            raise TeguError(f"{self.id}: levels must be the path of a file or folder, as text, got {self.levels!r}")
        self._read = None
        if self.levels is not None:
            read = read_levels(self.levels, self.size)
            self._read = read.tobytes(), len(read)
        else:
            require_levels(self.size, self.boxes)

    @property
    def pool(self) -> np.ndarray:
        """The levels of which ``reset`` draws one, int8 ``[N, size, size]``. Generated when they are first wanted."""
        if self._read is None:
            return generate(self.n_levels, self.size, self.boxes, self.levels_seed)
        cells, number = self._read
        return np.frombuffer(cells, np.int8).reshape(number, self.size, self.size)

    @property
    def observation_space(self) -> gymnasium.spaces.Box:
        if self.pixels:
            return gymnasium.spaces.Box(0, 255, (TILE * self.size, TILE * self.size, 3), np.uint8)
        shape = (self.size, self.size, len(PLANES))
        return gymnasium.spaces.Box(0, 1, shape, np.bool_)  # type: ignore[arg-type]  # which Gymnasium accepts

    @property
    def action_space(self) -> gymnasium.spaces.Discrete:
        return gymnasium.spaces.Discrete(len(_STEPS))

    def reset(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        pool = self.pool
        level = jnp.asarray(pool)[jax.random.randint(key, (), 0, len(pool))]
        return level, self.observe(level)

    def step(self, state: jax.Array, action: jax.Array, key: jax.Array) -> Timestep:
        cells, place = state.ravel(), np.arange(state.size)
        step = jnp.asarray(_STEPS @ np.array([self.size, 1]), jnp.int32)[action]
        player = jnp.argmax(cells & PLAYER > 0)
        ahead, beyond = player + step, player + 2 * step
        pushes = (cells[ahead] & BOX > 0) & (step != 0)
        moves = jnp.where(pushes, cells[beyond] & (WALL | BOX), cells[ahead] & WALL) == 0
        pushes &= moves
        was, now = (jnp.where(moves, thing * (place == cell), 0) for thing, cell in ((PLAYER, player), (PLAYER, ahead)))
        box = jnp.where(pushes, BOX * ((place == beyond).astype(jnp.int8) - (place == ahead)), 0)
        after = (cells - was + now + box).astype(jnp.int8)
        gain = pushes * (_on(cells[beyond]) * ON_TARGET + _on(cells[ahead]) * OFF_TARGET)
        solved = ~((after & BOX > 0) & (after & TARGET == 0)).any()
        reward = (STEP + gain + SOLVED * solved).astype(jnp.float32)
        state = after.reshape(state.shape)
        return Timestep(state, self.observe(state), reward, solved)

    def observe(self, state: jax.Array) -> jax.Array:
        """What is seen of a state: its planes, or its picture."""
        if not self.pixels:
            return (state[..., None] & np.array(PLANES, np.int8)) > 0
        shown = jnp.asarray(tiles().reshape(N_CELLS, -1))[state]  # a gather of long rows is the fast one
        rows = shown.reshape(self.size, self.size, TILE, TILE * 3).swapaxes(1, 2)
        return rows.reshape(TILE * self.size, TILE * self.size, 3)

    def state_of(self, observation: jax.Array) -> jax.Array:
        if not self.pixels:
            return (observation * np.array(PLANES, np.int8)).sum(axis=-1, dtype=jnp.int8)
        seen = observation.reshape(self.size, TILE, self.size, TILE, 3).swapaxes(1, 2)
        alike = (seen[:, :, None] == jnp.asarray(tiles())).all(axis=(3, 4, 5))  # [size, size, 16]
        return jnp.argmax(alike, axis=-1).astype(jnp.int8)

    def measures(self, state: jax.Array) -> dict[str, jax.Array]:
        """``boxes_on_target``: how many there are, and ``solved``: whether that is all (1) or not (0)."""
        box, target = state & BOX > 0, state & TARGET > 0
        solved = ~(box & ~target).any()
        return {"boxes_on_target": (box & target).sum().astype(jnp.float32), "solved": solved.astype(jnp.float32)}

    def image(self, state: np.ndarray) -> np.ndarray:
        return picture(np.asarray(state))

    def text(self, state: np.ndarray) -> str:
        """The room in the characters of Boxoban's files: # wall, . target, $ box, * box on a target, @ player, + player
        on a target."""
        return level_text(np.asarray(state))


def _on(cell: jax.Array) -> jax.Array:
    return (cell & TARGET > 0).astype(jnp.float32)
