"""``tegu check``: test an environment."""

import argparse
import dataclasses
from collections.abc import Sequence

from rich.console import Console

from tegu.cli.common import Outcome, Parser, count, environment, option, working

_DESCRIPTION = """\
Test an environment with random actions and report every problem: what, where, and how to fix it. ENV is a name (tegu
list), module:Class, or package:Name-v0. The exit status is 1 if there are errors."""


def arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = Parser("check", "ENV [flags]", _DESCRIPTION)
    parser.add_argument("environment", type=environment, metavar="ENV", help="an environment's name, or module:Class")
    parser.add_argument("--steps", type=count, metavar="N", default=200, help="environment steps to take (200)")
    parser.add_argument("--seed", type=count, metavar="S", default=0, help="seed of the random actions (0)")
    parser.add_argument(
        "--backend",
        choices=("jax", "gymnasium", "pettingzoo", "ale"),
        help="implementation of the environment (jax where Tegu has one)",
    )
    parser.add_argument(
        "--env-options",
        type=option,
        nargs="+",
        metavar="KEY=VALUE",
        default=[],
        help="keyword arguments of the environment",
    )
    return parser.parse(words)


def run(args: argparse.Namespace, out: Console) -> Outcome:
    from tegu.check import check
    from tegu.environments.make import unadapted

    with working(args, f"checking {args.environment}"):
        environment = unadapted(args.environment, args.backend, **dict(args.env_options))
        report = check(environment, steps=args.steps, seed=args.seed)
    out.print(str(report), soft_wrap=True)
    data = {
        "environment": report.id,
        "ok": report.ok,
        "findings": [dataclasses.asdict(finding) for finding in report.findings],
        "facts": report.facts,
    }
    return Outcome(data, 0 if report.ok else 1)
