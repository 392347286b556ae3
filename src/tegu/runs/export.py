"""The metrics of a run in other programs' formats."""

import csv
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tegu.core.errors import TeguError
from tegu.runs.run import Run, refuse_links


class ExportError(TeguError):
    """Metrics could not be exported; says what, where and why in one line."""


def to_csv(run: Run, path: Path | str) -> None:
    """Write all metrics of ``run`` as one table ``step,seed,name,value``, sorted in that order."""
    header = ("step", "seed", "name", "value")
    with (
        _one_line(run, path),
        run.metrics(read_only=True) as metrics,
        open(path, "w", newline="", encoding="utf-8") as file,
    ):
        csv.writer(file, lineterminator="\n").writerows([header, *(row[:4] for row in metrics.rows())])


def to_tensorboard(run: Run, folder: Path | str) -> None:
    """Write all metrics of ``run`` as TensorBoard events, ``<folder>/seed-<seed>/`` each, with their original times.

    TensorBoard stores float32. The folders must be new, because it would draw old and new events together.
    """
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise ExportError("exporting to TensorBoard needs a package: pip install 'tegu[tensorboard]'") from error
    with _one_line(run, folder), run.metrics(read_only=True) as metrics:
        for seed in metrics.seeds():
            target = Path(folder) / f"seed-{seed}"
            target.mkdir(parents=True)
            with closing(SummaryWriter(str(target))) as writer:
                for row in metrics.rows(seed):
                    writer.add_scalar(row.name, row.value, global_step=row.step, walltime=row.time)


@contextmanager
def _one_line(run: Run, target: Path | str) -> Iterator[None]:
    refuse_links(target)
    try:
        yield
    except OSError as error:
        raise ExportError(f"cannot export {run.path} to {target}: {error.strerror}") from error
