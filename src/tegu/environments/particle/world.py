"""What the particle environments share: discs on a plane that are pushed, bump into each other, and speak."""

import math
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from tegu.environments.base import Environment, Timestep
from tegu.environments.drawing import INK, PAPER, Canvas

DT = 0.1  #: seconds per step
DAMPING = 0.25  #: the fraction of its velocity that an agent loses per step
CONTACT_FORCE = 100.0  #: N per length of overlap
CONTACT_MARGIN = 0.001  #: the length over which a contact sets in
MOVES = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))  #: where the five moves push
ADVERSARIES = ("adversary", "leadadversary", "eve")  #: how the names of those begin who work against the others
LETTERS = "ABCDEFGHIJ"  #: what words look like in a picture

Colour = tuple[float, float, float]  #: red, green and blue in [0, 1]
GREY: Colour = (0.25, 0.25, 0.25)


class Body(NamedTuple):
    """The body of an agent, a disc of mass 1. A world begins in [-1, 1] x [-1, 1]; that is the unit of length."""

    name: str
    colour: Colour = GREY
    size: float = 0.05  #: radius
    moves: bool = True  #: one that does not must not collide either
    speaks: bool = False
    collides: bool = False
    acceleration: float = 5.0  #: by the agent's own full push, length/s^2
    max_speed: float = math.inf  #: length/s


class Landmark(NamedTuple):
    """A disc that stays where it is."""

    colour: Colour = GREY
    size: float = 0.05  #: radius
    collides: bool = False
    extent: float = 1.0  #: an episode begins with it anywhere in [-extent, extent] x [-extent, extent]


class Particles(NamedTuple):
    """The state of a world with ``A`` agents, ``L`` landmarks, ``C`` words and ``G`` goals."""

    position: jax.Array  #: of the agents, ``[A, 2]``
    velocity: jax.Array  #: of the agents, ``[A, 2]``, length/s
    words: jax.Array  #: what the agents said last, ``[A, C]``, one-hot or relaxed; zero from those that do not speak
    landmarks: jax.Array  #: where they are, ``[L, 2]``
    goals: jax.Array  #: the landmarks that were drawn for this episode, int32 ``[G]``; each world says what for


