"""``tegu.train`` and ``tegu.resume``: from a name or an object to a trained agent and a run on disk."""

import warnings
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax

from tegu.agents.agent import Agent, facts
from tegu.agents.own_code import warn_of_nameless
from tegu.agents.selection import saved_agent
from tegu.agents.transfer import Origin, fitting, origin_of, taken_over
from tegu.algorithms.base import Algorithm, HandOver, Learner
from tegu.algorithms.hyper_parameters import whole, whole_within
from tegu.algorithms.own import prepared
from tegu.algorithms.registry import Choice
from tegu.core.errors import TeguError
from tegu.core.paths import path_of
from tegu.environments.make import find
from tegu.runs import Run, checkpoint, schema
from tegu.runs.live import LiveLog, formats_of
from tegu.training.evaluation import EvaluationObserver
from tegu.training.faults import UnsavedError
from tegu.training.loop import Loop
from tegu.training.loops import make_loop
from tegu.training.plan import Plan, make_plan, plan_of
from tegu.training.resuming import check_state, go_on, steps_before
from tegu.training.snapshots import SnapshotObserver
from tegu.training.stages import in_stages
from tegu.training.trainer import Callback, Observer, Trainer


class Phase(NamedTuple):
    """A later part of a training: another algorithm or environment continues with the learners."""

    environment: Any
    algorithm: Algorithm | Choice
    steps: int
    hand_over: HandOver | None = None  #: None: the learners are kept unchanged


def train(
    environment: Any,
    algorithm: Algorithm | Choice | None = None,
    *,
    folder: str | Path | None = "runs",
    callbacks: Callback | Sequence[Callback] = (),
    observers: Observer | Sequence[Observer] = (),
    then: Phase | Sequence[Phase] = (),
    prepare_evaluation: int = 0,
    log: str | Sequence[str] | None = (),
    start_from: str | Path | None = None,
    start_agent: str | None = None,
    **options: Any,
) -> Agent:
    """Train an agent.

    ``environment`` is a name, an environment, or a function that makes one; ``algorithm`` an algorithm with its
    hyper-parameters, or a name, a class or ``module:Class``. ``options`` are those of
    ``tegu.training.plan.make_plan``: steps, seeds, n_envs..., and the hyper-parameters of an algorithm that is named.
    The run is saved under ``folder`` (``None`` saves nothing).
    ``callbacks`` get a ``Progress`` every ``log_interval`` steps, ``observers`` the learners every ``every`` steps.
    ``then`` are phases that follow in the same run. Each of these may be one or several.
    ``prepare_evaluation``: how many episodes ``Agent.evaluate`` will be asked for, so that it is compiled meanwhile.
    ``log`` names formats in which metrics are written as well, in the run's folder and while it trains: ``"csv"``,
    ``"tensorboard"``, ``"wandb"``, or several of them.
    ``start_from``: an agent, as ``tegu.load`` takes one, to begin with what it has learned: see
    ``tegu.agents.transfer.fitting``; ``start_agent``: which one, if that has several.
    Raises ``TeguError`` with one clear line before anything is compiled, and ``UnsavedError`` if the last checkpoint
    cannot be written. Ctrl-C raises ``KeyboardInterrupt`` as soon as the run is saved, ready for ``tegu.resume``.
    """
    callbacks, observers, then = several(callbacks, observers, then)
    formats = formats_of(log)
    prepare_evaluation = whole_within("prepare_evaluation (--episodes)", prepare_evaluation, 0, schema.MOST_AT_ONCE)
    if folder is not None:
        folder = path_of(folder, "folder", "a path, or None to save nothing")
    elif formats:
        raise TeguError(f"log: {formats[0]} is written into the folder of a run, and folder=None saves none")
    first = make_plan(environment, algorithm, **options)
    later = [_plan_of_phase(first, phase) for phase in then]
    plans = [part for plan in (first, *later) for part in in_stages(plan)]
    training = _Training(plans, first.steps, callbacks, observers, prepare_evaluation)
    if start_agent is not None and start_from is None:
        raise TeguError("start_agent (--start-agent) is one of start_from (--start-from), which is not given")
    if start_from is not None:
        start_from = path_of(start_from, "start_from", "a folder, or the name of a run")
        _, saved = saved_agent(start_from, "runs" if folder is None else folder)
        for reason in saved.skipped:
            warnings.warn(f"a newer checkpoint is skipped: {reason}", stacklevel=2)
        training.start_from(origin_of(saved, start_agent))
    if folder is None:
        return training.run(None, None)
    for plan in plans:
        warn_of_nameless(plan.algorithm, plan.source)
    config = first.config | {"phases": [_config_of_phase(plan) for plan in later], "log": formats}
    if training.origin is not None:
        config["start_from"] = str(training.origin.path)
    run = Run.create(folder, first.source.id, first.algorithm.name, config)
    with run.lock(), closing(LiveLog(run, formats)) as live:
        return training.run(run, None, live)


