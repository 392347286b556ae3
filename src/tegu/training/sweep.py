"""Training with several values of hyper-parameters: each combination is a run of its own."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from itertools import product
from pathlib import Path
from typing import Any

import jax

from tegu.agents.agent import Agent, facts
from tegu.agents.own_code import warn_of_nameless
from tegu.algorithms.base import Algorithm
from tegu.core.errors import TeguError
from tegu.core.paths import path_of
from tegu.runs import Run
from tegu.runs.live import LiveLog, formats_of
from tegu.training.fitting import validate, warn_of_no_learning
from tegu.training.fused import FusedLoop
from tegu.training.plan import Plan, make_plan, spec_of
from tegu.training.record import Record
from tegu.training.stages import has_stages
from tegu.training.train import several, train
from tegu.training.trainer import Callback, Trainer


def sweep(
    environment: Any,
    algorithm: str | None = None,
    *,
    values: Mapping[str, Sequence[Any]],
    folder: str | Path = "runs",
    callbacks: Callback | Sequence[Callback] = (),
    log: str | Sequence[str] | None = (),
    **options: Any,
) -> list[Agent]:
    """Train with every combination of hyper-parameter ``values``; ``options`` are those of ``tegu.train``.

    Where the environment is in JAX and the values differ in numbers, not in shapes, all seeds of all combinations train
    in one compiled program; elsewhere one combination after the other. Each agent is the same as if its
    combination were trained alone, and has a run of its own, which can be resumed by itself.
    """
    if isinstance(algorithm, Algorithm):
        raise TeguError("a sweep sets hyper-parameters: give the algorithm by name")
    several_each = isinstance(values, Mapping) and all(
        isinstance(name, str) and isinstance(each, Iterable) and not isinstance(each, str)
        for name, each in values.items()
    )
    if not several_each:
        raise TeguError(f"values must be a dict of hyper-parameters and lists of their values, got {values!r}")
    folder, formats = path_of(folder, "folder"), formats_of(log)
    lists = {name: list(each) for name, each in values.items()}
    for name, each in lists.items():
        if again := [value for number, value in enumerate(each) if value in each[:number]]:
            raise TeguError(f"values: {name} has {again[0]!r} twice")
    combinations = [dict(zip(lists, chosen, strict=True)) for chosen in product(*lists.values())]
    if not lists or not combinations:
        raise TeguError(f"a sweep needs values, got {lists}")
    callbacks, _, _ = several(callbacks)
    plans = [make_plan(environment, algorithm, **(options | chosen)) for chosen in combinations]
    if not _share_a_program(plans):
        settings = [options | chosen for chosen in combinations]
        saving: dict[str, Any] = {"folder": folder, "callbacks": callbacks, "log": formats}
        return [train(environment, algorithm, **saving, **each) for each in settings]
    return _together(plans, folder, callbacks, formats)


def _share_a_program(plans: Sequence[Plan]) -> bool:
    structures = {jax.tree.structure(plan.algorithm) for plan in plans}
    alone = plans[0].eval_every or plans[0].snapshot_every or has_stages(plans[0].algorithm)
    return plans[0].source.native is not None and len(structures) == 1 and not alone


def _together(
    plans: Sequence[Plan], folder: Path, callbacks: Sequence[Callback], formats: Sequence[str]
) -> list[Agent]:
    """Train all plans in one loop, which differ in the numbers of their algorithms only."""
    first, n = plans[0], len(plans[0].seeds)
    assert first.source.native is not None
    spec = spec_of(first.source.id, first.source.native, first.n_envs)
    for plan in plans:
        validate(plan.algorithm, spec)
        warn_of_no_learning(plan.algorithm, first.n_envs, plan.steps)
    algorithms = [plan.algorithm for plan in plans for _ in plan.seeds]
    loop = FusedLoop(algorithms, first.source.native, spec, first.seeds * len(plans))
    warn_of_nameless(first.algorithm, first.source)
    with ExitStack() as stack:
        records, live = [], []
        for i, plan in enumerate(plans):
            run = Run.create(folder, spec.id, plan.algorithm.name, plan.config | {"phases": [], "log": list(formats)})
            stack.enter_context(run.lock())
            live.append(stack.enter_context(closing(LiveLog(run, formats))))
            known = facts(plan.algorithm, spec, plan.seeds, plan.source) | {"phase": 0, "planned_steps": plan.steps}
            records.append(Record(run, known, range(i * n, (i + 1) * n)))
        trainer = Trainer(
            loop,
            None,
            steps=first.steps,
            log_interval=first.log_interval,
            checkpoint_every=first.checkpoint_every,
            facts={},
            callbacks=[*live, *callbacks],
            records=records,
        )
        learners = loop.learners(trainer.train())
    agents = []
    for plan, record in zip(plans, records, strict=True):
        mine = jax.tree.map(lambda leaf, record=record: leaf[record.members[0] : record.members[-1] + 1], learners)
        given = plan.algorithm, spec, mine, plan.seeds, trainer.steps, plan.source, record.run, trainer.schedule_total
        agents.append(Agent(*given))
    return agents
