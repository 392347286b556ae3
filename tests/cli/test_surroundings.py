"""Where the command line runs: without a home, with caches it cannot use, into streams that take no text."""

import errno
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tegu.cli import main
from tegu.core import runtime
from tegu.runs import Run

PROGRAM = "import sys; from tegu.cli import main; sys.exit(main())"
HOMELESS = "import pwd\ndef nobody(uid): raise KeyError(uid)\npwd.getpwuid = nobody\n"


def process(*words: str, before: str = "", **given: Any) -> "subprocess.CompletedProcess[str]":
    """The command line in a process of its own; ``before`` is what it runs first."""
    command = [sys.executable, "-c", before + PROGRAM, *words]
    return subprocess.run(command, text=True, check=False, timeout=120, **given)


def cache(monkeypatch: pytest.MonkeyPatch, **environment: str) -> str | None:
    """The compilation cache that is set for a process with these variables."""
    for name in ("JAX_COMPILATION_CACHE_DIR", "TEGU_COMPILATION_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delitem(sys.modules, "jax", raising=False)
    runtime.configure()
    return os.environ.get("JAX_COMPILATION_CACHE_DIR")


def test_someone_without_a_name_or_a_home(tmp_path: Path) -> None:
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    ended = process("--version", before=HOMELESS, cwd=tmp_path, env=kept, capture_output=True)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_the_cache_is_where_it_can_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    home = tmp_path / "home"
    usual = str(home / ".cache/tegu/xla")
    assert cache(monkeypatch, HOME=str(home)) == usual
    assert cache(monkeypatch, HOME=str(home), XDG_CACHE_HOME="relative") == usual
    assert cache(monkeypatch, HOME=str(home), XDG_CACHE_HOME=str(tmp_path)) == str(tmp_path / "tegu/xla")
    assert cache(monkeypatch, HOME=str(home), XDG_CACHE_HOME=str(file)) is None
    assert cache(monkeypatch, HOME=str(file)) is None
    assert cache(monkeypatch, HOME=str(home), TEGU_COMPILATION_CACHE="0") is None
    assert cache(monkeypatch, HOME=str(home), TEGU_COMPILATION_CACHE="~/own") == str(home / "own")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
@pytest.mark.parametrize("buffered", [{}, {"PYTHONUNBUFFERED": "1"}], ids=["buffered", "unbuffered"])
def test_a_full_stdout_is_one_line(buffered: Mapping[str, str], tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        given = {"stdout": full, "stderr": subprocess.PIPE, "cwd": tmp_path}
        usual = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
        ended = process("--help", env=usual | buffered, **given)
    assert (ended.returncode, ended.stderr) == (1, "tegu: cannot write: No space left on device\n")


def test_a_reader_that_has_gone_ends_the_command_quietly(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        ended = process("--help", stdout=pipe, stderr=subprocess.PIPE, cwd=tmp_path)
    assert (ended.returncode, ended.stderr) == (141, "")


def test_closed_streams(runs: Path, tmp_path: Path) -> None:
    closing = "import os\nfor stream in (0, 1, 2): os.close(stream)\nos.execv(sys.executable, sys.argv[1:])"
    words = [sys.executable, "-c", PROGRAM, "list", "runs", "--runs", str(runs)]
    ended = subprocess.run([sys.executable, "-c", f"import sys\n{closing}", *words], cwd=tmp_path, timeout=120)
    assert ended.returncode == 0


class Full:
    """A stream that takes nothing."""

    encoding = "utf-8"

    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def flush(self) -> None:
        """Nothing is held."""

    def isatty(self) -> bool:
        return False


@pytest.mark.slow
def test_training_goes_on_where_nothing_can_be_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "stderr", Full())
    assert main(["train", "lizard", "--steps", "1k", "--episodes", "0", "--runs", str(tmp_path)]) == 0
    assert Run.open("last", tmp_path).status.state == "finished"
