"""How an algorithm fits an environment and the number of them: what is adapted, and what cannot be."""

import dataclasses
import math
import warnings
from collections.abc import Collection, Mapping
from typing import Any

from gymnasium import spaces

from tegu.algorithms.base import Algorithm
from tegu.algorithms.registry import fitting
from tegu.core.errors import TeguError
from tegu.core.schedule import Linear
from tegu.core.spec import EnvironmentSpec
from tegu.environments.adapters.goals import HostGoals
from tegu.experience.base import Hindsight, Replay, Rollout
from tegu.nn.encoder import attends, images
from tegu.spaces.features import ACHIEVED_GOAL, DESIRED_GOAL, one_line, refuse_masks, require_mask
from tegu.training.learning import Iteration

MOST_ROWS = 2**31 - 1  #: of a replay buffer and of an iteration: they are counted in 32 bits


def without_normalization(
    usual: Mapping[str, Any], given: Mapping[str, Any], observation_space: spaces.Space
) -> Mapping[str, Any]:
    """A preset's settings, observations not standardised where they are images or a person's own network or attention
    sees them."""
    if "normalize_observation" in given or not usual.get("normalize_observation"):
        return usual
    if given.get("network") is not None:
        why = "your own network sees raw observations"
    elif any(images(observation_space)):
        why = "there are images in the observation"
    elif attends(str({**usual, **given}.get("features_extractor"))):
        why = "attention knows absent entities by their zeros"
    else:
        return usual
    warnings.warn(f"normalize_observation is off: {why}", stacklevel=3)
    return {**usual, "normalize_observation": False}


