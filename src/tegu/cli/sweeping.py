"""``tegu train --sweep``: several values of hyper-parameters, and the score of each."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tegu.agents.agent import Agent
from tegu.algorithms.registry import ALIASES, settings, unknown
from tegu.analysis.layout import Column, fitted
from tegu.cli.common import Outcome, UsageError
from tegu.cli.panel import tracker
from tegu.cli.progress import stopped
from tegu.cli.score import formatted, interval, score
from tegu.runs import Run
from tegu.training.trainer import Callback, Progress


def values_of(words: Sequence[str], algorithm: str) -> dict[str, list[Any]]:
    """What ``NAME=VALUE,VALUE...`` says, each value as the algorithm's hyper-parameter holds it."""
    known = settings(algorithm)
    found: dict[str, list[Any]] = {}
    for word in words:
        name, equals, text = word.partition("=")
        name = name.strip().replace("-", "_")
        if ALIASES.get(name) in known and name not in known:
            name = ALIASES[name]
        if not equals or not text:
            raise UsageError(f"--sweep: expected NAME=VALUE,VALUE such as learning_rate=1e-3,3e-4, got {word!r}")
        if name not in known:
            raise UsageError(f"--sweep: {unknown(name, known, algorithm)}")
        if name in found:
            raise UsageError(f"--sweep: {name} is given twice")
        found[name] = [known[name].parse(value.strip(), f"--sweep: {name}") for value in text.split(",")]
    return found


def swept(
    start: Callable[[Callback], list[Agent]], names: Sequence[str], args: argparse.Namespace, out: Console
) -> Outcome:
    """Train by calling ``start`` with a callback, then evaluate each agent and report. After Ctrl-C it reports only."""
    steps: dict[Path, int] = {}  # of each run, in the order in which they began

    with tracker(args.quiet) as watching:

        def follow(progress: Progress) -> None:
            watching(progress)
            steps.update({run.path: progress.steps for run in progress.runs})

        with stopped(watching) as interrupted:
            agents = start(follow)
        scores: list[dict[str, Any] | None] = [None] * len(steps)
        if args.episodes and not interrupted:
            watching.say("evaluating")
            scores = [score(agent.evaluate(args.episodes), deterministic=True) for agent in agents]
        watching.say("stopped" if interrupted else "done")
    runs = [Run(path) for path in steps]
    chosen = [{name: run.config["hyper_parameters"][name] for name in names} for run in runs]
    out.print(_table(names, chosen, runs, scores, out.width))
    if interrupted:
        out.print("\nstopped; continue each run with: tegu resume RUN")
    else:
        out.print(f"\nnext    tegu compare {' '.join(run.name for run in runs)}", soft_wrap=True)
    data = [
        {"run": str(run.path), "values": values, "steps": done, "seeds": run.config["seeds"], "evaluation": found}
        for run, values, done, found in zip(runs, chosen, steps.values(), scores, strict=True)
    ]
    return Outcome({"sweep": data}, 130 if interrupted else 0)


def _table(
    names: Sequence[str],
    chosen: Sequence[dict[str, Any]],
    runs: Sequence[Run],
    scores: Sequence[dict[str, Any] | None],
    width: int,
) -> Table:
    columns = [*(Column(name, right=False, wraps=True) for name in names), Column("seeds", rank=2), Column("return")]
    columns += [Column("95% interval", rank=1), Column("run", right=False, wraps=True)]
    rows = []
    for values, run, found in zip(chosen, runs, scores, strict=True):
        cells = [str(values[name]) for name in names] + [str(len(run.config["seeds"]))]
        cells += ["-", "-"] if found is None else [formatted(found["mean"]), interval(*found["interval"])]
        rows.append([*cells, run.name])
    return fitted(columns, rows, width)
