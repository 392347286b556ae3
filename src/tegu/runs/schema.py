"""What a run's files may say: the type and range of every field, checked before anything is made of it."""

import math
from collections.abc import Callable, Collection, Mapping
from reprlib import repr as shorten
from typing import Any

MOST_STEPS = 10**12 - 1  #: a checkpoint's name has room for twelve digits
MOST_SEED = 2**31 - 1  #: JAX takes 32 bits of a seed: larger ones would be others again
MOST_AT_ONCE = 1_000_000  #: of seeds, environments and episodes: beyond that a number is mistyped

LOG_FORMATS = ("csv", "tensorboard", "wandb")  #: in which metrics are written while training

Check = Callable[[Any], str | None]  #: what is expected of a value, if it is not that


def _whole(least: int, most: int) -> Check:
    def check(value: Any) -> str | None:
        fits = type(value) is int and least <= value <= most
        return None if fits else f"a whole number from {least:,} to {most:,}"

    return check


def _number(least: float, most: float) -> Check:
    def check(value: Any) -> str | None:
        fits = type(value) in (int, float) and least <= value <= most
        return None if fits else f"a number from {least:g} to {most:g}"

    return check


def _text(most: int) -> Check:
    """Text that can be printed: nothing that a terminal would obey."""

    def check(value: Any) -> str | None:
        fits = isinstance(value, str) and 0 < len(value) <= most and value.isprintable()
        return None if fits else f"printable text of at most {most:,} characters"

    return check


def _list(each: Check, least: int, most: int, *, distinct: bool = False) -> Check:
    def check(value: Any) -> str | None:
        if not isinstance(value, list) or not least <= len(value) <= most:
            return f"a list of {least:,} to {most:,} entries"
        if wrong := next(filter(None, map(each, value)), None):
            return f"a list of which each entry is {wrong}"
        return "a list of different entries" if distinct and len(set(value)) < len(value) else None

    return check


def _table(each: Check) -> Check:
    def check(value: Any) -> str | None:
        if not isinstance(value, dict):
            return "a table"
        wrong = {key: found for key, item in value.items() if (found := _name(key) or each(item))}
        return next((f"a table in which {_short_name(key)} is {found}" for key, found in wrong.items()), None)

    return check


def _one_of(*words: str) -> Check:
    return lambda value: None if isinstance(value, str) and value in words else f"one of {', '.join(words)}"


def _any_of(*checks: Check, expected: str) -> Check:
    def check(value: Any) -> str | None:
        return expected if all(one(value) for one in checks) else None

    return check


def _is(*kinds: type) -> Check:
    return lambda value: None if type(value) in kinds else " or ".join(kind.__name__ for kind in kinds)


def _plain(value: Any, depth: int = 8) -> str | None:
    """Numbers, text, and lists and tables of these: no dates."""
    if isinstance(value, dict | list) and depth:
        parts = [*value, *value.values()] if isinstance(value, dict) else value
        return next((found for part in parts if (found := _plain(part, depth - 1))), None)
    if isinstance(value, int) and not isinstance(value, bool):
        fits = abs(value) < 2**63
    else:
        fits = value is None or isinstance(value, bool | float | str)
    return None if fits else "numbers, text, and lists and tables of these"


_name = _text(1000)
_numbers = _any_of(_number(-math.inf, math.inf), _whole(-(2**63), 2**63), expected="a number of at most 64 bits")
_widths = _list(_whole(1, 100_000), 0, 100)
_PARAMETER = "a number, text of at most 1,000 characters, true, false, or a list of widths from 1 to 100,000"
_parameter = _any_of(_is(bool, type(None)), _numbers, _text(1000), _widths, expected=_PARAMETER)
_hyper_parameters = _table(_any_of(_parameter, _table(_parameter), expected=f"{_PARAMETER}, or a table of these"))
_backend = _one_of("jax", "gymnasium", "pettingzoo", "ale")
_steps = _whole(1, MOST_STEPS)
_count = _whole(1, MOST_AT_ONCE)
_seeds = _list(_whole(0, MOST_SEED), 1, MOST_AT_ONCE, distinct=True)
_options = _table(_plain)
_from_0 = _whole(0, MOST_STEPS)
_seconds = _number(0, math.inf)

_TRAINED: dict[str, Check] = {
    "environment": _name,
    "algorithm": _name,
    "hyper_parameters": _hyper_parameters,
}
#: of ``config.toml``
CONFIG: dict[str, Check] = _TRAINED | {
    "created": _text(100),
    "preset": _text(1000),
    "command": _list(_is(str), 0, 100_000),
    "versions": _table(_text(100)),
    "backend": _backend,
    "environment_options": _options,
    "steps": _steps,
    "n_envs": _count,
    "seeds": _seeds,
    "log_interval": _steps,
    "checkpoint_every": _seconds,
    "eval_every": _from_0,
    "eval_episodes": _count,
    "snapshot_every": _from_0,
    "start_from": _text(4096),
    "log": _list(_one_of(*LOG_FORMATS), 0, 3, distinct=True),
    "phases": _list(
        lambda phase: (
            None if isinstance(phase, dict) and not wrong(phase, _PHASE, _PHASE) else "the settings of a phase"
        ),
        0,
        1000,
    ),
}
_PHASE: dict[str, Check] = _TRAINED | {"backend": _backend, "steps": _steps, "environment_options": _options}
ALWAYS = ("environment", "algorithm")  #: what every configuration holds
#: of the state in the manifest of a checkpoint that holds an agent
AGENT: dict[str, Check] = _TRAINED | {
    "observation_space": _is(dict),
    "action_space": _is(dict),
    "n_envs": _count,
    "agents": _list(_name, 0, 10_000, distinct=True),
    "seeds": _seeds,
}
#: what else such a state may hold
AGENT_OPTIONAL: dict[str, Check] = {
    "backend": _backend,
    "environment_options": _options,
    "total": _from_0,
    "steps": _from_0,
    "schedule_steps": _from_0,
    "planned_steps": _steps,
    "phase": _whole(0, 1000),
    "elapsed": _seconds,
    "loop": _is(dict),
    "mean_reward": _number(-math.inf, math.inf),
}
#: what resuming needs of it
RESUMABLE = ("phase", "elapsed", "loop", "steps", "schedule_steps", "total")


def wrong(content: Mapping[str, Any], fields: Mapping[str, Check], required: Collection[str]) -> str | None:
    """What is wrong with the first field that is: one of ``fields`` out of its range, or of ``required`` missing."""
    for name in required:
        if name not in content:
            return f"{name} is missing"
    for name, check in fields.items():
        if name in content and (expected := check(content[name])):
            return f"{_short_name(name)} must be {expected}, got {_short(content[name])}"
    return None


def checked(content: Mapping[str, Any], fields: Mapping[str, Check], *, required: Collection[str]) -> dict[str, Any]:
    """``content`` itself. ``ValueError`` names a field that is wrong, or that is ``required`` and missing.

    What is not in ``fields`` may be any plain data.
    """
    others = {name: _plain for name in content if name not in fields}
    if found := wrong(content, {**fields, **others}, required):
        raise ValueError(found)
    return dict(content)


def _short_name(name: str) -> str:
    return name if len(name) <= 40 else shorten(name)


def _short(value: Any) -> str:
    """A value from a file, quoted without reading all of it."""
    try:
        return shorten(value)
    except ValueError:  # a number of more digits than Python turns into text
        return "a huge number"
