"""Algorithms by name, and their hyper-parameters as plain data. A closed list: no file can name other code."""

import dataclasses
import difflib
import math
from collections.abc import Mapping
from typing import Any

from tegu.algorithms.alphazero import AlphaZero
from tegu.algorithms.base import Algorithm
from tegu.algorithms.ddpg import DDPG
from tegu.algorithms.dqn import DQN
from tegu.algorithms.maddpg import MADDPG, MATD3, IndependentDDPG
from tegu.algorithms.mappo import IPPO, MAPPO
from tegu.algorithms.ppo import PPO
from tegu.algorithms.q_learning import QLearning
from tegu.core.errors import TeguError
from tegu.core.schedule import Linear
from tegu.core.spec import EnvironmentSpec

ALGORITHMS: dict[str, type[Algorithm]] = {
    cls.name: cls for cls in (QLearning, DQN, PPO, DDPG, AlphaZero, MADDPG, MATD3, IndependentDDPG, IPPO, MAPPO)
}

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


def algorithm(name: str, hyper_parameters: Mapping[str, Any]) -> Algorithm:
    """The algorithm called ``name`` with some hyper-parameters set. Raises ``TeguError`` naming what does not fit."""
    if name not in ALGORITHMS:
        near = difflib.get_close_matches(name, ALGORITHMS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(ALGORITHMS)}"
        raise TeguError(f"there is no algorithm {name!r}: {hint}")
    fields = {field.name: field for field in dataclasses.fields(ALGORITHMS[name])}
    for key in hyper_parameters:
        if key not in fields:
            near = [ALIASES[key]] if ALIASES.get(key) in fields else difflib.get_close_matches(key, fields, n=1)
            hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(fields)}"
            raise TeguError(f"{name} has no hyper-parameter {key!r}: {hint}")
    values = {key: _parsed(name, fields[key], value) for key, value in hyper_parameters.items()}
    return ALGORITHMS[name](**values)


def fitting(spec: EnvironmentSpec) -> list[str]:
    """The algorithms that can learn in an environment, as they are before any hyper-parameter is set."""
    return [name for name, kind in ALGORITHMS.items() if _fits(kind(), spec)]


def hyper_parameters(algorithm: Algorithm) -> dict[str, Any]:
    """Every hyper-parameter as plain data, from which ``algorithm`` builds the same again."""
    return {field.name: _plain(getattr(algorithm, field.name)) for field in dataclasses.fields(algorithm)}


def schedule(text: str) -> Linear | float:
    """A schedule from text: ``"lin_3e-4"`` falls linearly from there to 0 (as in RL Zoo), a number stays."""
    try:
        return Linear(float(text.removeprefix("lin_"))) if text.startswith("lin_") else float(text)
    except ValueError:
        raise TeguError(f"expected a number or a schedule such as lin_3e-4, got {text!r}") from None


def _fits(algorithm: Algorithm, spec: EnvironmentSpec) -> bool:
    if spec.agents and not algorithm.several:
        return False
    try:
        algorithm.validate(spec)
    except TeguError:
        return False
    return True


def _plain(value: Any) -> Any:
    if isinstance(value, Linear):
        whole = value.final == 0.0 and value.fraction == 1.0
        return (
            f"lin_{value.initial}"
            if whole
            else {"initial": value.initial, "final": value.final, "fraction": value.fraction}
        )
    return list(value) if isinstance(value, tuple) else value


def _parsed(name: str, field: dataclasses.Field[Any], value: Any) -> Any:
    """``value`` as the field's type; text is read as a person would type it."""
    where = f"{name}: {field.name}"
    kind = str(field.type)
    kind = {"<class 'int'>": "int", "<class 'float'>": "float", "<class 'bool'>": "bool", "<class 'str'>": "str"}.get(
        kind, kind
    )
    if isinstance(value, Linear) or (value is None and "None" in kind):
        return value
    if isinstance(value, Mapping) and "Linear" in kind:
        return Linear(**{key: float(number) for key, number in value.items()})
    if isinstance(value, str) and value.startswith("lin_") and "Linear" in kind:
        return schedule(value)
    if kind.startswith("tuple"):
        return tuple(int(width) for width in value)
    if kind == "str":
        return value
    if kind == "bool":
        if not isinstance(value, bool):
            raise TeguError(f"{where} must be true or false, got {value!r}")
        return value
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TeguError(f"{where} must be a number, got {value!r}") from None
    if not math.isfinite(number):
        raise TeguError(f"{where} must be finite, got {value!r}")
    if kind == "int" and number != int(number):
        raise TeguError(f"{where} must be a whole number, got {value!r}")
    return int(number) if kind == "int" else number
