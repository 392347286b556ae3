"""``python -m benchmarks.i2a``: does an agent that imagines solve more levels of Sokoban, in as many steps?"""

import argparse
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import tegu
from benchmarks import machine, report
from benchmarks.__main__ import RESULTS
from benchmarks.execution import ROOT
from benchmarks.scores import summary

ENVIRONMENT = "Sokoban-7x7-v0"
LEVELS = {"boxes": 1, "n_levels": 2_000}
#: What all share: the updates of PPO, and small networks.
SHARED: dict[str, Any] = {"policy_update": "ppo", "n_steps": 64, "batch_size": 256, "gae_lambda": 0.95, "vf_coef": 0.1}
SHARED |= {"learning_rate": 5e-4, "ent_coef": 0.03, "channels": 8, "hidden_size": 32}
VARIANTS = {"imagination in a learned model": "model", "copy model": "copy", "no imagination": "none"}
EXPLAINED = (
    "I2A on {environment} with one box, {steps:,} steps in all (of which I2A spends a part on its model), {seeds} "
    "seeds: share of levels of the training pool that are solved when training ends, of {episodes} for each seed, "
    "greedily and with drawn actions. Shared settings: {shared}; all else as in tegu.I2A. Seconds of training: "
    "{seconds}."
)


def measured(imagination: str, given: argparse.Namespace) -> tuple[dict[str, Any], dict[str, Any], float]:
    """Shares of solved levels by each seed, greedily and with drawn actions, and seconds of training."""
    world, began = tegu.make(ENVIRONMENT, **LEVELS), time.perf_counter()
    agent = tegu.train(
        world,
        tegu.I2A(imagination=imagination, rollout_length=given.rollout_length, **SHARED),
        steps=given.steps,
        n_envs=16,
        seeds=given.seeds,
        folder=None,
        progress_bar=False,
    )
    seconds = time.perf_counter() - began
    played = (agent.evaluate(given.episodes, deterministic=greedy) for greedy in (True, False))
    greedy, drawn = (summary([float(x) for x in one.measures["solved/end"].mean(axis=-1)]) for one in played)
    return greedy, drawn, seconds


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.i2a", description=__doc__)
    parser.add_argument("--steps", type=int, default=150_000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--episodes", type=int, default=100, help="that each seed plays in the end")
    parser.add_argument("--rollout-length", type=int, default=5)
    parser.add_argument("--output", type=Path, default=RESULTS, help=f"folder for the figures (default: {RESULTS})")
    given = parser.parse_args()
    tables: dict[str, dict[str, Any]] = {"solved, greedily": {}, "solved, with drawn actions": {}}
    record = {"case": "I2A", **machine.surroundings("benchmarks.i2a"), "tables": tables}
    seconds = {}
    for label, imagination in VARIANTS.items():
        *found, seconds[label] = measured(imagination, given)
        for table, one in zip(tables.values(), found, strict=True):
            table[label] = one
        print(label, f"{seconds[label]:.0f} s,", *(report.number(one["mean"]) for one in found), flush=True)
    took = ", ".join(f"{label} {value:,.0f}" for label, value in seconds.items())
    asked = {"steps": given.steps, "seeds": given.seeds, "episodes": given.episodes}
    record["explained"] = EXPLAINED.format(environment=ENVIRONMENT, shared=SHARED, seconds=took, **asked)
    record["date"] = datetime.now(UTC).isoformat(timespec="seconds")
    (ROOT / given.output / report.I2A).write_text(json.dumps(record, indent=1) + "\n")
    report.write(ROOT / given.output)


if __name__ == "__main__":
    main()
