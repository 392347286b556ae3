"""``tegu resume``: go on with a run."""

import argparse
from collections.abc import Sequence

from rich.console import Console

from tegu.cli.common import Outcome, Parser, add_code, add_run, count, environment

_DESCRIPTION = """\
Go on with a run from its last checkpoint as if it had never stopped: to the number of steps first planned, or to
--steps in all. RUN is a run's name, such as CartPole-v1/ppo/3, the beginning of one, a folder, or last."""


def arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = Parser("resume", "[RUN] [flags]", _DESCRIPTION)
    add_run(parser)
    parser.add_argument("--steps", type=count, metavar="N", help="environment steps in all, those done included")
    parser.add_argument(
        "--env", type=environment, metavar="MODULE:CLASS", help="the run's environment, where it names code to import"
    )
    add_code(parser)
    parser.add_argument(
        "--episodes", type=count, metavar="N", default=100, help="fresh episodes of the evaluation at the end (100)"
    )
    return parser.parse(words)


def run(args: argparse.Namespace, out: Console) -> Outcome:
    from tegu.cli.report import trained
    from tegu.training.train import resume

    return trained(
        lambda watching: resume(
            args.selector,
            steps=args.steps,
            environment=args.env,
            algorithm=args.algorithm,
            network=args.network,
            folder=args.runs,
            callbacks=(watching,),
            prepare_evaluation=args.episodes,
        ),
        args,
        out,
    )
