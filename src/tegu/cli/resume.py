"""``tegu resume``: continue a run."""

import argparse
from collections.abc import Sequence

from rich.console import Console

from tegu.cli.common import Outcome, Parser, add_code, add_opponents, add_run, count, environment

_DESCRIPTION = """\
Continue a run from its last checkpoint to the planned number of steps, as if it had never stopped, or to --steps in
total: schedules of hyper-parameters then stay at their end, unless they are stretched. RUN is a run's name such as
CartPole-v1/ppo/3, the beginning of one (the latest is meant), a folder, or last."""


def arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = Parser("resume", "[RUN] [flags]", _DESCRIPTION)
    add_run(parser)
    parser.add_argument(
        "--steps", type=count, metavar="N", help="total environment steps, including those already done"
    )
    parser.add_argument(
        "--stretch-schedules",
        action="store_true",
        help="let schedules end with --steps: a rate that has fallen rises again",
    )
    parser.add_argument(
        "--env", type=environment, metavar="MODULE:CLASS", help="the run's environment, if it is your own code"
    )
    add_code(parser)
    parser.add_argument(
        "--episodes",
        type=count,
        metavar="N",
        default=100,
        help="episodes of the evaluation after training, per seed; 0 for none (100)",
    )
    add_opponents(parser)
    parser.add_argument("--log", metavar="FORMATS", help="write metrics as csv, tensorboard, wandb, too (as before)")
    return parser.parse(words)


def run(args: argparse.Namespace, out: Console) -> Outcome:
    from tegu.cli.players import meeting_opponents
    from tegu.cli.report import trained
    from tegu.runs import Run
    from tegu.training.plan import plan_of
    from tegu.training.train import resume

    code = {"environment": args.env, "algorithm": args.algorithm, "network": args.network}
    with meeting_opponents(args, lambda: plan_of(Run.open(args.selector, args.runs), **code)) as observers:
        return trained(
            lambda watching: resume(
                args.selector,
                steps=args.steps,
                stretch_schedules=args.stretch_schedules,
                folder=args.runs,
                callbacks=(watching,),
                observers=observers,
                prepare_evaluation=args.episodes,
                log=args.log,
                **code,
            ),
            args,
            out,
        )
