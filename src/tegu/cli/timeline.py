"""``tegu timeline``: when the milestones of an environment appeared in a run."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from tegu.cli.common import Outcome, Parser, add_run, environment, plotted

_DESCRIPTION = """\
Say at which step each milestone of an environment first appeared in a run, such as fort building in hide-and-seek, and
draw the measures of its evaluations over the training, also where the environment has no milestones. The run must have
been trained with --eval-every. RUN is a run's name, the beginning of one (the latest is meant), a folder, or last."""


def arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = Parser("timeline", "[RUN] [flags]", _DESCRIPTION)
    add_run(parser)
    parser.add_argument("--out", metavar="FILE", type=Path, help="file of the plot: .png, .svg or .pdf (timeline.png)")
    parser.add_argument("--env", type=environment, metavar="ENV", help="the environment, if it is your own code")
    return parser.parse(words)


def run(args: argparse.Namespace, out: Console) -> Outcome:
    from tegu.analysis.plots import plot_measures
    from tegu.analysis.timeline import appearances, measured, table
    from tegu.runs import Run
    from tegu.training.plan import source_of

    run = Run.open(args.selector, args.runs)
    native = source_of(run, args.env).native
    milestones = native.milestones if native is not None else {}
    measures = measured(run, milestones)
    found = appearances(milestones, measures)
    if found:
        out.print(table(found, out.width))
    for name, (measure, _) in milestones.items():
        if measure not in measures:
            out.print(f"{name}: no evaluation has measured {measure}", style="dim", soft_wrap=True)
    if not milestones:
        out.print(f"{run.settings['environment']} has no milestones", style="dim", soft_wrap=True)
    plot = plotted(lambda path: plot_measures(run, measures, milestones, path), args.out, "timeline.png", out)
    listed = [each._asdict() | {"mean": each.mean} for each in found]
    return Outcome({"run": run.name, "milestones": listed, "measures": list(measures), "plot": plot})
