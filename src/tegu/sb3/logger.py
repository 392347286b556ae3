"""What is printed and written while a model learns: SB3's tables and TensorBoard events."""

import re
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tegu.core.errors import TeguError


class Logger:
    """Metrics by name. ``record`` keeps one, ``dump`` prints and writes what was recorded since the last time."""

    def __init__(self, verbose: int = 0):
        self.verbose = verbose
        self.name_to_value: dict[str, Any] = {}  #: the latest metrics
        self.dir: str | None = None  #: where TensorBoard events go
        self._new: dict[str, tuple[str, ...]] = {}  # names not dumped yet, and where not to
        self._writer: Any = None

    def record(self, key: str, value: Any, exclude: str | tuple[str, ...] | None = None) -> None:
        """Keep a metric; ``exclude`` names outputs that do not get it: "stdout", "tensorboard"."""
        self.name_to_value[key] = value
        self._new[key] = (exclude,) if isinstance(exclude, str) else exclude or ()

    def dump(self, step: int = 0) -> None:
        """Print and write what is new."""
        if self.verbose and (shown := self._for("stdout")):
            print(table(shown))
        if self._writer is not None:
            for key, value in self._for("tensorboard").items():
                if isinstance(value, int | float) or getattr(value, "ndim", None) == 0:
                    self._writer.add_scalar(key, value, step)
        self._new = {}

    def open(self, folder: str | None, name: str, *, another: bool) -> None:
        """Write to ``<folder>/<name>_<number>`` from now on, to ``another`` one or to the last."""
        if folder is None:
            return
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise TeguError("tensorboard_log needs a package: pip install 'tegu[tensorboard]'") from error
        number = max([*_numbers(Path(folder), name), 0 if another else 1]) + another
        self.dir = str(Path(folder) / f"{name}_{number}")
        files = len(list(Path(self.dir).glob("*")))  # tensorboardX names files by the second, and overwrites
        self._writer = SummaryWriter(self.dir, filename_suffix=f".{files}")

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _for(self, output: str) -> dict[str, Any]:
        return {key: self.name_to_value[key] for key, exclude in self._new.items() if output not in exclude}


class EpisodeWindow:
    """Means over about the last ``size`` episodes, from the means between two reports of the trainer."""

    def __init__(self, size: int):
        self.size = size
        self.ended = 0.0  #: episodes so far
        self._means: deque[tuple[float, float, float]] = deque()  # episodes, sum of returns, sum of lengths

    def metrics(self, latest: Mapping[str, float]) -> dict[str, float]:
        """Add the latest metrics. Returns them with the episode means taken over the window."""
        latest = dict(latest)
        if ended := latest.pop("rollout/episodes", 0.0):
            means = latest["rollout/ep_rew_mean"], latest["rollout/ep_len_mean"]
            self._means.append((ended, ended * means[0], ended * means[1]))
            self.ended += ended
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


def _numbers(folder: Path, name: str) -> list[int]:
    """The numbers that the runs called ``name`` have."""
    found = (re.fullmatch(rf"{re.escape(name)}_(\d+)", path.name) for path in folder.glob(f"{name}_*"))
    return [int(match[1]) for match in found if match]
