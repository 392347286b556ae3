"""Where Stable-Baselines3's logger writes to: tables, JSON, CSV and TensorBoard's events, and what can be logged."""

import csv
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TextIO

import numpy as np

from tegu.core.errors import TeguError
from tegu.sb3.errors import ArgumentError

Excluded = Mapping[str, Sequence[str] | str | None]  #: by metric, the outputs that do not get it


@dataclass(frozen=True)
class Video:
    """Frames ``[1, T, C, H, W]``, of which ``fps`` are a second."""

    frames: Any
    fps: float


@dataclass(frozen=True)
class Figure:
    """A figure of Matplotlib's, and whether to ``close`` it afterwards."""

    figure: Any
    close: bool


@dataclass(frozen=True)
class Image:
    """An image, and which axes it has: HWC, CHW, HW..."""

    image: Any
    dataformats: str


@dataclass(frozen=True)
class HParam:
    """Settings, and the metrics that TensorBoard shows beside them, with their first values."""

    hparam_dict: Mapping[str, bool | str | float | None]
    metric_dict: Mapping[str, float]

    def __post_init__(self) -> None:
        if not self.metric_dict:
            raise ArgumentError("HParam: metric_dict must name at least one metric")


class FormatUnsupportedError(TeguError, NotImplementedError):
    """An output that has no place for what was logged."""


class KVWriter:
    """An output: derive from this and define ``write``."""

    def write(self, key_values: dict[str, Any], key_excluded: Excluded, step: int = 0) -> None:
        """Write metrics of a ``step``."""
        raise NotImplementedError

    def close(self) -> None:
        """Nothing will be written any more."""


class _Plain(KVWriter):
    """An output for numbers and text alone."""

    formats: ClassVar[tuple[str, ...]]  #: what ``exclude`` calls it

    def shown(self, key_values: dict[str, Any], key_excluded: Excluded) -> dict[str, Any]:
        """The metrics that are not excluded. ``FormatUnsupportedError`` if one is a picture or the like."""
        found = _included(key_values, key_excluded, self.formats)
        for key, value in found.items():
            if isinstance(value, Video | Figure | Image | HParam):
                what, where = type(value).__name__.lower(), "', '".join(self.formats)
                raise FormatUnsupportedError(
                    f"{key} is a {what}, which cannot be written to stdout, log, json or csv: "
                    f"exclude=('stdout', 'log', 'json', 'csv'); refused by '{where}'"
                )
        return found


class HumanOutputFormat(_Plain):
    """Tables in a file.

    Keys and values longer than ``max_length`` are cut; ``ArgumentError`` where two keys become the same.
    """

    formats = ("stdout", "log")

    def __init__(self, filename_or_file: str | Path | TextIO, max_length: int = 36):
        self.max_length, self._file = max_length, filename_or_file
        if isinstance(filename_or_file, str | Path):
            Path(filename_or_file).write_text("")
        elif not hasattr(filename_or_file, "write"):
            kind = type(filename_or_file).__name__
            raise ArgumentError(f"HumanOutputFormat: expected an open file or the name of one, got {kind}")

    def write(self, key_values: dict[str, Any], key_excluded: Excluded, step: int = 0) -> None:
        if shown := self.shown(key_values, key_excluded):
            self.write_sequence([table(shown, self.max_length)])

    def write_sequence(self, sequence: Sequence[str]) -> None:
        """Write words as a line."""
        _append(self._file, " ".join(sequence))


class JSONOutputFormat(_Plain):
    """A line of JSON at each dump."""

    formats = ("json",)

    def __init__(self, filename: str | Path):
        self.filename = Path(filename)
        self.filename.write_text("")

    def write(self, key_values: dict[str, Any], key_excluded: Excluded, step: int = 0) -> None:
        if shown := self.shown(key_values, key_excluded):
            _append(self.filename, json.dumps(shown, default=_plain))


class CSVOutputFormat(_Plain):
    """A table with a row at each dump, which is written anew where a row has new columns."""

    formats = ("csv",)

    def __init__(self, filename: str | Path):
        self.filename = Path(filename)
        self.filename.write_text("")
        self._rows: list[dict[str, Any]] = []
        self._columns: list[str] = []

    def write(self, key_values: dict[str, Any], key_excluded: Excluded, step: int = 0) -> None:
        if not (row := self.shown(key_values, key_excluded)):
            return
        self._rows.append(row)
        grows = not row.keys() <= set(self._columns)
        self._columns = sorted({*self._columns, *row})
        with self.filename.open("w" if grows else "a", newline="") as file:
            writer = csv.DictWriter(file, self._columns)
            if grows:
                writer.writeheader()
            writer.writerows(self._rows if grows else [row])


