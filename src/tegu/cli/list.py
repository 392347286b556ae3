"""``tegu list``: environments, algorithms, presets and runs."""

import argparse
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from rich import box
from rich.columns import Columns
from rich.console import Console
from rich.table import Table

from tegu.analysis.compare import EVALUATION, FIRST_PLAYER, RETURN
from tegu.analysis.labels import described, differing, settings_of
from tegu.analysis.layout import Column, fitted
from tegu.cli.common import Outcome, Parser, UsageError, add_runs
from tegu.core.errors import TeguError
from tegu.core.text import printable

_KINDS = ("environments", "algorithms", "presets", "runs")
_STATUSES = ("running", "finished", "stopped", "failed", "interrupted", "damaged")


class _Order(NamedTuple):
    """A way to sort runs."""

    says: str
    key: Callable[[dict[str, Any]], Any]


_ORDERS = {
    "date": _Order("last used first", lambda entry: 0),  # as they come
    "score": _Order("highest return first", lambda entry: math.inf if entry["return"] is None else -entry["return"]),
    "name": _Order(
        "by name",
        lambda entry: [(len(part), part) if part.isdecimal() else (0, part) for part in entry["run"].split("/")],
    ),
}


def arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = Parser(
        "list",
        "[environments|algorithms|presets|runs] [flags]",
        "List environments, algorithms, presets and runs; all of them without KIND.",
    )
    parser.add_argument("kind", choices=_KINDS, nargs="?", metavar="KIND", help=f"one of {', '.join(_KINDS)} (all)")
    runs = parser.add_argument_group("runs")
    runs.add_argument("--env", metavar="ENV", help="only runs of this environment")
    runs.add_argument("--algorithm", metavar="ALGO", help="only runs of this algorithm")
    runs.add_argument("--status", choices=_STATUSES, help=f"only runs that are {' or '.join(_STATUSES)}")
    runs.add_argument(
        "--sort",
        choices=_ORDERS,
        default="date",
        help=f"{', '.join(_ORDERS)}: {', '.join(o.says for o in _ORDERS.values())} (date)",
    )
    add_runs(parser)
    args = parser.parse(words)
    if args.kind not in (None, "runs") and (args.env or args.algorithm or args.status):
        raise UsageError(f"--env, --algorithm and --status choose among runs, not {args.kind}")
    return args


def run(args: argparse.Namespace, out: Console) -> Outcome:
    listed = {
        "environments": _environments,
        "algorithms": _algorithms,
        "presets": _presets,
        "runs": lambda out: _runs(args, out),
    }
    return Outcome({kind: listed[kind](out) for kind in ([args.kind] if args.kind else _KINDS)})


def _environments(out: Console) -> list[dict[str, Any]]:
    from tegu.environments.games.base import PLAYERS
    from tegu.environments.make import names

    found = [{"name": name, "backend": backend} for name, backend in names().items()]
    native = [_native(entry) for entry in found if entry["backend"] == "jax"]
    others = [entry for entry in found if entry["backend"] != "jax"]
    native.sort(key=lambda entry: (len(entry["agents"]) > 0, entry["agents"] == list(PLAYERS)))
    _title(out, "Tegu's environments, in JAX")
    rows = [
        entry | {"agents": _agents(entry["agents"]), "algorithms": ", ".join(entry["algorithms"])} for entry in native
    ]
    _print_table(out, rows, ("name", "agents", "algorithms"))
    _title(out, "Gymnasium's environments")
    out.print(Columns([entry["name"] for entry in others], padding=(0, 3)), "")
    return native + others


