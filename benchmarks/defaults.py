"""``python -m benchmarks.defaults``: what comes out where an environment has no preset. Takes hours.

On every environment of ``TASKS``, ``tegu train ENVIRONMENT`` and Stable-Baselines3's defaults learn for the same steps.
Needs ``gymnasium[box2d,mujoco]`` and ``minigrid`` in ``.venv`` and in ``.venv-bench``. What is in the output already is
not measured again.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from benchmarks import machine, report
from benchmarks.__main__ import RESULTS
from benchmarks.execution import ROOT
from benchmarks.general import ours, peers
from benchmarks.scores import summary, worker

WORKERS = ROOT / "benchmarks/workers"
SEEDS, EPISODES = 3, 50
ENOUGH = 0.8  #: of what the peer gains over chance


class Task(NamedTuple):
    """An environment, and what a user of Stable-Baselines3 would take there, with its defaults."""

    environment: str
    steps: int
    peer: Mapping[str, Any] = {"policy": "MlpPolicy"}


DICT, IMAGE = {"policy": "MultiInputPolicy"}, {"policy": "CnnPolicy"}
GOAL = DICT | {"algorithm": "SAC", "hindsight": True}
TASKS = (
    Task("plain_environments:PlainMountainCar-v0", 100_000),
    Task("plain_environments:PlainMountainCarContinuous-v0", 100_000),
    Task("LunarLander-v3", 100_000),
    Task("plain_environments:ContinuousLunarLander-v0", 100_000),
    Task("plain_environments:PlainWalker2d-v0", 100_000),
    Task("FrozenLake8x8-v1", 100_000),
    Task("plain_environments:CompactEmpty-v0", 50_000),
    Task("plain_environments:CompactDoorKey-v0", 100_000),
    Task("plain_environments:Corner-v0", 50_000, DICT),
    Task("plain_environments:Catch-v0", 30_000, IMAGE),
    Task("plain_environments:Dials-v0", 50_000),
    Task("plain_environments:Reach-v0", 10_000, GOAL),
)
EXPLAINED = (
    f"Greedy scores, mean of {EPISODES} fresh episodes a seed. Tegu: `tegu train ENVIRONMENT --steps N`. SB3: PPO's "
    "constructor without arguments but the policy that fits the observation, and on Reach-v0 SAC with "
    "HerReplayBuffer. Chance: random actions."
)


def measured(task: Task, folder: Path) -> dict[str, dict[str, Any]]:
    """The scores on a task, by side."""
    asked: dict[str, Any] = {"task": task.environment, "steps": task.steps, "seeds": SEEDS, "episodes": EPISODES}
    random = {"environment": task.environment, "episodes": EPISODES}
    chance = [worker("chance.py", folder, seed=seed * EPISODES, **random)["score"] for seed in range(SEEDS)]
    return {
        "Tegu": ours(algorithm=None, settings={}, folder=folder, **asked),
        "SB3": peers(settings={"n_envs": 1, **task.peer}, folder=folder, **asked),
        "chance": {"episodes": EPISODES, **summary(chance)},
    }


def judged(tables: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """On how many tasks Tegu gains enough, and what each side gains of the larger of both, mean over the tasks."""
    means = [{side: found["mean"] for side, found in table.items()} for table in tables.values()]
    gains = [(mean["Tegu"] - mean["chance"], mean["SB3"] - mean["chance"]) for mean in means]
    enough = sum(tegu >= ENOUGH * sb3 for tegu, sb3 in gains)
    best = [max(tegu, sb3) or 1.0 for tegu, sb3 in gains]
    shares = [fmean(gain[side] / of for gain, of in zip(gains, best, strict=True)) for side in range(2)]
    return {"tasks": len(gains), "enough": enough, "Tegu": shares[0], "SB3": shares[1]}


def main() -> None:
    """Measure what is not yet in the output, and write it after each task."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.defaults", description="Defaults, side by side.")
    parser.add_argument("--output", type=Path, default=RESULTS, help=f"folder for the figures (default: {RESULTS})")
    folder = ROOT / parser.parse_args().output
    file = folder / report.DEFAULTS
    os.environ["PYTHONPATH"] = str(WORKERS)  # where the environments are
    tables = json.loads(file.read_text())["tables"] if file.exists() else {}
    record = {"case": "Without a preset", **machine.surroundings("benchmarks.defaults"), "tables": tables}
    with tempfile.TemporaryDirectory(prefix="tegu-defaults-") as temporary:
        for task in TASKS:
            name = f"{task.environment.rpartition(':')[2]}, {task.steps:,} steps, {SEEDS} seeds"
            if name not in tables:
                tables[name] = measured(task, Path(temporary))
            found = judged(tables)
            record["date"] = datetime.now(UTC).isoformat(timespec="seconds")
            record["explained"] = (
                f"{EXPLAINED} On {found['enough']} of {found['tasks']} environments Tegu gains at least {ENOUGH:.0%} "
                "of what SB3 gains over chance. Of the larger gain, mean over the environments: "
                f"Tegu {found['Tegu']:.2f}, SB3 {found['SB3']:.2f}."
            )
            file.write_text(json.dumps(record, indent=1) + "\n")
            report.write(folder)
            scores = ", ".join(f"{side} {report.number(one['mean'])}" for side, one in tables[name].items())
            print(f"{name}: {scores}", flush=True)


if __name__ == "__main__":
    main()
