"""``python -m benchmarks.gpu_atari``: DQN, PQN and PPO on Atari games, in pieces of less than ten minutes.

A call trains for ``--limit`` seconds and then stops; the next one goes on where it stopped, until all trainings are
done. After each piece the figures are written. A training of Pong ends when an evaluation with the deterministic policy
has reached 20 points. Without a GPU everything runs on the CPU, for which ``--toy`` is the size.
"""

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

FILE = "gpu-atari.json"
POINTS = 20.0  #: of Pong, that a mean over evaluation episodes must reach
POLL = 0.2  #: seconds between two looks at a training
GRACE = 240.0  #: seconds in which one that was asked to stop must have saved and ended


class Training(NamedTuple):
    """One seed of an algorithm in a game."""

    game: str
    algorithm: str
    seed: int
    steps: int
    options: tuple[str, ...]  #: of ``tegu train``

    @property
    def name(self) -> str:
        return f"{self.game}-{self.algorithm}-{self.seed}"


# Many games side by side, so that 16 cores are busy; the rest is the preset's. PQN: Gallici et al. (2025).
_OPTIONS = {
    "dqn": "--n-envs 32 --train-freq 128 --gradient-steps 32 --buffer-size 1000000",
    "pqn": "--n-envs 128 --n-steps 32 --batch-size 128",
    "ppo": "--n-envs 64 --n-steps 128 --batch-size 1024",
}
_ALWAYS = "--eval-every 100000 --eval-episodes 10 --env-options protocol=nature"  # no sticky actions, as others had it
_TOY = {
    "dqn": "--n-envs 2 --train-freq 32 --gradient-steps 1 --buffer-size 300 --learning-starts 64 --batch-size 8",
    "pqn": "--n-envs 2 --n-steps 16 --batch-size 16 --n-epochs 1",
    "ppo": "--n-envs 2 --n-steps 16 --batch-size 16 --n-epochs 1",
}
_TOY_ALWAYS = (
    "--eval-every 128 --eval-episodes 1 --log-interval 64 --net-arch 8 "
    "--env-options protocol=nature max_num_frames_per_episode=200"
)


def trainings(seeds: int, toy: bool) -> list[Training]:
    """Pong with several seeds, and Breakout, which has no points to reach, with one."""
    options, always = (_TOY, _TOY_ALWAYS) if toy else (_OPTIONS, _ALWAYS)
    return [
        Training(game, algorithm, seed, 256 if toy else steps, (*given.split(), *always.split()))
        for game, n_seeds, steps in (("Pong", seeds, 10_000_000), ("Breakout", 1, 1_000_000))
        for algorithm, given in options.items()
        for seed in range(n_seeds)
    ]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_atari", description="Atari games on a GPU.")
    parser.add_argument("--seeds", type=int, default=3, help="of each algorithm in Pong (default: 3)")
    parser.add_argument("--limit", type=float, default=500.0, help="seconds of this call (default: 500)")
    parser.add_argument("--toy", action="store_true", help=f"a few hundred steps each, into {QUICK_RESULTS}")
    parser.add_argument("--only", nargs="+", metavar="GAME-ALGO", default=[], help="such as Pong-ppo (default: all)")
    parser.add_argument("--runs", type=Path, help="folder of the runs (default: beside the figures)")
    parser.add_argument("--output", type=Path, help=f"folder for the figures (default: {RESULTS})")
    return parser.parse_args()


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
    """Train until it is done, until Pong is won, or until ``deadline`` and a row of metrics; what that took."""
    mine = folder / training.name
    mine.mkdir(parents=True, exist_ok=True)
    command, log, earlier = words(training, mine), mine / "output.txt", steps(mine)
    before, began, stopped = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic(), False
    with log.open("w") as output, utilisation(mine / "gpu.txt") as busy:
        process = subprocess.Popen(command, cwd=mine, env=variables(folder), stdout=output, stderr=subprocess.STDOUT)
        try:
            while not stopped and not ended(process, POLL):
                stopped = won(training, mine) or (time.monotonic() > deadline and steps(mine) > earlier)
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
    about = f"ALE/{training.game}-v5", training.algorithm, "--seed", str(training.seed), "--steps", str(training.steps)
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