def _native(entry: dict[str, Any]) -> dict[str, Any]:
    """With the agents, and the algorithms that can be used, the default first."""
    from tegu import presets
    from tegu.algorithms.registry import fitting
    from tegu.environments.make import find
    from tegu.training.plan import spec_of_sound

    name, environment = entry["name"], find(entry["name"]).native
    assert environment is not None
    spec = spec_of_sound(name, environment, 1)
    asked = {"hindsight": spec.goals is not None}
    usual = presets.preset(name, None, spec.observation_space, spec.action_space, **asked)["algorithm"]
    suits = sorted(fitting(spec), key=lambda algorithm: algorithm != usual)
    return entry | {"agents": list(spec.agents), "algorithms": suits}


def _agents(agents: Sequence[str]) -> str:
    """``adversary_0 to adversary_2, agent_0``; empty for a single agent."""
    kinds = [list(kind) for _, kind in groupby(agents, key=lambda agent: agent.rpartition("_")[0] or agent)]
    return ", ".join(
        kind[0] if len(kind) == 1 else f"{kind[0]} {'and' if len(kind) == 2 else 'to'} {kind[-1]}" for kind in kinds
    )


def _algorithms(out: Console) -> list[dict[str, Any]]:
    from tegu.algorithms.catalogue import ALGORITHMS
    from tegu.algorithms.plugins import package, registered
    from tegu.algorithms.registry import fitting, summary
    from tegu.environments.make import find
    from tegu.training.plan import spec_of_sound

    game = find("tic-tac-toe").native
    assert game is not None
    for_players = fitting(spec_of_sound("tic-tac-toe", game, 1))
    alone = find("CartPole-v1").native
    assert alone is not None
    for_both = set(for_players) & set(fitting(spec_of_sound("CartPole-v1", alone, 1)))
    found = [
        {
            "name": name,
            "class": entry.public,
            "for": "single agent, board games" if name in for_both else _made_for(name, for_players),
            "summary": summary(name),
            "package": "tegu",
        }
        for name, entry in ALGORITHMS.items()
    ]
    found += [_plugin(name, point.value, package(point)) for name, point in registered(ALGORITHMS).items()]
    _title(out, "algorithms")
    _print_table(out, found, ("name", "for", "summary"))
    return found


def _plugin(name: str, path: str, package: str) -> dict[str, Any]:
    """An algorithm that a package registers; one that is broken says so in place of a summary."""
    from tegu.algorithms.registry import summary

    found = {"name": name, "class": path, "for": None, "package": package}
    try:
        return found | {"for": _made_for(name, ()), "summary": f"{summary(name)} ({package})".strip()}
    except TeguError as error:
        return found | {"summary": str(error)}


def _made_for(name: str, for_players: Sequence[str]) -> str:
    from tegu.algorithms.registry import class_of

    if name in for_players:
        return "board games"
    return "multi-agent" if class_of(name).multi_agent else "single agent"


def _presets(out: Console) -> list[dict[str, Any]]:
    from tegu import presets

    found: list[dict[str, Any]] = [
        {"environment": environment, "algorithm": algorithm, "settings": settings}
        for environment in presets.names()
        for algorithm, settings in presets.load(environment).items()
        if isinstance(settings, dict)
    ]
    _title(out, "presets: algorithm, total steps, number of environments (n_envs)")
    by_environment = groupby(found, key=lambda entry: entry["environment"])
    rows = [
        {"environment": environment, "algorithms": _tuned(list(entries))} for environment, entries in by_environment
    ]
    _print_table(out, rows, ("environment", "algorithms"))
    return found


def _tuned(entries: Sequence[dict[str, Any]]) -> str:
    """``ppo 100,000 steps, 8 envs; dqn 50,000 steps, 1 env``, algorithms with equal settings together."""
    alike = groupby(entries, key=lambda entry: _size(entry["settings"]))
    return "; ".join(f"{', '.join(entry['algorithm'] for entry in group)} {size}" for size, group in alike)


def _size(settings: dict[str, Any]) -> str:
    n_envs = settings["n_envs"]
    return f"{settings['steps']:,} steps, {n_envs} env{'s' * (n_envs > 1)}"


