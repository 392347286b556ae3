"""Environments with finitely many states and actions, given by tables."""

from collections.abc import Callable, Sequence

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from tegu.environments.base import Environment, Timestep

Transition = tuple[float, int, float, bool]  #: probability, next state, reward, terminated
Tables = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  #: those four, each ``[S, A, K]``

MOVES = {"left": (0, -1), "right": (0, 1), "up": (-1, 0), "down": (1, 0)}  #: (rows, columns) of a move on a grid


class FiniteEnvironment(Environment):
    """A finite Markov decision process (Sutton & Barto 2018, chapter 3) with ``S`` states, ``A`` actions and up to
    ``K`` outcomes of an action. The state, an int32 scalar, is also the observation.

    Where ``K`` is 1 ``step`` draws no random numbers, and where there is a single start neither does ``reset``.
    """

    probability: np.ndarray  #: ``[S, A, K]`` float64, sums to 1 over ``K``
    next_state: np.ndarray  #: ``[S, A, K]`` int32
    reward: np.ndarray  #: ``[S, A, K]`` float64, handed out as float32
    terminated: np.ndarray  #: ``[S, A, K]`` bool
    initial: np.ndarray  #: ``[S]`` float64, the probability of each first state
    state_names: tuple[str, ...] = eqx.field(static=True)
    action_names: tuple[str, ...] = eqx.field(static=True)
    _bounds: np.ndarray  # [S, A, K] float32: running sums of the probabilities
    _starts: np.ndarray  # the possible first states
    _start_bounds: np.ndarray  # running sums of their probabilities, float32

    def __init__(
        self,
        probability: np.ndarray,
        next_state: np.ndarray,
        reward: np.ndarray,
        terminated: np.ndarray,
        initial: np.ndarray,
        *,
        id: str,
        state_names: Sequence[str] | None = None,
        action_names: Sequence[str] | None = None,
        max_episode_steps: int | None = None,
    ):
        states, actions, _ = np.shape(probability)
        self.probability = np.asarray(probability, np.float64)
        self.next_state = np.asarray(next_state, np.int32)
        self.reward = np.asarray(reward, np.float64)
        self.terminated = np.asarray(terminated, np.bool_)
        self.initial = np.asarray(initial, np.float64)
        self.state_names = tuple(map(str, range(states) if state_names is None else state_names))
        self.action_names = tuple(map(str, range(actions) if action_names is None else action_names))
        self.id = id
        self.max_episode_steps = max_episode_steps
        self._bounds = self.probability.cumsum(axis=-1).astype(np.float32)
        self._starts = np.flatnonzero(self.initial).astype(np.int32)
        self._start_bounds = self.initial[self._starts].cumsum().astype(np.float32)

    def __check_init__(self) -> None:
        shape = self.probability.shape
        if not (self.next_state.shape == self.reward.shape == self.terminated.shape == shape):
            raise ValueError(f"{self.id}: all tables must have the shape {shape} of the probabilities")
        if self.initial.shape != shape[:1] or (len(self.state_names), len(self.action_names)) != shape[:2]:
            raise ValueError(
                f"{self.id}: the initial distribution and the names must fit {shape[:2]} states and actions"
            )
        if self.next_state.min() < 0 or self.next_state.max() >= shape[0]:
            raise ValueError(f"{self.id}: every next state must lie in 0..{shape[0] - 1}")
        for distribution in (self.probability, self.initial):
            if distribution.min() < 0 or not np.allclose(distribution.sum(axis=-1), 1, rtol=0, atol=1e-9):
                raise ValueError(f"{self.id}: probabilities must not be negative and must sum to 1")

    def __hash__(self) -> int:
        return hash((type(self), self.id))  # arrays have no hash, and jax.jit(environment.step) wants one

    @property
    def observation_space(self) -> gymnasium.spaces.Discrete:
        return gymnasium.spaces.Discrete(self.probability.shape[0])

    @property
    def action_space(self) -> gymnasium.spaces.Discrete:
        return gymnasium.spaces.Discrete(self.probability.shape[1])

    def reset(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        start = _draw(key, jnp.asarray(self._start_bounds))
        state = jnp.asarray(self._starts)[start]
        return state, state

    def step(self, state: jax.Array, action: jax.Array, key: jax.Array) -> Timestep:
        outcome = _draw(key, jnp.asarray(self._bounds)[state, action])

        def entry(table: np.ndarray) -> jax.Array:
            return jnp.asarray(table)[state, action, outcome]

        next_state = entry(self.next_state)
        return Timestep(next_state, next_state, entry(self.reward).astype(jnp.float32), entry(self.terminated))

    def state_of(self, observation: jax.Array) -> jax.Array:
        return observation


def _draw(key: jax.Array, bounds: jax.Array) -> jax.Array | int:
    """The index drawn from a distribution given by its running sums ``[N]``. Never one of probability 0."""
    if bounds.shape[0] == 1:
        return 0
    return (jax.random.uniform(key) >= bounds[:-1]).sum()


def tabulate(outcomes: Callable[[int, int], Sequence[Transition]], states: int, actions: int) -> Tables:
    """The first four tables of a ``FiniteEnvironment``, ``[S, A, K]`` each, from a function of state and action.

    Pairs with fewer outcomes than others are filled up with outcomes of probability 0.
    """
    listed = [[outcomes(state, action) for action in range(actions)] for state in range(states)]
    most = max(len(pair) for row in listed for pair in row)
    impossible: Transition = (0.0, 0, 0.0, False)
    filled = [[[*pair, *[impossible] * (most - len(pair))] for pair in row] for row in listed]
    probability, next_state, reward, terminated = (
        np.array([[[outcome[field] for outcome in pair] for pair in row] for row in filled]) for field in range(4)
    )
    return probability, next_state, reward, terminated


def neighbour(state: int, move: str, rows: int, columns: int) -> int:
    """The cell that a move leads to on a grid numbered row by row. A wall leaves the mover where it is."""
    row, column = divmod(state, columns)
    down, right = MOVES[move]
    return min(max(row + down, 0), rows - 1) * columns + min(max(column + right, 0), columns - 1)


def one_hot(state: int, states: int) -> np.ndarray:
    """The initial distribution ``[S]`` of an environment that always starts in one state."""
    return np.eye(states)[state]


def sideways(action: int) -> tuple[int, int, int]:
    """Where a slip can lead: the action and both at right angles to it, of four in the order of the compass."""
    return (action - 1) % 4, action, (action + 1) % 4
