"""Training in chunks. Between them, on the host: metrics, checkpoints, progress, and the wish to stop."""

import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from tegu.algorithms.base import Learner
from tegu.core.errors import TeguError
from tegu.core.spec import EnvironmentSpec
from tegu.runs import Run, RunError, checkpoint
from tegu.runs.checkpoint import CheckpointError
from tegu.runs.metrics import MetricsError
from tegu.training.tally import Tally, fault_message, summarize

Blobs = Mapping[str, Mapping[str, np.ndarray]]


class Loop(Protocol):
    """What the trainer drives: ``FusedLoop`` or ``HostLoop``."""

    spec: EnvironmentSpec
    seeds: tuple[int, ...]
    steps_per_iteration: int
    seconds: dict[str, float]  #: time spent so far, by kind of work

    def start(self) -> Any: ...
    def compile(self, state: Any) -> None: ...
    def chunk(self, state: Any, iterations: int, total: int) -> tuple[Any, Tally]: ...
    def learners(self, state: Any) -> Learner: ...
    def dump(self, state: Any) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, Any]]: ...
    def restore(self, blobs: Blobs, data: Mapping[str, Any]) -> Any: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class Progress:
    """How a run stands, after every chunk. Steps are environment steps of one seed, over all its environments."""

    phase: str  #: "compiling", "training", "saving", and then "finished" or "stopped"
    steps: int
    total: int
    n_seeds: int
    seconds: float  #: since training began, compilation included
    fps: float  #: environment steps per second over all seeds, in the last chunk
    metrics: list[dict[str, float]] = field(default_factory=list)  #: the last figures, a dict per seed
    split: dict[str, float] = field(default_factory=dict)  #: share of the last chunk's time by kind of work
    run: Run | None = None


Callback = Callable[[Progress], object]  #: called after every chunk; returning False stops the training


