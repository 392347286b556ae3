"""Tuned settings as data: one TOML file per environment, one table per algorithm."""

import tomllib
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

from gymnasium import spaces

from tegu.core.code import is_registered
from tegu.core.errors import TeguError

_LARGEST_TABLE = 10_000  # states beyond which a table is no longer the natural choice


class Fitting(NamedTuple):
    """The algorithm to try first where no preset names one."""

    algorithm: str
    why: str
    file: str = "general"  #: where its settings are


def preset(
    environment: str,
    algorithm: str | None,
    observation_space: Any = None,
    action_space: Any = None,
    *,
    hindsight: bool = False,
) -> dict[str, Any]:
    """Settings for ``algorithm`` (or the best one known) on ``environment``: ``algorithm``, ``steps``, ``n_envs``, any
    hyper-parameters that differ from the algorithm's own defaults, and perhaps ``environment_options``. ``origin`` says
    in words where they come from.

    ``hindsight``: whether goals are observed there, and what reaching another one would have paid is known.
    """
    table = load(environment)
    name = algorithm or table.get("default")
    fitting = Fitting(name, "") if name else _fitting(observation_space, action_space, hindsight)
    name, own, general = fitting.algorithm, table.get(fitting.algorithm), load(fitting.file).get(fitting.algorithm)
    if own:
        origin = f"[{name}] of tegu/presets/{_file(environment)}"
    elif general:
        why = f": {fitting.why}" if fitting.why else ""
        origin = f"none for {environment}, so [{name}] of tegu/presets/{fitting.file}.toml{why}"
    else:
        origin = f"none for {environment} and {name}, whose own defaults hold"
    return {"algorithm": name, **(own or general or {"steps": 100_000, "n_envs": 1}), "origin": origin}


def _file(environment: str) -> str:
    """The name of an environment's file: its own, or that of all games in its namespace, such as ``ALE/``.

    A package that registers the environment (``package:Name-v0``) is left out.
    """
    name = environment.rpartition(":")[2] if is_registered(environment) else environment
    return f"{name.partition('/')[0]}.toml"


@cache
def load(environment: str) -> dict[str, Any]:
    """The preset file of an environment, empty if there is none.

    ``like`` names another file that it builds on, and in an algorithm's table another table, of that file or further
    up in its own.
    """
    file = resources.files(__package__) / _file(environment)
    own = tomllib.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    table = dict(load(own.pop("like"))) if "like" in own else {}
    for name, value in own.items():
        builds = isinstance(value, dict) and "like" in value
        table[name] = table[value.pop("like")] | value if builds else value
    return table


def names() -> list[str]:
    """Environments, or namespaces of them such as ``ALE``, that have presets."""
    files = resources.files(__package__).iterdir()
    shared = ("general.toml", "goals.toml", "mpe.toml", "mujoco.toml")
    return sorted(f.name.removesuffix(".toml") for f in files if f.name.endswith(".toml") and f.name not in shared)


def _fitting(observation_space: Any, action_space: Any, hindsight: bool) -> Fitting:
    discrete = isinstance(action_space, spaces.Discrete)
    if hindsight and isinstance(action_space, spaces.Discrete | spaces.Box):
        why = "goals are observed, and hindsight learns from those that were missed"
        return Fitting("dqn" if discrete else "sac", why, "goals")
    if isinstance(observation_space, spaces.Discrete) and discrete and observation_space.n <= _LARGEST_TABLE:
        return Fitting("q-learning", "a table holds the states and actions")
    if isinstance(action_space, spaces.Dict):
        return Fitting("maddpg", "there are several agents")
    if observation_space is None:
        raise TeguError("name an algorithm: there is no preset for this environment")
    return Fitting("ppo", "it takes all observations and actions")
