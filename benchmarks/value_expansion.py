"""``python -m benchmarks.value_expansion``: does an imagined return help DDPG's critic, and the TD-k trick?"""

import argparse
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import Any

import tegu
from benchmarks import machine, report
from benchmarks.__main__ import RESULTS
from benchmarks.execution import ROOT
from benchmarks.scores import summary

ENVIRONMENT = "Pendulum-v1"
#: What all share: the authors' sizes and four updates per step; all else is tegu.DDPG's.
SHARED = {"net_arch": (64, 64), "batch_size": 64, "tau": 0.01, "gradient_steps": 4}
VARIANTS: dict[str, dict[str, Any]] = {
    "DDPG": {},
    "MVE, 3 steps": {"model_steps": 3},
    "MVE, 3 steps, without TD-k": {"model_steps": 3, "td_k": False},
}
EXPLAINED = (
    "DDPG with and without returns imagined by a learned model (MVE) on {environment}, {steps:,} steps, {seeds} seeds: "
    "mean return of all training episodes, which is the area under the learning curve, and greedy scores of 100 fresh "
    "episodes at the end. Shared settings: {shared}; all else as in tegu.DDPG."
)


def measured(options: Mapping[str, Any], steps: int, seeds: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """The mean return of training episodes, and the greedy score, of each seed."""
    returns: list[list[float]] = [[] for _ in range(seeds)]

    def note(progress: Any) -> None:
        for seed, metrics in enumerate(progress.metrics or ()):
            if "rollout/ep_rew_mean" in metrics:
                returns[seed].append(metrics["rollout/ep_rew_mean"])

    agent = tegu.train(
        ENVIRONMENT,
        tegu.DDPG(**SHARED, **options),
        steps=steps,
        n_envs=1,
        seeds=seeds,
        folder=None,
        log_interval=200,
        callbacks=note,
        progress_bar=False,
    )
    scores = agent.evaluate(100).returns.mean(axis=-1)
    return summary([fmean(curve) for curve in returns]), summary([float(score) for score in scores])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.value_expansion", description=__doc__)
    parser.add_argument("--steps", type=int, default=5_000)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--output", type=Path, default=RESULTS, help=f"folder for the figures (default: {RESULTS})")
    given = parser.parse_args()
    tables: dict[str, dict[str, Any]] = {"area under the curve": {}, "greedy at the end": {}}
    record = {"case": "value expansion", **machine.surroundings("benchmarks.value_expansion"), "tables": tables}
    record["explained"] = EXPLAINED.format(environment=ENVIRONMENT, steps=given.steps, seeds=given.seeds, shared=SHARED)
    for label, options in VARIANTS.items():
        found = measured(options, given.steps, given.seeds)
        for table, one in zip(tables.values(), found, strict=True):
            table[label] = one
        print(label, *(report.number(one["mean"]) for one in found), flush=True)
    record["date"] = datetime.now(UTC).isoformat(timespec="seconds")
    (ROOT / given.output / report.VALUE_EXPANSION).write_text(json.dumps(record, indent=1) + "\n")
    report.write(ROOT / given.output)


if __name__ == "__main__":
    main()
