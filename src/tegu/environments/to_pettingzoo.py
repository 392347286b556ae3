"""Tegu's environments of several agents for other libraries, in the shape of PettingZoo's."""

from copy import deepcopy
from typing import Any

import gymnasium
import jax
import numpy as np

from tegu.core.errors import TeguError
from tegu.core.step import PyTree
from tegu.environments.base import Environment
from tegu.environments.make import make
from tegu.spaces.features import STATE

try:
    from pettingzoo import ParallelEnv
except ModuleNotFoundError as error:
    raise TeguError("as_pettingzoo needs PettingZoo: pip install 'tegu[pettingzoo]'") from error

RENDER_MODES = ("rgb_array", "ansi")


class TeguParallelEnv(ParallelEnv):
    """One of Tegu's environments in JAX whose agents act at once, as a ``pettingzoo.ParallelEnv``.

    All agents stay until the episode ends for all at once; its time limit truncates it. ``reset(seed=...)`` decides
    everything that follows; without a seed the episodes go on from the one before, or begin at random. ``infos`` are
    empty. A global state beside the agents in its observations is given by ``state()``; its space is ``state_space``.
    """

    def __init__(self, environment: Environment, render_mode: str | None = None):
        self.environment, self.render_mode = environment, render_mode
        self.metadata = {
            "name": environment.id,
            "render_modes": list(RENDER_MODES),
            "render_fps": 10,
            "is_parallelizable": True,
        }
        self.possible_agents = list(environment.agents)
        self.agents: list[str] = []
        self.observation_spaces = _by_agent(environment.observation_space, environment.agents)
        self.action_spaces = _by_agent(environment.action_space, environment.agents)
        observed: Any = environment.observation_space
        if STATE in observed.spaces:
            self.state_space = deepcopy(observed[STATE])
        self._reset, self._step = jax.jit(environment.reset), jax.jit(environment.step)
        self._key: jax.Array | None = None
        self._state: PyTree = None
        self._global_state: PyTree = None
        self._steps = 0

    def observation_space(self, agent: str) -> gymnasium.Space:
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> gymnasium.Space:
        return self.action_spaces[agent]

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[PyTree, PyTree]:
        """Begin an episode. Returns observations and infos."""
        if seed is not None or self._key is None:
            if seed is not None and seed < 0:
                raise TeguError(f"{self.environment.id}: the seed must be at least 0, got {seed}")
            entropy = np.random.SeedSequence(seed).generate_state(1)[0]
            self._key = jax.random.key(int(entropy))
        self._state, observation = self._reset(self._next_key())
        self._steps, self.agents = 0, list(self.possible_agents)
        return self._seen(observation), {agent: {} for agent in self.agents}

    def step(self, actions: PyTree) -> tuple[PyTree, PyTree, PyTree, PyTree, PyTree]:
        """Take one step, with an action of every agent."""
        if not self.agents:
            raise TeguError(f"{self.environment.id}: the episode is over, call reset() first")
        if missing := [agent for agent in self.agents if agent not in actions]:
            raise TeguError(f"{self.environment.id}: step() needs an action of every agent, {missing[0]!r} lacks")
        taken = {agent: self._action(agent, actions[agent]) for agent in self.agents}
        timestep = self._step(self._state, taken, self._next_key())
        self._state, self._steps = timestep.state, self._steps + 1
        terminated = bool(timestep.terminated)
        limit = self.environment.time_limit
        truncated = not terminated and (bool(timestep.truncated) or self._steps == limit)
        here = self.agents
        reward = {agent: float(timestep.reward[agent]) for agent in here}
        self.agents = [] if terminated or truncated else here
        flags = dict.fromkeys(here, terminated), dict.fromkeys(here, truncated)
        return self._seen(timestep.observation), reward, *flags, {agent: {} for agent in here}

    def state(self) -> PyTree:
        """The global state, of an environment that has one: after the last step, too. It may be written into."""
        if not hasattr(self, "state_space"):
            raise NotImplementedError(f"{self.environment.id} has no global state")
        if self._state is None:
            raise TeguError(f"{self.environment.id}: call reset() before state()")
        return jax.tree.map(np.array, self._global_state)

    def render(self) -> np.ndarray | str | None:
        """A picture ``[H, W, 3]`` uint8, or text; None without a ``render_mode``."""
        if self.render_mode is None:
            return None
        if self._state is None:
            raise TeguError(f"{self.environment.id}: call reset() before render()")
        state = jax.device_get(self._state)
        return self.environment.image(state) if self.render_mode == "rgb_array" else self.environment.text(state)

    def close(self) -> None:
        pass

    def _next_key(self) -> jax.Array:
        self._key, key = jax.random.split(self._key)  # type: ignore[arg-type]
        return key

    def _action(self, agent: str, action: Any) -> np.ndarray:
        space, array = self.action_spaces[agent], np.asarray(action)
        if array.shape != space.shape:
            raise TeguError(
                f"{self.environment.id}: the action of {agent} must have the shape {space.shape}, got {array.shape}"
            )
        whole = np.issubdtype(space.dtype, np.integer)
        fits = np.isfinite(array).all() if array.dtype.kind in "iuf" else array.dtype.kind == "b"
        if not fits or (whole and not space.contains(array.astype(space.dtype))) or (whole and array.dtype.kind == "f"):
            raise TeguError(f"{self.environment.id}: the action of {agent} must lie in {space}, got {action!r}")
        return array.astype(np.int32 if whole else space.dtype)

    def _seen(self, observation: PyTree) -> PyTree:
        """What each agent observes, in copies that may be written into; the global state is kept."""
        self._global_state = observation.get(STATE)
        return {agent: jax.tree.map(np.array, observation[agent]) for agent in self.possible_agents}


def as_pettingzoo(environment: str | Environment, *, render_mode: str | None = None, **options: Any) -> TeguParallelEnv:
    """One of Tegu's environments of several agents as a ``pettingzoo.ParallelEnv``, for other libraries.

    ``environment``: a name, with ``options`` for its constructor, or a ``tegu.Environment``. ``render_mode``:
    "rgb_array" or "ansi". Raises ``TeguError`` if its agents do not act at once.
    """
    if render_mode not in (None, *RENDER_MODES):
        raise TeguError(f"render_mode must be one of {', '.join(RENDER_MODES)}, got {render_mode!r}")
    if not isinstance(environment, str) and options:
        raise TeguError(f"options go with a name; {type(environment).__name__} is made already")
    made = make(environment, **options) if isinstance(environment, str) else environment
    if not isinstance(made, Environment):
        raise TeguError(f"as_pettingzoo takes Tegu's environments in JAX, {environment} is a {type(made).__name__}")
    if not made.agents or not isinstance(made.action_space, gymnasium.spaces.Dict):
        raise TeguError(f"as_pettingzoo takes environments whose agents act at once, {made.id} is not one")
    return TeguParallelEnv(made, render_mode)


def _by_agent(space: gymnasium.Space, agents: tuple[str, ...]) -> dict[str, gymnasium.Space]:
    """Copies, for each is seeded apart from those of other environments."""
    return {agent: deepcopy(space[agent]) for agent in agents}  # type: ignore[index]
