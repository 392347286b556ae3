"""Another program that speaks the Go Text Protocol, as a process."""

import os
import queue
import shlex
import signal
import subprocess
import tempfile
import threading
import time
from contextlib import suppress

from tegu.core.errors import TeguError

COLOURS = ("black", "white")  #: in the order of the players
_LONGEST = 1 << 16  # bytes of a line
_MOST_LINES = 10_000  # of an answer


class Refused(TeguError):
    """What a program answers with a question mark."""


class Program:
    """A process, from its start to ``close``.

    Each question must be answered within ``timeout`` seconds. Raises ``TeguError``, naming the program, where it cannot
    be started, ends, does not answer in time, or answers something else than the protocol has.
    """

    def __init__(self, command: str, timeout: float):
        self.name, self._timeout = f"gtp:{command}", timeout
        words, self._errors = words_of(command), tempfile.TemporaryFile()  # noqa: SIM115
        try:
            self._process = subprocess.Popen(  # noqa: S603 (the person's own command, and no shell)
                words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                start_new_session=True,  # Ctrl-C is for us: we end it
            )
        except OSError as error:
            self._errors.close()
            raise TeguError(f"{self.name} cannot be started: {error.strerror}") from error
        self._lines = queue.Queue[bytes](1000)
        self._closed = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def ask(self, question: str) -> str:
        """The text of the answer. Raises ``Refused`` with the program's message where it says no."""
        deadline = time.monotonic() + self._timeout
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{question}\n".encode())
            self._process.stdin.flush()
        except (OSError, ValueError) as error:
            raise self._ended(question) from error
        lines = list[str]()
        while True:
            line = self._line(question, deadline)
            if lines and not line:
                break
            if line:
                lines.append(line)
            if (lines and lines[0][0] not in "=?") or len(lines) > _MOST_LINES:
                raise TeguError(f"{self.name} answered {question!r} with {lines[-1]!r}, which is no GTP")
        text = "\n".join([lines[0][1:].strip(), *lines[1:]])
        if lines[0][0] == "?":
            raise Refused(text)
        return text

    def close(self) -> None:
        """End the process, and those that it has started. Who waits for an answer in another thread gets an error."""
        if self._closed.is_set():
            return
        self._closed.set()
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except (AttributeError, OSError):  # not on Windows; or ended already
            self._process.kill()
        self._process.wait()
        self._reader.join(1)
        with suppress(queue.Empty):
            while True:
                self._lines.get_nowait()
        self._lines.put(b"")  # for a thread that waits for an answer
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            with suppress(OSError):  # what was not written yet has no reader
                stream.close()  # type: ignore[union-attr]

    def _read(self) -> None:
        """Hand on the lines of the process, and nothing (``b""``) when it has ended."""
        assert self._process.stdout is not None
        line = b"\n"
        while line and not self._closed.is_set():
            line = self._process.stdout.readline(_LONGEST)
            while not self._closed.is_set():
                try:
                    self._lines.put(line, timeout=0.2)
                    break
                except queue.Full:
                    continue

    def _line(self, question: str, deadline: float) -> str:
        late = TeguError(f"{self.name} did not answer {question!r} within {self._timeout:g} seconds")
        left = deadline - time.monotonic()
        if left <= 0:
            raise late
        try:
            line = self._lines.get(timeout=left)
        except queue.Empty as error:
            raise late from error
        if not line:
            raise self._ended(question)
        return line.decode("latin-1").strip()

    def _ended(self, question: str) -> TeguError:
        if self._closed.is_set():
            return TeguError(f"{self.name} was ended")
        try:
            status = f"exit status {self._process.wait(1)}"
        except subprocess.TimeoutExpired:
            status = "still running, its output closed"
        self._errors.seek(0)
        said = self._errors.read().decode("utf-8", "replace").strip().splitlines()
        last = f": {said[-1]}" if said else ""
        return TeguError(f"{self.name} ended when asked {question!r} ({status}){last}")


def words_of(command: str) -> list[str]:
    """The program and its arguments, as a shell would read them. Raises ``TeguError``."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise TeguError(f"gtp:{command}: {error}") from error
    if not words:
        raise TeguError("expected a program after gtp:, as in 'gtp:gnugo --mode gtp'")
    return words
