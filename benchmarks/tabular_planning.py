"""``python -m benchmarks.tabular_planning``: how many steps a learned table saves, in the grid worlds."""

import argparse
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

import tegu
from benchmarks import machine, report
from benchmarks.__main__ import RESULTS
from benchmarks.execution import ROOT
from benchmarks.scores import summary
from tegu.environments.grids.exact import policy_value, value_iteration
from tegu.environments.make import find

GAMMA, EPSILON, ENOUGH = 0.99, 0.5, 0.99  # with epsilon 0.1 hardly a seed sees the goal of the lake
ALGORITHMS: dict[str, Mapping[str, Any]] = {
    "q-learning": {"learning_rate": 0.5},
    "dyna-q": {"learning_rate": 0.5},
    "prioritized-sweeping": {},
    "adaptive-dp": {},
}
#: Steps at most, and steps between two looks at the policy.
ENVIRONMENTS = {
    "lizard": (2_000, 5),
    "CliffWalking-v1": (20_000, 20),
    "FrozenLake-v1": (200_000, 200),
    "Taxi-v4": (400_000, 1_000),
}
SLOW = {("Taxi-v4", "adaptive-dp")}  #: a sweep over 500 states after every step: left out
EXPLAINED = (
    "Steps until the greedy policy is first worth {enough:.0%} of the optimal value of the start, exactly, over "
    "{seeds} seeds; a seed that does not get there within the steps given counts as these. All with gamma {gamma}, "
    "epsilon {epsilon} from the start, ten updates from the model per step (adaptive DP: one sweep), learning rate 0.5 "
    "where there is one."
)


class FirstGood:
    """Notes for each seed the first look at which its greedy policy is good enough."""

    def __init__(self, environment: str, every: int, seeds: int) -> None:
        self.every = every
        self.world: Any = find(environment).native
        self.best = value_iteration(self.world, GAMMA).values @ self.world.initial
        self.first: list[int | None] = [None] * seeds

    def __call__(self, progress: Any, learners: Any) -> bool:
        """Whether some seed is not there yet."""
        for seed, table in enumerate(np.asarray(learners.table.values)):
            if self.first[seed] is None and self.good(table):
                self.first[seed] = int(progress.steps)
        return None in self.first

    def good(self, table: np.ndarray) -> bool:
        worth = policy_value(self.world, table.argmax(axis=1), GAMMA) @ self.world.initial
        return bool(worth >= self.best - (1 - ENOUGH) * abs(self.best))


def measured(environment: str, algorithm: str, seeds: int) -> dict[str, Any]:
    """Steps until the greedy policy of each seed was good enough."""
    steps, every = ENVIRONMENTS[environment]
    look = FirstGood(environment, every, seeds)
    shared = {"gamma": GAMMA, "exploration_initial_eps": EPSILON, "exploration_final_eps": EPSILON}
    options = {"steps": steps, "seeds": seeds, "n_envs": 1, "folder": None, "observers": look, "progress_bar": False}
    tegu.train(environment, algorithm, **shared, **ALGORITHMS[algorithm], **options)
    late = sum(first is None for first in look.first)
    return {**summary([float(steps if first is None else first) for first in look.first]), "late": late, "most": steps}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tabular_planning", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--output", type=Path, default=RESULTS, help=f"folder for the figures (default: {RESULTS})")
    given = parser.parse_args()
    tables: dict[str, dict[str, Any]] = {environment: {} for environment in ENVIRONMENTS}
    record = {"case": "planning with tables", **machine.surroundings("benchmarks.tabular_planning"), "tables": tables}
    record["explained"] = EXPLAINED.format(enough=ENOUGH, seeds=given.seeds, gamma=GAMMA, epsilon=EPSILON)
    for environment, table in tables.items():
        for algorithm in ALGORITHMS:
            if (environment, algorithm) not in SLOW:
                table[algorithm] = found = measured(environment, algorithm, given.seeds)
                print(
                    environment, algorithm, report.number(found["mean"]), found["interval"], found["late"], flush=True
                )
    record["date"] = datetime.now(UTC).isoformat(timespec="seconds")
    (ROOT / given.output / report.TABULAR_PLANNING).write_text(json.dumps(record, indent=1) + "\n")
    report.write(ROOT / given.output)


if __name__ == "__main__":
    main()
