"""``tegu export``: a run's metrics as CSV or for TensorBoard."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from tegu.cli.common import Outcome, Parser, add_run

_DESCRIPTION = """\
Write a run's metrics as a CSV file (step, seed, name, value) or as TensorBoard event files. RUN is a run's name, the
beginning of one (the latest is meant), a folder, or last."""


def arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = Parser("export", "[RUN] --csv FILE | --tensorboard FOLDER", _DESCRIPTION)
    add_run(parser)
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--csv", metavar="FILE", type=Path, help="CSV file to write")
    target.add_argument(
        "--tensorboard", metavar="FOLDER", type=Path, help="folder for the event files, a new one for each seed in it"
    )
    return parser.parse(words)


def run(args: argparse.Namespace, out: Console) -> Outcome:
    from tegu.runs import Run, to_csv, to_tensorboard

    run = Run.open(args.selector, args.runs)
    if args.csv:
        to_csv(run, args.csv)
    else:
        to_tensorboard(run, args.tensorboard)
    target: Path = args.csv or args.tensorboard
    out.print(f"{run.name} -> {target}", soft_wrap=True)
    return Outcome({"run": str(run.path), "format": "csv" if args.csv else "tensorboard", "path": str(target)})
