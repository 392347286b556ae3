"""``tegu.train`` and ``tegu.resume``: from a name or an object to a trained agent and a run on disk."""

import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gymnasium

from tegu.acting.evaluation import FusedEvaluation
from tegu.agents.agent import Agent, facts
from tegu.algorithms.base import Algorithm, Learner
from tegu.algorithms.registry import algorithm as build_algorithm
from tegu.algorithms.registry import fitting, hyper_parameters
from tegu.core.errors import TeguError
from tegu.core.runtime import configure_jax
from tegu.core.spec import EnvironmentSpec
from tegu.environments.adapters.gymnasium import GymnasiumEnvironments
from tegu.environments.base import Environment
from tegu.environments.make import Source, find, is_code
from tegu.presets import preset
from tegu.runs import Run, checkpoint
from tegu.training.dealt import DealtLoop, dealt_to
from tegu.training.fused import Fused, FusedLoop
from tegu.training.host import HostLoop
from tegu.training.trainer import Callback, Loop, Trainer

MOST_STEPS = 2**31 - 1  #: steps are counted in 32 bits on the device


@dataclass(frozen=True)
class Plan:
    """Everything that decides how a run goes, chosen before anything is compiled."""

    source: Source
    algorithm: Algorithm
    steps: int
    n_envs: int
    seeds: tuple[int, ...]
    log_interval: int
    checkpoint_every: float

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
            "environment_options": self.source.options,
            "hyper_parameters": hyper_parameters(self.algorithm),
        }


def train(
    environment: str | Environment | gymnasium.Env | Callable[[], gymnasium.Env],
    algorithm: Algorithm | str | None = None,
    *,
    steps: int | None = None,
    seeds: int = 1,
    seed: int = 0,
    n_envs: int | None = None,
    backend: str | None = None,
    environment_options: Mapping[str, Any] | None = None,
    log_interval: int | None = None,
    checkpoint_every: float = 30.0,
    folder: str | Path | None = "runs",
    callbacks: tuple[Callback, ...] = (),
    prepare_evaluation: int = 0,
    **hyper: Any,
) -> Agent:
    """Train an agent.

    ``environment`` is a name, an environment, or a function that makes one. ``algorithm`` is an algorithm with its
    hyper-parameters, or a name: then the preset for the environment holds and ``hyper`` overrides it. ``steps`` and
    ``n_envs`` also come from the preset unless given. ``seeds`` independent agents are trained from ``seed``,
    ``seed + 1``, ... The run is kept under ``folder`` (``None`` keeps nothing). ``checkpoint_every`` is in seconds.
    ``prepare_evaluation``: how many episodes ``Agent.evaluate`` will be asked for, so that it is compiled meanwhile.
    Raises ``TeguError`` with one clear line before anything is compiled.
    """
    plan = make_plan(
        environment,
        algorithm,
        steps=steps,
        seeds=seeds,
        seed=seed,
        n_envs=n_envs,
        backend=backend,
        environment_options=environment_options,
        log_interval=log_interval,
        checkpoint_every=checkpoint_every,
        **hyper,
    )
    loop = make_loop(plan)
    if folder is None:
        return _trained(plan, loop, None, None, callbacks, prepare_evaluation)
    run = Run.create(folder, plan.source.id, plan.algorithm.name, plan.config)
    with run.lock():
        return _trained(plan, loop, run, None, callbacks, prepare_evaluation)


def resume(
    run: str | Path | Run,
    *,
    steps: int | None = None,
    environment: Any = None,
    folder: str | Path = "runs",
    callbacks: tuple[Callback, ...] = (),
    prepare_evaluation: int = 0,
) -> Agent:
    """Go on with a run from its last good checkpoint, to ``steps`` in all (by default those first planned).

    A run on ``module:Class`` names code, which is not imported because a file says so: pass the same ``environment``.
    A run on an object or a function needs that again, as in ``train``.
    """
    run = run if isinstance(run, Run) else Run.open(run, folder)
    with run.lock():
        plan = plan_of(run, steps=steps, environment=environment)
        saved = checkpoint.load_latest(run.checkpoints) if checkpoint.steps(run.checkpoints) else None
        for reason in saved.skipped if saved else ():
            warnings.warn(f"a newer checkpoint is passed over: {reason}", stacklevel=2)
        return _trained(plan, make_loop(plan), run, saved, callbacks, prepare_evaluation)


