"""``tegu list``: what there is."""

import argparse
import inspect
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from rich import box
from rich.columns import Columns
from rich.console import Console
from rich.table import Table

from tegu.cli.common import Outcome, Parser, add_runs
from tegu.errors import TeguError

_KINDS = ("environments", "algorithms", "presets", "runs")


def arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = Parser(
        "list", "[environments|algorithms|presets|runs] [flags]", "Show what there is; without a word, all."
    )
    parser.add_argument("kind", choices=_KINDS, nargs="?", metavar="KIND", help=f"one of {', '.join(_KINDS)} (all)")
    add_runs(parser)
    return parser.parse(words)


def run(args: argparse.Namespace, out: Console) -> Outcome:
    listed = {
        "environments": _environments,
        "algorithms": _algorithms,
        "presets": _presets,
        "runs": lambda out: _runs(args.runs, out),
    }
    return Outcome({kind: listed[kind](out) for kind in ([args.kind] if args.kind else _KINDS)})


def _environments(out: Console) -> list[dict[str, Any]]:
    from tegu.environments.make import names

    found = [{"name": name, "backend": backend} for name, backend in names().items()]
    for backend, title in (("jax", "tegu's environments, in JAX"), ("gymnasium", "Gymnasium's environments")):
        _title(out, title)
        out.print(Columns([entry["name"] for entry in found if entry["backend"] == backend], padding=(0, 3)), "")
    return found


def _algorithms(out: Console) -> list[dict[str, Any]]:
    from tegu.algorithms.registry import ALGORITHMS

    found = [
        {"name": name, "class": algorithm.__name__, "summary": (inspect.getdoc(algorithm) or "").partition("\n")[0]}
        for name, algorithm in ALGORITHMS.items()
    ]
    _title(out, "algorithms")
    _print_table(out, found, ("name", "summary"))
    return found


def _presets(out: Console) -> list[dict[str, Any]]:
    from tegu import presets

    found: list[dict[str, Any]] = [
        {"environment": environment, "algorithm": algorithm, "settings": settings}
        for environment in presets.names()
        for algorithm, settings in presets.load(environment).items()
        if isinstance(settings, dict)
    ]
    _title(out, "presets")
    _print_table(out, [entry | entry["settings"] for entry in found], ("environment", "algorithm", "steps", "n_envs"))
    return found


def _runs(root: str, out: Console) -> list[dict[str, Any]]:
    from tegu.runs import Run

    found = [_run(run) for run in Run.list(root)]
    _title(out, f"runs in {root}, the newest first")
    if found:
        shown = [entry | {"created": _local(entry["created"])} for entry in found]
        _print_table(out, shown, ("run", "state", "steps", "total", "seeds", "return", "created"))
    else:
        out.print("none yet: tegu train CartPole-v1\n")
    return found


def _run(run: Any) -> dict[str, Any]:
    status = run.status
    found = {"run": run.name, "state": status.state, "steps": status.steps, "total": status.total}
    try:
        found |= {"seeds": len(run.config["seeds"]), "created": run.config["created"]}
    except (TeguError, KeyError, TypeError):
        found |= {"state": "damaged", "seeds": None, "created": None}
    return found | {"return": _last_return(run), "folder": str(run.path)}


def _last_return(run: Any) -> float | None:
    """The mean over seeds of what was logged last."""
    with suppress(TeguError), run.metrics(read_only=True) as metrics:
        steps, values = metrics.read("rollout/ep_rew_mean")
        return float(values[steps == steps[-1]].mean()) if len(steps) else None
    return None


def _local(created: str | None) -> str:
    with suppress(TypeError, ValueError):
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
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)
