"""Everything that decides how a run goes, chosen before anything is compiled."""

import inspect
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

from tegu.algorithms.base import Algorithm, HandOver, Stage
from tegu.algorithms.hyper_parameters import hyper_parameters, settings_of, whole_within
from tegu.algorithms.own import prepared, restored
from tegu.algorithms.registry import Choice, chosen, name_of
from tegu.algorithms.registry import algorithm as build_algorithm
from tegu.check.contract import require_contract, require_spaces
from tegu.core.code import is_code
from tegu.core.errors import TeguError
from tegu.core.runtime import configure_jax
from tegu.core.spec import EnvironmentSpec
from tegu.environments.adapters.contract import spaces_made
from tegu.environments.adapters.goals import HostGoals
from tegu.environments.base import Environment
from tegu.environments.goals.base import GoalEnvironment
from tegu.environments.make import Source, find
from tegu.presets import preset
from tegu.runs import Run
from tegu.runs.schema import MOST_AT_ONCE, MOST_SEED, MOST_STEPS
from tegu.spaces.features import observes_goals
from tegu.training.fitting import adapted_rollout, without_normalization


@dataclass(frozen=True)
class Plan:
    """An algorithm, where it trains and how long."""

    source: Source
    algorithm: Algorithm
    steps: int
    n_envs: int
    seeds: tuple[int, ...]
    log_interval: int
    checkpoint_every: float
    eval_every: int = 0  #: steps between two evaluations, 0 for none
    eval_episodes: int = 20  #: of each evaluation, for each seed
    snapshot_every: int = 0  #: steps between two agents that are kept, 0 for none
    preset: str = ""  #: where settings that nobody gave come from, in words
    schedule_steps: int | None = None  #: where schedules end, if not with ``steps``
    hand_over: HandOver | None = None  #: of a later phase; None: the learners are kept unchanged
    stage: Stage | None = None  #: the one that this is of those in which the algorithm trains, if it has any

    @property
    def learns(self) -> Algorithm:
        """The algorithm as it is in its stage."""
        return self.algorithm if self.stage is None else self.stage.algorithm

    @property
    def config(self) -> dict[str, Any]:
        """What ``config.toml`` holds, besides names, command and versions."""
        return {
            "backend": self.source.backend,
            "steps": self.steps,
            "n_envs": self.n_envs,
            "seeds": list(self.seeds),
            "log_interval": self.log_interval,
            "checkpoint_every": self.checkpoint_every,
            "eval_every": self.eval_every,
            "eval_episodes": self.eval_episodes,
            "snapshot_every": self.snapshot_every,
            "preset": self.preset,
            "environment_options": self.source.options,
            "hyper_parameters": hyper_parameters(self.algorithm),
        }