class ParticleWorld(Environment):
    """A particle world (Mordatch & Abbeel 2017; Lowe et al. 2017) with the rules of Farama's ``mpe2``.

    All agents act at once: observations (float32 vectors), actions and rewards are dicts by agent. One that moves
    chooses to stay or push left, right, down or up; one that speaks chooses a word; one that does both chooses
    ``5 * word + move``. With ``continuous_actions`` an action is a vector in [0, 1] instead, first the five moves, then
    the words: right minus left and up minus down push, and the words are said as they are. Nothing ends an episode but
    the clock.

    A world defines ``bodies``, ``landmarks``, ``view`` and ``rewards``.
    """

    n_words: ClassVar[int] = 0
    n_goals: ClassVar[int] = 0

    continuous_actions: bool = eqx.field(static=True, kw_only=True, default=False)
    max_cycles: int = eqx.field(static=True, kw_only=True, default=25)  #: mpe2's name for ``max_episode_steps``
    max_episode_steps: int | None = eqx.field(static=True, init=False)

    def __post_init__(self) -> None:
        self.max_episode_steps = self.max_cycles

    @property
    def bodies(self) -> Sequence[Body]:
        raise AttributeError(f"{type(self).__name__} must define bodies")

    @property
    def landmarks(self) -> Sequence[Landmark]:
        raise AttributeError(f"{type(self).__name__} must define landmarks")

    def view(self, state: Particles, agent: int) -> list[jax.Array]:
        """What the ``agent``-th agent sees: the parts of its observation in order, of any shape."""
        raise AttributeError(f"{type(self).__name__} must define view")

    def rewards(self, state: Particles) -> jax.Array:
        """What arriving in a state pays the agents, ``[A]``."""
        raise AttributeError(f"{type(self).__name__} must define rewards")

    def colours(self, state: Particles) -> tuple[np.ndarray, np.ndarray]:
        """mpe2's colours of the agents ``[A, 3]`` and the landmarks ``[L, 3]``, in [0, 1], for a NumPy pytree."""
        return np.array([body.colour for body in self.bodies]), np.array([mark.colour for mark in self.landmarks])

    @property
    def agents(self) -> tuple[str, ...]:
        return tuple(body.name for body in self.bodies)

    @property
    def teams(self) -> dict[str, tuple[str, ...]]:
        adversaries = tuple(name for name in self.agents if name.startswith(ADVERSARIES))
        good = tuple(name for name in self.agents if name not in adversaries)
        return {"adversaries": adversaries, "good": good} if adversaries and good else {}

    @property
    def observation_space(self) -> gymnasium.spaces.Dict:
        _, observation = jax.eval_shape(self.reset, jax.random.key(0))
        return gymnasium.spaces.Dict(
            {name: gymnasium.spaces.Box(-np.inf, np.inf, seen.shape) for name, seen in observation.items()}
        )

    @property
    def action_space(self) -> gymnasium.spaces.Dict:
        return gymnasium.spaces.Dict({body.name: self._choices(body) for body in self.bodies})

    @property
    def _discs(self) -> list[Body | Landmark]:
        return [*self.bodies, *self.landmarks]

    def _choices(self, body: Body) -> gymnasium.spaces.Box | gymnasium.spaces.Discrete:
        if self.continuous_actions:
            return gymnasium.spaces.Box(0, 1, (5 * body.moves + self.n_words * body.speaks,))
        return gymnasium.spaces.Discrete((5 if body.moves else 1) * (self.n_words if body.speaks else 1))

    def reset(self, key: jax.Array) -> tuple[Particles, dict[str, jax.Array]]:
        """Everything lies anywhere, at rest and in silence."""
        n_agents, n_landmarks = len(self.bodies), len(self.landmarks)
        place_key, goal_key = jax.random.split(key)
        extent = np.array([1.0] * n_agents + [mark.extent for mark in self.landmarks])
        place = jax.random.uniform(place_key, (len(extent), 2), minval=-1, maxval=1) * extent[:, None]
        state = Particles(
            position=place[:n_agents],
            velocity=jnp.zeros((n_agents, 2)),
            words=jnp.zeros((n_agents, self.n_words)),
            landmarks=place[n_agents:],
            goals=jax.random.randint(goal_key, (self.n_goals,), 0, n_landmarks),
        )
        return state, self.observe(state)

    def step(self, state: Particles, action: dict[str, jax.Array], key: jax.Array) -> Timestep:
        """One step of mpe2's integration: everything moves with the velocity that it had, and then gets a new one."""
        push, words = self._controls([action[name] for name in self.agents])
        velocity = (1 - DAMPING) * state.velocity + DT * (push + self._contacts(state))
        max_speed = jnp.array([body.max_speed for body in self.bodies])
        velocity *= jnp.minimum(1, max_speed / length(velocity))[:, None]
        state = state._replace(position=state.position + DT * state.velocity, velocity=velocity, words=words)
        rewards = dict(zip(self.agents, self.rewards(state), strict=True))
        return Timestep(state, self.observe(state), rewards, jnp.bool_(False))

    def observe(self, state: Particles) -> dict[str, jax.Array]:
        """What every agent sees in a state."""
        return {
            name: jnp.concatenate([part.ravel() for part in self.view(state, agent)])
            for agent, name in enumerate(self.agents)
        }

    def _controls(self, actions: list[jax.Array]) -> tuple[jax.Array, jax.Array]:
        """What the agents do by their own choice: accelerations ``[A, 2]`` and words ``[A, C]``."""
        moves = [body.moves for body in self.bodies]
        speaks = [body.speaks for body in self.bodies]
        if self.continuous_actions:
            actions = [jnp.clip(action, 0, 1) for action in actions]
            move = jnp.stack([a[:5] if can else jnp.zeros(5) for a, can in zip(actions, moves, strict=True)])
            push = move[:, 2::2] - move[:, 1::2]
            silence = jnp.zeros(self.n_words)
            words = jnp.stack([a[-self.n_words :] if can else silence for a, can in zip(actions, speaks, strict=True)])
        else:
            word, move = jnp.divmod(jnp.stack(actions), np.where(moves, 5, 1))
            push = jnp.array(MOVES, float)[move]
            words = jax.nn.one_hot(word, self.n_words) * np.array(speaks)[:, None]
        return push * np.array([body.acceleration for body in self.bodies])[:, None], words

    def _contacts(self, state: Particles) -> jax.Array:
        """How the discs that agents overlap with push them away: accelerations ``[A, 2]``."""
        sizes = np.array([body.size for body in self.bodies])
        places = jnp.concatenate([state.position, state.landmarks])
        solid = [index for index, disc in enumerate(self._discs) if disc.collides]
        if not solid:
            return jnp.zeros_like(state.position)
        away = [state.position - places[index] for index in solid]
        # All pairs in one row: XLA compiles a matrix of them to code that takes several times as long on a CPU.
        apart = jnp.concatenate([length(vectors) for vectors in away])
        reach = np.concatenate([sizes + self._discs[index].size for index in solid])
        force = CONTACT_FORCE * CONTACT_MARGIN * jax.nn.softplus((reach - apart) / CONTACT_MARGIN)
        # An agent does not push itself, nor does one in the very same place, where mpe2 divides by zero.
        share = force / jnp.maximum(apart, 1e-12)
        pushes = [vectors * part[:, None] for vectors, part in zip(away, jnp.split(share, len(solid)), strict=True)]
        return sum(pushes, jnp.zeros_like(state.position))

    def image(self, state: Particles) -> np.ndarray:
        """Agents have eyes, landmarks have none. A bubble holds what a speaker said last. The box spans [-1, 1]."""
        side, n_agents = 500, len(self.bodies)
        place = np.concatenate([state.position, state.landmarks])
        size = np.array([disc.size for disc in self._discs])
        scale = 0.46 * side / max(1, (np.abs(place) + size[:, None]).max())  # pixels per length
        centre, radius = side / 2 + scale * place * (1, -1), scale * size
        colour = [(int(r), int(g), int(b)) for r, g, b in 200 * np.concatenate(self.colours(state))]

        canvas = Canvas(side, side, PAPER)
        low, high = side / 2 - scale, side / 2 + scale
        canvas.line([(low, low), (low, high), (high, high), (high, low), (low, low)], (226, 226, 220), 2)
        for index in sorted(range(n_agents, len(place)), key=lambda index: -size[index]):  # the small upon the large
            canvas.disc(centre[index], radius[index], colour[index])
        for index in range(n_agents):
            canvas.disc(centre[index], radius[index] + 1.5, INK)
            canvas.disc(centre[index], radius[index], colour[index])
            for eye in (-0.38, 0.38):
                canvas.disc(centre[index] + radius[index] * np.array([eye, -0.2]), 0.22 * radius[index], PAPER)
        for index, body in enumerate(self.bodies):
            x, y = centre[index]
            if body.speaks:
                canvas.text((np.clip(x, 50, side - 50), y + radius[index] + 10), body.name, INK, 13)
            if state.words[index].any():
                x, y = x + 0.7 * (radius[index] + 12), y - 0.7 * (radius[index] + 12)
                canvas.rectangle((x - 11, y - 11, x + 11, y + 11), INK, radius=7)
                canvas.rectangle((x - 9.5, y - 9.5, x + 9.5, y + 9.5), PAPER, radius=6)
                canvas.text((x, y), LETTERS[state.words[index].argmax()], INK, 16)
        return canvas.array()


def length(vectors: jax.Array) -> jax.Array:
    """``[..., 2]`` to ``[...]``."""
    x, y = vectors[..., 0], vectors[..., 1]  # a sum over an axis of two is slow on a CPU
    return jnp.sqrt(x * x + y * y)


def distances(some: jax.Array, others: jax.Array) -> jax.Array:
    """From each of ``[N, 2]`` to each of ``[M, 2]``: ``[N, M]``."""
    return length(some[:, None] - others)


def touching(some: jax.Array, others: jax.Array, reach: float | np.ndarray) -> jax.Array:
    """1 where one of ``[N, 2]`` and one of ``[M, 2]`` are nearer than ``reach``, else 0: ``[N, M]``."""
    return (distances(some, others) < reach).astype(some.dtype)


def without(rows: jax.Array, index: int) -> jax.Array:
    """All rows but one."""
    return jnp.concatenate([rows[:index], rows[index + 1 :]])
