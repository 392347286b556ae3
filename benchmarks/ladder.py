"""``python -m benchmarks.ladder``: what each option of DQN brings, and what Rainbow loses without each of its parts."""

import argparse
import json
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import tegu
from benchmarks import machine, report
from benchmarks.__main__ import RESULTS
from benchmarks.execution import ROOT
from benchmarks.scores import summary
from tegu.analysis import curves, plot_comparison
from tegu.runs import Run

#: What all share; all else is tegu.DQN's defaults, which are Stable-Baselines3's.
SHARED = {"buffer_size": 50_000, "learning_starts": 1000, "learning_rate": 1e-3, "target_update_interval": 500}
CATEGORICAL = {"distribution": "categorical", "v_min": 0.0, "v_max": 100.0}  #: the range of CartPole-v1's returns
RAINBOW = {"double": True, "dueling": True, "prioritized": True, "n_steps": 3, "noisy": True, **CATEGORICAL}
LADDER: dict[str, dict[str, Any]] = {
    "DQN": {},
    "+ double": {"double": True},
    "+ dueling": {"dueling": True},
    "+ prioritised": {"prioritized": True},
    "+ 3 steps": {"n_steps": 3},
    "+ noisy": {"noisy": True},
    "+ categorical": CATEGORICAL,
    "+ all: Rainbow": RAINBOW,
}
ABLATIONS: dict[str, dict[str, Any]] = {
    "Rainbow": RAINBOW,
    "- double": RAINBOW | {"double": False},
    "- dueling": RAINBOW | {"dueling": False},
    "- prioritised": RAINBOW | {"prioritized": False},
    "- 3 steps": RAINBOW | {"n_steps": 1},
    "- noisy": RAINBOW | {"noisy": False},
    "- categorical": {name: value for name, value in RAINBOW.items() if name not in CATEGORICAL},
}
ENVIRONMENT = "CartPole-v1"
EXPLAINED = (
    "DQN on {environment} with each of its options, with all of them (Rainbow), and Rainbow without each. "
    "{steps:,} steps, {seeds} seeds, greedy scores of 100 fresh episodes. "
    "Shared settings: {shared}; all else as in tegu.DQN."
)
EPISODES = 100  #: that each seed's greedy score is the mean of


def measured(options: dict[str, Any], steps: int, seeds: int, folder: Path) -> tuple[Run, dict[str, Any]]:
    """Train DQN with ``options``: its run, and the greedy score of each seed."""
    agent = tegu.train(
        ENVIRONMENT,
        tegu.DQN(**SHARED, **options),
        steps=steps,
        n_envs=1,
        seeds=seeds,
        folder=folder,
        progress_bar=False,
    )
    scores = agent.evaluate(EPISODES).returns.mean(axis=-1)
    return Run.open("last", folder), summary([float(score) for score in scores])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ladder", description="What each option of DQN brings.")
    parser.add_argument("--steps", type=int, default=50_000)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--output", type=Path, default=RESULTS, help=f"folder for the figures (default: {RESULTS})")
    parser.add_argument("--images", type=Path, default=Path("docs/images"), help="folder for the curves (docs/images)")
    given = parser.parse_args()
    tables: dict[str, dict[str, Any]] = {}
    record = {"case": "options of DQN", **machine.surroundings("benchmarks.ladder"), "tables": tables}
    record["explained"] = EXPLAINED.format(environment=ENVIRONMENT, steps=given.steps, seeds=given.seeds, shared=SHARED)
    with tempfile.TemporaryDirectory(prefix="tegu-ladder-") as temporary:
        for name, rungs in {"ladder": LADDER, "ablations": ABLATIONS}.items():
            groups, tables[name] = [], {}
            for label, options in rungs.items():
                run, found = measured(options, given.steps, given.seeds, Path(temporary))
                tables[name][label] = found
                groups += [replace(group, label=label) for group in curves([run])]
                print(f"{label}: {report.number(found['mean'])} {found['interval']}", flush=True)
            plot_comparison(groups, ROOT / given.images / f"{name}.png")
    record["date"] = datetime.now(UTC).isoformat(timespec="seconds")
    (ROOT / given.output / report.LADDER).write_text(json.dumps(record, indent=1) + "\n")
    report.write(ROOT / given.output)


if __name__ == "__main__":
    main()
