"""Text that may come from a file of somebody else's, made fit to be printed."""

from typing import Any

MOST = 2000  #: characters of a message


def printable(text: Any, most: int = MOST) -> str:
    """``text`` on one line: what a terminal would obey is escaped, and the middle of what is too long left out.

    Escaped are all characters that Python does not call printable, such as ESC and marks that turn the direction of
    writing. Line breaks become spaces.
    """
    text = str(text).replace("\n", " ")
    if len(text) > most:
        text = f"{text[: most // 2]}...{text[-most // 2 :]}"
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def printable_lines(text: str) -> str:
    """``text`` with its line breaks and spaces as they are, and each line as ``printable`` makes it."""
    return "\n".join(printable(line) for line in text.split("\n"))
