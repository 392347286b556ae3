"""``tegu train``: an agent from an environment's name."""

import argparse
import warnings
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from rich.console import Console

from tegu.cli.common import (
    Outcome,
    Parser,
    UsageError,
    add_opponents,
    add_runs,
    code,
    count,
    environment,
    number,
    option,
)
from tegu.core.errors import TeguError

if TYPE_CHECKING:
    from tegu.training.train import Plan

_HELP = ("-h", "--help")
_DESCRIPTION = """\
Train an agent. The preset of the environment sets the hyper-parameters, and the algorithm if ALGO is not given. Flags
override the preset. `tegu train ENV [ALGO] --help` lists the hyper-parameters. ENV and ALGO are names (tegu list) or
module:Class; ENV may also be package:Name-v0, an environment that the package registers with Gymnasium.
Numbers may be written 1e6, 1_000_000, 100k or 1M. Ctrl-C saves a checkpoint and stops."""


def arguments(words: Sequence[str]) -> argparse.Namespace:
    """What was typed; hyper-parameters only where they were given."""
    if all(word.startswith("-") for word in words):  # nothing to look up: answer without starting JAX
        return _parser().parse(words)
    from tegu.algorithms.catalogue import ALGORITHMS
    from tegu.algorithms.registry import ALIASES, name_of, settings
    from tegu.cli.flags import add_flags

    typed = _names(words)
    own = _own_algorithm(typed.algorithm)
    parser = _parser()
    others = {
        "total_timesteps": "steps",
        "n_timesteps": "steps",
        "num_envs": "n_envs",
        "env_kwargs": "env_options",
        "eval_freq": "eval_every",
        "n_eval_episodes": "eval_episodes",
    }
    parser.aliases = {_flag(other): _flag(ours) for other, ours in (ALIASES | others).items()}
    if own and (taken := sorted({_flag(name) for name in settings(own)} & parser._option_string_actions.keys())):
        raise TeguError(f"{name_of(own)}: {taken[0]} is a flag of tegu train, rename the hyper-parameter")
    meant = own or _named(typed)
    for algorithm in filter(None, (meant, *ALGORITHMS)):  # a flag that several have is read as its algorithm does
        add_flags(parser, algorithm)
    parser.proposed = _proposed(meant)
    args = parser.parse([word for word in words if word not in _HELP])
    args.algorithm = own or args.algorithm
    if any(word in _HELP for word in words):
        _show_help(args)
    return args


def run(args: argparse.Namespace, out: Console) -> Outcome:
    from tegu.cli.first_updates import show_updates
    from tegu.cli.players import meeting_opponents
    from tegu.cli.report import trained
    from tegu.training.train import make_plan, train

    settings = _settings(args)
    if args.show:
        show_updates(args.environment, args.algorithm, settings, args.show_updates, out)
    saving = {"folder": args.runs, "checkpoint_every": args.checkpoint_every, "log": args.log}
    if args.sweep:
        for flag in ("--opponents", "--start-from", "--start-agent"):
            if getattr(args, flag[2:].replace("-", "_")):
                raise UsageError(f"{flag} and --sweep do not go together")
        return _swept(args, saving | settings, out)
    planned = settings | {"checkpoint_every": args.checkpoint_every}
    with meeting_opponents(args, lambda: make_plan(args.environment, args.algorithm, **planned)) as observers:
        return trained(
            lambda watching: train(
                args.environment,
                args.algorithm,
                callbacks=(watching,),
                observers=observers,
                prepare_evaluation=args.episodes,
                start_from=args.start_from,
                start_agent=args.start_agent,
                **saving,
                **settings,
            ),
            args,
            out,
        )


def _swept(args: argparse.Namespace, settings: dict[str, Any], out: Console) -> Outcome:
    from tegu.cli.sweeping import swept, values_of
    from tegu.training.plan import make_plan
    from tegu.training.sweep import sweep

    planned = {name: value for name, value in settings.items() if name not in ("folder", "log")}
    name = make_plan(args.environment, args.algorithm, **planned).algorithm.name
    values = values_of(args.sweep, name)
    return swept(
        lambda watching: sweep(args.environment, name, values=values, callbacks=(watching,), **settings),
        list(values),
        args,
        out,
    )


