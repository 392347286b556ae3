"""Stable-Baselines3's schedules: functions of the progress remaining, which falls from 1 to 0 while training."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tegu.core.schedule import Linear

Schedule = Callable[[float], float]

_SAMPLES = [i / 40 for i in range(41)]  # of the progress remaining
_NEAR_THE_START = 1e-3  # fraction of training over which a schedule shows its slope


@dataclass(frozen=True)
class ConstantSchedule:
    """Always ``val``."""

    val: float

    def __call__(self, progress_remaining: float) -> float:
        return self.val


@dataclass(frozen=True)
class LinearSchedule:
    """From ``start`` to ``end`` over the first ``end_fraction`` of training, and then ``end``."""

    start: float
    end: float
    end_fraction: float

    def __call__(self, progress_remaining: float) -> float:
        passed = min((1.0 - progress_remaining) / self.end_fraction, 1.0)
        return self.start + passed * (self.end - self.start)


class FloatSchedule:
    """A number, a schedule, or one of Tegu's, as a schedule of Python's floats."""

    def __init__(self, value_schedule: Any):
        self.value_schedule: Schedule
        if isinstance(value_schedule, FloatSchedule):
            self.value_schedule = value_schedule.value_schedule
        elif isinstance(value_schedule, Linear):
            self.value_schedule = LinearSchedule(value_schedule.initial, value_schedule.final, value_schedule.fraction)
        else:
            self.value_schedule = (
                value_schedule if callable(value_schedule) else ConstantSchedule(float(value_schedule))
            )

    def __call__(self, progress_remaining: float) -> float:
        return float(self.value_schedule(progress_remaining))

    def __repr__(self) -> str:
        return f"FloatSchedule({self.value_schedule})"


def get_schedule_fn(value_schedule: Any) -> Schedule:
    """A number or a schedule as a schedule."""
    return FloatSchedule(value_schedule)


def get_linear_fn(start: float, end: float, end_fraction: float) -> Schedule:
    """``LinearSchedule`` under its older name."""
    return LinearSchedule(start, end, end_fraction)


def constant_fn(val: float) -> Schedule:
    """``ConstantSchedule`` under its older name."""
    return ConstantSchedule(val)


def line_of(function: Schedule) -> Linear | float | None:
    """The straight line, or the number, that a schedule is; None where it is neither.

    Recognised by sampling: constants, straight lines, and lines that reach their end early and then stay.
    """
    start, end = float(function(1.0)), float(function(0.0))
    slope = (start - float(function(1.0 - _NEAR_THE_START))) / _NEAR_THE_START
    fraction = min((start - end) / slope, 1.0) if slope else 1.0
    guess = Linear(start, end, fraction) if fraction > 0 else Linear(start, end)
    if not _agree(function, guess):
        return None
    return start if start == end else guess


def _agree(function: Schedule, line: Linear) -> bool:
    """Whether ``function`` of the progress remaining is ``line``, within rounding."""
    close = 1e-6 * max(abs(line.initial), abs(line.final), 1e-12)
    exact = FloatSchedule(line)
    return all(abs(function(left) - exact(left)) <= close for left in _SAMPLES)
