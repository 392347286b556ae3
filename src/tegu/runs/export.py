"""The metrics of a run in other programs' formats."""

import csv
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Any

from tegu.core.errors import TeguError
from tegu.runs.metrics import MetricRow
from tegu.runs.run import Run, refuse_links


class ExportError(TeguError):
    """Metrics could not be exported; says what, where and why in one line."""


def to_csv(run: Run, path: Path | str) -> None:
    """Write all metrics of ``run`` as one table ``step,seed,name,value``, sorted in that order."""
    with exporting(run, path), run.metrics(read_only=True) as metrics, closing(CsvWriter(open_csv(path, "w"))) as file:
        file.write(metrics.rows())


def to_tensorboard(run: Run, folder: Path | str) -> None:
    """Write all metrics of ``run`` as TensorBoard events, ``<folder>/seed-<seed>/`` each, with their original times.

    TensorBoard stores float32. The folders must be new, because it would draw old and new events together.
    """
    with exporting(run, folder), run.metrics(read_only=True) as metrics, closing(TensorboardWriter(folder)) as events:
        events.write(metrics.rows())


def open_csv(path: Path | str, mode: str) -> IO[str]:
    return open(path, mode, newline="", encoding="utf-8")


class CsvWriter:
    """One table ``step,seed,name,value``, sorted in that order if that is how its rows come."""

    def __init__(self, file: IO[str]):
        self._file = file
        self._lines = csv.writer(file, lineterminator="\n")
        self._lines.writerow(("step", "seed", "name", "value"))

    def write(self, rows: Iterable[MetricRow]) -> None:
        self._lines.writerows(row[:4] for row in rows)
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class TensorboardWriter:
    """Event files, ``seed-<seed>/`` each, of which the folders must be new."""

    def __init__(self, folder: Path | str):
        try:
            from tensorboardX import event_file_writer, summary
            from tensorboardX.proto import event_pb2
        except ImportError as error:
            raise ExportError("exporting to TensorBoard needs a package: pip install 'tegu[tensorboard]'") from error
        self._folder, self._files = Path(folder), dict[int, Any]()
        self._open, self._scalar, self._proto = event_file_writer.EventsWriter, summary.scalar, event_pb2

    def write(self, rows: Iterable[MetricRow]) -> None:
        """Write each number with its original time. No thread is used, so that every error is raised here."""
        for row in rows:
            if row.seed not in self._files:
                self._files[row.seed] = self._begun(self._folder / f"seed-{row.seed}")
            said = self._scalar(row.name, row.value)
            self._files[row.seed].write_event(self._proto.Event(wall_time=row.time, step=row.step, summary=said))
        for file in self._files.values():
            file.flush()

    def close(self) -> None:
        for file in self._files.values():
            file.close()

    def _begun(self, folder: Path) -> Any:
        """A new event file. It begins by telling a TensorBoard that is open to forget what it knew of the folder."""
        folder.mkdir(parents=True)
        file = self._open(str(folder / "events"))
        start = self._proto.SessionLog(status=self._proto.SessionLog.START)
        file.write_event(self._proto.Event(step=0, session_log=start))
        return file


@contextmanager
def exporting(run: Run, target: Path | str) -> Iterator[None]:
    """Refuse a ``target`` that is a link within a run, and raise what fails as one line."""
    refuse_links(target)
    try:
        yield
    except OSError as error:
        raise ExportError(f"cannot export {run.path} to {target}: {error.strerror}") from error
