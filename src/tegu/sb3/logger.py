"""What is printed and written while a model learns, through the outputs of Stable-Baselines3's logger."""

import os
import sys
import tempfile
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tegu.sb3.errors import ArgumentError
from tegu.sb3.log_outputs import FORMATS, HumanOutputFormat, KVWriter, TensorBoardOutputFormat, make_output_format
from tegu.sb3.utils import get_latest_run_id

DEBUG, INFO, WARN, ERROR, DISABLED = 10, 20, 30, 40, 50


class Logger:
    """Metrics by name. ``record`` keeps one, ``dump`` writes what was recorded since the last time."""

    def __init__(self, folder: str | Path | None = None, output_formats: Sequence[KVWriter] = ()):
        """``folder``: where ``output_formats`` write, for those who ask."""
        self.dir: str | None = None if folder is None else str(folder)
        self.output_formats = list(output_formats)
        self.level = INFO  #: of the least important words that ``log`` writes
        self.name_to_value: dict[str, Any] = {}  #: the latest metrics
        self._new: dict[str, tuple[str, ...]] = {}  # names not dumped yet, and where not to
        self._sums: dict[str, tuple[float, int]] = {}  # of ``record_mean``

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

    def dump(self, step: int = 0) -> None:
        """Write what is new to all outputs."""
        if self.level < DISABLED and self._new:
            new = {key: self.name_to_value[key] for key in self._new}
            for output in self.output_formats:
                output.write(new, self._new, step)
        self._new, self._sums = {}, {}

    def log(self, *words: Any, level: int = INFO) -> None:
        """Write ``words`` to the outputs for people."""
        if self.level <= level:
            for output in self.output_formats:
                if isinstance(output, HumanOutputFormat):
                    output.write_sequence([str(word) for word in words])

    def debug(self, *words: Any) -> None:
        self.log(*words, level=DEBUG)

    def info(self, *words: Any) -> None:
        self.log(*words, level=INFO)

    def warn(self, *words: Any) -> None:
        self.log(*words, level=WARN)

    def error(self, *words: Any) -> None:
        self.log(*words, level=ERROR)

    def set_level(self, level: int) -> None:
        """From now on, only words of at least this ``level``; ``DISABLED`` writes no metrics either."""
        self.level = level

    def open(self, verbose: int, folder: str | Path | None, name: str, *, another: bool) -> None:
        """Print tables if ``verbose``, and write to ``<folder>/<name>_<number>``, to ``another`` one or to the last."""
        self.output_formats = [HumanOutputFormat(sys.stdout)] if verbose else []
        self.dir = os.environ.get("SB3_LOGDIR")
        if folder is not None:
            number = max(get_latest_run_id(str(folder), name), 0 if another else 1) + another
            self.dir = str(Path(folder) / f"{name}_{number}")
            self.output_formats.append(TensorBoardOutputFormat(self.dir))

    def get_dir(self) -> str | None:
        return self.dir

    def close(self) -> None:
        """Close all outputs."""
        for output in self.output_formats:
            output.close()


def configure(folder: str | Path | None = None, format_strings: Sequence[str] | None = None) -> Logger:
    """A logger that writes into ``folder``, to be given to ``set_logger``.

    Unless given, it is that of the environment variable ``SB3_LOGDIR``, or a new temporary one.
    """
    if folder is None:
        folder = os.environ.get("SB3_LOGDIR") or tempfile.mkdtemp(prefix="SB3-")
    formats = ["stdout", "log", "csv"] if format_strings is None else list(format_strings)
    if odd := [each for each in formats if each not in FORMATS]:
        raise ArgumentError(f"configure: format_strings must be of {', '.join(FORMATS)}, got {odd[0]!r}")
    return Logger(folder, [make_output_format(each, folder) for each in formats])


class EpisodeWindow:
    """Means over about the last ``size`` episodes, from the means between two reports of the trainer."""

    def __init__(self, size: int):
        self.size = size
        self.ended = 0.0  #: episodes so far
        self.episodes: deque[dict[str, float]] = deque(maxlen=size)  #: the last ones, with the means of their report
        self.successes: deque[bool] = deque(maxlen=size)  #: of the last episodes that say so
        self._means: deque[tuple[float, float, float]] = deque()  # episodes, sum of returns, sum of lengths

    def metrics(self, latest: Mapping[str, float], successes: Iterable[bool] = ()) -> dict[str, float]:
        """Add the latest metrics, and the ``successes`` of episodes. Returns them with the episode means taken over the
        window."""
        latest = dict(latest)
        self.successes.extend(successes)
        if self.successes:
            latest["rollout/success_rate"] = sum(self.successes) / len(self.successes)
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