def adapted_rollout(
    algorithm: Algorithm, n_envs: int, usually: int, given: Collection[str], samples: int = 1, title: str = ""
) -> Algorithm:
    """The algorithm with ``n_steps`` and ``batch_size`` that fit together, with a warning that says what was changed.

    They were chosen for ``usually`` environments, but for what a person has ``given``, which stays as it is. A rollout
    keeps its size and its number of batches as nearly as it can. ``samples``: how many of them one step of one
    environment gives, where agents share a policy; ``title``: what the warning calls the algorithm, if not its title.
    """
    inner = next((field.name for field in dataclasses.fields(algorithm) if _is_algorithm(algorithm, field.name)), None)
    if inner is not None:
        adapted = adapted_rollout(getattr(algorithm, inner), n_envs, usually, given, samples, algorithm.title)
        fitted: dict[str, Any] = {inner: adapted}
        return algorithm if adapted is getattr(algorithm, inner) else dataclasses.replace(algorithm, **fitted)
    experience = algorithm.experience
    if not isinstance(experience, Rollout) or experience.minibatch is None or {"n_steps", "batch_size"} <= set(given):
        return algorithm
    n_steps, batch = experience.n_steps, experience.minibatch
    columns, usual_columns = n_envs * samples, usually * samples
    if n_steps * columns % batch == 0:
        return algorithm
    batches = max(n_steps * usual_columns // batch, 1)
    if "n_steps" in given:
        size = n_steps * columns
        batch = next(n for n in range(min(batch, size), 0, -1) if size % n == 0)
    else:
        unit = batch // math.gcd(batch, columns) if "batch_size" in given else batches // math.gcd(batches, columns)
        steps = max(round(n_steps * usually / n_envs / unit), 1) * unit
        batch = batch if "batch_size" in given else steps * columns // batches
        n_steps = steps
    changed: dict[str, Any] = {"n_steps": n_steps, "batch_size": batch}
    says = [
        f"{name} is {value:,} in place of {was:,}"
        for name, value in changed.items()
        if value != (was := getattr(algorithm, name))
    ]
    warnings.warn(f"{title or algorithm.title}: {' and '.join(says)}, to fit n_envs {n_envs:,}", stacklevel=3)
    return dataclasses.replace(algorithm, **changed)


def _is_algorithm(algorithm: Algorithm, field: str) -> bool:
    return isinstance(getattr(algorithm, field), Algorithm)


def warn_of_no_learning(algorithm: Algorithm, n_envs: int, steps: int) -> None:
    """Say so where a training of so many ``steps`` in all ends before it learns for the first time."""
    size = Iteration(algorithm, n_envs)
    waits = size.warm_up(0, 0)
    if waits and waits * size.steps >= steps:
        starts = size.experience.learning_starts
        warnings.warn(
            f"{algorithm.title}: nothing will be learned: learning begins after "
            f"{max(waits * size.steps, starts):,} steps (learning_starts {starts:,}), the training has {steps:,}",
            stacklevel=3,
        )


def rates_that_end(algorithm: Algorithm) -> dict[str, float]:
    """The learning rates that a schedule brings to 0, by name: after which share of the training it does."""
    values = {field.name: getattr(algorithm, field.name) for field in dataclasses.fields(algorithm)}
    inner = [rates_that_end(value) for value in values.values() if isinstance(value, Algorithm)]
    rates = {name: value for name, value in values.items() if name.endswith("learning_rate")}
    own = {name: value.fraction for name, value in rates.items() if isinstance(value, Linear) and value.final == 0}
    return own | {name: share for found in inner for name, share in found.items()}


def warn_of_ended_rates(algorithm: Algorithm, begun: int, planned: int) -> None:
    """Say so where a training that began with step ``begun`` goes on after its schedules, which were ``planned`` for so
    many steps, have brought a learning rate to 0."""
    if rates := rates_that_end(algorithm):
        ends = [f"{name} is 0 from step {begun + round(share * planned):,} on" for name, share in rates.items()]
        warnings.warn(
            f"{algorithm.title}: {' and '.join(ends)}, and nothing is learned with it: stretch_schedules "
            "(--stretch-schedules) lets schedules end with the new steps",
            stacklevel=5,
        )


def validate(algorithm: Algorithm, spec: EnvironmentSpec, *, few_rows: bool = False) -> None:
    """Raise ``TeguError`` with one clear line where algorithm and environment do not fit.

    ``few_rows``: whether a replay buffer may hold less than a batch, which then has rows several times.
    """
    if spec.agents and not algorithm.multi_agent:
        raise TeguError(
            f"{algorithm.title} trains a single agent, {spec.id} has {len(spec.agents)} ({', '.join(spec.agents)}): "
            f"expected {' or '.join(fitting(spec))}"
        )
    if spec.agents and isinstance(spec.action_space, spaces.Dict):
        for agent in spec.agents:
            require_mask(spec.observation_space[agent], spec.action_space[agent])
        beside = {name: part for name, part in spec.observation_space.items() if name not in spec.agents}
        refuse_masks(spaces.Dict(beside), "the observation of all agents")
    else:  # a game's players share one observation
        require_mask(spec.observation_space, spec.action_space)
    algorithm.validate(spec)
    check_experience(algorithm, spec.n_envs, few_rows=few_rows)
    check_hindsight(algorithm, spec)


def check_experience(algorithm: Algorithm, n_envs: int, *, few_rows: bool = False) -> None:
    """Raise ``TeguError`` where an iteration or a replay buffer has more steps than can be counted, or where the buffer
    holds less than what is drawn from it: then nothing would ever be learned, or from the same few rows."""
    title, experience = algorithm.title, algorithm.experience
    block = experience.steps_per_env(n_envs) * n_envs
    if block > MOST_ROWS:
        steps = "train_freq" if isinstance(experience, Replay) else "n_steps x n_envs"
        raise TeguError(f"{title}: {steps} must be at most {MOST_ROWS:,}, got {block:,}")
    if not isinstance(experience, Replay):
        return
    rows = experience.rows(block)
    if rows > MOST_ROWS:
        raise TeguError(f"{title}: buffer_size must be at most {MOST_ROWS:,}, got {experience.capacity:,}")
    holds = f"{experience.capacity:,}, which holds {rows:,} in whole rounds of train_freq"
    if experience.n_steps > 1 and experience.window(n_envs) > rows:
        names = [
            name
            for name in ("n_steps", "sequence_length", "horizon")
            if getattr(algorithm, name, 0) == experience.n_steps
        ]
        drawn = names[0] if names else "the steps drawn together (n_steps and others)"
        raise TeguError(
            f"{title}: {drawn} x n_envs must be at most buffer_size, got {experience.n_steps} x {n_envs} and {holds}"
        )
    if experience.batch_size > rows and not few_rows:
        raise TeguError(f"{title}: batch_size must be at most buffer_size, got {experience.batch_size:,} and {holds}")


def check_hindsight(algorithm: Algorithm, spec: EnvironmentSpec) -> None:
    """Raise ``TeguError`` where past steps are to be given other goals in an environment that does not say what those
    would have paid."""
    experience = algorithm.experience
    if not (isinstance(experience, Replay) and isinstance(experience.draw, Hindsight)):
        return
    if spec.goals is None:
        raise TeguError(
            f"{algorithm.title}: hindsight (n_sampled_goal) needs an environment that has compute_reward and "
            f"observes {ACHIEVED_GOAL} and {DESIRED_GOAL} (in JAX a tegu.GoalEnvironment): {spec.id} observes "
            f"{one_line(spec.observation_space)}"
        )
    if isinstance(spec.goals, HostGoals):
        spec.goals.check()
