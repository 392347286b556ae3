"""Trainings on a GPU in pieces of less than ten minutes, for the benchmarks ``gpu_*``."""

import argparse
import json
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean, median
from typing import Any, NamedTuple

from benchmarks import machine, report
from benchmarks.__main__ import QUICK_RESULTS, RESULTS
from benchmarks.execution import ROOT, BenchmarkError, environment
from tegu.analysis.compare import EVALUATION
from tegu.runs import Run, checkpoint

POLL = 0.2  #: seconds between two looks at a training
GRACE = 240.0  #: seconds in which one that was asked to stop must have saved and ended


class Training(NamedTuple):
    """One seed of an algorithm in an environment."""

    task: str  #: the environment, in short
    environment: str
    algorithm: str
    seed: int
    steps: int
    options: tuple[str, ...]  #: of ``tegu train``
    target: float | None  #: return of an evaluation with which the training is over

    @property
    def name(self) -> str:
        return f"{self.task}-{self.algorithm}-{self.seed}"


def every(
    tasks: Mapping[str, tuple[str, float | None]],
    options: Mapping[str, str],
    steps: Mapping[str, int],
    always: str | Mapping[str, str],
    seeds: int,
) -> list[Training]:
    """Every task, an environment and its target, with every algorithm and several seeds.

    ``options`` and ``steps`` are by algorithm, and so may be what is ``always`` said.
    """
    return [
        Training(
            task,
            environment,
            algorithm,
            seed,
            steps[algorithm],
            (*given.split(), *(always if isinstance(always, str) else always[algorithm]).split()),
            target,
        )
        for task, (environment, target) in tasks.items()
        for algorithm, given in options.items()
        for seed in range(seeds)
    ]


