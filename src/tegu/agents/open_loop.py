"""A learned model beside what really came: its predictions of the steps to come, with nothing seen in between."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tegu.agents.agent import Agent
from tegu.agents.recording import require_seed, steps_in_jax
from tegu.algorithms.base import Dream, Imagined
from tegu.algorithms.hyper_parameters import whole
from tegu.core.errors import TeguError
from tegu.core.step import PyTree, Step
from tegu.spaces.features import zeros


class OpenLoop(NamedTuple):
    """One episode of ``T`` steps, and what the model predicted from each of its first ``B`` observations."""

    observation: np.ndarray  #: ``[T + 1, o]``: all that were observed
    reward: np.ndarray  #: ``[T]``
    imagined: Imagined  #: ``[M, H, B, ...]``, in NumPy; ``B`` is ``T - H + 1``

    @property
    def horizon(self) -> int:
        return self.imagined.reward.shape[1]

    def errors(self) -> dict[str, np.ndarray]:
        """Mean squared errors ``[H]`` after 1 to ``H`` steps, as shares of the variance over the episode.

        ``model`` is of the mean prediction of observations, ``reward`` of rewards, and ``no change`` is that of
        predicting that observations stay as they are. Dimensions that never change are left out; NaN where none does.
        """
        starts = len(self.observation) - self.horizon
        index = np.arange(self.horizon)[:, None] + np.arange(starts)
        seen, reward = self.observation.astype(np.float64), self.reward.astype(np.float64)[:, None]
        observation, paid = (np.asarray(part, np.float64).mean(axis=0) for part in self.imagined[:2])
        return {
            "model": _shares(observation, seen[1:][index], seen),
            "no change": _shares(seen[:starts], seen[1:][index], seen),
            "reward": _shares(paid[..., None], reward[index], reward),
        }


def _shares(predicted: np.ndarray, true: np.ndarray, series: np.ndarray) -> np.ndarray:
    """The mean squared error ``[H]`` of what was ``predicted`` ``[H, B, n]``, as a share of the variance of the
    ``series`` ``[T, n]``, over its dimensions that change by more than rounding."""
    scale = series.var(axis=0)
    varies = scale > 1e-10 * (series**2).mean(axis=0)
    if not varies.any():
        return np.full(len(true), np.nan)
    return (((predicted - true) ** 2)[..., varies] / scale[varies]).mean(axis=(1, 2))


def open_loop(
    agent: Agent, horizon: int = 20, seed_index: int = 0, deterministic: bool = True, max_steps: int = 1000
) -> OpenLoop:
    """Play one episode with what the ``seed_index``-th seed has learned, and predict it from its model.

    ``TeguError`` where no model was learned, or the episode is shorter than ``horizon`` steps.
    """
    require_seed(agent, seed_index)
    _require_positive(horizon=horizon, max_steps=max_steps)
    learner, algorithm = agent.learner(seed_index), agent.algorithm.at(agent.clock)
    given = zeros(agent.spec.observation_space), zeros(agent.spec.action_space)
    seen, action = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], given)
    one = jax.tree.map(lambda leaf: leaf[None], action)
    known = jax.eval_shape(lambda: algorithm.imagine(learner, seen, one, jax.random.key(0)))
    if known is None:
        raise TeguError(
            f"{algorithm.title} predicts no observations of {agent.spec.id}: expected an algorithm with a learned "
            "model, such as pets or mbpo, and observations that it predicts, such as vectors of floats"
        )
    steps = played(agent, seed_index, deterministic, max_steps)
    length = len(steps.reward)
    if length < horizon:
        raise TeguError(f"{_how_long(length, max_steps)}: horizon must be at most that, got {horizon:,}")
    starts = length - horizon + 1
    actions = steps.action[np.arange(horizon)[:, None] + np.arange(starts)]
    imagine = jax.jit(lambda *given: algorithm.imagine(*given))  # a method of an algorithm with schedules has no hash
    imagined = imagine(learner, steps.observation[:starts], actions, jax.random.key(0))
    return OpenLoop(observed(steps), steps.reward, jax.device_get(imagined))


def dream(
    agent: Agent,
    seen: int = 10,
    horizon: int | None = None,
    seed_index: int = 0,
    deterministic: bool = True,
    max_steps: int = 1000,
) -> Dream:
    """Play one episode with what the ``seed_index``-th seed has learned, and dream its end, in NumPy.

    The model follows the first ``seen`` observations, and expects what comes of the ``horizon`` actions after them, by
    default of all. ``TeguError`` where no model draws images, or the episode is shorter.
    """
    require_seed(agent, seed_index)
    _require_positive(seen=seen, horizon=1 if horizon is None else horizon, max_steps=max_steps)
    learner, algorithm = agent.learner(seed_index), agent.algorithm.at(agent.clock)
    seen_two = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), zeros(agent.spec.observation_space))
    action = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], zeros(agent.spec.action_space))
    if jax.eval_shape(lambda: algorithm.dream_of(learner, seen_two, action, 1, jax.random.key(0))) is None:
        raise TeguError(
            f"{algorithm.title} dreams no images of {agent.spec.id}: expected an algorithm whose model draws them, "
            "world-models or dreamer, and images that are observed"
        )
    steps = played(agent, seed_index, deterministic, max_steps)
    length = len(steps.reward)
    if length < seen - 1 + (horizon or 1):
        dreamt = "one dreamt step" if horizon is None else f"{horizon:,} dreamt steps"
        raise TeguError(f"{_how_long(length, max_steps)}: too few for {seen:,} seen observations and {dreamt}")
    length = seen - 1 + horizon if horizon else length
    steps = jax.tree.map(lambda leaf: leaf[:length], steps)
    dream_of = jax.jit(lambda learner, *given: algorithm.dream_of(learner, given[0], given[1], seen, given[2]))
    found: Dream = jax.device_get(dream_of(learner, observed(steps), steps.action, jax.random.key(0)))
    if not all(np.isfinite(images).all() for images in found):
        raise TeguError(f"{algorithm.title} draws images that are not finite: its model has diverged")
    return found


def _require_positive(**numbers: int) -> None:
    for name, number in numbers.items():
        if whole(number, name) < 1:
            raise TeguError(f"{name} must be at least 1, got {number}")


def _how_long(length: int, max_steps: int) -> str:
    cut = length == max_steps
    return f"the episode was cut after {length:,} steps (max_steps)" if cut else f"the episode has {length:,} steps"


def observed(steps: Step) -> PyTree:
    """All ``T + 1`` observations of one episode, ``steps`` ``[T, ...]``."""
    return jax.tree.map(lambda now, after: np.concatenate([now, after[-1:]]), steps.observation, steps.next_observation)


def played(agent: Agent, seed_index: int, deterministic: bool, max_steps: int) -> Step:
    """The steps ``[T, ...]`` of one episode, up to ``max_steps``, in NumPy."""
    assert agent.source is not None
    if agent.source.native is not None:
        found = [step for step, _ in steps_in_jax(agent, seed_index, deterministic, max_steps) if step is not None]
        return jax.tree.map(lambda *leaves: np.stack(leaves), *found)
    environments, memory, steps = agent.environments(agent.seeds[seed_index], 1), None, list[Step]()
    try:
        observation, begins = environments.reset(), True
        for _ in range(max_steps):
            action, memory = agent.predict(observation, memory, [begins], deterministic, index=seed_index)
            now = environments.step(action)
            steps.append(Step(observation, action, now.reward, now.next_observation, now.terminated, now.truncated))
            observation, begins = now.observation, False
            if now.over.any():
                break
    finally:
        environments.close()
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *steps)
