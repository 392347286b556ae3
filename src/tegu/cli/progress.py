"""Progress of a training: its state and metrics, and plain lines about it where there is no terminal."""

import math
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import numpy as np

from tegu.analysis.compare import EVALUATION, FIRST_PLAYER, RETURN
from tegu.cli.terminal import tell
from tegu.core.errors import TeguError
from tegu.training.trainer import Progress

LENGTH = "rollout/ep_len_mean"
BETWEEN_LINES = 5.0  #: seconds
_STATES = {"finished": "done"}


class ProgressTracker:
    """Follows a training and shows nothing. Hand it to ``train`` as a callback."""

    def __init__(self) -> None:
        self.progress: Progress | None = None
        self.state = "starting"
        self.measure = "return"  #: what ``curve`` is of; in games, where one's gain is the other's loss, their length
        self.curve: list[float] = []  #: its mean over seeds, one for each report that has one
        self.latest: dict[int, float] = {}  #: the latest of each seed
        self.first: float | None = None  #: in games, the fraction of points that the first player has won lately
        self.evaluations: list[float] = []  #: mean over seeds of each evaluation so far
        self.metrics: dict[str, float] = {}  #: the latest value of each logged metric
        self._speeds: deque[float] = deque(maxlen=10)
        self._learns = False
        self._heard = time.perf_counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to put away."""

    def __call__(self, progress: Progress) -> None:
        self.progress, self._heard = progress, time.perf_counter()
        self.state = _STATES.get(progress.state, progress.state)
        if progress.state == "compiling":  # a phase or stage begins
            self._speeds.clear()
            self._learns = False
        if progress.state == "training":
            if not self._learns and any(name.startswith("train/") for found in progress.metrics for name in found):
                self._learns = True
                self._speeds.clear()  # random actions before learning say nothing of what comes
            self._speeds.append(progress.fps)
            games = [metrics[FIRST_PLAYER] for metrics in progress.metrics if FIRST_PLAYER in metrics]
            if games:
                self.measure, self.first = "game length", (float(np.mean(games)) + 1) / 2
            key = LENGTH if games else RETURN
            found = {i: metrics[key] for i, metrics in enumerate(progress.metrics) if key in metrics}
            self.latest = self.latest | found  # a new one, as another thread may be drawing the old one
            if found:
                self.curve.append(float(np.mean(list(self.latest.values()))))
            self.evaluations = evaluations(progress)
            self.metrics = self.metrics | mean_metrics(progress.metrics)

    def say(self, state: str) -> None:
        """What is being done now that the training itself is over."""
        self.state = state

    @property
    def elapsed(self) -> float:
        """Seconds of training so far, counting on between reports."""
        if self.progress is None:
            return 0.0
        running = self.progress.state in ("compiling", "training")
        return self.progress.seconds + (time.perf_counter() - self._heard if running else 0.0)

    @property
    def left(self) -> float:
        """Seconds to go at the median speed of the latest reports; NaN while that is unknown."""
        if self.progress is None or not self._speeds:
            return math.nan
        return (self.progress.total - self.progress.steps) * self.progress.n_seeds / float(np.median(self._speeds))


class Lines(ProgressTracker):
    """At the start, at the end, and every few seconds between."""

    def __init__(self) -> None:
        super().__init__()
        self._printed = time.perf_counter()

    def __call__(self, progress: Progress) -> None:
        super().__call__(progress)
        now = time.perf_counter()
        if progress.state == "compiling":
            steps = f"{progress.total:,} steps{rounding(progress)}"
            tell(f"{heading(progress)}, {steps}: {where(progress)}; {origin(progress)}")
            for line in filter(None, (preset(progress), progress.network and f"network: {progress.network}")):
                tell(line)
        elif progress.state in ("finished", "stopped"):
            tell(f"{self.state} after {clock(self.elapsed)}: {self._standing(progress)}")
        elif progress.state == "training" and now - self._printed >= BETWEEN_LINES:
            self._printed = now
            tell(f"{self._standing(progress)}, {rounded(progress.fps)} steps/s, {clock(self.left)} left")

    def say(self, state: str) -> None:
        super().say(state)
        if state not in ("done", "stopped"):  # which a last line has said
            tell(state)

    def _standing(self, progress: Progress) -> str:
        steps = f"{progress.steps:,} of {progress.total:,} steps"
        now = [f"{self.measure} {self.curve[-1]:.4g}"] if self.curve else []
        now += [f"first player {self.first:.0%} of the points"] if self.first is not None else []
        now += [f"evaluation {self.evaluations[-1]:.4g}"] if self.evaluations else []
        return ", ".join([steps, *now])


def heading(progress: Progress) -> str:
    return f"{_config(progress)['environment']} with {_config(progress)['algorithm']}"


def where(progress: Progress) -> str:
    return str(progress.run.path) if progress.run is not None else "not saved to disk"


def origin(progress: Progress) -> str:
    """Which implementation of the environment is used."""
    from gymnasium import registry

    environment, backend = _config(progress)["environment"], _config(progress)["backend"]
    if backend == "jax" and environment in registry:
        return "environment: Tegu's JAX implementation (Gymnasium's own: backend gymnasium)"
    kinds = {
        "gymnasium": "Gymnasium, stepped in Python",
        "pettingzoo": "PettingZoo, stepped in Python",
        "ale": "Arcade Learning Environment, stepped in C++",
    }
    return f"environment: {kinds.get(backend, 'JAX, compiled')}"


def rounding(progress: Progress) -> str:
    """What is said beside the number of steps where whole iterations make them more than were asked for."""
    config = _config(progress)
    asked = sum(phase["steps"] for phase in (config, *config.get("phases", [])))
    return f" (whole iterations; {asked:,} asked for)" if progress.steps == 0 and progress.total != asked else ""


def preset(progress: Progress) -> str:
    """Where settings that nobody gave come from; of runs that did not record it, nothing."""
    config = _config(progress)
    return f"preset: {config['preset']}" if config.get("preset") else ""


def evaluations(progress: Progress) -> list[float]:
    """The returns that evaluations while training found, mean over seeds."""
    if len(progress.runs) > 1 or progress.run is None or not progress.run.config.get("eval_every"):
        return []
    try:
        with progress.run.metrics(read_only=True) as store:
            steps, values = store.read(EVALUATION)
    except TeguError:
        return []
    return [float(values[steps == step].mean()) for step in np.unique(steps)]


@contextmanager
def stopped(watching: ProgressTracker) -> Iterator[list[BaseException]]:
    """Put the Ctrl-C (or SIGTERM) that stopped a training, once it was saved, into the list, where there was one."""
    came: list[BaseException] = []
    try:
        yield came
    except (KeyboardInterrupt, SystemExit) as error:
        if watching.progress is None or watching.progress.state != "stopped":
            raise
        came.append(error)


def mean_metrics(metrics: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The ``train/`` metrics but for percentiles, and the exploration rate, mean over seeds."""
    shown = [name for name in metrics[0] if name.startswith("train/") or name == "rollout/exploration_rate"]
    names = [name for name in shown if "td_error_p" not in name]
    return {name.partition("/")[2]: float(np.mean([found[name] for found in metrics])) for name in names}


def clock(seconds: float) -> str:
    """``12 s``, ``3:05`` or ``1:02:03``."""
    if not math.isfinite(seconds):
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}" if minutes else f"{rest} s"


def rounded(value: float) -> str:
    """Three digits are enough of a speed, and two of a slow one."""
    return f"{float(f'{value:.3g}'):,.0f}" if value >= 10 else f"{value:.2g}"


def _config(progress: Progress) -> Mapping[str, Any]:
    return progress.config if progress.run is None else progress.run.config
