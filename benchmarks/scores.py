"""``python -m benchmarks.scores``: how well the presets learn, over ten seeds. Takes long."""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any, NamedTuple

from benchmarks import machine, report
from benchmarks.__main__ import RESULTS
from benchmarks.cases import OURS
from benchmarks.execution import ROOT, BenchmarkError, environment, run
from benchmarks.figures import bootstrap


class Learning(NamedTuple):
    """What is learned."""

    environment: str
    algorithm: str
    steps: int | None = None  #: None: as the preset says
    tabular: bool = False  #: whether the exact best policy is known

    @property
    def name(self) -> str:
        return f"{self.environment}/{self.algorithm}"


CASES = (
    Learning("CartPole-v1", "ppo", 100_000),
    Learning("CartPole-v1", "dqn", 50_000),
    Learning("Pendulum-v1", "ppo"),
    Learning("Acrobot-v1", "ppo"),
    Learning("lizard", "q-learning", tabular=True),
    Learning("FrozenLake-v1", "q-learning", tabular=True),
    Learning("CliffWalking-v1", "q-learning", tabular=True),
    Learning("Taxi-v4", "q-learning", tabular=True),
)
EPISODES = 100  #: that each seed's score should be the mean of


def learn(case: Learning, seeds: int, steps: int | None, folder: Path) -> dict[str, Any]:
    """Train, and take down each seed's score."""
    asked = ["--steps", str(steps)] if steps is not None else []
    command = [str(ROOT / OURS / "bin/tegu"), "train", case.environment, case.algorithm, "--seeds", str(seeds), *asked]
    found = run([*command, "--json", "--quiet"], folder, environment(None, folder / "cache"))
    try:
        result = found["result"]
        scores = [float(score) for score in result["evaluation"]["per_seed"]]
        trained = {"steps": int(result["steps"]), "episodes": result["evaluation"].get("episodes")}
        optimal = exactly(case, folder / result["run"]) if case.tabular else {}
    except (KeyError, TypeError, ValueError) as error:
        raise BenchmarkError(f"the output of tegu train lacks or misnames {error}") from error
    return {
        "environment": case.environment,
        "algorithm": case.algorithm,
        "seconds": found["process_seconds"],
        **trained,
        **summary(scores),
        **optimal,
    }


def summary(scores: Sequence[float]) -> dict[str, Any]:
    """Mean, standard deviation over seeds, and the interval of the mean."""
    return {"per_seed": scores, "mean": fmean(scores), "std": pstdev(scores), "interval": bootstrap(scores)}


def exactly(case: Learning, path: Path) -> dict[str, Any]:
    """Whether each seed's greedy policy is as good as can be."""
    settings = json.dumps({"run": str(path), "environment": case.environment})
    command = [str(ROOT / OURS / "bin/python"), str(ROOT / "benchmarks/workers/tabular.py"), settings]
    return run(command, path, environment(None, None))["result"]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scores", description="How well the presets learn.")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--steps", type=int, help="for every case, in place of its own number")
    parser.add_argument("--only", nargs="+", metavar="ENV/ALGO", choices=[case.name for case in CASES])
    parser.add_argument("--output", type=Path, default=RESULTS, help=f"folder for the figures (default: {RESULTS})")
    return parser.parse_args()


def main() -> int:
    """Train every case asked for. Returns the exit status: 1 if one of them failed."""
    given, failed, load = arguments(), False, machine.load()
    folder = ROOT / given.output
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / report.SCORES
    kept = json.loads(file.read_text())["cases"] if file.exists() else []
    done = {f"{case['environment']}/{case['algorithm']}": case for case in kept}
    for case in CASES:
        if given.only and case.name not in given.only:
            continue
        print(case.name, flush=True)
        try:
            with tempfile.TemporaryDirectory(prefix="tegu-scores-") as temporary:
                found = learn(case, given.seeds, given.steps or case.steps, Path(temporary))
        except BenchmarkError as error:
            print(f"  failed: {error}", flush=True)
            failed = True
            continue
        date = datetime.now(UTC).isoformat(timespec="seconds")
        done[case.name] = {**found, "date": date, "commit": machine.commit()}
        print(f"  {report.number(done[case.name]['mean'])} in {done[case.name]['seconds']:.0f} s", flush=True)
        record = {
            "case": "learning scores",
            "date": date,
            "command": " ".join(["python -m benchmarks.scores", *sys.argv[1:]]),
            "load_before": load,
            "machine": machine.machine(),
            "versions": machine.versions(),
            "commit": machine.commit(),
            "cases": [done[case.name] for case in CASES if case.name in done],
        }
        file.write_text(json.dumps(record, indent=1) + "\n")
        report.write(folder)
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