def resume(
    run: str | Path | Run | Agent,
    *,
    steps: int | None = None,
    stretch_schedules: bool = False,
    environment: Any = None,
    algorithm: Choice | None = None,
    network: Callable[..., Any] | str | None = None,
    folder: str | Path = "runs",
    callbacks: Callback | Sequence[Callback] = (),
    observers: Observer | Sequence[Observer] = (),
    then: Phase | Sequence[Phase] = (),
    prepare_evaluation: int = 0,
    log: str | Sequence[str] | None = None,
) -> Agent:
    """Continue a run, or that of an agent, from its last good checkpoint, to ``steps`` in total (those last planned).

    Schedules go on as they were planned, and beyond that stay at their end; ``stretch_schedules`` lets them end with
    ``steps`` instead. A run that has reached its ``steps`` stays as it is, with a warning. Ctrl-C is as in ``train``.

    Code is never imported because a file names it. So pass your own ``environment``, ``algorithm`` or ``network``
    again, as ``train`` got it, and the phases (``then``). ``log`` is as in ``train``, by default what it was there.
    """
    callbacks, observers, then = several(callbacks, observers, then)
    prepare_evaluation = whole_within("prepare_evaluation (--episodes)", prepare_evaluation, 0, schema.MOST_AT_ONCE)
    run = _run_of(run, folder)
    formats = formats_of(run.settings.get("log") if log is None else log)
    with run.lock():
        saved = checkpoint.load_latest(run.checkpoints) if checkpoint.steps(run.checkpoints) else None
        planned = steps
        if saved is None and (origin := run.settings.get("start_from")):
            raise TeguError(f"{run.name} was stopped before it had saved what it begins with, {origin}: train it anew")
        if saved is not None:
            check_state(saved)
            planned = saved.state.get("planned_steps") if steps is None else steps  # as the last resume changed it
        first = plan_of(run, steps=planned, environment=environment, algorithm=algorithm, network=network)
        later = [_plan_of_phase(first, phase) for phase in then]
        recorded = run.config.get("phases", [])
        if [_config_of_phase(plan) for plan in later] != recorded:
            raise TeguError(f"{run.name} was trained in {1 + len(recorded)} phases: pass the same as then=")
        plans = [part for plan in (first, *later) for part in in_stages(plan)]
        for reason in saved.skipped if saved else ():
            warnings.warn(f"a newer checkpoint is skipped: {reason}", stacklevel=3)
        if saved is not None:
            go_on(plans, run, saved, steps, stretch=stretch_schedules)
        begin = saved.state["phase"] if saved is not None else 0
        training = _Training(plans, first.steps, callbacks, observers, prepare_evaluation, begin)
        with closing(LiveLog(run, formats)) as live:
            return training.run(run, saved, live)


def _run_of(given: Any, folder: Any) -> Run:
    """The run that a person means."""
    if isinstance(given, Agent):
        if given.run is None:
            raise TeguError("this agent has no run on disk, so there is nothing to resume")
        return given.run
    return given if isinstance(given, Run) else Run.open(given, folder)


def several(callbacks: Any, observers: Any = (), then: Any = ()) -> tuple[list[Callback], list[Observer], list[Phase]]:
    """What follows a training, as lists. Raises ``TeguError`` naming what is not such a thing."""
    return (
        _all("callbacks", callbacks, callable, "functions of a Progress"),
        _all("observers", observers, lambda each: callable(each) and hasattr(each, "every"), "callable and have every"),
        _all("then", then, lambda each: isinstance(each, Phase), "tegu.Phase(environment, algorithm, steps)"),
    )


def _all(name: str, given: Any, fits: Callable[[Any], bool], expected: str) -> list[Any]:
    """One or several that fit, as a list."""
    found = [given] if fits(given) or not isinstance(given, Iterable) else list(given)
    if odd := [each for each in found if not fits(each)]:
        raise TeguError(f"{name} must be {expected}, got {type(odd[0]).__name__}")
    return found


