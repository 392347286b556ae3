"""The first updates of Q-learning with their numbers (``tegu train lizard --show``)."""

import sys
from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import numpy as np
from rich.console import Console

from tegu.algorithms.q_learning import QLearning
from tegu.algorithms.tabular import TabularLearner
from tegu.core.errors import TeguError
from tegu.core.schedule import Clock
from tegu.core.step import Step
from tegu.environments.grids.finite import FiniteEnvironment
from tegu.training.fused import Fused, FusedState
from tegu.training.plan import make_plan, spec_of

FORMULA = "Q(s,a) <- Q(s,a) + alpha [r + gamma max Q(s',.) - Q(s,a)]"


def show_updates(
    environment: str, algorithm: str | None, settings: Mapping[str, Any], count: int, out: Console
) -> None:
    """Print the first ``count`` updates of the run that is about to begin.

    They use the same loop, algorithm and first seed as the training, so the run will repeat them exactly.
    """
    plan = make_plan(environment, algorithm, **settings)
    grid, learning = plan.source.native, plan.algorithm
    if not isinstance(grid, FiniteEnvironment) or not isinstance(learning, QLearning) or plan.n_envs > 1:
        raise TeguError("--show needs q-learning, a small grid such as lizard, and n_envs 1")
    loop = Fused(learning, grid, spec_of(grid.id, grid, 1))
    state = loop.init(jax.numpy.asarray(plan.seeds[0]), learning)
    iterate = jax.jit(partial(loop.iteration, learns=True))
    pause = sys.stdin.isatty() and out.is_terminal and not out.quiet
    out.print(f"{FORMULA}\n", style="bold")
    for number in range(1, count + 1):
        before: FusedState = state
        clocks = Clock.of(number - 1, plan.steps), Clock.of(number, plan.steps)
        state, _, (step, _, metrics) = iterate(before, learning, *clocks)
        taken = jax.tree.map(lambda leaf: np.asarray(leaf)[0, 0], step)
        out.print(f"step {number}", style="bold", end="  ")
        out.print(_story(grid, taken, float(metrics["exploration_rate"])))
        out.print(_sum(grid, learning, before.learner, state.learner, taken, float(metrics["learning_rate"])) + "\n")
        if pause and number < count:
            input("press Enter for the next update ")


def _story(grid: FiniteEnvironment, step: Step, epsilon: float) -> str:
    here, there = grid.state_names[int(step.observation)], grid.state_names[int(step.next_observation)]
    move = f"at {here}, {grid.action_names[int(step.action)]}"
    end = "; the episode ends" if step.terminated else "; the time limit is reached" if step.truncated else ""
    return f"{move} leads to {there}, reward {float(step.reward):g}{end}  (epsilon {epsilon:.2f})"


def _sum(
    grid: FiniteEnvironment,
    learning: QLearning,
    before: TabularLearner,
    after: TabularLearner,
    step: Step,
    alpha: float,
) -> str:
    """The formula with its numbers, and what it comes to."""
    state, action = int(step.observation), int(step.action)
    old, new = (float(learner.table.values[state, action]) for learner in (before, after))
    best = float(before.table.values[int(step.next_observation)].max())
    future = "0" if step.terminated else f"{learning.gamma:g} x {_number(best)}"  # nothing follows the end
    place = f"Q({grid.state_names[state]}, {grid.action_names[action]})"
    return (
        f"        {place} <- {_number(old)} + {alpha:g} "
        f"[{float(step.reward):g} + {future} - {_number(old)}] = {round(new, 4):g}"
    )


def _number(value: float) -> str:
    """In brackets if negative, as one would write it in a sum."""
    text = f"{round(value, 4):g}"
    return f"({text})" if text.startswith("-") else text
