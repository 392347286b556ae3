"""When the milestones of an environment appear in a run, by the measures of its evaluations."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from rich.table import Table

from tegu.analysis.compare import EVALUATION, Curve, Group, curves
from tegu.analysis.layout import Column, fitted
from tegu.core.errors import TeguError
from tegu.runs import Run

Milestones = Mapping[str, tuple[str, float]]  #: see ``Environment.milestones``


class Appearance(NamedTuple):
    """When a milestone appeared."""

    milestone: str
    measure: str
    threshold: float
    steps: dict[int, int | None]  #: by seed, at the first evaluation that reached the threshold; None if none did

    @property
    def mean(self) -> float | None:
        """Over the seeds in which it appeared; None if there is none."""
        found = [step for step in self.steps.values() if step is not None]
        return float(np.mean(found)) if found else None


def measured(run: Run, milestones: Milestones) -> dict[str, Group]:
    """The curves of each measure that the evaluations of a run logged, those of its milestones first.

    Of a measure of single steps it is the mean over an episode, unless a milestone goes by its end. Raises
    ``TeguError`` if there is none.
    """
    with run.metrics(read_only=True) as store:
        names = store.names()
    if EVALUATION not in names:
        raise TeguError(f"{run.name} has no evaluations: train with --eval-every N")
    parts = [name.removeprefix("eval/").rpartition("/") for name in names if name.startswith("eval/")]
    logged = dict.fromkeys(measure for measure, _, part in parts if part in ("mean", "end"))
    if not logged:
        raise TeguError(
            f"the evaluations of {run.name} have no measures, only returns: tegu compare --metric {EVALUATION}"
        )
    told = [measure for measure, _ in milestones.values() if f"eval/{measure}" in names]
    of_milestones = {measure.rpartition("/")[0] for measure in told}
    others = [
        next(f"{name}/{part}" for part in ("mean", "end") if f"eval/{name}/{part}" in names)
        for name in logged
        if name not in of_milestones
    ]
    return {measure: curves([run], f"eval/{measure}")[0] for measure in dict.fromkeys([*told, *others])}


def appearances(milestones: Milestones, measures: Mapping[str, Group]) -> list[Appearance]:
    """When each milestone appeared whose measure there is, in order."""
    found = []
    for milestone, (measure, threshold) in milestones.items():
        if measure in measures:
            group = measures[measure]
            steps = {seed: _first(curve, threshold) for seed, curve in zip(group.seeds, group.logged, strict=True)}
            found.append(Appearance(milestone, measure, threshold, steps))
    return found


def table(found: list[Appearance], width: int | None = None) -> Table:
    """The appearances for the terminal, with a column for each of several seeds as far as there is room."""
    seeds = list(found[0].steps)
    columns = [Column("milestone", right=False), Column("measure", right=False, rank=1), Column("from", rank=1)]
    columns += [Column("first step"), Column("seeds")]
    columns += [Column(f"seed {seed}", rank=2) for seed in seeds] * (len(seeds) > 1)
    rows = []
    for each in found:
        reached = sum(step is not None for step in each.steps.values())
        cells = [each.milestone, each.measure, f"{each.threshold:g}", _shown(each.mean), f"{reached} of {len(seeds)}"]
        rows.append(cells + [_shown(step) for step in each.steps.values()] * (len(seeds) > 1))
    return fitted(
        columns, rows, width, "first step: mean over the seeds in which an evaluation reached the measure's value"
    )


def _first(curve: Curve, threshold: float) -> int | None:
    reached = np.flatnonzero(curve.values >= threshold)
    return int(curve.steps[reached[0]]) if len(reached) else None


def _shown(step: float | None) -> str:
    return "-" if step is None else f"{step:,.0f}"