class NonFiniteError(TeguError):
    """Training met NaN or infinity. The last good checkpoint is kept."""


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
        callbacks: tuple[Callback, ...] = (),
        ready: Callable[[Learner], object] | None = None,
    ):
        """``checkpoint_every`` is in seconds, 0 for every chunk; ``facts`` go into each checkpoint's manifest.

        Where saving takes so long that it would fill more than a tenth of the time, it is done less often.

        ``ready`` is called once, with the learners ``[S, ...]`` as they are when everything is compiled.
        """
        self.loop, self.run, self.facts, self.callbacks = loop, run, dict(facts), callbacks
        self.ready = ready
        self.iterations = -(-steps // loop.steps_per_iteration)
        self.total = self.iterations * loop.steps_per_iteration
        self.per_chunk = max(log_interval // loop.steps_per_iteration, 1)
        self.checkpoint_every = checkpoint_every
        self.done = 0  # iterations
        self._saved_at = -1
        self._saving_seconds = 0.0  # that the last save took
        self._stop = False
        self._elapsed_before = 0.0
        self._began = self._last_save = time.perf_counter()
        self._last: Progress | None = None

    @property
    def steps(self) -> int:
        return self.done * self.loop.steps_per_iteration

    @property
    def _elapsed(self) -> float:
        """Seconds of training, those before a resume included."""
        return self._elapsed_before + time.perf_counter() - self._began

    @property
    def _pause(self) -> float:
        """Seconds between the end of one save and the beginning of the next."""
        return max(self.checkpoint_every, 9 * self._saving_seconds) if self.checkpoint_every else 0.0

    def train(self, resume: checkpoint.Checkpoint | None = None) -> Any:
        """Train to the end, or until asked to stop. Returns the loop's state."""
        state = self._restored(resume) if resume else self.loop.start()
        self._began = self._last_save = time.perf_counter()
        self._report(self._progress("compiling"))
        self._status("running")
        self.loop.compile(state)
        if self.ready is not None:
            self.ready(self.loop.learners(state))
        with stop_on_signal(self._ask_to_stop):
            while self.done < self.iterations and not self._stop:
                state = self._chunk(state)
        last = self._last or self._progress("saving")  # with the figures of the last chunk
        self._report(replace(last, phase="saving"))
        self._save(state)
        phase = "finished" if self.done >= self.iterations else "stopped"
        self._status(phase)
        self._report(replace(last, phase=phase))
        return state

    def _ask_to_stop(self) -> None:
        self._stop = True

    def _restored(self, saved: checkpoint.Checkpoint) -> Any:
        self.done = self._saved_at = saved.step // self.loop.steps_per_iteration
        self._elapsed_before = saved.state["elapsed"]
        if self.run is not None:
            with self.run.metrics() as metrics:
                metrics.truncate(saved.step)
        return self.loop.restore(saved.blobs, saved.state["loop"])

    def _chunk(self, state: Any) -> Any:
        iterations = min(self.per_chunk, self.iterations - self.done)
        began, spent = time.perf_counter(), dict(self.loop.seconds)
        state, tally = self.loop.chunk(state, iterations, self.total)
        elapsed = time.perf_counter() - began
        if fault := fault_message(tally, self.steps, self.loop.steps_per_iteration, self.loop.seeds):
            self._fail(fault)
        self.done += iterations

        fps = iterations * self.loop.steps_per_iteration * len(self.loop.seeds) / elapsed
        clock = {
            "time/fps": fps,
            "time/time_elapsed": self._elapsed,
            "time/total_timesteps": float(self.steps),
        }
        figures = [figures | clock for figures in summarize(tally)]
        split = {kind: (seconds - spent[kind]) / elapsed for kind, seconds in self.loop.seconds.items()}
        self._log(figures)
        if time.perf_counter() - self._last_save >= self._pause:
            self._save(state)
        self._report(self._progress("training", fps, figures, split))
        return state

    def _log(self, figures: list[dict[str, float]]) -> None:
        if self.run is None:
            return
        try:
            with self.run.metrics() as metrics:
                metrics.write(self.steps, dict(zip(self.loop.seeds, figures, strict=True)))
        except MetricsError as error:
            warnings.warn(f"{error}; training goes on", stacklevel=2)

    def _save(self, state: Any) -> None:
        """Commit a checkpoint. What cannot be written is a warning: the last one stays, and training goes on."""
        if self.run is None or self._saved_at == self.done:
            return
        began = time.perf_counter()
        blobs, data = self.loop.dump(state)
        for name, array in blobs["learner"].items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                self._fail(f"{name} of the learner became NaN or infinite by step {self.steps:,}")
        try:
            checkpoint.save(
                self.run.checkpoints, self.steps, blobs, {**self.facts, "elapsed": self._elapsed, "loop": data}
            )
            self._saved_at = self.done
        except CheckpointError as error:
            warnings.warn(f"{error}; training goes on", stacklevel=2)
        self._last_save = time.perf_counter()
        self._saving_seconds = self._last_save - began
        self._status("running")

    def _fail(self, fault: str) -> None:
        kept = checkpoint.steps(self.run.checkpoints) if self.run is not None else []
        saved = f"; the checkpoint of step {max(kept):,} is kept" if kept else "; there is no checkpoint yet"
        self._status("failed", fault)
        raise NonFiniteError(fault + (saved if self.run is not None else ""))

    def _status(self, state: str, message: str = "") -> None:
        if self.run is None:
            return
        try:
            self.run.set_status(state, steps=self.steps, total=self.total, message=message)
        except RunError as error:
            warnings.warn(f"{error}; training goes on", stacklevel=2)

    def _progress(
        self,
        phase: str,
        fps: float = 0.0,
        figures: list[dict[str, float]] | None = None,
        split: dict[str, float] | None = None,
    ) -> Progress:
        n_seeds = len(self.loop.seeds)
        return Progress(
            phase, self.steps, self.total, n_seeds, self._elapsed, fps, figures or [], split or {}, self.run
        )

    def _report(self, progress: Progress) -> None:
        self._last = progress
        for callback in self.callbacks:
            if callback(progress) is False:
                self._stop = True


@contextmanager
def stop_on_signal(stop: Callable[[], None]) -> Iterator[None]:
    """Within, the first Ctrl-C (or SIGTERM) calls ``stop`` and the second leaves at once.

    Only the main thread can listen to signals; elsewhere this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    kinds = (signal.SIGINT, signal.SIGTERM)
    before = {kind: signal.getsignal(kind) for kind in kinds}

    def first(kind: int, frame: object) -> None:
        stop()
        # the system's own handling, since Python's would wait for the compiled chunk to end
        for each in kinds:
            signal.signal(each, signal.SIG_DFL)
        with suppress(RuntimeError):  # stderr was being written to when the signal came
            print("finishing this chunk and saving; once more to leave at once", file=sys.stderr)

    for kind in kinds:
        signal.signal(kind, first)
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
