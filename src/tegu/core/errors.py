"""The root of every error that Tegu raises on purpose."""


class TeguError(Exception):
    """An error a person can act on: one clear line."""
