"""A learned model's predictions beside what is observed."""

import argparse
from pathlib import Path

import numpy as np
from rich.console import Console

from tegu.agents.agent import Agent
from tegu.agents.open_loop import open_loop
from tegu.analysis.layout import Column, fitted
from tegu.analysis.open_loop import plot_open_loop
from tegu.cli.common import Outcome, working
from tegu.cli.loading import episode_name, load, place

_SHOWN = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500)  # steps ahead


def run(args: argparse.Namespace, out: Console) -> Outcome:
    """``tegu watch RUN --model``."""
    with working(args, "playing an episode, and predicting it"):
        agent = load(args)
        found = open_loop(agent, args.horizon, args.seed_index, not args.stochastic, args.max_steps)
        errors, picture = found.errors(), _picture(agent, args)
        plot_open_loop(found.observation, np.asarray(found.imagined.observation), errors, picture)
    ahead = sorted({*(n for n in _SHOWN if n < args.horizon), args.horizon})
    rows = [[f"{n:,}", *(_share(error[n - 1]) for error in errors.values())] for n in ahead]
    out.print(fitted([Column("steps ahead"), *map(Column, errors)], rows, None))
    out.print("\nmean squared errors, 1 being the variance over the episode; no change: of predicting no change at all")
    out.print(str(picture), soft_wrap=True)
    return Outcome(
        {
            "run": str(place(agent, args)),
            "environment": agent.spec.id,
            "seed": agent.seeds[args.seed_index],
            "steps": len(found.reward),
            "errors": {name: None if np.isnan(error).any() else error.tolist() for name, error in errors.items()},
            "picture": str(picture),
        }
    )


def _picture(agent: Agent, args: argparse.Namespace) -> Path:
    """Where it is drawn to."""
    if args.out is not None and args.out.suffix and not args.out.is_dir():
        return args.out
    name = episode_name(agent, args)
    return (args.out or place(agent, args) / "replays") / f"{name}-model-{args.horizon}.png"


def _share(error: float) -> str:
    return "-" if np.isnan(error) else f"{error:.3g}"