_COLUMNS = {
    "run": Column("run", right=False, wraps=True),
    "settings": Column("differs in", right=False, wraps=True),
    "state": Column("state", right=False),
    "steps": Column("steps", rank=2),
    "total": Column("total", rank=4),
    "seeds": Column("seeds", rank=3),
    "return": Column("return"),
    "used": Column("last used", right=False, rank=1),
}


def _runs(args: argparse.Namespace, out: Console) -> list[dict[str, Any]]:
    from tegu.runs import Run

    wanted = {"environment": args.env, "algorithm": args.algorithm, "state": args.status}
    found = [_run(run) for run in Run.list(args.runs)]
    found = [entry for entry in found if all(value in (None, entry[name]) for name, value in wanted.items())]
    found = _apart(sorted(found, key=_ORDERS[args.sort].key))
    _title(out, f"runs in {args.runs}, {_ORDERS[args.sort].says}")
    if found:
        columns = {name: column for name, column in _COLUMNS.items() if any(entry[name] for entry in found)}
        shown = [
            entry
            | {"used": _local(entry["used"]), "settings": " ".join(described(entry["settings"], [*entry["settings"]]))}
            for entry in found
        ]
        rows = [[_cell(entry[name]) for name in columns] for entry in shown]
        out.print(fitted(list(columns.values()), rows, out.width), "")
    else:
        out.print("no such runs\n" if any(wanted.values()) else "no runs yet: tegu train CartPole-v1\n")
    return found


def _apart(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The runs, of their settings only those in which they differ from others of the same environment and algorithm."""
    kind = itemgetter("environment", "algorithm")
    names = {key: differing([each["settings"] for each in found if kind(each) == key]) for key in map(kind, found)}
    return [
        entry
        | {"settings": {name: entry["settings"][name] for name in names[kind(entry)] if name in entry["settings"]}}
        for entry in found
    ]


def _run(run: Any) -> dict[str, Any]:
    status = run.status
    found = {"run": run.name, "state": status.state, "steps": status.steps, "total": status.total}
    try:
        config = run.settings
        found |= {"seeds": len(config["seeds"]), "created": config["created"]}
        found |= {name: config[name] for name in ("environment", "algorithm")}
        settings = settings_of(config)
        for shown in ("steps", "environment", "algorithm"):  # in columns of their own
            settings.pop(shown, None)
    except (TeguError, KeyError, TypeError):
        found |= {"state": "damaged", "seeds": None, "created": None, "environment": None, "algorithm": None}
        settings = {}
    return found | {"settings": settings, "return": _last_return(run), "used": _used(run), "folder": str(run.path)}


def _last_return(run: Any) -> float | None:
    """The mean over seeds of what was logged last; of board games that of the evaluation, if there was one."""
    with suppress(TeguError), run.metrics(read_only=True) as metrics:
        game = len(metrics.read(FIRST_PLAYER)[0])
        steps, values = metrics.read(EVALUATION if game else RETURN)
        return float(values[steps == steps[-1]].mean()) if len(steps) else None
    return None


def _used(run: Any) -> str | None:
    with suppress(OSError):
        return datetime.fromtimestamp(run.used / 1e9, UTC).isoformat(timespec="seconds")
    return None


def _local(created: str | None) -> str:
    with suppress(TypeError, ValueError, OverflowError):
        return f"{datetime.fromisoformat(created or '').astimezone():%Y-%m-%d %H:%M}"
    return ""


def _title(out: Console, title: str) -> None:
    out.print(title, style="bold")


def _print_table(out: Console, rows: list[dict[str, Any]], columns: Sequence[str]) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in columns:
        number = any(isinstance(row.get(name), int | float) for row in rows)
        table.add_column(name, justify="right" if number else "left", no_wrap=name == "run")
    for row in rows:
        table.add_row(*(_cell(row.get(name)) for name in columns))
    out.print(table, "")


def _cell(value: Any) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else printable(value)