class _Training:
    """Phases one after the other, and meanwhile, in another thread, an evaluation is compiled by playing it once."""

    def __init__(
        self,
        plans: Sequence[Plan],
        planned_steps: int,
        callbacks: Sequence[Callback],
        observers: Sequence[Observer],
        episodes: int,
        begin: int = 0,
    ):
        self.begin = begin  # the phase with which it goes on
        self.origin: Origin | None = None  # what it begins with, if not with nothing learned
        self._fitting: list[str] = []  # which arrays of that
        self.plans = plans[begin:]
        self.loops: list[Loop] = [make_loop(plan, begin + i) for i, plan in enumerate(self.plans)]
        self.planned_steps = planned_steps  # of all stages of the first phase
        self.callbacks, self.observers, self.episodes = list(callbacks), observers, episodes

    def start_from(self, origin: Origin) -> None:
        """Begin with what an agent has learned. ``TeguError`` if nothing of it fits."""
        plan, loop = self.plans[0], self.loops[0]
        shapes = jax.eval_shape(partial(plan.algorithm.init, spec=loop.spec), jax.random.key(0))
        self.origin, self._fitting = origin, fitting(shapes, origin, len(plan.seeds))

    def run(self, run: Run | None, saved: checkpoint.Checkpoint | None, *live: Callback) -> Agent:
        """Train, with callbacks that come before all others."""
        self.callbacks = [*live, *self.callbacks]
        before = steps_before(saved) if saved is not None else 0
        learners = None
        background = ThreadPoolExecutor(1)
        try:
            for number, (plan, loop) in enumerate(zip(self.plans, self.loops, strict=True)):
                agent = Agent(plan.algorithm, loop.spec, None, plan.seeds, before, plan.source, run)
                trainer = self._trainer(number, run, agent, before, background)
                state = None
                if self.origin is not None and number == 0:
                    state = loop.start()
                    state = loop.with_learners(state, taken_over(loop.learners(state), self.origin, self._fitting))
                if learners is not None:
                    state = loop.start()
                    if plan.hand_over is not None:
                        learners = plan.hand_over(learners, loop.learners(state))
                    state = loop.with_learners(state, learners)
                try:
                    state = trainer.train(state, saved if number == 0 else None)
                except UnsavedError as error:
                    agent.now(loop.learners(trainer.state), trainer.steps, trainer.schedule_total)
                    error.agent = agent
                    raise
                learners = loop.learners(state)
                agent.now(learners, trainer.steps, trainer.schedule_total)
                if trainer.stopped:
                    break
                before = trainer.steps
        finally:
            background.shutdown(cancel_futures=True)
            for loop in self.loops:
                loop.close()
        return agent

    def _trainer(
        self, number: int, run: Run | None, agent: Agent, before: int, background: ThreadPoolExecutor
    ) -> Trainer:
        plan, loop = self.plans[number], self.loops[number]
        known = facts(plan.algorithm, loop.spec, plan.seeds, plan.source)
        observers = list(self.observers)
        if plan.eval_every:
            evaluator = agent.evaluator(plan.eval_episodes, deterministic=True)
            observers.append(EvaluationObserver(evaluator, plan.eval_every, plan.seeds, run, known))
        if plan.snapshot_every and run is not None:
            observers.append(SnapshotObserver(plan.snapshot_every, run, known))

        def prepare(learners: Learner) -> None:
            if self.episodes and plan.source.native is not None and number == len(self.plans) - 1:
                background.submit(agent.prepare, self.episodes, learners)

        return Trainer(
            loop,
            run,
            steps=plan.steps,
            log_interval=plan.log_interval,
            checkpoint_every=plan.checkpoint_every,
            facts=known | {"phase": self.begin + number, "planned_steps": self.planned_steps},
            callbacks=self.callbacks,
            observers=observers,
            ready=prepare,
            network=agent.network,
            config=plan.config | {"environment": plan.source.id, "algorithm": plan.algorithm.name},
            before=before,
            schedule_steps=plan.schedule_steps,
        )


def _plan_of_phase(first: Plan, phase: Phase) -> Plan:
    """The plan of a later phase: what it does not say is as in the first."""
    source = find(phase.environment)
    if isinstance(phase.algorithm, Algorithm):
        algorithm = prepared(phase.algorithm)
    else:
        algorithm = make_plan(phase.environment, phase.algorithm, n_envs=first.n_envs).algorithm
    steps = whole(phase.steps, "the steps of a phase")
    if steps < 1:
        raise TeguError(f"the steps of a phase must be at least 1, got {steps}")
    return replace(first, source=source, algorithm=algorithm, steps=steps, hand_over=phase.hand_over)


def _config_of_phase(plan: Plan) -> dict[str, Any]:
    own = plan.config
    kept = ("backend", "steps", "environment_options", "hyper_parameters")
    return {"environment": plan.source.id, "algorithm": plan.algorithm.name, **{name: own[name] for name in kept}}