def _parser(plan: "Plan | None" = None) -> Parser:
    """The flags that every algorithm has; with a plan, the help shows its values."""
    parser = Parser("train", "ENV [ALGO] [flags]", _DESCRIPTION)
    preset = {name: f" ({getattr(plan, name):,})" if plan else " (preset)" for name in ("steps", "n_envs")}
    parser.add_argument("environment", type=environment, metavar="ENV", help="an environment's name, or module:Class")
    parser.add_argument(
        "algorithm", metavar="ALGO", nargs="?", help="an algorithm's name, or module:Class (default: the preset's)"
    )
    for flag, kind, metavar, default, says in (
        ("--seeds", count, "N", 1, "agents to train, each with its own seed (1)"),
        ("--seed", count, "S", 0, "the first seed (0)"),
        ("--steps", count, "N", None, "total environment steps of each seed" + preset["steps"]),
        ("--n-envs", count, "N", None, "parallel environments of each seed" + preset["n_envs"]),
        ("--checkpoint-every", number, "SECONDS", 30.0, "seconds between two checkpoints (30)"),
        (
            "--log-interval",
            count,
            "STEPS",
            None,
            "steps between two rows of logged metrics (1 percent of all, at most 20,000)",
        ),
        (
            "--eval-every",
            count,
            "STEPS",
            None,
            "evaluate every so many steps while training, and keep the best agent as RUN@best (never)",
        ),
        ("--eval-episodes", count, "N", 20, "episodes of each of these evaluations, per seed (20)"),
        (
            "--snapshot-every",
            count,
            "STEPS",
            None,
            "keep the agent as it is every so many steps, as RUN@step=N (never)",
        ),
        ("--episodes", count, "N", 100, "episodes of the evaluation after training, per seed; 0 for none (100)"),
        (
            "--log",
            str,
            "FORMATS",
            None,
            "also write metrics while training: csv, tensorboard, wandb, with commas (none)",
        ),
        ("--show-updates", count, "N", 10, "number of updates that --show prints (10)"),
    ):
        parser.add_argument(flag, type=kind, metavar=metavar, default=default, help=says)
    parser.add_argument(
        "--sweep",
        nargs="+",
        metavar="NAME=X,X",
        default=[],
        help="a run for each value of a hyper-parameter, and for each combination if several are given",
    )
    parser.add_argument(
        "--show", action="store_true", help="Q-learning on a small grid: print the first updates with their numbers"
    )
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
    parser.add_argument(
        "--start-from",
        metavar="RUN",
        help="begin with what an agent has learned, wherever its arrays fit: a run, RUN@best, RUN@step=N, or a folder",
    )
    parser.add_argument(
        "--start-agent", metavar="AGENT", help="with --start-from: which agent's policy, if the run has several agents"
    )
    add_opponents(parser)
    add_runs(parser)
    return parser


def _names(words: Sequence[str]) -> argparse.Namespace:
    """The environment and the algorithm in a command. Not all flags are known yet: unknown ones pass."""
    from tegu.algorithms.catalogue import ALGORITHMS
    from tegu.cli.flags import add_flags

    parser = _parser()
    for algorithm in ALGORITHMS:
        add_flags(parser, algorithm)
    for action in parser._actions:
        action.type = action.choices = None
    typed, _ = parser.parse_known_args([_spelled(word) for word in words if word not in _HELP])
    return typed


def _own_algorithm(name: str | None) -> Any:
    """The algorithm in a command, if it is not one of Tegu's: its class, or the name that a package registers."""
    from tegu.algorithms.catalogue import ALGORITHMS
    from tegu.algorithms.registry import chosen, settings

    if name is None or name in ALGORITHMS:
        return None
    found = chosen(code(name))
    if isinstance(found, type):
        return found
    with suppress(TeguError):  # training raises the error for an unknown name
        settings(found)
        return found
    return None


def _named(typed: argparse.Namespace) -> str | None:
    """The algorithm of Tegu's that is meant; None if only its environment could tell."""
    from tegu.algorithms.catalogue import ALGORITHMS
    from tegu.presets import load

    return typed.algorithm if typed.algorithm in ALGORITHMS else load(typed.environment).get("default")


def _proposed(meant: Any) -> Collection[str] | None:
    """The flags of the algorithm that is ``meant``, if that is known."""
    from tegu.cli.flags import add_flags

    if meant is None:
        return None
    parser = _parser()
    add_flags(parser, meant)
    return parser._option_string_actions.keys()


def _spelled(word: str) -> str:
    flag, equals, value = word.partition("=")
    return flag.replace("_", "-") + equals + value if flag.startswith("--") else word


def _settings(args: argparse.Namespace) -> dict[str, Any]:
    """The keywords of ``tegu.train`` that say what and how to train."""
    from tegu.cli.flags import names

    ours = names(*filter(None, [args.algorithm]))
    ours |= {"seeds", "seed", "steps", "n_envs", "backend", "log_interval", "eval_every", "eval_episodes"}
    ours.add("snapshot_every")
    chosen = {name: value for name, value in vars(args).items() if name in ours}
    return chosen | {"environment_options": dict(args.env_options)}


def _show_help(args: argparse.Namespace) -> None:
    from tegu.algorithms.hyper_parameters import hyper_parameters
    from tegu.cli.flags import add_flags
    from tegu.training.train import make_plan

    with warnings.catch_warnings(action="ignore"):  # they are for the training
        plan = make_plan(args.environment, args.algorithm, **_settings(args))
    parser = _parser(plan)
    add_flags(parser, args.algorithm or plan.algorithm.name, hyper_parameters(plan.algorithm))
    parser.parse(["--help"])


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