def make_plan(
    environment: Any,
    algorithm: Algorithm | str | None = None,
    *,
    steps: int | None = None,
    seeds: int = 1,
    seed: int = 0,
    n_envs: int | None = None,
    backend: str | None = None,
    environment_options: Mapping[str, Any] | None = None,
    log_interval: int | None = None,
    checkpoint_every: float = 30.0,
    **hyper: Any,
) -> Plan:
    """Resolve names and presets. Arguments as in ``train``."""
    configure_jax()
    options = dict(environment_options or {})
    source = find(environment, backend, options)
    if isinstance(algorithm, Algorithm):
        if hyper:
            raise TeguError(f"set {', '.join(hyper)} on {type(algorithm).__name__} itself, or name the algorithm")
        settings: dict[str, Any] = preset(source.id, algorithm.name)
    else:
        settings = preset(source.id, algorithm, *_spaces(source))
        apart = ("algorithm", "steps", "n_envs", "environment_options")
        chosen = {key: value for key, value in settings.items() if key not in apart}
        algorithm = build_algorithm(settings["algorithm"], chosen | hyper)
    if isinstance(environment, str) and (usual := settings.get("environment_options")):
        source = find(environment, backend, usual | options)
    steps = int(steps if steps is not None else settings["steps"])
    n_envs = int(n_envs if n_envs is not None else 1 if source.single else settings["n_envs"])
    for name, value in (("steps", steps), ("n_envs", n_envs), ("seeds", seeds)):
        if value < 1:
            raise TeguError(f"{name} must be at least 1, got {value}")
    if steps > MOST_STEPS:
        raise TeguError(f"steps must be at most {MOST_STEPS:,}, got {steps:,}")
    if source.single and (n_envs > 1 or seeds > 1):
        raise TeguError("one environment cannot be several: pass a function that makes it for n_envs > 1 or seeds > 1")
    log_interval = int(log_interval or min(max(steps // 100, 1), 20_000))
    return Plan(
        source,
        algorithm,
        steps,
        n_envs,
        tuple(range(seed, seed + seeds)),
        log_interval,
        float(checkpoint_every),
    )


def plan_of(run: Run, *, steps: int | None = None, environment: Any = None) -> Plan:
    """The plan that a run was made with, read from its ``config.toml``."""
    configure_jax()
    config = run.config
    source = source_of(run, environment)
    try:
        return Plan(
            source,
            build_algorithm(config["algorithm"], config["hyper_parameters"]),
            int(steps or config["steps"]),
            config["n_envs"],
            tuple(config["seeds"]),
            config["log_interval"],
            config["checkpoint_every"],
        )
    except (KeyError, TypeError) as error:
        raise TeguError(f"{run.path / 'config.toml'} is damaged: {error!r}") from error


def source_of(run: Run, environment: Any = None) -> Source:
    """The environment a run was trained on; ``environment`` allows one that names code, or is one that has no name."""
    name = run.config["environment"]
    if environment is not None and not isinstance(environment, str):
        return replace(find(environment), id=name)
    if is_code(name) and environment != name:
        raise TeguError(f"{run.name} was trained on {name}, which is code: name it yourself (--env {name}) to allow it")
    return find(name, run.config.get("backend"), run.config.get("environment_options"))


def make_loop(plan: Plan) -> Loop:
    """The loop for a plan: fused where the environment is in JAX, else on the host."""
    source, seeds = plan.source, plan.seeds
    if source.native is not None:
        spec = spec_of(source.id, source.native, plan.n_envs)
        validate(plan.algorithm, spec)
        alone = len(seeds) == 1 and dealt_to(Fused(plan.algorithm, source.native, plan.n_envs)) > 1
        return (DealtLoop if alone else FusedLoop)(plan.algorithm, source.native, spec, seeds)
    environments = host_environments(source, [(seed, i) for seed in seeds for i in range(plan.n_envs)])
    spec = spec_of(source.id, environments, plan.n_envs)
    validate(plan.algorithm, spec)
    return HostLoop(plan.algorithm, environments, spec, seeds)


def validate(algorithm: Algorithm, spec: EnvironmentSpec) -> None:
    """Raise ``TeguError`` with one clear line where algorithm and environment do not fit."""
    if spec.agents and not algorithm.several:
        raise TeguError(
            f"{algorithm.name} trains one agent alone, {spec.id} has {len(spec.agents)} ({', '.join(spec.agents)}): "
            f"expected {' or '.join(fitting(spec))}"
        )
    algorithm.validate(spec)


def host_environments(source: Source, entropy: list[tuple[int, ...]]) -> GymnasiumEnvironments:
    """Gymnasium environments whose randomness follows from ``entropy``."""
    if source.make is None:
        raise TeguError(f"{source.id} is not a Gymnasium environment")
    return GymnasiumEnvironments(source.make, entropy)


def spec_of(id: str, environment: Environment | GymnasiumEnvironments, n_envs: int) -> EnvironmentSpec:
    spaces = environment.observation_space, environment.action_space
    model = environment if isinstance(environment, Environment) else None
    return EnvironmentSpec(id, *spaces, n_envs, environment.agents, model)


def _spaces(source: Source) -> tuple[Any, Any]:
    if source.native is not None:
        return source.native.observation_space, source.native.action_space
    with closing(source.make()) as probe:  # type: ignore[misc]
        return probe.observation_space, probe.action_space


def _trained(
    plan: Plan,
    loop: Loop,
    run: Run | None,
    saved: checkpoint.Checkpoint | None,
    callbacks: tuple[Callback, ...],
    episodes: int,
) -> Agent:
    """Train, and meanwhile, in another thread, compile an evaluation of so many ``episodes`` by playing them once."""
    evaluations = {}
    if episodes and plan.source.native is not None:
        given = plan.algorithm, plan.source.native, plan.seeds, episodes, True
        evaluations[episodes, True] = FusedEvaluation(*given)
    background = ThreadPoolExecutor(1)

    def prepare(learners: Learner) -> None:
        for evaluation in evaluations.values():
            background.submit(evaluation, learners)

    try:
        trainer = Trainer(
            loop,
            run,
            steps=plan.steps,
            log_interval=plan.log_interval,
            checkpoint_every=plan.checkpoint_every,
            facts=facts(plan.algorithm, loop.spec, plan.seeds, plan.source),
            callbacks=callbacks,
            ready=prepare,
        )
        learners = loop.learners(trainer.train(saved))
    finally:
        background.shutdown(cancel_futures=True)
        loop.close()
    agent = Agent(plan.algorithm, loop.spec, learners, plan.seeds, trainer.steps, plan.source, run)
    agent.evaluations.update(evaluations)
    return agent