def make_plan(
    environment: Any,
    algorithm: Algorithm | Choice | None = None,
    *,
    steps: int | None = None,
    seeds: int = 1,
    seed: int = 0,
    n_envs: int | None = None,
    backend: str | None = None,
    environment_options: Mapping[str, Any] | None = None,
    log_interval: int | None = None,
    checkpoint_every: float = 30.0,
    eval_every: int | None = None,
    eval_episodes: int = 20,
    snapshot_every: int | None = None,
    **hyper: Any,
) -> Plan:
    """Resolve names and presets.

    ``environment`` is a name, an environment, or a function that makes one. ``algorithm`` is an algorithm with its
    hyper-parameters, or a name, a class or ``module:Class``: then the preset for the environment holds and ``hyper``
    overrides it; a rollout that does not fit what was given is adapted, with a warning that says how. ``steps`` and
    ``n_envs`` also come from the preset unless given. ``seeds`` independent agents are trained from ``seed``,
    ``seed + 1``, ... ``backend`` says whose implementation of the environment is meant, ``environment_options`` are
    arguments of its constructor. Metrics are logged every ``log_interval`` steps (a hundredth of all, at most 20,000),
    checkpoints saved every ``checkpoint_every`` seconds. Every ``eval_every`` steps (never) the deterministic
    policies play ``eval_episodes`` episodes each, and the best agent is saved as ``RUN@best``. Every ``snapshot_every``
    steps (never) the agent is kept as it is then, as ``RUN@step=N``.
    """
    configure_jax()
    if not isinstance(environment_options, Mapping | None):
        raise TeguError(f"environment_options must be a dict, got {type(environment_options).__name__}")
    options = dict(environment_options or {})
    source = find(environment, backend, options)
    given = isinstance(algorithm, Algorithm)
    if isinstance(algorithm, Algorithm):
        if hyper:
            raise TeguError(
                f"pass {', '.join(hyper)} to {type(algorithm).__name__}(...), or give the algorithm by name"
            )
        algorithm = prepared(algorithm)
        settings: dict[str, Any] = preset(source.id, algorithm.name)
        used = "none, the algorithm came with its hyper-parameters"
    else:
        choice = chosen(algorithm) if algorithm is not None else None
        observation_space, action_space = _spaces(source)
        name, hindsight = (None, _hindsight(source, observation_space)) if choice is None else (name_of(choice), False)
        settings = preset(source.id, name, observation_space, action_space, hindsight=hindsight)
        apart = ("algorithm", "steps", "n_envs", "environment_options", "origin")
        usual = {key: value for key, value in settings.items() if key not in apart}
        usual = {**without_normalization(usual, hyper, observation_space), **hyper}
        algorithm = prepared(build_algorithm(choice or settings["algorithm"], usual))
        used = settings["origin"]
    _check_keywords(algorithm)
    if isinstance(environment, str) and (own := settings.get("environment_options")):
        source = find(environment, backend, own | options)
    steps = whole_within("steps", steps if steps is not None else settings["steps"], 1, MOST_STEPS)
    usually = 1 if source.single else settings["n_envs"]
    n_envs = whole_within("n_envs", n_envs if n_envs is not None else usually, 1, MOST_AT_ONCE)
    if not given:
        samples = algorithm.samples_per_step(spec_at(source, n_envs)) if algorithm.multi_agent else 1
        algorithm = adapted_rollout(algorithm, n_envs, settings["n_envs"], hyper, samples)
    seeds = whole_within("seeds", seeds, 1, MOST_AT_ONCE)
    seed = whole_within("seed", seed, 0, MOST_SEED - seeds + 1)
    if source.single and (n_envs > 1 or seeds > 1):
        raise TeguError(
            "n_envs > 1 or seeds > 1 need several environments: pass a function that makes one, not an instance"
        )
    if source.single and eval_every:
        raise TeguError("eval_every needs separate environments: pass a function that makes one, not an instance")
    if log_interval is None:
        log_interval = min(max(steps // 100, 1), 20_000)
    if not (isinstance(checkpoint_every, int | float) and checkpoint_every >= 0):
        raise TeguError(f"checkpoint_every must be at least 0 seconds, got {checkpoint_every!r}")
    return Plan(
        source,
        algorithm,
        steps,
        n_envs,
        tuple(range(seed, seed + seeds)),
        whole_within("log_interval", log_interval, 1, MOST_STEPS),
        float(checkpoint_every),
        0 if eval_every is None else whole_within("eval_every", eval_every, 0, MOST_STEPS),
        whole_within("eval_episodes", eval_episodes, 1, MOST_AT_ONCE),
        0 if snapshot_every is None else whole_within("snapshot_every", snapshot_every, 0, MOST_STEPS),
        used,
    )


def _check_keywords(algorithm: Algorithm) -> None:
    """Raise ``TeguError`` if a hyper-parameter has the name of a keyword of ``make_plan``."""
    taken = inspect.signature(make_plan).parameters.keys() & settings_of(type(algorithm)).keys()
    for name in sorted(taken - {"hyper"}):
        title = type(algorithm).__name__
        raise TeguError(f"{title}.{name} has the name of a keyword of tegu.train: rename the hyper-parameter")


def plan_of(
    run: Run,
    *,
    steps: int | None = None,
    environment: Any = None,
    algorithm: Choice | None = None,
    network: Callable[..., Any] | str | None = None,
) -> Plan:
    """The plan that a run was made with, read from its ``config.toml``; what of it is code must be given again."""
    configure_jax()
    config = run.settings
    source = source_of(run, environment)
    try:
        return Plan(
            source,
            restored(config["algorithm"], config["hyper_parameters"], run.name, algorithm=algorithm, network=network),
            config["steps"] if steps is None else whole_within("steps", steps, 1, MOST_STEPS),
            config["n_envs"],
            tuple(config["seeds"]),
            config["log_interval"],
            config["checkpoint_every"],
            config["eval_every"],
            config["eval_episodes"],
            config.get("snapshot_every", 0),
            config.get("preset", ""),
        )
    except (KeyError, TypeError) as error:
        raise TeguError(f"{run.path / 'config.toml'} is damaged: {error!r}") from error


def source_of(run: Run, environment: Any = None) -> Source:
    """The environment a run was trained on; ``environment`` allows one that names code, or is one that has no name."""
    name = run.settings["environment"]
    if environment is not None and not isinstance(environment, str):
        return replace(find(environment), id=name)
    if is_code(name) and environment != name:
        raise TeguError(f"{run.name} was trained on {name}, which is your own code: pass it again (--env {name})")
    return find(name, run.config.get("backend"), run.config.get("environment_options"))


def spec_of(id: str, environment: Any, n_envs: int) -> EnvironmentSpec:
    """What an algorithm may know of an environment. ``TeguError`` if it is in JAX and breaks its contract."""
    if isinstance(environment, Environment):
        require_contract(environment)
    return spec_of_sound(id, environment, n_envs)


def spec_of_sound(id: str, environment: Any, n_envs: int) -> EnvironmentSpec:
    """The same of an environment that is known to keep its contract, which takes long to check."""
    model = environment if isinstance(environment, Environment) else None
    in_jax = model if isinstance(model, GoalEnvironment) else None
    goals = in_jax if model is not None else environment.goals
    spaces = environment.observation_space, environment.action_space
    return EnvironmentSpec(id, *spaces, n_envs, environment.agents, model, goals, environment.reward_function)


def spec_at(source: Source, n_envs: int) -> EnvironmentSpec:
    """The same of an environment that is yet to be made."""
    if source.native is not None:
        return spec_of(source.id, source.native, n_envs)
    with closing(source.environments([(0,)])) as probe:
        return spec_of(source.id, probe, n_envs)


def _hindsight(source: Source, observation_space: Any) -> bool:
    """Whether past steps can be given other goals there."""
    if not observes_goals(observation_space):
        return False
    goals = spec_at(source, 1).goals
    try:
        if isinstance(goals, HostGoals):
            goals.check()
    except TeguError:
        return False
    return goals is not None


def _spaces(source: Source) -> tuple[Any, Any]:
    if source.native is not None:
        require_spaces(source.native)
        return source.native.observation_space, source.native.action_space
    assert source.make is not None
    return spaces_made(source.make)
