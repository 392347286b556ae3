"""``tegu train --sweep``: several values of hyper-parameters, and the score of each."""

import argparse
from collections.abc import Callable, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tegu.agents.agent import Agent
from tegu.algorithms.registry import settings
from tegu.cli.common import Outcome, UsageError
from tegu.cli.monitor import Monitor
from tegu.cli.panel import monitor
from tegu.cli.score import formatted, interval, score


def values_of(words: Sequence[str], algorithm: str) -> dict[str, list[Any]]:
    """What ``NAME=VALUE,VALUE...`` says, each value as the algorithm's hyper-parameter holds it."""
    known = settings(algorithm)
    found: dict[str, list[Any]] = {}
    for word in words:
        name, equals, text = word.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or not text:
            raise UsageError(f"--sweep: expected NAME=VALUE,VALUE such as learning_rate=1e-3,3e-4, got {word!r}")
        if name not in known:
            raise UsageError(f"--sweep: {algorithm} has no hyper-parameter {name!r}: tegu train ENV {algorithm} --help")
        found[name] = [known[name].parse(value.strip(), f"--sweep: {name}") for value in text.split(",")]
    return found


def swept(
    start: Callable[[Monitor], list[Agent]], names: Sequence[str], args: argparse.Namespace, out: Console
) -> Outcome:
    """Train by calling ``start`` with a callback, then evaluate each agent and report."""
    with monitor(args.quiet) as watching:
        agents = start(watching)
        assert watching.progress is not None
        stopped = watching.progress.state == "stopped"
        scores: list[dict[str, Any] | None] = [None] * len(agents)
        if args.episodes and not stopped:
            watching.say("evaluating")
            scores = [score(agent.evaluate(args.episodes), deterministic=True) for agent in agents]
        watching.say("done")
    runs = [agent.run for agent in agents]
    chosen = [{name: run.config["hyper_parameters"][name] for name in names} for run in runs if run is not None]
    out.print(_table(names, chosen, agents, scores))
    environments = " ".join(run.name for run in runs if run is not None)
    out.print(f"\nnext    tegu compare {environments}", soft_wrap=True)
    data = [
        {"run": str(run.path), "values": values, "steps": agent.steps, "seeds": list(agent.seeds), "evaluation": found}
        for run, values, agent, found in zip(runs, chosen, agents, scores, strict=True)
        if run is not None
    ]
    return Outcome({"sweep": data}, 130 if stopped else 0)


def _table(
    names: Sequence[str],
    chosen: Sequence[dict[str, Any]],
    agents: Sequence[Agent],
    scores: Sequence[dict[str, Any] | None],
) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in names:
        table.add_column(name)
    for name in ("seeds", "return", "95% interval"):
        table.add_column(name, justify="right")
    table.add_column("run")
    for values, agent, found in zip(chosen, agents, scores, strict=True):
        cells = [str(values[name]) for name in names] + [str(len(agent.seeds))]
        cells += ["-", "-"] if found is None else [formatted(found["mean"]), interval(*found["interval"])]
        assert agent.run is not None
        table.add_row(*map(Text, [*cells, agent.run.name]))
    return table
