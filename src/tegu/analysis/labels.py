"""What tells runs apart: the settings in which they differ."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

# What two runs may differ in and still be the same experiment: its seeds, its origin, and how it was recorded.
_INCIDENTAL = {
    "seeds",
    "created",
    "command",
    "versions",
    "preset",
    "log_interval",
    "checkpoint_every",
    "eval_every",
    "eval_episodes",
    "snapshot_every",
}


def settings_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of an experiment with dotted names; without what is None, such as a limit that is off."""
    return dict(_flat({key: value for key, value in config.items() if key not in _INCIDENTAL}))


def differing(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names of those that are not the same everywhere."""
    names = dict.fromkeys(name for each in settings for name in each)
    return [name for name in names if len({str(each.get(name)) for each in settings}) > 1]


def described(own: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """``gamma=0.9`` for each of the names that there is, without its beginning where that is clear."""
    return [f"{_short(name, names)}={_value(own[name])}" for name in names if name in own]


def labels_of(agents: Sequence[str]) -> list[str]:
    """What tells agents apart: ``20,000`` of ``RUN@step=20000`` where all are of one run."""
    run, *others = {name.partition("@")[0] for name in agents}
    if others:
        return list(agents)
    which = [name.removeprefix(run).removeprefix("@").removeprefix("step=") or "last" for name in agents]
    return [f"{int(each):,}" if each.isdigit() else each for each in which]


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif value is not None:
            yield prefix + key, value


def _short(name: str, names: Sequence[str]) -> str:
    """The last part of a dotted name where that is clear."""
    last = name.rpartition(".")[2]
    return last if sum(other.rpartition(".")[2] == last for other in names) == 1 else name


def _value(value: Any) -> str:
    """A setting without spaces, so that a label breaks between settings."""
    return f"{value:g}" if isinstance(value, float) else re.sub(r"\s", "", str(value))
