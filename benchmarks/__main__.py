"""``python -m benchmarks``: measure every case, write its figures and the table."""

import argparse
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import figures, machine, report
from benchmarks.cases import CASES, PEERS, Case
from benchmarks.execution import ROOT, BenchmarkError, Measurement, prepared, shortened, tegu_train_exists

RESULTS, QUICK_RESULTS = Path("benchmarks/results"), Path("build/benchmarks")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure Tegu beside other libraries.")
    parser.add_argument("--repeats", type=int, default=5, help="measurements of each side (default: 5)")
    parser.add_argument("--only", nargs="+", metavar="CASE", choices=[case.name for case in CASES], default=None)
    parser.add_argument("--quick", action="store_true", help=f"one tenth of the steps, once, into {QUICK_RESULTS}")
    parser.add_argument("--output", type=Path, help=f"folder for the figures (default: {RESULTS})")
    given = parser.parse_args()
    if given.repeats < 1:
        parser.error("--repeats must be at least 1")
    return given


def quickened(case: Case) -> Case:
    """One tenth of the steps, to see that everything runs."""
    sides = [shortened(side, side.settings["steps"] // 10) if side.settings else side for side in case.sides]
    return replace(case, sides=tuple(sides))


def measure(case: Case, repeats: int) -> dict[str, Any]:
    """Every side ``repeats`` times, in turn, every second round backwards."""
    with prepared(case) as sides:
        taken: dict[str, list[Measurement]] = {name: [] for name in sides}
        for seed in range(repeats):
            for name, ready in list(sides.items())[:: -1 if seed % 2 else 1]:
                taken[name].append(ready.measure(seed))
                print(f"  {name}: {taken[name][-1]['value']:,.2f} {case.unit}", flush=True)
        return {
            "rows": figures.compare_all(case, taken),
            "sides": [figures.describe(ready, taken[name]) for name, ready in sides.items()],
        }


def record(case: Case, repeats: int, surroundings: dict[str, Any]) -> dict[str, Any]:
    """What goes into the case's file."""
    head = {
        "case": case.name,
        "title": case.title,
        "unit": case.unit,
        "notes": case.notes,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "repeats": repeats,
    }
    return {**head, **surroundings, **measure(case, repeats)}


def main() -> int:
    """Measure the cases asked for. Returns the exit status: 1 if one of them could not be measured."""
    given = arguments()
    folder = ROOT / (given.output or (QUICK_RESULTS if given.quick else RESULTS))
    folder.mkdir(parents=True, exist_ok=True)
    if not (ROOT / PEERS).is_dir():
        print(f"there is no {PEERS}: python -m venv {PEERS} && {PEERS}/bin/pip install -r requirements/bench.lock")
        return 1
    surroundings = machine.surroundings("benchmarks")
    can_train, failed = tegu_train_exists(), False
    for case in CASES:
        if given.only and case.name not in given.only:
            continue
        if not can_train and any("train" in side.command for side in case.sides):
            print(f"{case.name}: left out, `tegu train` does not run here", flush=True)
            continue
        print(f"{case.name}: {case.title}", flush=True)
        try:
            found = record(quickened(case) if given.quick else case, 1 if given.quick else given.repeats, surroundings)
        except BenchmarkError as error:
            print(f"  could not be measured: {error}", flush=True)
            failed = True
            continue
        (folder / f"{case.name}.json").write_text(json.dumps(found, indent=1) + "\n")
        report.write(folder)
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
