"""Ctrl-C and SIGTERM while training: the first asks to stop, the second ends the process."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


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
            print(
                "stopping: saves a checkpoint after the current ~1 s of training; press Ctrl-C again to quit at once",
                file=sys.stderr,
            )

    for kind in kinds:
        signal.signal(kind, first)
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
