"""A learned model beside what really comes."""

import argparse
from pathlib import Path

import numpy as np
from rich.console import Console

from tegu.agents.agent import Agent
from tegu.agents.open_loop import open_loop
from tegu.analysis.layout import Column, fitted
from tegu.analysis.open_loop import plot_open_loop
from tegu.cli.common import Outcome, working
from tegu.cli.loading import place

_SHOWN = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500)  # steps ahead


def run(agent: Agent, picture: Path, args: argparse.Namespace, out: Console) -> Outcome:
    """``tegu watch RUN --model``."""
    with working(args, "playing an episode, and predicting it"):
        found = open_loop(agent, args.horizon, args.seed_index, not args.stochastic, args.max_steps)
        errors = found.errors()
        plot_open_loop(found.observation, np.asarray(found.imagined.observation), errors, picture)
    ahead = [n for n in dict.fromkeys((*_SHOWN, args.horizon)) if n <= args.horizon]
    rows = [[f"{n:,}", *(f"{error[n - 1]:.3g}" for error in errors.values())] for n in sorted(ahead)]
    out.print(fitted([Column("steps ahead"), *map(Column, errors)], rows, None))
    out.print("\nsquared errors of predictions, 1 being the variance over the episode; no change: of predicting none")
    out.print(str(picture), soft_wrap=True)
    return Outcome(
        {
            "run": str(place(agent, args)),
            "environment": agent.spec.id,
            "seed": agent.seeds[args.seed_index],
            "steps": len(found.reward),
            "errors": {name: error.tolist() for name, error in errors.items()},
            "picture": str(picture),
        }
    )
