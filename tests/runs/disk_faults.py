"""Makes a single call of ``tegu.runs.disk`` fail, or be the last of the process."""

import errno
import os
from contextlib import contextmanager

import pytest

from tegu.runs import disk

CALLS = [
    "create",
    "write",
    "sync",
    "close",
    "sync_folder",
    "rename",
    "make_folder",
    "make_folders",
    "remove",
    "remove_folder",
    "names",
    "read",
    "link",
    "sync_file",
]
NEVER_FAIL = ["exists", "is_folder"]  # but a process can be killed there


class Killed(BaseException):
    """The process is gone: no later disk call happens either."""


class Fault:
    """Lets ``at`` disk calls pass; the next one fails, and with ``forever`` all later ones too."""

    def __init__(self, at, *, error=None, forever=False, after=False, torn=False):
        self.at, self.error, self.forever, self.after, self.torn = at, error, forever, after, torn
        self.calls = 0
        self.dead = False

    @property
    def hit(self):
        return self.calls > self.at

    def wrap(self, name, call):
        def faulty(*arguments):
            if self.dead:
                raise Killed
            self.calls += name in CALLS or self.error is None
            if not (self.calls - 1 >= self.at if self.forever else self.calls - 1 == self.at):
                return call(*arguments)
            if name == "write" and self.torn:
                call(arguments[0], memoryview(arguments[1])[: len(arguments[1]) // 2])
            elif self.after or name == "close":
                call(*arguments)
            if self.error is None:
                self.dead = True
                raise Killed
            raise OSError(self.error, os.strerror(self.error))

        return faulty

    @contextmanager
    def active(self):
        with pytest.MonkeyPatch.context() as patch:
            for name in CALLS + (NEVER_FAIL if self.error is None else []):
                patch.setattr(disk, name, self.wrap(name, getattr(disk, name)))
            yield


FAULTS = {
    "disk full once": {"error": errno.ENOSPC},
    "disk full": {"error": errno.ENOSPC, "forever": True, "torn": True},
    "disk error once": {"error": errno.EIO, "torn": True},
    "disk error": {"error": errno.EIO, "forever": True},
    "error after doing it": {"error": errno.EIO, "after": True},
    "read-only": {"error": errno.EROFS, "forever": True},
    "killed before": {},
    "killed after": {"after": True},
    "killed within a write": {"torn": True},
}