def measured(folder: Path) -> dict[str, Any]:
    """What the run in ``folder`` has logged: speed, evaluations, and when one first reached the points of Pong."""
    run = run_in(folder)
    if run is None or not (run.path / "metrics.sqlite").exists():
        return {}
    with run.metrics(read_only=True) as store:
        named = {name: store.read(name) for name in ("time/fps", "time/time_elapsed", EVALUATION)}
    seconds = dict(zip(*(column.tolist() for column in named["time/time_elapsed"]), strict=True))
    at, scores = (column.tolist() for column in named[EVALUATION])
    speeds = named["time/fps"][1].tolist()[1:]  # the first row holds compilation
    reached = [step for step, score in zip(at, scores, strict=True) if score >= POINTS]
    return {
        "steps": max(seconds, default=0),
        "training_seconds": max(seconds.values(), default=0.0),
        "steps_per_second": median(speeds) if speeds else None,
        "best_score": max(scores, default=None),
        "steps_to_20": reached[0] if reached else None,
        "seconds_to_20": seconds.get(reached[0]) if reached else None,
    }


def steps(folder: Path) -> int:
    """How far the run in ``folder`` has come."""
    return measured(folder).get("steps", 0)


def won(training: Training, folder: Path) -> bool:
    return training.game == "Pong" and measured(folder).get("steps_to_20") is not None


def state(training: Training, folder: Path) -> str:
    """``finished``, ``won`` or ``interrupted``."""
    run = run_in(folder)
    if won(training, folder):
        return "won"
    return "finished" if run is not None and run.status.state == "finished" else "interrupted"


def table(done: Mapping[str, Mapping[str, Any]]) -> str:
    """The figures as Markdown."""
    header = ("training", "state", "steps", "steps/s", "best score", "s to 20", "GPU %", "cores busy")
    rows: list[Sequence[str]] = []
    for name, one in done.items():
        pieces = one["pieces"]
        of_time = {
            key: sum(each[key] * each["seconds"] for each in pieces if key in each)
            / sum(each["seconds"] for each in pieces if key in each)
            for key in ("gpu_percent", "cores_busy")
            if any(key in each for each in pieces)
        }
        values = [one.get(key) for key in ("steps", "steps_per_second", "best_score", "seconds_to_20")]
        values += [of_time.get("gpu_percent"), of_time["cores_busy"]]
        rows.append([name, one["state"], *("" if value is None else report.number(value) for value in values)])
    return report.table(header, rows)


def main() -> int:
    """Train until the limit. Returns the exit status: 0 if all is done, 3 if there is more, 1 after an error."""
    given, began = arguments(), time.monotonic()
    output = ROOT / (given.output or (QUICK_RESULTS if given.toy else RESULTS))
    folder = (given.runs or output / "gpu-atari-runs").resolve()
    output.mkdir(parents=True, exist_ok=True)
    file = output / FILE
    done = json.loads(file.read_text())["trainings"] if file.exists() else {}
    wanted = [t for t in trainings(given.seeds, given.toy) if not given.only or t.name.rsplit("-", 1)[0] in given.only]
    surroundings = {
        "case": "gpu-atari",
        "command": " ".join(["python -m benchmarks.gpu_atari", *sys.argv[1:]]),
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
        done[training.name] = about | measured(mine)
        date = datetime.now(UTC).isoformat(timespec="seconds")
        file.write_text(json.dumps({**surroundings, "date": date, "trainings": done}, indent=1) + "\n")
    print(table(done), flush=True)
    return 3 if any(done[training.name]["state"] == "interrupted" for training in wanted) else 0


if __name__ == "__main__":
    raise SystemExit(main())
