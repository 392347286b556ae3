"""Which of the agents that a run has saved is meant: RUN, RUN@best or RUN@step=1M."""

import re
from collections.abc import Sequence
from pathlib import Path

from tegu.core.errors import TeguError
from tegu.core.numbers import whole
from tegu.runs import Run, checkpoint

_WHICH = re.compile(r"(?P<run>.*)(?P<which>@(?:best|step=[^@/]*))")
_ALL = "@step=all"


def parted(selector: str) -> tuple[str, str]:
    """A run as ``Run.open`` takes it, and which of its agents: ``""`` for the latest, ``@best`` or ``@step=N``."""
    match = _WHICH.fullmatch(selector)
    return (match["run"], match["which"]) if match else (selector, "")


def expanded(selectors: Sequence[str], folder: str | Path) -> list[str]:
    """The same, with all snapshots of a run, the oldest first, for ``RUN@step=all``."""
    found = []
    for selector in selectors:
        if selector.endswith(_ALL):
            run = selector.removesuffix(_ALL)
            found += [f"{run}@step={step}" for step in _snapshots(Run.open(run, folder))]
        else:
            found.append(selector)
    return found


def saved_agent(path: str | Path | Run, folder: str | Path) -> tuple[Run | None, checkpoint.Checkpoint]:
    """What ``tegu.load`` takes: the agent in a folder that ``Agent.save`` wrote, or one of a run's, and the run."""
    if not isinstance(path, Run) and checkpoint.steps(path):
        return None, checkpoint.load_latest(path)
    selector, which = ("", "") if isinstance(path, Run) else parted(str(path))
    run = path if isinstance(path, Run) else Run.open(selector, folder)
    return run, saved_in(run, which)


def saved_in(run: Run, which: str) -> checkpoint.Checkpoint:
    """The newest checkpoint of a run that is sound, its best agent, or the first snapshot at that step or later.

    ``TeguError`` if there is none.
    """
    if not which:
        if not checkpoint.steps(run.checkpoints):
            raise TeguError(f"{run.name} has no checkpoint: it was {run.status.state} before one was saved")
        return checkpoint.load_latest(run.checkpoints)
    if which == "@best":
        if not checkpoint.steps(run.best):
            raise TeguError(f"{run.name} has no best agent: train with eval_every (--eval-every)")
        return checkpoint.load_latest(run.best)
    if which == _ALL:
        raise TeguError(f"{run.name}{which} is several agents, and one is expected, such as {run.name}@step=100k")
    try:
        wanted = whole(which.removeprefix("@step="))
    except ValueError as error:
        raise TeguError(f"{run.name}{which}: {error}") from error
    kept = _snapshots(run)
    step = next((step for step in kept if step >= wanted), None)
    if step is None:
        raise TeguError(f"{run.name} has no snapshot of step {wanted:,} or later: the last is of step {kept[-1]:,}")
    return checkpoint.load_step(run.snapshots, step)


def _snapshots(run: Run) -> list[int]:
    """The steps of a run's snapshots."""
    kept = checkpoint.steps(run.snapshots)
    if not kept:
        raise TeguError(f"{run.name} has no snapshots: train with snapshot_every (--snapshot-every)")
    return kept
