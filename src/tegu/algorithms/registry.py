"""Algorithms by name: those of ``catalogue.py``, and those that packages register. No file can name other code.

Nothing heavy is imported until one is wanted.
"""

import difflib
import inspect
import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import cache
from importlib import import_module
from reprlib import repr as shorten
from typing import TYPE_CHECKING, Any, TypeAlias

from tegu.algorithms.catalogue import ALGORITHMS
from tegu.algorithms.plugins import loaded, package, registered
from tegu.core.code import imported, is_code, one_line, qualified, refuse_file
from tegu.core.errors import TeguError

if TYPE_CHECKING:
    from tegu.algorithms.base import Algorithm
    from tegu.algorithms.hyper_parameters import Setting
    from tegu.core.spec import EnvironmentSpec

Choice: TypeAlias = str | type[Any]  #: a name, or a class that a person has named or given

# Spellings of other libraries that people try first.
ALIASES = {
    "lr": "learning_rate",
    "num_steps": "n_steps",
    "minibatch_size": "batch_size",
    "update_epochs": "n_epochs",
    "clip_coef": "clip_range",
    "discount": "gamma",
    "alpha": "learning_rate",
    "epsilon": "exploration_final_eps",
}


def class_of(algorithm: Choice) -> "type[Algorithm]":
    """The class of an algorithm. Raises ``TeguError`` with the nearest match if there is none of that name."""
    if not isinstance(algorithm, str):
        return _checked(algorithm, "the algorithm")
    if algorithm in ALGORITHMS:
        module, _, cls = ALGORITHMS[algorithm].path.partition(":")
        return getattr(import_module(module), cls)
    if is_code(algorithm):
        raise TeguError(f"the algorithm {algorithm} is your own code: pass it again")
    points = registered(ALGORITHMS)
    if algorithm not in points:
        near = difflib.get_close_matches(algorithm, [*ALGORITHMS, *points], n=1)
        hint = f"did you mean {near[0]}?" if near else "tegu list algorithms shows those there are"
        raise TeguError(f"there is no algorithm {shorten(algorithm)}: {hint}")
    return _checked(loaded(points[algorithm]), f"{algorithm} of {package(points[algorithm])}")


def chosen(algorithm: Choice) -> Choice:
    """An algorithm that a person chooses: by name, as a class, or as ``module:Class``, which is imported."""
    if isinstance(algorithm, str) and algorithm not in ALGORITHMS:
        refuse_file(algorithm, "the algorithm")
        if is_code(algorithm):
            return _checked(imported(algorithm, "the algorithm"), algorithm)
    if isinstance(algorithm, str):
        return algorithm
    variant = getattr(algorithm, "algorithm_name", None)  # tegu.MAPPO and the like
    return variant if isinstance(variant, str) else _checked(algorithm, "the algorithm")


def name_of(algorithm: Choice) -> str:
    """The name by which files know an algorithm: a class is its ``module:Class``."""
    return algorithm if isinstance(algorithm, str) else qualified(algorithm)


def algorithm(choice: Choice, hyper_parameters: Mapping[str, Any]) -> "Algorithm":
    """The algorithm with some hyper-parameters set. Raises ``TeguError`` naming what does not fit."""
    known, name = settings(choice), name_of(choice)
    for key in hyper_parameters:
        if key not in known:
            raise TeguError(unknown(key, known, name))
    values = {key: known[key].parse(value, f"{name}: {key}") for key, value in hyper_parameters.items()}
    return _made(class_of(choice), {**_own_values(choice), **values, "name": name})


def unknown(key: str, known: Collection[str], name: str) -> str:
    """The line about a hyper-parameter that the algorithm ``name`` lacks: what was meant, or where all are listed."""
    near = [ALIASES[key]] if ALIASES.get(key) in known else difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"`tegu train ENV {name} --help` lists those it has"
    return f"{name} has no hyper-parameter {shorten(key)}: {hint}"


def settings(choice: Choice) -> "dict[str, Setting]":
    """The hyper-parameters of an algorithm by name, with the defaults of the variant."""
    from tegu.algorithms.hyper_parameters import settings_of

    defaults, own = _defaults(choice), settings_of(class_of(choice))
    return {key: replace(setting, default=defaults.get(key, setting.default)) for key, setting in own.items()}


def summary(name: str) -> str:
    """What an algorithm is, in one sentence: a variant's own, or the first of its class's docstring."""
    own = ALGORITHMS[name].summary if name in ALGORITHMS else ""
    return own or re.split(r"(?<=\.)\s+(?=[A-Z])", inspect.getdoc(class_of(name)) or "")[0].replace("\n", " ")


@cache
def constructor(name: str) -> Any:
    """What stands for an algorithm in Python: its class, or the function that makes the variant, always the same."""
    found, cls = ALGORITHMS[name], class_of(name)
    if not found.defaults:
        return cls

    def variant(**hyper_parameters: Any) -> "Algorithm":
        return cls(**{**_own_values(name), **hyper_parameters, "name": name})

    variant.__name__ = variant.__qualname__ = found.public
    variant.algorithm_name = name  # type: ignore[attr-defined]
    variant.__doc__ = f"{found.summary}\n\n``{cls.__name__}`` with other defaults: {dict(found.defaults)}."
    return variant


def fitting(spec: "EnvironmentSpec") -> list[str]:
    """The algorithms that can learn in an environment, as they are before any hyper-parameter is set."""
    return [name for name in ALGORITHMS if _fits(_default(name), spec)]


@cache
def _default(name: str) -> "Algorithm":
    return constructor(name)()


def _fits(algorithm: "Algorithm", spec: "EnvironmentSpec") -> bool:
    if spec.agents and not algorithm.multi_agent:
        return False
    try:
        algorithm.validate(spec)
    except TeguError:
        return False
    return True


def _defaults(choice: Choice) -> Mapping[str, Any]:
    return ALGORITHMS[choice].defaults if isinstance(choice, str) and choice in ALGORITHMS else {}


def _own_values(choice: Choice) -> dict[str, Any]:
    """The defaults of a variant as its fields hold them."""
    known = settings(choice)
    return {key: known[key].parse(value, key) for key, value in _defaults(choice).items()}


def _checked(found: Any, what: str) -> "type[Algorithm]":
    from tegu.algorithms.base import Algorithm

    if not isinstance(found, type) or not issubclass(found, Algorithm):
        kind = f"{found.__module__}.{found.__name__}" if isinstance(found, type) else type(found).__name__
        raise TeguError(f"{what} must be a class derived from tegu.Algorithm, it is {kind}")
    return found


def _made(cls: "type[Algorithm]", values: Mapping[str, Any]) -> "Algorithm":
    try:
        return cls(**values)
    except TeguError:
        raise
    except Exception as error:  # an abstract method, a constructor that takes no name, whatever it does
        raise TeguError(f"cannot make {values['name']}: {one_line(error)}") from error
