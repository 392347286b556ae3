"""MiniPacman: food, pills and ghosts in a maze, and five tasks that differ in what pays."""

from typing import NamedTuple

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from tegu.core.errors import TeguError
from tegu.environments.base import Environment, Timestep
from tegu.environments.drawing import INK, Canvas

_HALF = """\
###################
#........#........#
#.##.###.#.###.##.#
#.................#
#.##.#.#####.#.##.#
#....#...#...#....#
#.##.###.#.###.##.#
#.................#""".splitlines()
WALLS = np.array([[cell == "#" for cell in row] for row in _HALF + _HALF[-2::-1]])  #: bool ``[15, 19]``
DIRECTIONS = np.array([(0, 1), (-1, 0), (0, -1), (1, 0)], np.int32)  #: (rows, columns) of right, up, left and down
STAY, RIGHT, UP, LEFT, DOWN = range(5)  #: the actions

N_PILLS = 2
MOST_GHOSTS = 10  #: in a level; there is one more in every second level
POWER = 20  #: steps for which a pill lasts
SAFE = 5  #: rows or columns that ghosts are away from the player when a level begins
WANDER = 0.05  #: probability of a ghost to turn anywhere, where it may turn
PLANES = ("wall", "food", "player", "ghost", "edible ghost", "pill")  #: of an observation


class Task(NamedTuple):
    """What pays, and what ends a level."""

    step: float
    food: float
    pill: float
    ghost: float  #: for a ghost that is eaten
    death: float
    ends: str  #: the level is over when there is no more of it: food, pills or ghosts
    most_steps: int = 0  #: or after so many steps; 0: no limit


TASKS = {
    "regular": Task(0.0, 1.0, 2.0, 5.0, 0.0, "food"),
    "avoid": Task(0.1, -0.1, -5.0, -10.0, -20.0, "food", 128),
    "hunt": Task(0.0, 0.0, 1.0, 10.0, -20.0, "ghosts"),
    "ambush": Task(0.0, -0.1, 0.0, 10.0, -20.0, "ghosts"),
    "rush": Task(0.0, -0.1, 10.0, 0.0, 0.0, "pills"),
}


class Ghosts(NamedTuple):
    place: jax.Array  #: int32 ``[G, 2]``: row and column
    heading: jax.Array  #: int32 ``[G]``: of ``DIRECTIONS``
    alive: jax.Array  #: bool ``[G]``


class State(NamedTuple):
    """A level under way."""

    food: jax.Array  #: bool ``[15, 19]``
    pills: jax.Array  #: bool ``[15, 19]``
    player: jax.Array  #: int32 ``[2]``
    ghosts: Ghosts
    power: jax.Array  #: int32: steps for which ghosts can still be eaten
    level: jax.Array  #: int32: from 1
    elapsed: jax.Array  #: int32: steps in this level


