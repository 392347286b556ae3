"""Running sides: a process per measurement, in turn, with the clock started before the process."""

import json
import os
import resource
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.cases import Case, Side

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT = 4 * 3600  #: seconds: scores over seeds take hours
_OURS_TO_SET = ("XLA_", "JAX_", "TEGU_", "OMP_", "MKL_", "OPENBLAS_")

Measurement = dict[str, Any]


class BenchmarkError(Exception):
    """A side could not be measured; says why in one line."""


@dataclass
class Prepared:
    """A side ready to be measured."""

    side: Side
    unit: str
    folder: Path  #: for whatever it writes
    threads: int | None = None
    thread_trials: dict[str, float] = field(default_factory=dict)  #: the figure by number of threads

    @property
    def cache(self) -> Path | None:
        """Where the side's compilation cache lies for the next run."""
        match self.side.cache:
            case "cold":
                return Path(tempfile.mkdtemp(dir=self.folder, prefix="cold-"))
            case "warm":
                return self.folder / "warm"
        return None

    def measure(self, seed: int) -> Measurement:
        """One process. ``value`` is its figure in the case's unit."""
        threads = {} if self.threads is None else {"threads": self.threads}
        settings = None if self.side.settings is None else {**self.side.settings, **threads, "seed": seed}
        command = resolved(self.side, seed) + ([] if settings is None else [json.dumps(settings)])
        found = run(command, self.folder, environment(self.threads, self.cache))
        found["value"] = found["process_seconds"] if self.unit == "s" else found["result"]["rate"]
        found["result"].pop("run", None)  # its folder is temporary
        return {"seed": seed, **found}


def cores() -> int:
    """Processors this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def prepared(case: Case) -> Iterator[dict[str, Prepared]]:
    """The case's sides by name: caches filled, threads chosen. Their folders are temporary."""
    with tempfile.TemporaryDirectory(prefix="tegu-benchmark-") as temporary:
        sides = {}
        for index, side in enumerate(case.sides):
            folder = Path(temporary) / str(index)
            folder.mkdir()
            sides[side.name] = ready = Prepared(side, case.unit, folder)
            if side.cache == "warm":
                ready.measure(seed=0)
            if side.tries_threads:
                choose_threads(ready)
        yield sides


def choose_threads(ready: Prepared) -> None:
    """Try one thread and one per core on a fifth of the steps; keep what is faster."""
    steps = int((ready.side.settings or {})["steps"])
    for threads in sorted({1, cores()}):
        trial = replace(ready, side=shortened(ready.side, steps // 5), threads=threads)
        ready.thread_trials[str(threads)] = trial.measure(seed=0)["value"]
    best = (min if ready.unit == "s" else max)(ready.thread_trials, key=ready.thread_trials.__getitem__)
    ready.threads = int(best)


def shortened(side: Side, steps: int) -> Side:
    """The same side for fewer steps, where it is told how many to take."""
    if side.settings is None:
        return side
    return replace(side, settings={**side.settings, "steps": steps})


def resolved(side: Side, seed: int) -> list[str]:
    """The command with absolute paths, links kept: a virtual environment is known by its link."""
    return [str(ROOT / part) if isinstance(part, Path) else part.format(seed=seed) for part in side.command]


def environment(threads: int | None, cache: Path | None) -> dict[str, str]:
    """This process's variables without those that tune libraries, and with those we set."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(_OURS_TO_SET)}
    clean |= {"TEGU_COMPILATION_CACHE": str(cache) if cache else "0", "JAX_PLATFORMS": "cpu"}
    if threads is not None:
        clean |= {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    if threads == 1:
        clean["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    return clean


def run(command: list[str], folder: Path, variables: Mapping[str, str]) -> Measurement:
    """Run a command to its end; its wall-clock and processor time, and the JSON it printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    try:
        done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=TIMEOUT)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BenchmarkError(f"{Path(command[0]).name}: {error}") from error
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        last = " | ".join(done.stderr.strip().splitlines()[-3:])
        raise BenchmarkError(f"{Path(command[0]).name} ended with {done.returncode}: {last}")
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"process_seconds": seconds, "process_cores_busy": busy / seconds, "result": parsed(done.stdout)}


def parsed(output: str) -> dict[str, Any]:
    """The JSON object that is the last line of ``output``, or all of it."""
    lines = output.strip().splitlines()
    for text in (lines[-1] if lines else "", output):
        try:
            found = json.loads(text)
        except ValueError:
            continue
        if isinstance(found, dict):
            return found
    raise BenchmarkError(f"no JSON object in the output: {output[-200:]!r}")


def tegu_train_exists() -> bool:
    """Whether ``tegu train`` is there to be measured."""
    command = [str(ROOT / ".venv/bin/tegu"), "train", "--help"]
    try:
        return subprocess.run(command, capture_output=True, timeout=120, env=environment(None, None)).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
