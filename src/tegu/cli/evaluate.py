"""``tegu evaluate``: how good is an agent?"""

import argparse
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from tegu.cli.common import Outcome, Parser, add_code, add_run, count, environment, working

_DESCRIPTION = """\
Evaluate an agent on fresh episodes, with the deterministic (greedy) policy and with the stochastic one. In multi-agent
environments the return is the mean over the agents. Board games are played against random moves (see also tegu arena).
RUN is a run's name, the beginning of one (the latest is meant), a folder, or last; RUN@best is the best agent of
--eval-every; or a folder that Agent.save wrote."""


def arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = Parser("evaluate", "[RUN] [flags]", _DESCRIPTION)
    add_run(parser)
    parser.add_argument("--episodes", type=count, metavar="N", default=100, help="episodes per seed (100)")
    parser.add_argument("--env", type=environment, metavar="ENV", help="the environment, if it is your own code")
    add_code(parser)
    return parser.parse(words)


def run(args: argparse.Namespace, out: Console) -> Outcome:
    from tegu.cli.loading import load, place
    from tegu.cli.score import score

    with working(args, f"playing {args.episodes} episodes"):
        agent = load(args)
        scores = {
            way: score(
                agent.evaluate(args.episodes, deterministic=way == "deterministic"),
                deterministic=way == "deterministic",
            )
            for way in ("deterministic", "stochastic")
        }
    out.print(f"{place(agent, args)}, step {agent.steps:,}, {args.episodes} episodes\n", style="bold", soft_wrap=True)
    out.print(_table(scores, agent.seeds))
    return Outcome(
        {
            "run": str(place(agent, args)),
            "environment": agent.spec.id,
            "algorithm": agent.algorithm.name,
            "steps": agent.steps,
            "seeds": list(agent.seeds),
            **scores,
        }
    )


def _table(scores: dict[str, dict[str, Any]], seeds: tuple[int, ...]) -> Table:
    from tegu.cli.score import formatted, interval

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("policy")
    for name in ("mean", "std", "95% interval", "min", "max"):
        table.add_column(name, justify="right")
    for way, found in scores.items():
        cells = [formatted(found["mean"]), formatted(found["std"]), interval(*found["interval"])]
        table.add_row(way, *cells, formatted(found["min"]), formatted(found["max"]))
        if len(seeds) > 1:
            for seed, mean in zip(seeds, found["per_seed"], strict=True):
                table.add_row(f"  seed {seed}", formatted(mean), style="dim")
        for name, part in (found["agents"] | found["measures"]).items():
            table.add_row(f"  {name}", formatted(part["mean"]), formatted(part["std"]), interval(*part["interval"]))
    return table