class MiniPacman(Environment):
    """Pac-Man in a maze of 15 x 19 cells (Weber et al. 2017, appendix), with one of five ``TASKS``.

    The player stays, or moves right, up, left or down (actions 0 to 4). It eats the food and the pills that it comes
    to. A ghost that it meets ends the episode, or, for ``POWER`` steps after a pill, is eaten. A level begins with food
    everywhere and two pills; when it is over the next one begins in the same episode, with faster ghosts.

    An observation, float32 ``[15, 19, 6]``, has the planes of ``PLANES``; as a pill wears off, ghosts fade from the
    plane of those that can be eaten into the other. Numbers of ghosts, their speed and the way they move are those of
    the authors' game; the maze is another.
    """

    task: str = eqx.field(static=True, default="regular")  #: regular, avoid, hunt, ambush or rush
    id: str = eqx.field(static=True, kw_only=True, default="MiniPacman-v0")
    max_episode_steps: int | None = eqx.field(static=True, kw_only=True, default=3000)

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise TeguError(f"{self.id}: task must be one of {', '.join(TASKS)}, got {self.task!r}")

    @property
    def observation_space(self) -> gymnasium.spaces.Box:
        return gymnasium.spaces.Box(0, 1, (*WALLS.shape, len(PLANES)), np.float32)

    @property
    def action_space(self) -> gymnasium.spaces.Discrete:
        return gymnasium.spaces.Discrete(5)

    def reset(self, key: jax.Array) -> tuple[State, jax.Array]:
        state = new_level(key, jnp.int32(1))
        return state, self.observe(state)

    def step(self, state: State, action: jax.Array, key: jax.Array) -> Timestep:
        task, (ghost_key, level_key) = TASKS[self.task], jax.random.split(key)
        power = jnp.maximum(state.power - 1, 0)
        to = state.player + jnp.concatenate([jnp.zeros((1, 2), jnp.int32), DIRECTIONS])[action]
        player = jnp.where(jnp.asarray(WALLS)[tuple(to)], state.player, to)
        here = tuple(player)
        reward = task.step + task.food * state.food[here] + task.pill * state.pills[here]
        power = jnp.where(state.pills[here], POWER, power)
        food, pills = state.food.at[here].set(False), state.pills.at[here].set(False)

        ghosts, eaten, dead = move_ghosts(state.ghosts, player, power, state.level, ghost_key)
        reward = (reward + task.ghost * eaten + task.death * dead).astype(jnp.float32)
        now = State(food, pills, player, ghosts, power, state.level, state.elapsed + 1)
        left = {"food": food, "pills": pills, "ghosts": ghosts.alive}[task.ends].any()
        over = ~left | (now.elapsed == task.most_steps)
        following = new_level(level_key, state.level + 1)
        now = jax.tree.map(lambda new, old: jnp.where(over & ~dead, new, old), following, now)
        return Timestep(now, self.observe(now), reward, dead)

    def observe(self, state: State) -> jax.Array:
        # each from the integer: 1 - 20 / 20 is computed at once, with 0.05 for 1 / 20, as -1.5e-8
        edible, dangerous = state.power / POWER, (POWER - state.power) / POWER
        ghost = jnp.zeros(WALLS.shape, bool).at[tuple(state.ghosts.place.T)].max(state.ghosts.alive)
        player = jnp.zeros(WALLS.shape, bool).at[tuple(state.player)].set(True)
        planes = jnp.asarray(WALLS), state.food, player, ghost * dangerous, ghost * edible, state.pills
        return jnp.stack([plane.astype(jnp.float32) for plane in planes], axis=-1)

    def measures(self, state: State) -> dict[str, jax.Array]:
        """``level``: the one that is played."""
        return {"level": state.level.astype(jnp.float32)}

    def image(self, state: State) -> np.ndarray:
        """The maze from above; ghosts that can be eaten are blue."""
        cell, (rows, columns) = 24, WALLS.shape
        canvas = Canvas(columns * cell, rows * cell, (250, 250, 247))
        for row, column in np.ndindex(rows, columns):
            x, y = (column + 0.5) * cell, (row + 0.5) * cell
            if WALLS[row, column]:
                canvas.rectangle((x - cell / 2, y - cell / 2, x + cell / 2, y + cell / 2), (74, 111, 146))
            elif state.pills[row, column]:
                canvas.disc((x, y), cell / 3.5, (208, 74, 66))
            elif state.food[row, column]:
                canvas.disc((x, y), cell / 10, INK)
        for (row, column), alive in zip(state.ghosts.place, state.ghosts.alive, strict=True):
            if alive:
                x, y = (column + 0.5) * cell, (row + 0.5) * cell
                colour = (92, 160, 232) if state.power else (198, 120, 214)
                canvas.rectangle((x - 8, y - 8, x + 8, y + 9), colour, radius=6)
        row, column = map(int, state.player)
        canvas.disc(((column + 0.5) * cell, (row + 0.5) * cell), cell / 2.4, (244, 200, 72))
        return canvas.array()

    def text(self, state: State) -> str:
        """Walls #, food ., pills o, the player @, ghosts G, or g while they can be eaten."""
        cells = np.where(WALLS, "#", np.where(state.pills, "o", np.where(state.food, ".", " ")))
        for place, alive in zip(state.ghosts.place, state.ghosts.alive, strict=True):
            if alive:
                cells[tuple(place)] = "g" if state.power else "G"
        cells[tuple(state.player)] = "@"
        return "\n".join("".join(row) for row in cells)


