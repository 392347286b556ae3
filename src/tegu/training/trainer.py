"""Training in chunks. Between them, on the host: metrics, checkpoints, progress, observers, and the wish to stop."""

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn, Protocol

import numpy as np

from tegu.algorithms.base import Learner
from tegu.runs import Run, checkpoint
from tegu.runs.checkpoint import CheckpointError
from tegu.training.faults import NonFiniteError, UnsavedError, in_one_line, say_if_out_of_memory
from tegu.training.loop import Loop, whole_iterations
from tegu.training.record import Record
from tegu.training.saving import Blobs
from tegu.training.signals import stop_on_signal
from tegu.training.tally import fault_message, summarize

DIAGNOSES = 20  #: of a phase; each may take as long as many updates
LONGEST_CHUNK = 2**31 - 1  #: environment steps: within a chunk they are counted in 32 bits


@dataclass(frozen=True)
class Progress:
    """The state of a training, for callbacks. Steps are environment steps of one seed, over all its environments."""

    state: str  #: "compiling", "training", "saving", and then "finished" or "stopped"
    steps: int
    total: int
    n_seeds: int
    seconds: float  #: since training began, compilation included
    fps: float  #: environment steps per second over all seeds, since the last report
    metrics: list[dict[str, float]] = field(default_factory=list)  #: the latest logged metrics, a dict per seed
    time_fractions: dict[str, float] = field(default_factory=dict)  #: since the last report, by kind of work
    run: Run | None = None  #: the first one, where a sweep trains several
    network: str = ""  #: architecture and number of parameters, in one line
    runs: tuple[Run, ...] = ()  #: all that are trained together
    config: Mapping[str, Any] = field(default_factory=dict)  #: what ``config.toml`` holds, or would hold without a run


Callback = Callable[[Progress], object]  #: called every ``log_interval`` steps; returning False stops the training


class Observer(Protocol):
    """Called with the learners every so many steps, such as an evaluation while training."""

    every: int  #: steps between two calls

    def __call__(self, progress: Progress, learners: Learner) -> bool | None:
        """``learners`` are ``[S, ...]``. Returning False stops the training."""
        ...


