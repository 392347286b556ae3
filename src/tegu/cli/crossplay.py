"""``tegu crossplay``: how good is a side against others than the one it grew up with?"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table

from tegu.cli.common import Outcome, Parser, UsageError, add_code, add_runs, count, environment, working

if TYPE_CHECKING:  # slow to import: not for --help
    from tegu.acting.evaluation import Evaluation
    from tegu.agents.agent import Agent
    from tegu.agents.crossplay import Sides

_DESCRIPTION = """\
Let one side of a world, such as the predators, be played by one run and the other, the prey, by another: every run
against every run, itself included, as in the tables of the MADDPG paper. The i-th seed of one run meets the i-th of the
other. The worlds say themselves who is on which side; elsewhere --side does. The worlds must be in JAX. RUN is a run's
name, the beginning of one, a folder, or last; or a folder that Agent.save wrote."""


def arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = Parser("crossplay", "RUN RUN... [flags]", _DESCRIPTION)
    parser.add_argument("selectors", metavar="RUN", nargs="+", help="the runs, at least two")
    parser.add_argument("--episodes", type=count, metavar="N", default=1000, help="of each pair of seeds (1000)")
    parser.add_argument("--stochastic", action="store_true", help="the policies that explore, not the greedy ones")
    parser.add_argument("--seed", type=count, metavar="N", default=0, help="decides how episodes begin (0)")
    parser.add_argument(
        "--side",
        type=_names,
        metavar="A,B",
        action="append",
        default=[],
        help="agents who play together against all others; twice to name both sides",
    )
    parser.add_argument(
        "--env", type=environment, metavar="ENV", help="the environment, where the runs name code to import"
    )
    add_code(parser)
    add_runs(parser)
    args = parser.parse(words)
    if len(args.selectors) < 2:
        raise UsageError(f"expected at least two runs, got only {args.selectors[0]}")
    if args.episodes < 2:
        raise UsageError(f"--episodes must be at least 2, got {args.episodes}")
    return args


def run(args: argparse.Namespace, out: Console) -> Outcome:
    from tegu.agents.crossplay import arena_of, crossplay, sides_of
    from tegu.cli.loading import loaded

    with working(args, f"playing {args.episodes} episodes of each pair"):
        agents = [loaded(selector, args) for selector in args.selectors]
        sides = sides_of(arena_of(agents), args.side)
        played = crossplay(agents, sides, episodes=args.episodes, seed=args.seed, deterministic=not args.stochastic)
    names = [_name(agent, selector) for agent, selector in zip(agents, args.selectors, strict=True)]
    matrix = {pair: figures(evaluation, sides) for pair, evaluation in played.items()}
    n_seeds = played[0, 0].returns.shape[0]
    policy = "the policies that explore" if args.stochastic else "greedy"
    out.print(f"{agents[0].spec.id}, {args.episodes:,} episodes of each of {n_seeds} pairs of seeds, {policy}")
    one, other = (f"{name} ({', '.join(members)})" for name, members in sides.items())
    out.print(f"down: who plays {one}\nacross: who plays {other}\n", soft_wrap=True)
    for quantity in matrix[0, 0]:
        out.print(_table(quantity, matrix, names), "")
    over = "pairs of seeds" if n_seeds > 1 else "the episodes of one pair of seeds"
    out.print(f"in brackets 95% intervals over {over}", style="dim")
    return Outcome(
        {
            "environment": agents[0].spec.id,
            "sides": {name: list(members) for name, members in sides.items()},
            "runs": [_entry(name, agent) for name, agent in zip(names, agents, strict=True)],
            "episodes": args.episodes,
            "seeds": n_seeds,
            "seed": args.seed,
            "deterministic": not args.stochastic,
            "cells": [
                {"by": dict(zip(sides, (names[i], names[j]), strict=True)), "indices": [i, j], **found}
                for (i, j), found in matrix.items()
            ],
        }
    )


def figures(evaluation: "Evaluation", sides: "Sides") -> dict[str, Any]:
    """What one pair came to: each side's return, the mean of its agents', and the environment's measures."""
    from numpy import mean

    from tegu.cli.score import part

    returns = {
        f"return of {name}": part(mean([evaluation.agents[agent] for agent in members], axis=0))
        for name, members in sides.items()
    }
    return returns | {name: part(values) for name, values in evaluation.measures.items()}


def _table(quantity: str, matrix: Mapping[tuple[int, int], Mapping[str, Any]], names: Sequence[str]) -> Table:
    from tegu.cli.score import figure, interval

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column(quantity)
    for name in names:
        table.add_column(name, justify="right")
    for i, name in enumerate(names):
        cells = [matrix[i, j][quantity] for j in range(len(names))]
        table.add_row(name, *(f"{figure(cell['mean'])} ({interval(*cell['interval'])})" for cell in cells))
    return table


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise argparse.ArgumentTypeError(f"expected agents as in adversary_0,adversary_1, got {text!r}")
    return names


def _name(agent: "Agent", selector: str) -> str:
    return agent.run.name if agent.run is not None else str(Path(selector))


def _entry(name: str, agent: "Agent") -> dict[str, Any]:
    return {"run": name, "algorithm": agent.algorithm.name, "steps": agent.steps, "seeds": list(agent.seeds)}
