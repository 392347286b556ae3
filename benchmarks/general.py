"""``python -m benchmarks.general``: PPO's settings where an environment has no preset of its own. Takes an hour or two.

The candidates learn on the environments of ``DEVELOPMENT``. The best by ``development_score`` is then compared with
the first candidate, and that one with Stable-Baselines3, on an environment that took no part in the choice. Needs
``gymnasium[box2d,mujoco]`` in ``.venv`` and ``gymnasium[box2d]`` in ``.venv-bench``.
"""

import argparse
import json
import tempfile
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from benchmarks import machine, report
from benchmarks.__main__ import RESULTS
from benchmarks.cases import PEERS
from benchmarks.execution import ROOT, cores, environment, run
from benchmarks.scores import summary, tegu

_SHARED = {
    "n_envs": 8,
    "n_steps": 256,
    "batch_size": 256,
    "n_epochs": 10,
    "learning_rate": 3e-4,
    "gamma": 0.99,
    "gae_lambda": 0.95,
    "clip_range": 0.2,
}
_SMALL = _SHARED | {"batch_size": 64}
_NORMALIZED = _SMALL | {"normalize_observation": True, "normalize_reward": True}
CANDIDATES: dict[str, dict[str, Any]] = {
    "large batches": _SHARED,
    "small batches": _SMALL,
    "small, normalized": _NORMALIZED,
    "small, normalized, falling rate": _NORMALIZED | {"learning_rate": "lin_3e-4"},
}


class Task(NamedTuple):
    """An environment, and between which returns a policy goes from no better than chance (0) to good (1)."""

    environment: str
    steps: int
    chance: float
    good: float


DEVELOPMENT = (
    Task("InvertedDoublePendulum-v5", 200_000, 0, 9000),
    Task("Hopper-v5", 200_000, 0, 2500),
    Task("Reacher-v5", 200_000, -45, -5),
    Task("CartPole-v1", 100_000, 0, 500),
    Task("Acrobot-v1", 100_000, -500, -80),
)
SEEDS = 5
TEST, TEST_STEPS, TEST_SEEDS = "LunarLander-v3", 300_000, 12
EPISODES, TEST_EPISODES = 10, 50  #: that each seed's score is the mean of


EXPLAINED = (
    "Greedy scores of fresh episodes. Development is the mean over its environments, each scaled so that 0 is about "
    "chance and 1 is good; the best of these is compared on an environment that took no part in the choice. "
)


def ours(
    task: str, algorithm: str | None, steps: int, seeds: int, episodes: int, settings: dict[str, Any], folder: Path
) -> dict[str, Any]:
    """The greedy scores of ``tegu train``, one a seed; without an ``algorithm``, of the one that it chooses."""
    flags = [f"--{name.replace('_', '-')}" + ("" if value is True else f"={value}") for name, value in settings.items()]
    named = [algorithm] if algorithm else []
    words = ["train", task, *named, "--steps", str(steps), "--seeds", str(seeds), "--episodes", "0", "--runs", folder]
    trained = tegu(folder, *words, *flags)
    found = tegu(folder, "evaluate", trained["result"]["run"], "--episodes", str(episodes))["result"]
    scores = [float(score) for score in found["deterministic"]["per_seed"]]
    return {"episodes": episodes, "seconds": trained["process_seconds"], **summary(scores)}


def peers(task: str, steps: int, seeds: int, episodes: int, settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The greedy scores of Stable-Baselines3 with the same settings, one a seed."""
    python, worker = ROOT / PEERS / "bin/python", ROOT / "benchmarks/workers/zoo.py"

    def score(seed: int) -> float:
        given = {"environment": task, "steps": steps, "seed": seed, "threads": 1, "episodes": episodes, **settings}
        command = [str(python), str(worker), json.dumps(given)]
        return float(run(command, folder, environment(1, None))["result"]["score"])

    with ThreadPoolExecutor(cores()) as pool:
        return {"episodes": episodes, **summary(list(pool.map(score, range(seeds))))}


def development_score(name: str, found: dict[str, Any]) -> dict[str, Any]:
    """Over the environments of DEVELOPMENT, each scaled from chance (0) to good (1); the seeds' means of these."""
    scaled = [
        [
            (score - task.chance) / (task.good - task.chance)
            for score in found[f"{task.environment}, {name}"]["per_seed"]
        ]
        for task in DEVELOPMENT
    ]
    return summary([fmean(scores) for scores in zip(*scaled, strict=True)])


def main() -> None:
    """Measure what is not yet in the output, and write it after each part."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.general", description="PPO's general settings.")
    parser.add_argument("--output", type=Path, default=RESULTS, help=f"folder for the figures (default: {RESULTS})")
    folder = ROOT / parser.parse_args().output
    file = folder / report.GENERAL
    learning, testing = f"{SEEDS} seeds", f"{TEST}, {TEST_STEPS:,} steps, {TEST_SEEDS} seeds"
    tables: dict[str, dict[str, Any]] = {learning: {}, "Development": {}, testing: {}}
    if file.exists():
        tables |= json.loads(file.read_text())["tables"]
    record = {"case": "PPO's general settings", **machine.surroundings("benchmarks.general"), "tables": tables}
    record["explained"] = EXPLAINED + " ".join(f"{name}: {options}." for name, options in CANDIDATES.items())

    def keep(table: str, name: str, found: dict[str, Any]) -> None:
        tables[table][name] = found
        record["date"] = datetime.now(UTC).isoformat(timespec="seconds")
        file.write_text(json.dumps(record, indent=1) + "\n")
        report.write(folder)
        print(f"{name}: {report.number(found['mean'])} {found['interval']}", flush=True)

    with tempfile.TemporaryDirectory(prefix="tegu-general-") as temporary:
        parts = {f"{task.environment}, {name}": (task, name) for task in DEVELOPMENT for name in CANDIDATES}
        missing = {part: what for part, what in parts.items() if part not in tables[learning]}

        def measured(task: Task, name: str) -> dict[str, Any]:
            return ours(task.environment, "ppo", task.steps, SEEDS, EPISODES, CANDIDATES[name], Path(temporary))

        with ThreadPoolExecutor(cores()) as pool:
            for part, found in zip(missing, pool.map(lambda what: measured(*what), missing.values()), strict=True):
                keep(learning, part, found)
        for name in CANDIDATES:
            keep("Development", name, development_score(name, tables[learning]))
        first = next(iter(CANDIDATES))
        best = max(CANDIDATES, key=lambda name: tables["Development"][name]["mean"])
        tegus = partial(ours, algorithm="ppo")
        sides = {f"Tegu, {first}": (tegus, first), f"Tegu, {best}": (tegus, best), f"SB3, {first}": (peers, first)}
        for name, (measure, candidate) in sides.items():
            if name not in tables[testing]:
                asked = {"steps": TEST_STEPS, "seeds": TEST_SEEDS, "episodes": TEST_EPISODES}
                found = measure(TEST, **asked, settings=CANDIDATES[candidate], folder=Path(temporary))
                keep(testing, name, found)


if __name__ == "__main__":
    main()
