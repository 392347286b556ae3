"""Runs from somebody else, damaged in one place, and what every command must then do."""

import hashlib
import os
import resource
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import tegu
from tegu.cli import main
from tegu.core.errors import TeguError
from tegu.runs import manifest, tensors

SECONDS, MEGABYTES, CHARACTERS = 10, 500, 400  #: that a command may take, and that a line of it may be long

LIMIT_SECONDS, LIMIT_BYTES = 60, 12 * 2**30  #: of a process of its own; JAX reserves some gigabytes of addresses

REFUSED = "refused"  #: exit status 1 or 2, and one line that names the file
DONE = "done"  #: as if nothing were damaged
OLDER = "older"  #: done with the checkpoint before, and a warning that names the newest
EITHER = "either"  #: one of these: whether the damage is seen depends on which bytes it hit

NEWEST, LAST_GOOD = "000000002000", "000000001000"
RUN = "lizard/q-learning/1"

Damage = Callable[[Path], None]  #: of a file, or of the folder of a run


class Case(NamedTuple):
    """One damage and one command."""

    file: str  #: in the run
    kind: str
    damage: Damage
    command: str
    expected: str
    run: str = RUN

    def __str__(self) -> str:
        return f"{self.command}, {self.file or 'run'}: {self.kind}"


class Ended(NamedTuple):
    """What a command left."""

    status: int
    out: str
    err: str
    seconds: float
    megabytes: float


class TookTooLong(BaseException):
    """A command would not end."""


COMMANDS: dict[str, list[str]] = {
    "evaluate": ["evaluate", RUN, "--episodes", "3"],
    "best": ["evaluate", f"{RUN}@best", "--episodes", "3"],
    "snapshot": ["evaluate", f"{RUN}@step=2000", "--episodes", "3"],
    "watch": ["watch", RUN, "--max-steps", "3"],
    "resume": ["resume", RUN, "--episodes", "0", "--quiet"],
    "compare": ["compare", RUN],
    "list": ["list", "runs"],
    "export": ["export", RUN, "--csv", "all.csv"],
    "tensorboard": ["export", RUN, "--tensorboard", "events"],
    "play": ["play", RUN],
    "arena": ["arena", RUN, "random", "--games", "2"],
    "crossplay": ["crossplay", RUN, RUN, "--episodes", "2"],
    "train": ["train", "lizard", "--steps", "1000", "--episodes", "0", "--quiet", "--n-envs", "2"],
}


def words_of(case: Case) -> list[str]:
    """The command line of a case."""
    return [word.replace(RUN, case.run) for word in COMMANDS[case.command]]


def met(
    case: Case, runs: Path, place: Path, monkeypatch: pytest.MonkeyPatch, call: Callable[[Case], Ended]
) -> list[str]:
    """Damage a copy of ``runs``, ``call`` the command beside it, and say what is wrong with what it did."""
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(runs, place / "here/runs")
    (place / "outside/000000009999").mkdir(parents=True)
    for name in ("sentinel", "000000009999/manifest.json", ".tegu-999999999-removing-x"):
        (place / "outside" / name).write_text("mine")
    run = place / "here/runs" / case.run
    case.damage(run / case.file)
    monkeypatch.chdir(place / "here")
    before, good = tree(place / "outside"), tree(run / "checkpoints" / LAST_GOOD)  # none where it is damaged
    found = list(faults(case, call(case)))
    found += ["something outside has changed"] * (tree(place / "outside") != before)
    found += ["the last good checkpoint has changed"] * (bool(good) and tree(run / "checkpoints" / LAST_GOOD) != good)
    return [f"{case}: {fault}" for fault in found]


def ended(case: Case, capsys: pytest.CaptureFixture[str]) -> Ended:
    """Run a command, or ``load``, in this process, watched."""
    before = _peak()
    began = time.process_time()  # what others do on this machine does not count
    with _limited(), warnings.catch_warnings():
        warnings.simplefilter("default")
        status = _loaded(case.run) if case.command == "load" else main(words_of(case))
    out, err = capsys.readouterr()
    return Ended(status, out, err, time.process_time() - began, _peak(new=False) - before)


