"""``tegu crossplay``: how good is a team against opponents that it was not trained with?"""

import argparse
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table

from tegu.cli.common import Outcome, Parser, UsageError, add_code, add_runs, count, environment, plotted, working

if TYPE_CHECKING:  # slow to import: not for --help
    from tegu.acting.evaluation import Evaluation
    from tegu.agents.agent import Agent
    from tegu.agents.crossplay import Teams

_FEW = 4  # players of whom intervals and all measures are shown

_DESCRIPTION = """\
Cross-play of a multi-agent environment with two teams, such as predators and prey. For every pair of runs, one run
plays the first team and the other run the second, as in the tables of the MADDPG paper; each run also plays against
itself. The i-th seed of one run plays against the i-th seed of the other. The environment must be in JAX. It defines
the teams, or --team does. RUN is a run's name, the beginning of one (the latest is meant), a folder, or last;
RUN@best, RUN@step=1M and RUN@step=all are agents that it has kept (tegu train --eval-every, --snapshot-every), the
last all of its snapshots; or a folder that Agent.save wrote."""


def arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = Parser("crossplay", "RUN RUN... [flags]", _DESCRIPTION)
    parser.add_argument("selectors", metavar="RUN", nargs="+", help="the runs, at least two")
    parser.add_argument(
        "--episodes", type=count, metavar="N", default=1000, help="episodes of each pair of seeds (1000)"
    )
    parser.add_argument(
        "--stochastic", action="store_true", help="use the stochastic policies, not the deterministic (greedy) ones"
    )
    parser.add_argument("--seed", type=count, metavar="N", default=0, help="seed of the episodes (0)")
    parser.add_argument(
        "--team",
        type=_names,
        metavar="A,B",
        action="append",
        default=[],
        help="agents of one team, against all others; give it twice to name both teams",
    )
    parser.add_argument("--env", type=environment, metavar="ENV", help="the environment, if it is your own code")
    parser.add_argument("--out", metavar="FILE", type=Path, help="draw the returns into a file: .png, .svg or .pdf")
    add_code(parser)
    add_runs(parser)
    args = parser.parse(words)
    if args.episodes < 2:
        raise UsageError(f"--episodes must be at least 2, got {args.episodes}")
    return args


def run(args: argparse.Namespace, out: Console) -> Outcome:
    from tegu.agents.crossplay import crossplay, shared_environment, teams_of
    from tegu.agents.selection import expanded
    from tegu.analysis.labels import labels_of
    from tegu.analysis.output import checked_path
    from tegu.cli.loading import loaded

    if args.out is not None:
        checked_path(args.out, ".png", ".svg", ".pdf")
    with working(args, f"playing {args.episodes} episodes of each pair"):
        selectors = expanded(args.selectors, args.runs)
        if len(selectors) < 2:
            raise UsageError(f"expected at least two runs, got only {selectors[0]}")
        agents = [loaded(selector, args) for selector in selectors]
        teams = teams_of(shared_environment(agents), args.team)
        played = crossplay(agents, teams, episodes=args.episodes, seed=args.seed, deterministic=not args.stochastic)
    names = [_name(agent, selector) for agent, selector in zip(agents, selectors, strict=True)]
    matrix = {pair: scores_of(evaluation, teams) for pair, evaluation in played.items()}
    n_seeds = played[0, 0].returns.shape[0]
    policy = "stochastic policies" if args.stochastic else "deterministic policies"
    out.print(f"{agents[0].spec.id}, {args.episodes:,} episodes of each of {n_seeds} pairs of seeds, {policy}")
    one, other = (f"{name} ({', '.join(members)})" for name, members in teams.items())
    out.print(f"rows: the run that plays {one}\ncolumns: the run that plays {other}", soft_wrap=True)
    labels, few = labels_of(names), len(names) <= _FEW
    out.print(
        "" if labels == names else f"agents of {names[0].partition('@')[0]}, by the steps that they were trained\n"
    )
    for quantity in matrix[0, 0] if few else (f"return of {name}" for name in teams):
        out.print(_table(quantity, matrix, labels), "")
    over = "pairs of seeds" if n_seeds > 1 else "the episodes of one pair of seeds"
    brackets, more = f"in brackets: 95% intervals over {over}", "--json has 95% intervals and the measures, too"
    out.print(brackets if few else more, style="dim")
    plot = plotted(partial(_plot, matrix, names, list(teams)), args.out, "", out) if args.out else None
    return Outcome(
        {
            "environment": agents[0].spec.id,
            "teams": {name: list(members) for name, members in teams.items()},
            "runs": [_entry(name, agent) for name, agent in zip(names, agents, strict=True)],
            "episodes": args.episodes,
            "seeds": n_seeds,
            "seed": args.seed,
            "deterministic": not args.stochastic,
            "cells": [
                {"by": dict(zip(teams, (names[i], names[j]), strict=True)), "indices": [i, j], **found}
                for (i, j), found in matrix.items()
            ],
            "plot": plot,
        }
    )


def scores_of(evaluation: "Evaluation", teams: "Teams") -> dict[str, Any]:
    """The result of one pair: each team's return (mean over its agents), and the environment's measures."""
    from numpy import mean

    from tegu.cli.score import part

    returns = {
        f"return of {name}": part(mean([evaluation.agents[agent] for agent in members], axis=0))
        for name, members in teams.items()
    }
    return returns | {name: part(values) for name, values in evaluation.measures.items()}


def _table(quantity: str, matrix: Mapping[tuple[int, int], Mapping[str, Any]], names: Sequence[str]) -> Table:
    from tegu.cli.score import formatted, interval

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column(quantity)
    for name in names:
        table.add_column(name, justify="right")
    for i, name in enumerate(names):
        cells = [matrix[i, j][quantity] for j in range(len(names))]
        intervals = [f" ({interval(*cell['interval'])})" * (len(names) <= _FEW) for cell in cells]
        table.add_row(name, *(f"{formatted(c['mean'])}{within}" for c, within in zip(cells, intervals, strict=True)))
    return table


def _plot(
    matrix: Mapping[tuple[int, int], Mapping[str, Any]], names: Sequence[str], teams: Sequence[str], path: Path
) -> None:
    from numpy import array

    from tegu.analysis.plots import plot_crossplay

    means = {
        team: array([matrix[pair][f"return of {team}"]["mean"] for pair in sorted(matrix)]).reshape([len(names)] * 2)
        for team in teams
    }
    plot_crossplay(means, names, path)


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise argparse.ArgumentTypeError(f"expected agents as in adversary_0,adversary_1, got {text!r}")
    return names


def _name(agent: "Agent", selector: str) -> str:
    from tegu.agents.selection import parted

    return agent.run.name + parted(selector)[1] if agent.run is not None else str(Path(selector))


def _entry(name: str, agent: "Agent") -> dict[str, Any]:
    return {"run": name, "algorithm": agent.algorithm.name, "steps": agent.steps, "seeds": list(agent.seeds)}
