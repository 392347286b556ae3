"""The metrics of a run in other programs' formats while it trains: CSV, TensorBoard, Weights & Biases."""

import importlib.util
import uuid
import warnings
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import groupby
from typing import Any, Protocol

from tegu.core.errors import TeguError
from tegu.runs import disk
from tegu.runs.export import CsvWriter, ExportError, TensorboardWriter, exporting, open_csv
from tegu.runs.metrics import MetricRow, MetricsError
from tegu.runs.run import Run
from tegu.runs.schema import LOG_FORMATS

_PACKAGES = {"tensorboard": ("tensorboardX", "tegu[tensorboard]"), "wandb": ("wandb", "wandb")}


class Writer(Protocol):
    """Writes rows as they come, which are sorted by step."""

    def write(self, rows: Iterable[MetricRow]) -> None: ...
    def close(self) -> None: ...


def formats_of(log: Any) -> list[str]:
    """The formats that ``"tensorboard,csv"`` or a list of names means. Raises ``TeguError`` for one that cannot be."""
    names = log.split(",") if isinstance(log, str) else [] if log is None else log
    if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise TeguError(f"log must be names among {', '.join(LOG_FORMATS)}, got {log!r}")
    found = list(dict.fromkeys(name.strip() for name in names if name.strip()))
    for name in found:
        if name not in LOG_FORMATS:
            raise TeguError(f"log must be names among {', '.join(LOG_FORMATS)}, got {name!r}")
        package, install = _PACKAGES.get(name, ("csv", ""))
        if importlib.util.find_spec(package) is None:
            raise TeguError(f"log: {name} needs a package: pip install '{install}'")
    return found


class LiveLog:
    """A callback of a training: writes what has been stored of a run since the last call, in the run's folder.

    It begins with all that is stored, so that files of a resumed run hold every number once.
    """

    def __init__(self, run: Run, formats: Sequence[str]):
        self._run, self._formats = run, formats
        self._writers: dict[str, Writer] | None = None
        self._written = -1  #: the last step

    def __call__(self, progress: object) -> None:
        if not self._formats:
            return
        if self._writers is None:
            self._writers = {name: _writer(name, self._run) for name in self._formats}
        try:
            with self._run.metrics() as store:
                rows = list(store.rows(after=self._written))
        except MetricsError as error:
            warnings.warn(f"{error}; training goes on", stacklevel=2)
            return
        self._written = rows[-1].step if rows else self._written
        for name, writer in list(self._writers.items()):
            try:
                writer.write(rows)
            except Exception as error:  # whatever another program says, training is worth more
                del self._writers[name]
                with suppress(Exception):
                    writer.close()
                warnings.warn(f"log: {name} gets no more of {self._run.path}: {error}; training goes on", stacklevel=2)

    def close(self) -> None:
        for name, writer in (self._writers or {}).items():
            try:
                writer.close()
            except Exception as error:
                warnings.warn(f"log: {name} of {self._run.path} may be incomplete: {error}", stacklevel=2)


def _writer(name: str, run: Run) -> Writer:
    if name == "wandb":
        return WandbWriter(run)
    target = run.path / {"csv": "metrics.csv", "tensorboard": "tensorboard"}[name]
    with exporting(run, target):
        if name == "csv":
            if disk.exists(target):
                disk.remove(target)
            return CsvWriter(open_csv(target, "x"))
        for old in target.glob("seed-*"):
            with exporting(run, old):
                for file in old.glob("events.out.tfevents.*"):
                    disk.remove(file)
                disk.remove_folder(old)
        return TensorboardWriter(target)


class WandbWriter:
    """A run of Weights & Biases, the same one again when a run is resumed. It ignores steps that it has already."""

    def __init__(self, run: Run):
        import wandb

        named = f"{run.name} {run.config.get('created')}"
        with exporting(run, run.path / "wandb"):
            try:
                self._run = wandb.init(
                    project="tegu",
                    name=run.name,
                    id=uuid.uuid5(uuid.NAMESPACE_URL, named).hex,
                    resume="allow",
                    reinit="create_new",
                    dir=str(run.path),
                    config=run.config,
                )
            except Exception as error:  # not logged in, no network
                raise ExportError(f"log: wandb cannot begin: {error}") from error
        self._several = len(run.config.get("seeds", [])) > 1

    def write(self, rows: Iterable[MetricRow]) -> None:
        """Write all values of a step together; with several seeds their names begin with ``seed-<seed>/``."""
        for step, together in groupby(rows, key=lambda row: row.step):
            values = {f"seed-{row.seed}/{row.name}" if self._several else row.name: row.value for row in together}
            self._run.log(values, step=step)

    def close(self) -> None:
        self._run.finish()