def ended_alone(case: Case) -> Ended:
    """Run a command in a process of its own, under limits that the system enforces."""
    limits = (
        f"for kind, most in (RLIMIT_CPU, {LIMIT_SECONDS}), (RLIMIT_AS, {LIMIT_BYTES}): setrlimit(kind, (most, most))"
    )
    program = f"from resource import *\n{limits}\nimport sys; from tegu.cli import main; sys.exit(main())"
    given: dict[str, Any] = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True, "check": False}
    done = subprocess.run([sys.executable, "-c", program, *words_of(case)], timeout=10 * LIMIT_SECONDS, **given)
    return Ended(done.returncode, done.stdout, done.stderr, 0.0, 0.0)


def _loaded(run: str) -> int:
    warnings.showwarning = lambda message, *_, **__: print(f"warning: {message}", file=sys.stderr)
    try:
        tegu.load(run)
    except TeguError as error:
        print(f"tegu: {error}", file=sys.stderr)
        return 1
    return 0


def faults(case: Case, found: Ended) -> Iterator[str]:
    """What is wrong with how a command met a damage."""
    lines = found.err.splitlines()
    if found.seconds > SECONDS:
        yield f"took {found.seconds:.1f} s"
    if found.megabytes > MEGABYTES:
        yield f"took {found.megabytes:.0f} MB"
    if odd := [line for line in (*lines, *found.out.splitlines()) if not line.isprintable()]:
        yield f"printed {odd[0]!r}"
    if long := [line for line in lines if len(line) > CHARACTERS]:
        yield f"said a line of {len(long[0]):,} characters: {long[0][:300]}"
    *said, last = lines or [""]
    if found.status:
        if not last.startswith("tegu: ") or found.status not in (1, 2):
            yield f"ended with {found.status} and {found.err[-500:]!r}"
        if case.expected in (DONE, OLDER):
            yield f"did not do it: {last}"
        if case.file and Path(case.file).name not in last and Path(case.file).parent.name not in last:
            yield f"did not name the file: {last}"
    elif case.expected == REFUSED:
        yield "did it as if nothing were wrong"
    else:
        said = lines
    if odd := [line for line in said if not line.startswith("warning: ")]:
        yield f"said {odd[0]!r}"
    if len(said) > 3:
        yield f"said {len(said)} lines"
    if case.expected == OLDER and NEWEST not in found.err:
        yield f"passed over the newest checkpoint without a word: {found.err!r}"


def _peak(*, new: bool = True) -> float:
    """The most memory that this process has held, in megabytes; ``new``: from now on."""
    with suppress(OSError):
        if new:
            Path("/proc/self/clear_refs").write_text("5")
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@contextmanager
def _limited() -> Iterator[None]:
    def end(*_: object) -> None:
        raise TookTooLong

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(12 * SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def tree(folder: Path) -> dict[str, Any]:
    """What a folder holds: of every file its kind and content."""
    return {str(path.relative_to(folder)): _content(path) for path in sorted(folder.rglob("*"))}


def _content(path: Path) -> Any:
    if path.is_symlink():
        return os.readlink(path)
    return path.read_bytes() if stat.S_ISREG(path.lstat().st_mode) else stat.S_IFMT(path.lstat().st_mode)


# Damages of a file


def emptied(file: Path) -> None:
    file.write_bytes(b"")


def gone(file: Path) -> None:
    shutil.rmtree(file) if file.is_dir() else file.unlink()


def cut(file: Path, part: float) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: min(int(len(content) * part), len(content) - 1)])


def noise(file: Path, seed: int) -> None:
    file.write_bytes(np.random.default_rng(seed).bytes(max(file.stat().st_size, 50)))


def flipped(file: Path, part: float) -> None:
    content = bytearray(file.read_bytes())
    content[int((len(content) - 1) * part)] ^= 4
    file.write_bytes(content)


def written(file: Path, content: bytes) -> None:
    file.write_bytes(content)


