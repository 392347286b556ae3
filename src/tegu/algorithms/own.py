"""Algorithms and networks of a person's own: named for files, and named again by the person when files are read."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from tegu.algorithms import registry
from tegu.algorithms.base import Algorithm
from tegu.algorithms.hyper_parameters import settings_of
from tegu.algorithms.registry import Choice
from tegu.core.code import is_code, qualified
from tegu.core.errors import TeguError
from tegu.nn.custom import named_network, network_name, recorded_network


class CodeWanted(TeguError):
    """A file names code, which must be passed again."""


def prepared(algorithm: Algorithm) -> Algorithm:
    """An algorithm as a person gives it, ready to train: with the name that files get, and its network imported.

    A class that is not what its name stands for, as one derived from PPO, is called ``module:Class``.
    """
    algorithm = _parsed(algorithm)
    for path, leaf in jax.tree_util.tree_leaves_with_path(algorithm):
        if not isinstance(leaf, int | float | np.generic | np.ndarray | jax.Array):
            field = f"{type(algorithm).__name__}{jax.tree_util.keystr(path)}"
            raise TeguError(f"{field} is {leaf!r}, which is not a number: make it eqx.field(static=True, default=...)")
    network = own_network(algorithm)
    if isinstance(network, str):
        algorithm = _with_network(algorithm, named_network(network))
    return algorithm if _has_its_name(algorithm) else dataclasses.replace(algorithm, name=qualified(type(algorithm)))


def restored(
    name: str,
    hyper_parameters: Mapping[str, Any],
    whose: str,
    *,
    algorithm: Choice | None = None,
    network: Callable[..., Any] | str | None = None,
) -> Algorithm:
    """The algorithm that a file names. ``CodeWanted`` unless a person has given again what of it is code.

    ``whose`` file it is comes first in what is said.
    """
    made = registry.algorithm(_allowed(name, algorithm, whose), hyper_parameters)
    made = dataclasses.replace(made, name=name)
    recorded = own_network(made)
    if recorded is None:
        if network is None:
            return made
        raise TeguError(
            f"{whose} was trained without a network of one's own: it needs no network {network_name(network)}"
        )
    if network is None:
        typed = recorded if is_code(recorded) else f"MODULE:{recorded}"
        raise CodeWanted(
            f"{whose} was trained with the network {recorded}, which is your own code: "
            f"pass it again (--network {typed}, or network= in Python)"
        )
    return _with_network(made, recorded_network(recorded, network, whose))


def _parsed(algorithm: Algorithm) -> Algorithm:
    """The algorithm with every hyper-parameter as its field holds it. Raises ``TeguError`` naming what does not fit."""
    known = settings_of(type(algorithm))
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(algorithm):
        value = getattr(algorithm, field.name)
        if isinstance(value, Algorithm):
            new: Any = _parsed(value)
        elif field.name in known and not isinstance(value, np.ndarray | jax.Array):
            new = known[field.name].parse(value, f"{type(algorithm).__name__}: {field.name}")
        else:
            continue
        if new is not value and (type(new) is not type(value) or new != value):
            changes[field.name] = new
    return dataclasses.replace(algorithm, **changes) if changes else algorithm


def own_network(algorithm: Algorithm) -> Any:
    """A person's own network, as a function or by its name; None where there is none."""
    for field in dataclasses.fields(algorithm):
        value = getattr(algorithm, field.name)
        if isinstance(value, Algorithm) and (found := own_network(value)) is not None:
            return found
        names = field.metadata.get("networks")
        if names is not None and value is not None and value not in names:
            return value
    return None


def _with_network(algorithm: Algorithm, network: Callable[..., Any]) -> Algorithm:
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(algorithm):
        value = getattr(algorithm, field.name)
        if isinstance(value, Algorithm):
            changes[field.name] = _with_network(value, network)
        elif "networks" in field.metadata:
            changes[field.name] = network
    return dataclasses.replace(algorithm, **changes)


def _has_its_name(algorithm: Algorithm) -> bool:
    """Whether an algorithm is found by its name."""
    try:
        return bool(algorithm.name) and registry.class_of(algorithm.name) is type(algorithm)
    except TeguError:
        return False


def _allowed(name: str, given: Choice | None, whose: str) -> Choice:
    """What to take for the algorithm that a file calls ``name``, where a person has ``given`` one."""
    if given is None:
        if is_code(name):
            typed = name.replace("__main__:", "MODULE:")  # a script has another name when it is imported
            raise CodeWanted(
                f"{whose} was trained with {name}, which is your own code: "
                f"pass it again (--algorithm {typed}, or algorithm= in Python)"
            )
        return name
    found = registry.chosen(given)
    if isinstance(found, type):
        known = registry.class_of(name) if not is_code(name) else None
        script = name == f"__main__:{found.__qualname__}"  # which has another name when it is imported
        if qualified(found) == name or found is known or script:
            return name if found is known else found
    elif found == name:
        return name
    raise TeguError(f"{whose} was trained with {name}, not with {registry.name_of(found)}")