class TensorBoardOutputFormat(KVWriter):
    """TensorBoard's events in a folder: numbers, text, arrays as histograms, and all that the classes above hold."""

    def __init__(self, folder: str | Path):
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise TeguError("tensorboard_log needs a package: pip install 'tegu[tensorboard]'") from error
        files = len(list(Path(folder).glob("*")))  # tensorboardX names files by the second, and overwrites
        self.writer = SummaryWriter(str(folder), filename_suffix=f".{files}")

    def write(self, key_values: dict[str, Any], key_excluded: Excluded, step: int = 0) -> None:
        for key, value in _included(key_values, key_excluded, ("tensorboard",)).items():
            self._write_one(key, value, step)
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()

    def _write_one(self, key: str, value: Any, step: int) -> None:
        match value:
            case Video():
                self.writer.add_video(key, np.asarray(value.frames), step, fps=value.fps)
            case Figure():
                self.writer.add_figure(key, value.figure, step, close=value.close)
            case Image():
                self.writer.add_image(key, np.asarray(value.image), step, dataformats=value.dataformats)
            case HParam():
                from tensorboardX.summary import hparams

                for summary in hparams(dict(value.hparam_dict), dict(value.metric_dict)):
                    self.writer.file_writer.add_summary(summary)
            case str():
                self.writer.add_text(key, value, step)
            case _ if isinstance(value, int | float) or getattr(value, "ndim", None) == 0:
                self.writer.add_scalar(key, value, step)
            case _ if hasattr(value, "ndim"):
                self.writer.add_histogram(key, np.asarray(value), step)


FORMATS = ("stdout", "log", "csv", "json", "tensorboard")


def make_output_format(_format: str, log_dir: str | Path, log_suffix: str = "") -> KVWriter:
    """The output that a name of ``FORMATS`` stands for; files go into ``log_dir``, which is made."""
    folder = Path(log_dir)
    folder.mkdir(parents=True, exist_ok=True)
    match _format:
        case "stdout":
            return HumanOutputFormat(sys.stdout)
        case "log":
            return HumanOutputFormat(folder / f"log{log_suffix}.txt")
        case "json":
            return JSONOutputFormat(folder / f"progress{log_suffix}.json")
        case "csv":
            return CSVOutputFormat(folder / f"progress{log_suffix}.csv")
        case "tensorboard":
            return TensorBoardOutputFormat(folder)
    raise ArgumentError(f"configure: format_strings must be of {', '.join(FORMATS)}, got {_format!r}")


def table(metrics: Mapping[str, Any], max_length: int = 36) -> str:
    """The metrics as a table, grouped by what stands before the slash; what is longer than ``max_length`` is cut."""
    rows: list[tuple[str, str]] = []
    group, begins = "", 0  # where its rows begin
    for key, value in sorted(metrics.items()):
        before, slash, name = key.partition("/")
        if slash and before != group:
            rows.append((_cut(f"{before}/", max_length), ""))
            begins = len(rows)
        group = before if slash else ""
        left = f"   {name}" if slash else key
        row = _cut(left, max_length), _cut(_shown(value), max_length)
        if len(left) > max_length and any(row[0] == other for other, _ in rows[begins:]):
            raise ArgumentError(f"Key {left!r} truncated to {row[0]!r}, which is there already: raise max_length")
        rows.append(row)
    left_width, right_width = (max(len(row[i]) for row in rows) for i in (0, 1))
    rule = "-" * (left_width + right_width + 7)
    return "\n".join([rule, *(f"| {name:<{left_width}} | {value:<{right_width}} |" for name, value in rows), rule])


def _included(key_values: dict[str, Any], key_excluded: Excluded, formats: tuple[str, ...]) -> dict[str, Any]:
    """The metrics that none of ``formats`` excludes."""
    return {
        key: value
        for key, value in key_values.items()
        if not any(name in (key_excluded.get(key) or ()) for name in formats)
    }


def _append(file: str | Path | TextIO, line: str) -> None:
    """Write a line to a file, which is opened for that alone unless it is open."""
    if isinstance(file, str | Path):
        with Path(file).open("a") as opened:
            opened.write(f"{line}\n")
    else:
        file.write(f"{line}\n")
        file.flush()


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _shown(value: Any) -> str:
    """A value as text on one line."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return " ".join(str(value).split())
    return f"{number:.0f}" if number.is_integer() else f"{number:.3g}"


def _plain(value: Any) -> Any:
    """What JSON has for a value that it does not know."""
    return value.tolist() if hasattr(value, "tolist") else str(value)