def longer(file: Path, more: bytes) -> None:
    file.write_bytes(file.read_bytes() + more)


def sparse(file: Path) -> None:
    os.truncate(file, 2**40)


def replaced(file: Path, make: Callable[[Path], object]) -> None:
    gone(file)
    make(file)


def outside(file: Path) -> Path:
    """The sentinel that links point to."""
    return next(parent for parent in file.parents if (parent / "outside").exists()) / "outside"


ANY_FILE: dict[str, Damage] = {
    "missing": gone,
    "empty": emptied,
    "cut at the start": partial(cut, part=0.05),
    "cut in the middle": partial(cut, part=0.5),
    "cut at the end": partial(cut, part=1),
    "noise 1": partial(noise, seed=1),
    "noise 2": partial(noise, seed=2),
    "flipped at the start": partial(flipped, part=0),
    "flipped in the middle": partial(flipped, part=0.5),
    "flipped at the end": partial(flipped, part=1),
    "not UTF-8": partial(written, content=b"\xff\xfe\x00\xd8"),
    "zeros": partial(written, content=bytes(5000)),
    "folder": partial(replaced, make=Path.mkdir),
    "pipe": partial(replaced, make=os.mkfifo),
    "endless device": partial(replaced, make=lambda file: file.symlink_to("/dev/zero")),
    "link": partial(replaced, make=lambda file: file.symlink_to(outside(file) / "sentinel")),
    "hard link": partial(replaced, make=lambda file: os.link(outside(file) / "sentinel", file)),
    "broken link": partial(replaced, make=lambda file: file.symlink_to("nowhere")),
    "link to itself": partial(replaced, make=lambda file: file.symlink_to(file.name)),
    "a terabyte": sparse,
}
if os.getuid():
    ANY_FILE["not to be read"] = partial(Path.chmod, mode=0)


# Damages of a run that keep every digest right: somebody has made them on purpose


def newest(run: Path) -> Path:
    return run / "checkpoints" / NEWEST


def stated(run: Path, *, where: str = "checkpoints", **changes: Any) -> None:
    """Other entries in the state of the newest manifest; ``None`` removes one."""
    folder = max((run / where).iterdir())
    content = manifest.read(folder)
    state = {**content["state"], **changes}
    kept = {name: value for name, value in state.items() if value is not GONE}
    (folder / manifest.MANIFEST).write_bytes(manifest.encode({**_plain(content), "state": kept}))


def blob(run: Path, name: str, change: Callable[[dict[str, np.ndarray]], Mapping[str, np.ndarray]]) -> None:
    """Another content of a blob of the newest checkpoint."""
    content = manifest.read(newest(run))
    file = newest(run) / f"{name}.safetensors"
    raw = tensors.encode(change(tensors.decode(file.read_bytes())))
    file.write_bytes(raw)
    entries = [
        entry | {"size": len(raw), "sha256": hashlib.sha256(raw).hexdigest()} if entry["name"] == file.name else entry
        for entry in content["files"]
    ]
    (newest(run) / manifest.MANIFEST).write_bytes(manifest.encode({**_plain(content), "files": entries}))


def without_blob(run: Path, name: str) -> None:
    content = manifest.read(newest(run))
    (newest(run) / f"{name}.safetensors").unlink()
    entries = [entry for entry in content["files"] if entry["name"] != f"{name}.safetensors"]
    (newest(run) / manifest.MANIFEST).write_bytes(manifest.encode({**_plain(content), "files": entries}))


def configured(run: Path, line: str, *, instead_of: str = "") -> None:
    """A line of config.toml in place of those that begin with ``instead_of``, or as its first."""
    file = run / "config.toml"
    lines = [each for each in file.read_text().splitlines() if not (instead_of and each.startswith(instead_of))]
    file.write_text("\n".join([line, *lines]))


def database(run: Path, script: str) -> None:
    connection = sqlite3.connect(run / "metrics.sqlite")
    connection.executescript(script)
    connection.close()


GONE = object()


def _plain(content: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in content.items() if name != "sha256"}
