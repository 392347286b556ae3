"""One episode of an agent, kept to be looked at."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from statistics import fmean
from typing import Any

import gymnasium
import jax
import numpy as np

from tegu.acting.evaluation import EVALUATION
from tegu.acting.jax_collector import CollectorState, start_episodes, step_and_reset
from tegu.agents.agent import Agent
from tegu.core.code import is_code, one_line
from tegu.core.errors import TeguError
from tegu.core.step import PyTree, Step, episode_ended
from tegu.environments.games.base import Game
from tegu.environments.grids.finite import FiniteEnvironment
from tegu.environments.hints import of_tegu
from tegu.environments.make import find

_WANTED = (
    "its __init__ must take render_mode=None and keep it as self.render_mode, "
    "and render() return a picture [H, W, 3] uint8 where that is 'rgb_array'"
)


@dataclass
class Episode:
    """What happened: a state more than there are actions, and a reward for each action."""

    draw: Callable[[PyTree], np.ndarray]  #: a state as an RGB picture ``[H, W, 3]`` uint8
    text: Callable[[PyTree], str]  #: a state as lines of text
    fps: float  #: steps per second at which the episode is best looked at
    states: list[PyTree] = field(default_factory=list)  #: NumPy; of a Gymnasium environment, the pictures themselves
    actions: list[Any] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)

    @property
    def total(self) -> float:
        """The undiscounted return; where there are several agents, the mean of theirs."""
        return float(sum(self.rewards))

    @property
    def returns(self) -> list[float]:
        """What the rewards came to by each state."""
        return [0.0, *accumulate(self.rewards)]

    def frames(self) -> list[np.ndarray]:
        """All states as pictures."""
        try:
            return [self.draw(state) for state in self.states]
        except ImportError as error:
            raise TeguError("plots and animations need Matplotlib and Pillow: pip install 'tegu[plot]'") from error
        except AttributeError as error:  # what ``Environment.image`` raises where it is not defined
            raise TeguError(str(error)) from error


def record(agent: Agent, seed_index: int = 0, deterministic: bool = True, max_steps: int = 1000) -> Episode:
    """Play one episode with what the ``seed_index``-th seed has learned, up to ``max_steps`` steps.

    It is the same episode whenever the agent is the same.
    """
    require_seed(agent, seed_index)
    assert agent.source is not None
    if agent.source.native is not None:
        return _record_jax(agent, seed_index, deterministic, max_steps)
    try:
        return _record_gymnasium(agent, seed_index, deterministic, max_steps)
    except gymnasium.error.DependencyNotInstalled as error:
        raise TeguError(f"cannot draw {agent.spec.id}: {of_tegu(str(error))}") from error


def require_seed(agent: Agent, seed_index: int) -> None:
    """Raise ``TeguError`` unless the agent has so many seeds, and an environment to play in."""
    if not 0 <= seed_index < len(agent.seeds):
        raise TeguError(f"seed_index must lie in 0..{len(agent.seeds) - 1}, got {seed_index}")
    if agent.source is None:
        raise TeguError("this agent has no environment: load its run, or pass environment= to tegu.load")


def _record_jax(agent: Agent, seed_index: int, deterministic: bool, max_steps: int) -> Episode:
    assert agent.source is not None
    environment = agent.source.native
    assert environment is not None
    fps = 2.0 if isinstance(environment, Game) else 4.0 if isinstance(environment, FiniteEnvironment) else 30.0
    episode = Episode(environment.image, environment.text, fps)
    for step, state in steps_in_jax(agent, seed_index, deterministic, max_steps):
        episode.states.append(state)
        if step is not None:
            episode.actions.append(step.action)
            episode.rewards.append(_mean(step.reward))
    return episode


def steps_in_jax(
    agent: Agent, seed_index: int, deterministic: bool, max_steps: int
) -> Iterator[tuple[Step | None, PyTree]]:
    """An episode in an environment in JAX, in NumPy: its states, and each but the first with the step to it."""
    assert agent.source is not None
    environment, learner = agent.source.native, agent.learner(seed_index)
    algorithm = agent.algorithm.at(agent.clock)
    assert environment is not None

    @jax.jit
    def advance(state: CollectorState, key: jax.Array) -> tuple[CollectorState, jax.Array, tuple[Step, PyTree]]:
        key, step_key = jax.random.split(key)
        given = algorithm, environment, learner, state, step_key
        state, step, before_reset = step_and_reset(*given, explore=not deterministic)
        seen = step._replace(extras=()), before_reset.env_state
        return state, key, jax.tree.map(lambda leaf: leaf[0], seen)

    key, start_key = jax.random.split(jax.random.fold_in(jax.random.key(agent.seeds[seed_index]), EVALUATION))
    state = start_episodes(environment, start_key, 1, algorithm.begin(learner, start_key, 1))
    yield None, jax.device_get(jax.tree.map(lambda leaf: leaf[0], state.env_state))
    for _ in range(max_steps):
        state, key, seen = advance(state, key)
        step, env_state = jax.device_get(seen)
        yield step, env_state
        if episode_ended(step.terminated, step.truncated):
            return


def _record_gymnasium(agent: Agent, seed_index: int, deterministic: bool, max_steps: int) -> Episode:
    environment = _drawing(agent)
    try:
        observation, _ = environment.reset(seed=agent.seeds[seed_index])
        episode = Episode(lambda frame: frame, _no_text, float(environment.metadata.get("render_fps", 30)))
        episode.states.append(_first_picture(environment, agent.spec.id))
        memory, done = None, False
        while not done and len(episode.actions) < max_steps:
            action, memory = agent.predict(observation, memory, deterministic=deterministic, index=seed_index)
            observation, reward, terminated, truncated, _ = environment.step(action)
            episode.states.append(np.asarray(environment.render()))
            episode.actions.append(action)
            episode.rewards.append(_mean(reward))
            done = episode_ended(terminated, truncated)
        return episode
    finally:
        environment.close()


def _first_picture(environment: gymnasium.Env, name: str) -> np.ndarray:
    """What is drawn before the first step, if it can be drawn here: OpenGL may lack what it needs."""
    try:
        return np.asarray(environment.render())
    except gymnasium.error.DependencyNotInstalled:
        raise
    except Exception as error:
        raise TeguError(f"cannot draw {name}: {one_line(error)}") from error


def _drawing(agent: Agent) -> gymnasium.Env:
    """The agent's environment made anew, so that it draws pictures."""
    source = agent.source
    assert source is not None
    if source.id in gymnasium.registry or is_code(source.id) or source.backend == "pettingzoo":
        try:
            source = find(source.id, source.backend, {**source.options, "render_mode": "rgb_array"})
        except TeguError as error:
            if isinstance(error.__cause__, TypeError) and "render_mode" in str(error.__cause__):
                raise TeguError(f"cannot draw {source.id}: {_WANTED}") from error
            raise
    assert source.make is not None
    environment = source.make()
    if environment.render_mode != "rgb_array":
        environment.close()
        raise TeguError(f"cannot draw {source.id}: {_WANTED}")
    return environment


def _mean(reward: PyTree) -> float:
    """A reward, or the mean of those of several agents."""
    return fmean(map(float, jax.tree.leaves(reward)))


def _no_text(state: PyTree) -> str:
    raise TeguError("only Tegu's own environments can be drawn as text")