def accelerator() -> str | None:
    """The name of the first NVIDIA GPU, if there is one."""
    try:
        return subprocess.run(nvidia("name"), capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def nvidia(quantity: str) -> list[str]:
    return ["nvidia-smi", f"--query-gpu={quantity}", "--format=csv,noheader,nounits", "--id=0"]


@contextmanager
def utilisation(file: Path) -> Iterator[list[float]]:
    """The percentages of the time that the GPU was busy, one for each second, when it is over; none without a GPU."""
    percents: list[float] = []
    if accelerator() is None:
        yield percents
        return
    with file.open("w") as output:
        sampler = subprocess.Popen([*nvidia("utilization.gpu"), "--loop=1"], stdout=output)
        try:
            yield percents
        finally:
            sampler.terminate()
            sampler.wait()
    percents += [float(line) for line in file.read_text().split() if line.isdigit()]


def variables(folder: Path) -> dict[str, str]:
    """Those of a training: compiled programs are kept for the next piece, and a GPU is used where there is one."""
    found = environment(None, folder / "cache")
    if accelerator() is not None:
        del found["JAX_PLATFORMS"]
    return found


def piece(training: Training, folder: Path, deadline: float) -> dict[str, Any]:
    """Train until it is done, its target is reached, or until ``deadline`` and a row of metrics; what that took."""
    mine = folder / training.name
    mine.mkdir(parents=True, exist_ok=True)
    command, log, earlier = words(training, mine), mine / "output.txt", steps(mine)
    before, began, stopped = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic(), False
    with log.open("w") as output, utilisation(mine / "gpu.txt") as busy:
        process = subprocess.Popen(command, cwd=mine, env=variables(folder), stdout=output, stderr=subprocess.STDOUT)
        try:
            while not stopped and not ended(process, POLL):
                stopped = reached(training, mine) or (time.monotonic() > deadline and steps(mine) > earlier)
            if stopped:
                process.send_signal(signal.SIGINT)  # it saves everything and ends
                if not ended(process, GRACE):
                    raise BenchmarkError(f"{training.name} did not stop within {GRACE:.0f} s")
        finally:
            process.kill()
            process.wait()
    seconds, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode and not stopped:
        last = " | ".join(log.read_text().strip().splitlines()[-3:])
        raise BenchmarkError(f"{training.name} ended with {process.returncode}: {last}")
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    found = {"command": " ".join(command[1:]), "seconds": seconds, "cores_busy": spent / seconds}
    return found | ({"gpu_percent": fmean(busy), "gpu_samples": len(busy)} if busy else {})


def words(training: Training, folder: Path) -> list[str]:
    """The command that begins a training, or goes on with it."""
    tegu = str(Path(sys.executable).with_name("tegu"))
    found, always = run_in(folder), ("--episodes", "0", "--quiet")
    if found is not None and checkpoint.steps(found.checkpoints):
        return [tegu, "resume", str(found.path), *always]
    about = training.environment, training.algorithm, "--seed", str(training.seed), "--steps", str(training.steps)
    return [tegu, "train", *about, *training.options, "--runs", str(folder), *always]


def ended(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Whether the process ends within so many seconds."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def run_in(folder: Path) -> Run | None:
    """The latest run in ``folder``, if there is one."""
    return next(iter(Run.list(folder)), None)


def measured(folder: Path, target: float | None) -> dict[str, Any]:
    """What the run in ``folder`` has logged: speed, evaluations, and when one first reached the target."""
    run = run_in(folder)
    if run is None or not (run.path / "metrics.sqlite").exists():
        return {}
    with run.metrics(read_only=True) as store:
        named = {name: store.read(name) for name in ("time/fps", "time/time_elapsed", EVALUATION)}
    seconds = dict(zip(*(column.tolist() for column in named["time/time_elapsed"]), strict=True))
    at, scores = (column.tolist() for column in named[EVALUATION])
    speeds = named["time/fps"][1].tolist()[1:]  # the first row holds compilation
    good = [step for step, score in zip(at, scores, strict=True) if target is not None and score >= target]
    return {
        "steps": max(seconds, default=0),
        "training_seconds": max(seconds.values(), default=0.0),
        "steps_per_second": median(speeds) if speeds else None,
        "best_score": max(scores, default=None),
        "steps_to_target": good[0] if good else None,
        "seconds_to_target": seconds.get(good[0]) if good else None,
    }


def steps(folder: Path) -> int:
    """How far the run in ``folder`` has come."""
    return measured(folder, None).get("steps", 0)


def reached(training: Training, folder: Path) -> bool:
    """Whether an evaluation of the run in ``folder`` has reached the training's target."""
    return measured(folder, training.target).get("steps_to_target") is not None


def state(training: Training, folder: Path) -> str:
    """``finished``, ``reached`` or ``interrupted``."""
    run = run_in(folder)
    if reached(training, folder):
        return "reached"
    return "finished" if run is not None and run.status.state == "finished" else "interrupted"


def table(done: Mapping[str, Mapping[str, Any]]) -> str:
    """The figures as Markdown."""
    header = ("training", "state", "steps", "steps/s", "best score", "s to target", "GPU %", "cores busy")
    rows: list[Sequence[str]] = []
    for name, one in done.items():
        pieces = one["pieces"]
        of_time = {
            key: sum(each[key] * each["seconds"] for each in pieces if key in each)
            / sum(each["seconds"] for each in pieces if key in each)
            for key in ("gpu_percent", "cores_busy")
            if any(key in each for each in pieces)
        }
        values = [one.get(key) for key in ("steps", "steps_per_second", "best_score", "seconds_to_target")]
        values += [of_time.get("gpu_percent"), of_time["cores_busy"]]
        rows.append([name, one["state"], *("" if value is None else report.number(value) for value in values)])
    return report.table(header, rows)


def parser(module: str, about: str, only: str) -> argparse.ArgumentParser:
    """The flags that every such benchmark has."""
    found = argparse.ArgumentParser(prog=f"python -m benchmarks.{module}", description=about)
    found.add_argument("--seeds", type=int, default=3, help="of each training that has a target (default: 3)")
    found.add_argument("--limit", type=float, default=500.0, help="seconds of this call (default: 500)")
    found.add_argument("--toy", action="store_true", help=f"a few hundred steps each, into {QUICK_RESULTS}")
    found.add_argument("--only", nargs="+", metavar="TASK-ALGO", default=[], help=f"such as {only} (default: all)")
    found.add_argument("--runs", type=Path, help="folder of the runs (default: beside the figures)")
    found.add_argument("--output", type=Path, help=f"folder for the figures (default: {RESULTS})")
    return found


def run(case: str, given: argparse.Namespace, trainings: Sequence[Training]) -> int:
    """Train until the limit. Returns the exit status: 0 if all is done, 3 if there is more, 1 after an error."""
    began = time.monotonic()
    output = ROOT / (given.output or (QUICK_RESULTS if given.toy else RESULTS))
    folder = (given.runs or output / f"{case}-runs").resolve()
    output.mkdir(parents=True, exist_ok=True)
    file = output / f"{case}.json"
    done = json.loads(file.read_text())["trainings"] if file.exists() else {}
    wanted = [t for t in trainings if not given.only or t.name.rsplit("-", 1)[0] in given.only]
    surroundings = {
        "case": case,
        "command": machine.command(f"benchmarks.{case.replace('-', '_')}"),
        "machine": machine.machine() | {"accelerator": accelerator()},
        "versions": machine.versions(),
        "commit": machine.commit(),
        "load_before": machine.load(),
    }
    taken = None
    for training in wanted:
        before = done.get(training.name, {"state": "interrupted", "pieces": []})
        if before["state"] != "interrupted":
            continue
        if taken is not None and time.monotonic() - began > given.limit:
            print(f"{training.name} is next: call again", flush=True)
            return 3
        print(training.name, flush=True)
        try:
            taken = piece(training, folder, began + given.limit)
        except BenchmarkError as error:
            print(f"  failed: {error}", flush=True)
            return 1
        mine = folder / training.name
        about = training._asdict() | {"state": state(training, mine), "pieces": [*before["pieces"], taken]}
        done[training.name] = about | measured(mine, training.target)
        date = datetime.now(UTC).isoformat(timespec="seconds")
        file.write_text(json.dumps({**surroundings, "date": date, "trainings": done}, indent=1) + "\n")
    print(table(done), flush=True)
    return 3 if any(done[training.name]["state"] == "interrupted" for training in wanted) else 0
