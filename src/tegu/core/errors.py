"""The root of every error that Tegu raises on purpose."""

from tegu.core.text import printable


class TeguError(Exception):
    """An error a person can act on: one clear line."""

    def __init__(self, message: object):
        """What is quoted in ``message`` may come from a file of somebody else's: it is escaped, and shortened."""
        super().__init__(printable(message))