class Trainer:
    """Drive a loop to its last step. With a run, everything is kept on disk; without, nothing is."""

    def __init__(
        self,
        loop: Loop,
        run: Run | None,
        *,
        steps: int,
        log_interval: int,
        checkpoint_every: float,
        facts: Mapping[str, Any],
        callbacks: Sequence[Callback] = (),
        observers: Sequence[Observer] = (),
        ready: Callable[[Learner], object] | None = None,
        start: int = 0,
        before: int = 0,
        schedule_steps: int | None = None,
        records: Sequence[Record] | None = None,
        network: str = "",
        config: Mapping[str, Any] | None = None,
    ):
        """Train from step ``start`` to ``steps`` in all, rounded up to whole iterations.

        Schedules end there, too, or at ``schedule_steps``; beyond that they stay at their end.
        ``before`` steps were taken in earlier phases of the run: they count in what is logged and saved.
        ``checkpoint_every`` is in seconds, 0 for every chunk; where saving takes so long that it would fill more than a
        tenth of the time, it is done less often. ``facts`` go into each checkpoint's manifest. ``ready`` is called
        once, with the learners ``[S, ...]`` as they are when everything is compiled. ``records``: several runs that
        share the loop, in place of ``run``. ``config`` is for those who follow a training without a run.
        """
        alone = [] if run is None else [Record(run, facts, range(len(loop.seeds)))]
        self.loop, self.records = loop, alone if records is None else list(records)
        self.callbacks, self.observers, self.ready = callbacks, observers, ready
        self._start, self._now, self._before = start, start, before
        self.network, self.config = network, config or {}  # for those who follow the training
        self._end = start + whole_iterations(steps - start, loop.steps_per_iteration)
        self._schedules_end = start + whole_iterations((schedule_steps or steps) - start, loop.steps_per_iteration)
        self.log_interval, self.checkpoint_every = log_interval, checkpoint_every
        self._saved_at = -1
        self._saving_seconds = 0.0  # that the last save took
        self._stop, self._elapsed_before = False, 0.0
        self._began = self._last_save = time.perf_counter()
        self._last: Progress | None = None
        self.state: Any = None  #: the loop's; between chunks a callback may set another one
        self._in_chunk = False  # true as well when one has raised an error

    @property
    def steps(self) -> int:
        """Steps so far, those of earlier phases included."""
        return self._before + self._now

    @property
    def total(self) -> int:
        """Steps when this phase ends, those of earlier phases included."""
        return self._before + self._end

    @property
    def schedule_total(self) -> int:
        """Steps at which the schedules of this phase end, those of earlier phases included."""
        return self._before + self._schedules_end

    @property
    def stopped(self) -> bool:
        """Whether training ended before its last step."""
        return self._now < self._end

    @property
    def _elapsed(self) -> float:
        """Seconds of training, those before a resume included."""
        return self._elapsed_before + time.perf_counter() - self._began

    @property
    def _pause(self) -> float:
        """Seconds between the end of one save and the beginning of the next."""
        return max(self.checkpoint_every, 9 * self._saving_seconds) if self.checkpoint_every else 0.0

    def train(self, state: Any = None, resume: checkpoint.Checkpoint | None = None) -> Any:
        """Train to the end, or until asked to stop, from a ``state`` of the loop's, a checkpoint, or the beginning.

        Returns the loop's state. After Ctrl-C it raises ``KeyboardInterrupt`` as soon as everything is saved. Whatever
        an environment, a callback or an observer raises comes through, when what there is has been saved.
        ``UnsavedError`` if the last checkpoint cannot be written.
        """
        with stop_on_signal(self._ask_to_stop, saves=bool(self.records)):
            try:
                return self._train(state, resume)
            except BaseException as error:
                self._leave(error)
                say_if_out_of_memory(error)
                raise

    def _train(self, state: Any, resume: checkpoint.Checkpoint | None) -> Any:
        given = state is not None
        self.state = state if given else self._restored(resume) if resume else self.loop.start()
        self._began = self._last_save = time.perf_counter()
        self._report(self._progress("compiling"))
        self._status("running")
        if resume is None:
            for record in self.records:
                record.check(*self._dump(record))
        if given and not self.steps and (unsaved := self._save()):  # a state of somebody else's could not be made again
            raise UnsavedError(unsaved)
        if not self._stop:
            self.loop.compile(self.state, self._now)
            if self.ready is not None:
                self.ready(self.loop.learners(self.state))
        while self.stopped and not self._stop:
            self._chunk()
        last = self._last or self._progress("saving")  # with the metrics of the last chunk
        self._report(replace(last, state="saving"))
        if unsaved := self._save():
            raise UnsavedError("; ".join([unsaved, *(record.kept() for record in self.records[:1])]))
        end = "stopped" if self.stopped else "finished"
        self._status(end)
        self._report(replace(last, state=end))
        return self.state

    def _ask_to_stop(self) -> None:
        self._stop = True

    def _leave(self, error: BaseException) -> None:
        """Save what there is when an ``error`` ends the training, and say so."""
        if self._in_chunk:
            self.state, iterations = self.loop.salvage(self.state)
            self._now += iterations * self.loop.steps_per_iteration
        if self.records and self.state is not None and not isinstance(error, NonFiniteError | UnsavedError):
            with suppress(Exception):  # what cannot be saved now is no news beside the error
                self._save()
            error.add_note(f"{self.records[0].run.path}: {self.records[0].kept()}")
        self._status("stopped" if isinstance(error, KeyboardInterrupt) else "failed", in_one_line(error))

    def _restored(self, saved: checkpoint.Checkpoint) -> Any:
        self._now = saved.step - self._before
        self._saved_at, self._elapsed_before = saved.step, saved.state["elapsed"]
        for record in self.records:
            record.saved_as = saved.path
            with record.run.metrics() as metrics:
                metrics.truncate(saved.step)
        return self.loop.restore(saved.blobs, saved.state["loop"])

    def _chunk(self) -> None:
        began, spent, start = time.perf_counter(), dict(self.loop.seconds), self.steps
        self._in_chunk = True
        self.state, tally = self.loop.chunk(self.state, self._iterations(), self._now, self._schedules_end)
        self._in_chunk = False
        elapsed = time.perf_counter() - began
        size = self.loop.steps_per_iteration
        if fault := fault_message(tally, start, size, self.loop.seeds):
            self._fail(fault)
        self._now += int(tally.iterations[0]) * size

        fps = (self.steps - start) * len(self.loop.seeds) / elapsed
        clock = {"time/fps": fps, "time/time_elapsed": self._elapsed, "time/total_timesteps": float(self.steps)}
        diagnosed = self._diagnosed(start) if tally.updates.all() else {}
        fractions = {kind: (seconds - spent[kind]) / elapsed for kind, seconds in self.loop.seconds.items()}
        if len(fractions) > 1:  # of one kind of work alone there is nothing to say
            clock |= {f"time/{kind}": fraction for kind, fraction in fractions.items()}
        metrics = [found | clock for found in summarize(tally, diagnosed)]
        for record in self.records:
            record.log(self.steps, self.loop.seeds, metrics)
        progress = self._progress("training", fps, metrics, fractions)
        self._observe(progress, start)
        if time.perf_counter() - self._last_save >= self._pause and (unsaved := self._save()):
            warnings.warn(f"{unsaved}; training goes on", stacklevel=2)
        self._report(progress)

    def _iterations(self) -> int:
        """How many to run now: as long as a chunk is, and no observer's turn is passed by more than an iteration."""
        ahead = [observer.every - self.steps % observer.every for observer in self.observers]
        steps = min([max(self.log_interval, 1), LONGEST_CHUNK, self._end - self._now, *ahead])
        # a chunk of so many steps ends at or before them; one that leads to an observer's turn ends at or after it
        size = self.loop.steps_per_iteration
        return max(steps // size, 1) if steps not in ahead else -(-steps // size)

    def _diagnosed(self, start: int) -> Mapping[str, np.ndarray]:
        """What is found ``DIAGNOSES`` times in a phase, if that is due after the chunk that began at ``start``."""
        every = max((self._end - self._start) // DIAGNOSES, 1)
        due = self._now // every > (start - self._before) // every
        return self.loop.diagnose(self.state, self._now, self._schedules_end) if due else {}

    def _observe(self, progress: Progress, start: int) -> None:
        due = [observer for observer in self.observers if progress.steps // observer.every > start // observer.every]
        if not due:
            return
        learners = self.loop.learners(self.state)
        for observer in due:
            if observer(progress, learners) is False:
                self._stop = True

    def _save(self) -> str:
        """Commit a checkpoint of every run. Returns what went wrong, nothing if all are written."""
        if not self.records or self._saved_at == self.steps:
            return ""
        began = time.perf_counter()
        faults = []
        for record in self.records:
            blobs, data = self._dump(record)
            for name, array in blobs["learner"].items():  # type: ignore[union-attr]
                if array.dtype.kind == "f" and not np.isfinite(array).all():
                    self._fail(f"{name} of the learner became NaN or infinite by step {self.steps:,}")
            try:
                record.save(self.steps, blobs, data)
            except CheckpointError as error:
                faults.append(str(error))
        if not faults:
            self._saved_at = self.steps
        self._last_save = time.perf_counter()
        self._saving_seconds = self._last_save - began
        self._status("running")
        return "; ".join(faults)

    def _dump(self, record: Record) -> tuple[Blobs, dict[str, Any]]:
        """What a checkpoint of a run holds: arrays, and data beside them."""
        blobs, loop = self.loop.dump(self.state, record.members)
        ends = {"steps": self._end, "schedule_steps": self._schedules_end, "total": self.schedule_total}
        return blobs, {"elapsed": self._elapsed, "loop": loop, **ends}

    def _fail(self, fault: str) -> NoReturn:
        raise NonFiniteError("; ".join([fault, *(record.kept() for record in self.records[:1])]))

    def _status(self, state: str, message: str = "") -> None:
        for record in self.records:
            record.status(state, self.steps, self.total, message)

    def _progress(
        self,
        state: str,
        fps: float = 0.0,
        metrics: list[dict[str, float]] | None = None,
        fractions: dict[str, float] | None = None,
    ) -> Progress:
        runs = tuple(record.run for record in self.records)
        counts = self.steps, self.total, len(self.loop.seeds)
        happened = fps, metrics or [], fractions or {}
        run, config = (runs[0], runs[0].config) if runs else (None, self.config)
        return Progress(state, *counts, self._elapsed, *happened, run, self.network, runs, config)

    def _report(self, progress: Progress) -> None:
        self._last = progress
        for callback in self.callbacks:
            if callback(progress) is False:
                self._stop = True
