"""A run: the folder ``<root>/<environment>/<algorithm>/<number>/`` with everything one training leaves behind."""

import difflib
import fcntl
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import quote, unquote

from tegu.core.errors import TeguError
from tegu.core.paths import path_of
from tegu.runs import checkpoint, disk, schema, toml
from tegu.runs.manifest import versions
from tegu.runs.metrics import MetricStore

CONFIG, LOCK = "config.toml", "lock"
STATES = ("running", "finished", "stopped", "failed", "interrupted")


MOST_BYTES = 2**20  #: of a configuration or a status
_DEPTH = 3  # how far below a run's folder a file of it may lie


class RunError(TeguError):
    """A run could not be found, made or used; says what, where and why in one line."""


class UnknownRunError(RunError):
    """There is no run of such a name."""


@dataclass(frozen=True)
class Status:
    """How far a run has come."""

    state: str  #: one of ``STATES``; "interrupted" is what remains of "running" when its process is gone
    pid: int = 0
    steps: int = 0
    total: int = 0
    message: str = ""


class Run:
    """One run on disk. ``Run.create`` begins a new one, ``Run.open`` finds one by name, ``Run.list`` lists them."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    @classmethod
    def create(
        cls,
        root: Path | str,
        environment: str,
        algorithm: str,
        config: Mapping[str, Any],
        *,
        command: Sequence[str] | None = None,
    ) -> "Run":
        """Claim the next number and write ``config.toml``: ``config``, the command line, the time and the versions.

        In ``config`` tuples become lists, as TOML has none; entries that are ``None`` stay that.
        """
        ours = {
            "environment": environment,
            "algorithm": algorithm,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": list(sys.argv if command is None else command),
            "versions": versions(),
        }
        if taken := ours.keys() & config.keys():
            raise ValueError(f"config must not hold {', '.join(sorted(taken))}: every run writes that itself")
        try:
            text = toml.dumps({**ours, **config})
        except (TypeError, ValueError) as error:
            raise ValueError(f"config holds what TOML cannot: {error}") from error
        with _one_line(f"cannot create a run of {environment}/{algorithm} in {root}"):
            run = cls(_claim(Path(root) / _folder_name(environment) / _folder_name(algorithm)))
            disk.replace(run.path / CONFIG, text.encode())
            return run

    @classmethod
    def open(cls, selector: Path | str, root: Path | str = "runs") -> "Run":
        """Find a run by its folder, its name, or the latest by the beginning of its name.

        ``"CartPole-v1/ppo/3"`` is one run; ``"CartPole-v1/ppo"``, ``"CartPole-v1/ppo/last"``, ``"CartPole-v1"`` and
        ``"last"`` are the latest of those: begun or resumed last. ``RunError`` if there is none, or its ``config.toml``
        is damaged.
        """
        folder, root = path_of(selector, "run", "a run's name or folder"), path_of(root, "folder")
        if os.path.lexists(folder / CONFIG):
            return cls(selector)._with_config()
        parts = str(selector).strip("/").split("/")
        if parts[-1] == "last":
            parts.pop()
        beginning = "".join(f"{part}/" for part in parts)
        runs = cls.list(root)
        for run in runs:
            if f"{run.name}/".startswith(beginning):
                return run._with_config()
        near = difflib.get_close_matches(str(selector), [run.name for run in runs], n=3, cutoff=0.3)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {len(runs)} runs"
        raise UnknownRunError(f"there is no run {str(selector)!r} in {root}: {hint}")

    @classmethod
    def list(cls, root: Path | str = "runs") -> "list[Run]":
        """All runs under ``root``, the latest first, without reading them; folders that are no runs are passed over."""
        found = []
        for path in Path(root).glob(f"*/*/*/{CONFIG}"):
            with suppress(OSError, ValueError):  # removed meanwhile, or not a number
                found.append((cls(path.parent).used, int(path.parent.name), path.parent))
        return [cls(path) for *_, path in sorted(found, reverse=True)]

    @property
    def name(self) -> str:
        """``environment/algorithm/number``, by which ``Run.open`` finds it."""
        return "/".join(unquote(part) for part in self.path.absolute().parts[-3:])

    @property
    def used(self) -> int:
        """When it was last begun or resumed, in nanoseconds since 1970. ``OSError`` if it is gone."""
        files = self.path / CONFIG, self.path / LOCK  # which is written anew whenever it is taken
        return max(file.lstat().st_mtime_ns for file in files if os.path.lexists(file) or file.name == CONFIG)

    @cached_property
    def config(self) -> dict[str, Any]:
        """The content of ``config.toml``."""
        with _one_line(f"cannot read {self.path / CONFIG}"):
            return toml.loads(disk.read(self.path / CONFIG, MOST_BYTES).decode())

    @cached_property
    def settings(self) -> dict[str, Any]:
        """``config``, of which every field that Tegu knows has been checked; ``RunError`` names one that is wrong."""
        with _one_line(f"{self.path / CONFIG} is damaged"):
            return schema.checked(self.config, schema.CONFIG, required=schema.ALWAYS)

    @property
    def checkpoints(self) -> Path:
        """The folder for ``tegu.runs.checkpoint``."""
        return self.path / "checkpoints"

    @property
    def best(self) -> Path:
        """The folder for the best learners that evaluations found, as ``tegu.runs.checkpoint`` writes them."""
        return self.path / "best"

    @property
    def snapshots(self) -> Path:
        """The folder for the learners at several steps, as ``tegu.runs.checkpoint`` writes them."""
        return self.path / "snapshots"

    def metrics(self, *, read_only: bool = False) -> MetricStore:
        """Open the run's metrics; close them, or use them in a ``with``."""
        return MetricStore(self.path / "metrics.sqlite", read_only=read_only)

    @property
    def status(self) -> Status:
        """What the last ``set_status`` said; a running process that is gone reads as interrupted."""
        try:
            status = _status(json.loads(disk.read(self.path / "status.json", MOST_BYTES)))
        except FileNotFoundError:
            return Status("interrupted")  # before it said anything
        except (OSError, ValueError, RecursionError):
            return Status("interrupted", message="status.json is damaged")
        if status.state == "running" and not disk.is_alive(status.pid):
            return replace(status, state="interrupted")
        return status

    def set_status(self, state: str, *, steps: int = 0, total: int = 0, message: str = "") -> None:
        """Say how far this process has come with the run. Lost in a power cut, never in a killed process."""
        if state not in STATES:
            raise ValueError(f"a state is one of {', '.join(STATES)}, not {state!r}")
        status = Status(state, os.getpid(), int(steps), int(total), message)
        with _one_line(f"cannot write the status of {self.path}"):
            disk.replace(self.path / "status.json", json.dumps(asdict(status)).encode(), durable=False)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run for this process alone, at most until it ends; ``RunError`` if another one holds it."""
        with ExitStack() as stack:
            with _one_line(f"cannot lock {self.path}"):
                # Closing the file ends the lock. The file itself stays, because removing it would race.
                file = stack.enter_context(open(disk.open_to_lock(self.path / LOCK), "r+"))
                _lock(file, self.path)
                for folder in (self.checkpoints, self.best, self.snapshots):
                    checkpoint.sweep(folder)
            yield

    def _with_config(self) -> "Run":
        _ = self.config
        return self


def refuse_links(path: Path | str) -> None:
    """Raise ``RunError`` if ``path`` lies in a run, and writing there would follow a link out of it, or fill a pipe.

    Links that lead to the run, and files that lie in none, are a person's own.
    """
    path = Path(path).absolute()
    inside = [path, *path.parents[:_DEPTH]]
    roots = [index for index, each in enumerate(inside) if index and os.path.lexists(each / CONFIG)]
    for each in inside[: max(roots, default=0)]:
        if os.path.islink(each) or (each.is_file() and not disk.is_file(each)):
            raise RunError(f"{each} is a link, which is not followed: remove it")
        if disk.exists(each) and not (each.is_file() or each.is_dir()):
            raise RunError(f"{each} is neither file nor folder: remove it")


@contextmanager
def _one_line(what: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise RunError(" ".join(f"{what}: {reason}".split())) from error


def _folder_name(name: str) -> str:
    """``name`` as one safe folder name, from which ``unquote`` gives it back."""
    if not name:
        raise ValueError("the name is empty")
    quoted = quote(name, safe=" +=@[],")
    return f"%2E{quoted[1:]}" if quoted.startswith(".") else quoted


def _claim(folder: Path) -> Path:
    """Make the folder with the next free number. Making it is the claim: of two processes only one can."""
    disk.make_folders(folder)
    used = [int(name) for name in disk.names(folder) if name.isdecimal()]
    for number in count(max(used, default=0) + 1):
        try:
            disk.make_folder(folder / str(number))
        except FileExistsError:
            continue
        return folder / str(number)
    raise AssertionError("unreachable")


def _lock(file: TextIO, path: Path) -> None:
    """Lock the file and leave our process number in it, for whoever comes second."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        raise RunError(f"{path} is in use by process {file.read(20) or 'unknown'}: stop it first") from None
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()


def _status(content: Any) -> Status:
    """A status made of checked content, ``ValueError`` otherwise."""
    kinds = {"state": str, "pid": int, "steps": int, "total": int, "message": str}
    if not isinstance(content, dict) or set(content) != set(kinds):
        raise ValueError(f"a status holds exactly {', '.join(kinds)}")
    if any(type(content[key]) is not kind for key, kind in kinds.items()) or content["state"] not in STATES:
        raise ValueError("a status holds a known state, numbers and a message")
    if not all(0 <= content[key] <= schema.MOST_STEPS for key in ("steps", "total")):
        raise ValueError("a status holds numbers of steps")
    return Status(**content)
