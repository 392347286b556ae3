"""``tegu compare``: runs over seeds, in a table and a plot."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from tegu.cli.common import Outcome, Parser, add_runs, plotted

_DESCRIPTION = """\
Compare runs: a table with confidence intervals over seeds, and a plot of the learning curves. Runs that differ only in
their seeds are one group. RUN is a run's name such as CartPole-v1/ppo/3, the beginning of one (the latest is meant), a
folder, or last."""


def arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = Parser("compare", "RUN... [flags]", _DESCRIPTION)
    parser.add_argument("selectors", metavar="RUN", nargs="+", help="the runs")
    parser.add_argument(
        "--metric", metavar="NAME", default="rollout/ep_rew_mean", help="logged metric to compare (rollout/ep_rew_mean)"
    )
    parser.add_argument("--out", metavar="FILE", type=Path, help="file of the plot: .png, .svg or .pdf (compare.png)")
    add_runs(parser)
    return parser.parse(words)


def run(args: argparse.Namespace, out: Console) -> Outcome:
    from tegu.analysis.compare import curves, summary
    from tegu.analysis.plots import plot_comparison
    from tegu.analysis.tables import table, to_json
    from tegu.runs import Run

    groups = curves([Run.open(selector, args.runs) for selector in args.selectors], args.metric)
    rows = summary(groups)
    out.print(table(rows, out.width))
    plot = plotted(lambda path: plot_comparison(groups, path), args.out, "compare.png", out)
    return Outcome({"metric": args.metric, "groups": to_json(rows), "plot": plot})
