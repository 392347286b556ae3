"""What is printed and written while a model learns: SB3's tables and TensorBoard events."""

import csv
import json
import tempfile
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tegu.core.errors import TeguError
from tegu.sb3.errors import ArgumentError
from tegu.sb3.utils import get_latest_run_id

FORMATS = ("stdout", "log", "csv", "json", "tensorboard")


class Logger:
    """Metrics by name. ``record`` keeps one, ``dump`` prints and writes what was recorded since the last time."""

    def __init__(self, verbose: int = 0, folder: str | Path | None = None, formats: Sequence[str] = ()):
        """``formats``: files that are written into ``folder``, of ``FORMATS``."""
        self.verbose = verbose
        self.name_to_value: dict[str, Any] = {}  #: the latest metrics
        self.dir: str | None = None if folder is None else str(folder)  #: where files go
        self._fixed = folder is not None  # whether a person has said where to write
        self._formats = formats
        self._new: dict[str, tuple[str, ...]] = {}  # names not dumped yet, and where not to
        self._sums: dict[str, tuple[float, int]] = {}  # of ``record_mean``
        self._writer: Any = _events(str(folder)) if "tensorboard" in formats else None
        self._rows: list[dict[str, Any]] = []  # of the csv file
        self._columns: list[str] = []
        if folder is not None:
            Path(folder).mkdir(parents=True, exist_ok=True)

    def record(self, key: str, value: Any, exclude: str | tuple[str, ...] | None = None) -> None:
        """Keep a metric; ``exclude`` names outputs that do not get it: "stdout", "tensorboard"..."""
        self.name_to_value[key] = value
        self._new[key] = (exclude,) if isinstance(exclude, str) else exclude or ()

    def record_mean(self, key: str, value: float | None, exclude: str | tuple[str, ...] | None = None) -> None:
        """Keep the mean of what was given under ``key`` since the last ``dump``."""
        if value is not None:
            total, count = self._sums.get(key, (0.0, 0))
            self._sums[key] = total + float(value), count + 1
            self.record(key, self._sums[key][0] / self._sums[key][1], exclude)

    def log(self, *words: Any, level: int = 20) -> None:
        """Print ``words`` if ``verbose``."""
        if self.verbose:
            print(*words)

    def dump(self, step: int = 0) -> None:
        """Print and write what is new."""
        if (self.verbose or "stdout" in self._formats) and (shown := self._for("stdout")):
            print(table(shown))
        if "log" in self._formats and (shown := self._for("log")):
            self._append("log.txt", table(shown))
        if "json" in self._formats and (shown := self._for("json")):
            self._append("progress.json", json.dumps(shown, default=_plain))
        if "csv" in self._formats and (shown := self._for("csv")):
            self._write_row(shown)
        if self._writer is not None:
            for key, value in self._for("tensorboard").items():
                if isinstance(value, int | float) or getattr(value, "ndim", None) == 0:
                    self._writer.add_scalar(key, value, step)
        self._new, self._sums = {}, {}

    def open(self, folder: str | None, name: str, *, another: bool) -> None:
        """Write to ``<folder>/<name>_<number>`` from now on, to ``another`` one or to the last."""
        if folder is None or self._fixed:
            return
        number = max(get_latest_run_id(folder, name), 0 if another else 1) + another
        self.dir = str(Path(folder) / f"{name}_{number}")
        self._writer = _events(self.dir)

    def get_dir(self) -> str | None:
        return self.dir

    def close(self) -> None:
        if self._writer is not None and not self._fixed:
            self._writer.close()
            self._writer = None
        elif self._writer is not None:
            self._writer.flush()

    def _write_row(self, row: dict[str, Any]) -> None:
        """Add a row to the csv file, which is written anew where the row has new columns."""
        self._rows.append(row)
        grows = not row.keys() <= set(self._columns)
        self._columns = sorted({*self._columns, *row})
        with (Path(self.dir or ".") / "progress.csv").open("w" if grows else "a", newline="") as file:
            writer = csv.DictWriter(file, self._columns)
            if grows:
                writer.writeheader()
            writer.writerows(self._rows if grows else [row])

    def _append(self, name: str, text: str) -> None:
        with (Path(self.dir or ".") / name).open("a") as file:
            file.write(f"{text}\n")

    def _for(self, output: str) -> dict[str, Any]:
        return {key: self.name_to_value[key] for key, exclude in self._new.items() if output not in exclude}


def configure(folder: str | Path | None = None, format_strings: Sequence[str] | None = None) -> Logger:
    """A logger that writes into ``folder``, a new temporary one unless given, to be given to ``set_logger``."""
    formats = ["stdout", "log", "csv"] if format_strings is None else list(format_strings)
    if odd := [each for each in formats if each not in FORMATS]:
        raise ArgumentError(f"configure: format_strings must be of {', '.join(FORMATS)}, got {odd[0]!r}")
    return Logger(0, tempfile.mkdtemp(prefix="SB3-") if folder is None else folder, formats)


def _events(folder: str) -> Any:
    """What writes TensorBoard's events into ``folder``."""
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise TeguError("tensorboard_log needs a package: pip install 'tegu[tensorboard]'") from error
    files = len(list(Path(folder).glob("*")))  # tensorboardX names files by the second, and overwrites
    return SummaryWriter(folder, filename_suffix=f".{files}")


def _plain(value: Any) -> Any:
    return value.item() if getattr(value, "ndim", None) == 0 else str(value)


class EpisodeWindow:
    """Means over about the last ``size`` episodes, from the means between two reports of the trainer."""

    def __init__(self, size: int):
        self.size = size
        self.ended = 0.0  #: episodes so far
        self.episodes: deque[dict[str, float]] = deque(maxlen=size)  #: the last ones, with the means of their report
        self._means: deque[tuple[float, float, float]] = deque()  # episodes, sum of returns, sum of lengths

    def metrics(self, latest: Mapping[str, float]) -> dict[str, float]:
        """Add the latest metrics. Returns them with the episode means taken over the window."""
        latest = dict(latest)
        if ended := latest.pop("rollout/episodes", 0.0):
            means = latest["rollout/ep_rew_mean"], latest["rollout/ep_len_mean"]
            self._means.append((ended, ended * means[0], ended * means[1]))
            self.ended += ended
            self.episodes.extend([{"r": means[0], "l": means[1]}] * min(int(ended), self.size))
        total = sum(part[0] for part in self._means)
        while self._means and total - self._means[0][0] >= self.size:
            total -= self._means.popleft()[0]
        if total:
            _, rewards, lengths = (sum(column) for column in zip(*self._means, strict=True))
            latest |= {"rollout/ep_rew_mean": rewards / total, "rollout/ep_len_mean": lengths / total}
        return latest


def table(metrics: Mapping[str, Any]) -> str:
    """The metrics as a table, grouped by what stands before the slash."""
    rows: list[tuple[str, str]] = []
    group = ""
    for key, value in sorted(metrics.items()):
        before, slash, name = key.rpartition("/")
        if slash and before != group:
            rows.append((f"{before}/", ""))
        group = before
        rows.append((f"   {name}" if slash else name, _shown(value)))
    left, right = (max(len(row[i]) for row in rows) for i in (0, 1))
    rule = "-" * (left + right + 7)
    return "\n".join([rule, *(f"| {name:<{left}} | {value:<{right}} |" for name, value in rows), rule])


def _shown(value: Any) -> str:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return str(value)
    return f"{number:.0f}" if number.is_integer() else f"{number:.3g}"
