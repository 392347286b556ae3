"""``tegu compare``: runs side by side."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from tegu.cli.common import Outcome, Parser, add_runs
from tegu.core.errors import TeguError

_DESCRIPTION = """\
Compare runs: a table with intervals over seeds, and the curves as a picture. Runs that differ only in their seeds count
as one. RUN is a run's name such as CartPole-v1/ppo/3, the beginning of one (the newest is meant), a folder, or last."""


def arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = Parser("compare", "RUN... [flags]", _DESCRIPTION)
    parser.add_argument("selectors", metavar="RUN", nargs="+", help="the runs")
    parser.add_argument(
        "--metric", metavar="NAME", default="rollout/ep_rew_mean", help="what to compare (rollout/ep_rew_mean)"
    )
    parser.add_argument("--out", metavar="FILE", type=Path, help="the picture, .png, .svg or .pdf (compare.png)")
    add_runs(parser)
    return parser.parse(words)


def run(args: argparse.Namespace, out: Console) -> Outcome:
    from tegu.analysis.compare import curves, summary, table, to_json
    from tegu.analysis.figures import compare_figure
    from tegu.runs import Run

    groups = curves([Run.open(selector, args.runs) for selector in args.selectors], args.metric)
    rows = summary(groups)
    out.print(table(rows))
    picture: Path | None = args.out or Path("compare.png")
    try:
        compare_figure(groups, args.out or "compare.png")
        out.print(str(picture), soft_wrap=True)
    except TeguError as error:
        if args.out:
            raise
        out.print(f"no picture: {error}", style="dim", soft_wrap=True)
        picture = None
    return Outcome({"metric": args.metric, "groups": to_json(rows), "picture": str(picture) if picture else None})
