"""TOML with ``None``, which TOML itself has not: a list ``none`` names the entries that are it.

They are named by the keys that lead there (an index where it is a list), because a key may hold dots:
``none = [["hyper_parameters", "target_kl"]]``.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from reprlib import repr as shorten
from typing import Any

import tomli_w

NONE = "none"

_Keys = list[str | int]
# A key of so many parts (a.b.c): reading one takes time that grows with the square of their number.
_DEEP = re.compile(r"""(?<![\w-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){32}""")


def dumps(content: Mapping[str, Any]) -> str:
    """``content`` as TOML; tuples become lists. ``TypeError`` or ``ValueError`` for what TOML cannot hold."""
    if NONE in content:
        raise ValueError(f"{NONE!r} is the list of entries that are None")
    if nones := list(_nones(content)):
        content = {**content, NONE: nones}
    return tomli_w.dumps(_plain(content))


def loads(text: str) -> dict[str, Any]:
    """What ``dumps`` made ``text`` from. ``ValueError`` if it is no TOML, or names entries that cannot be ``None``."""
    if _DEEP.search(text):
        raise ValueError("it nests tables deeper than any of Tegu's")
    content = tomllib.loads(text)
    nones = content.pop(NONE, [])
    if not isinstance(nones, list):
        raise ValueError(f"{NONE} must be a list, not {shorten(nones)}")
    for keys in nones:
        _restore(content, keys)
    return content


def _nones(value: Any) -> Iterator[_Keys]:
    """The keys that lead to each ``None`` in a table. One that is itself in a list has no place in TOML."""
    for key, item in _items(value):
        if item is None and isinstance(key, str):
            yield [key]
        yield from ([key, *keys] for keys in _nones(item))


def _items(value: Any) -> Iterator[tuple[str | int, Any]]:
    if isinstance(value, Mapping):
        yield from ((str(key), item) for key, item in value.items())
    elif isinstance(value, list | tuple):
        yield from enumerate(value)


def _restore(content: Any, keys: Any) -> None:
    """Put ``None`` where ``keys`` lead to: a table that has no such entry."""
    wrong = ValueError(f"{NONE} holds {shorten(keys)}, which does not lead to an entry that can be None")
    if not isinstance(keys, list) or not keys:
        raise wrong
    for key in keys[:-1]:
        known = dict(_items(content))
        if type(key) not in (str, int) or key not in known:
            raise wrong
        content = known[key]
    if not isinstance(content, dict) or not isinstance(keys[-1], str) or keys[-1] in content:
        raise wrong
    content[keys[-1]] = None


def _plain(value: Any) -> Any:
    """``value`` in what TOML has."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
