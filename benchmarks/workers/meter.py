"""Clocks shared by the workers. Standard library only: it runs in every virtual environment."""

import json
import sys
import time
from typing import Any


class Meter:
    """Splits a worker's time at the end of its warm-up."""

    def __init__(self) -> None:
        self.started = self.marked = time.perf_counter()
        self.busy = 0.0
        self.steps = 0

    def mark(self, steps: int) -> None:
        """The warm-up ends here, after ``steps``."""
        self.marked, self.busy, self.steps = time.perf_counter(), time.process_time(), steps

    def result(self, steps: int, **more: Any) -> dict[str, Any]:
        """What was measured between the mark and now, ``steps`` having been taken in all."""
        seconds, busy = time.perf_counter() - self.marked, time.process_time() - self.busy
        rate, warm_up = (steps - self.steps) / seconds, self.marked - self.started
        return {
            "rate": rate,
            "steps": steps - self.steps,
            "seconds": seconds,
            "cores_busy": busy / seconds,
            "warm_up_steps": self.steps,
            "warm_up_seconds": warm_up,
            "compilation_seconds": max(warm_up - self.steps / rate, 0.0),
            **more,
        }


def settings() -> dict[str, Any]:
    """The JSON that the harness gave."""
    return json.loads(sys.argv[1])


def report(result: dict[str, Any]) -> None:
    """Hand the result back: the last line of the output."""
    print(json.dumps(result), flush=True)
