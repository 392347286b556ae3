"""Terminals and files that cannot show every character."""

import codecs
import io
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
