"""How ``train`` and ``resume`` end: evaluate the agent, print where the run is and which commands come next."""

import argparse
import importlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

from rich.console import Console

from tegu.agents.agent import Agent
from tegu.analysis.compare import ELO, EVALUATION, FIRST_PLAYER, RETURN
from tegu.analysis.plots import plot_curves
from tegu.cli.common import Outcome, shown
from tegu.cli.panel import tracker
from tegu.cli.progress import LENGTH, ProgressTracker, stopped
from tegu.cli.score import formatted, interval, score
from tegu.core.code import is_code
from tegu.core.errors import TeguError
from tegu.environments.games.base import Game
from tegu.environments.grids.lizard import Lizard, policy_text
from tegu.runs import Run
from tegu.training.fitting import rates_that_end
from tegu.training.stages import has_stages
from tegu.training.trainer import Progress


def trained(start: Callable[[ProgressTracker], Agent], args: argparse.Namespace, out: Console) -> Outcome:
    """Train by calling ``start`` with a callback, then evaluate and report. Needs ``--episodes`` and ``--runs``."""
    Thread(target=_import_matplotlib, daemon=True).start()  # half a second, while the main thread waits for compilers
    with tracker(args.quiet) as watching:
        with stopped(watching) as interrupted:
            agent = start(watching)
        progress = watching.progress
        assert progress is not None
        run = progress.run
        assert run is not None
        name = shown(run, args.runs)
        if interrupted:
            again = f"tegu resume {_command(name, run)}"
            out.print(f"stopped at step {progress.steps:,}; continue with: {again}", soft_wrap=True)
            curve = _curve(run)
            _say_curve(curve, out)
            return Outcome(_data(run, progress, None, curve), 130)
        found = None
        if args.episodes:
            watching.say("evaluating")
            found = score(agent.evaluate(args.episodes), deterministic=True)
        curve = _curve(run)
        watching.say("done")
    training = watching.curve[-1] if watching.curve and watching.first is None else None
    _report(agent, found, training, curve, out)
    _what_next(name, run, agent, progress, out)
    return Outcome(_data(run, progress, found, curve))


def _import_matplotlib() -> None:
    with suppress(ImportError):
        importlib.import_module("matplotlib.backends.backend_agg")


def _curve(run: Run) -> Path | None:
    """The plot of the learning curve, if Matplotlib is installed.

    In a game of two players their mean return is always 0, so it shows something else.
    """
    path = run.path / "curve.png"
    try:
        with run.metrics(read_only=True) as store:
            names = store.names()
        metrics = [RETURN]
        if FIRST_PLAYER in names:
            metrics = [name for name in (ELO, EVALUATION, LENGTH, FIRST_PLAYER) if name in names]
        plot_curves(run, path, metrics)
    except TeguError:  # no Matplotlib, or no episode has ended
        return None
    return path


def _report(
    agent: Agent, found: dict[str, Any] | None, training: float | None, curve: Path | None, out: Console
) -> None:
    """The lizard's Q-table, the evaluation beside the last return while ``training``, and the files of the run."""
    assert agent.run is not None
    if agent.source is not None and isinstance(agent.source.native, Lizard) and hasattr(agent.learner(), "table"):
        out.print(policy_text(agent.source.native, agent.learner().table.values), end="\n\n")
    if found is not None:
        each = f" of each of {len(agent.seeds)} seeds" if len(agent.seeds) > 1 else ""
        spread = f"std {formatted(found['std'])}, 95% interval {interval(*found['interval'])}"
        native = agent.source.native if agent.source is not None else None
        kind = "games against random moves" if isinstance(native, Game) else "episodes"
        _say(
            "return",
            f"{formatted(found['mean'])}  {spread}; {found['episodes']} fresh {kind}{each}, deterministic policy",
            out,
        )
        if found["success_rate"] is not None:
            _say("success", f"{found['success_rate']:.1%} of these episodes", out)
        if training is not None:
            _say("", f"{formatted(training)}  while training, with exploration: the last that was logged", out)
    _say("run", str(agent.run.path), out)
    _say_curve(curve, out)


def _what_next(name: str, run: Run, agent: Agent, progress: Progress, out: Console) -> None:
    more = int(float(f"{2 * progress.total:.2g}"))
    chosen = _command(name, run)
    out.print()
    _say("next", f"tegu watch {chosen}", out)
    if not has_stages(agent.algorithm):  # what is over when the last stage is cannot be made longer
        stretched = " --stretch-schedules" if rates_that_end(agent.algorithm) else ""  # else it would learn nothing
        _say("", f"tegu resume {chosen} --steps {more}{stretched}", out)
    _say("", f"tegu evaluate {chosen}", out)


def _say_curve(curve: Path | None, out: Console) -> None:
    if curve is not None:
        _say("curve", str(curve), out)


def _say(label: str, text: str, out: Console) -> None:
    out.print(f"{label:8}", end="", style="dim")
    out.print(text, soft_wrap=True)


def _command(name: str, run: Run) -> str:
    """The run, and the flags for a user's own code, which files never import by themselves."""
    named = {"env": run.config["environment"], "algorithm": run.config["algorithm"]}
    named["network"] = str(run.config["hyper_parameters"].get("network"))
    return " ".join([name, *(f"--{flag} {code}" for flag, code in named.items() if is_code(code))])


def _data(run: Run, progress: Progress, found: dict[str, Any] | None, curve: Path | None) -> dict[str, Any]:
    kept = ("mean", "std", "interval", "per_seed", "success_rate", "episodes", "deterministic")
    return {
        "run": str(run.path),
        "environment": run.config["environment"],
        "algorithm": run.config["algorithm"],
        "backend": run.config["backend"],
        "steps": progress.steps,
        "seconds": progress.seconds,
        "seeds": run.config["seeds"],
        "evaluation": {key: found[key] for key in kept} if found is not None else None,
        "curve": str(curve) if curve else None,
    }