def new_level(key: jax.Array, level: jax.Array) -> State:
    """Food everywhere, and the player, pills and ghosts at random: these not near the player."""
    player_key, pill_key, ghost_key, heading_key = jax.random.split(key, 4)
    free = np.argwhere(~WALLS).astype(np.int32)  # [F, 2]
    player = jnp.asarray(free)[jax.random.randint(player_key, (), 0, len(free))]
    pill = jnp.asarray(free)[jax.random.permutation(pill_key, len(free))[:N_PILLS]]
    pills = jnp.zeros(WALLS.shape, bool).at[tuple(pill.T)].set(True)
    far = jnp.abs(free - player).max(axis=-1) >= SAFE
    place = jnp.asarray(free)[jax.random.categorical(ghost_key, jnp.where(far, 0.0, -jnp.inf), shape=(MOST_GHOSTS,))]
    heading = jax.random.randint(heading_key, (MOST_GHOSTS,), 0, 4)
    alive = jnp.arange(MOST_GHOSTS) < 1 + (level - 1) // 2
    none = jnp.zeros((), jnp.int32)
    return State(jnp.asarray(~WALLS), pills, player, Ghosts(place, heading, alive), none, level, none)


def move_ghosts(
    ghosts: Ghosts, player: jax.Array, power: jax.Array, level: jax.Array, key: jax.Array
) -> tuple[Ghosts, jax.Array, jax.Array]:
    """The ghosts after a step, and whether one was eaten, and whether the player died.

    One after the other moves with probability 0.5 + 0.1 (level - 1), with half of that while it can be eaten. The first
    to meet the player, before or after its move, is the last to move.
    """
    speed = (0.5 + 0.1 * (level - 1)) * jnp.where(power > 0, 0.5, 1.0)
    draws = jax.random.uniform(key, (MOST_GHOSTS, 3))

    def one(met: jax.Array, given: tuple[jax.Array, ...]) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        place, heading, alive, (moves, wanders, where) = given
        on = alive & ~met
        meets = on & (place == player).all()
        goes = on & ~meets & (moves < speed)
        turned = turn(place, heading, player, power > 0, wanders < WANDER, where)
        to = place + jnp.asarray(DIRECTIONS)[turned]
        to = jnp.where(jnp.asarray(WALLS)[tuple(to)], place, to)
        place, heading = jnp.where(goes, to, place), jnp.where(goes, turned, heading)
        meets |= goes & (place == player).all()
        return met | meets, (place, heading, alive & ~(meets & (power > 0)))

    met, after = jax.lax.scan(one, jnp.zeros((), bool), (*ghosts, draws))
    return Ghosts(*after), met & (power > 0), met & (power == 0)


def turn(
    place: jax.Array, heading: jax.Array, player: jax.Array, flees: jax.Array, wanders: jax.Array, where: jax.Array
) -> jax.Array:
    """The direction in which a ghost moves on, int32.

    It never turns back but in a dead end. In a corridor it follows it. At a junction it takes the way that leads most
    directly to the player, or, if it ``flees``, from it; if it ``wanders``, any: ``where`` in [0, 1) says which.
    """
    is_open = ~jnp.asarray(WALLS)[tuple((place + DIRECTIONS).T)]
    onward = is_open & (jnp.arange(4) != (heading + 2) % 4)
    nearer = (DIRECTIONS * (player - place)).sum(axis=-1) * jnp.where(flees, -1, 1)
    best = jnp.argmax(jnp.where(onward, nearer, jnp.iinfo(jnp.int32).min))
    number = (where * onward.sum()).astype(jnp.int32)
    anywhere = jnp.argmax(jnp.cumsum(onward) == number + 1)
    at_junction = jnp.where(wanders & ~flees, anywhere, best)
    at_junction = jnp.where((place == player).all(), heading, at_junction)
    along = jnp.where(is_open[heading], heading, jnp.argmax(onward))
    ways = is_open.sum()
    return jnp.where(ways == 1, jnp.argmax(is_open), jnp.where(ways == 2, along, at_junction)).astype(jnp.int32)
