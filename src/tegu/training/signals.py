"""Ctrl-C and SIGTERM while training: the first asks to stop and is then passed on, the second ends the process."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any


@contextmanager
def stop_on_signal(stop: Callable[[], None], *, saves: bool) -> Iterator[None]:
    """Within, the first Ctrl-C (or SIGTERM) calls ``stop`` and the second leaves at once.

    The first one takes effect at the end: it goes to whoever listened to it before, which by default raises
    ``KeyboardInterrupt`` (``SystemExit`` for SIGTERM). ``saves``: whether a checkpoint is what is still to be done.
    Only the main thread can listen to signals; elsewhere this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    kinds = (signal.SIGINT, signal.SIGTERM)
    came: list[int] = []
    before = {kind: signal.getsignal(kind) for kind in kinds}

    def first(kind: int, frame: object) -> None:
        came.append(kind)
        stop()
        # the system's own handling, since Python's would wait for the compiled chunk to end
        for each in kinds:
            signal.signal(each, signal.SIG_DFL)
        with suppress(RuntimeError, OSError):  # stderr was being written to when the signal came, or is closed
            rest = "saves a checkpoint after" if saves else "ends after"
            print(
                f"stopping: {rest} the current piece of training or compilation; press Ctrl-C again to quit at once",
                file=sys.stderr,
            )

    for kind in kinds:
        signal.signal(kind, first)
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
    for number in came:
        _deliver(number, before[signal.Signals(number)])


def _deliver(kind: int, handler: Any) -> None:
    """Let a signal have the effect that it has in Python, but never that of killing the process where it stands."""
    if callable(handler):
        handler(kind, None)
    elif kind == signal.SIGINT:
        raise KeyboardInterrupt
    else:
        raise SystemExit(128 + kind)
