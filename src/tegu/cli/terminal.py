"""Standard streams as they come: closed, full, left by their reader, or without some characters."""

import codecs
import io
import os
import sys
from typing import Any

_PLAIN = str.maketrans(
    "─│┌┬┐├┼┤└┴┘╭╮╰╯━┃←→↑↓▁▂▃▄▅▆▇█·…●○", "-|+++++++++++++=|<>^v_.:-=+*#|~XO"
)  # one for one, so that everything stays in line


def ascii_where_needed(*streams: Any) -> None:
    """Let streams write the nearest plain character for one that their encoding lacks."""
    codecs.register_error("tegu", _replace)
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="tegu")


def _replace(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    missing = error.object[error.start : error.end].translate(_PLAIN)
    return missing.encode("ascii", "replace").decode(), error.end


def open_closed_streams() -> None:
    """Give standard streams that are closed the null device. Else the next file that is opened takes their place."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free descriptor, which is that of the stream
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115


def tell(line: str) -> None:
    """Print a line on stderr. Nothing depends on it: it is lost where stderr is full or has lost its reader."""
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:
        drop_unwritten(sys.stderr)


def drop_unwritten(stream: Any) -> None:
    """Let a stream lead nowhere if what it holds cannot be written: Python's end would fail on it, too."""
    try:
        stream.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
