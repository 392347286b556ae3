"""Tuned settings as data: one TOML file per environment, one table per algorithm."""

import tomllib
from functools import cache
from importlib import resources
from typing import Any

from gymnasium import spaces

from tegu.core.code import is_registered
from tegu.core.errors import TeguError

_LARGEST_TABLE = 10_000  # states beyond which a table is no longer the natural choice


def preset(
    environment: str, algorithm: str | None, observation_space: Any = None, action_space: Any = None
) -> dict[str, Any]:
    """Settings for ``algorithm`` (or the best one known) on ``environment``: ``algorithm``, ``steps``, ``n_envs``, any
    hyper-parameters that differ from the algorithm's own defaults, and perhaps ``environment_options``."""
    table = load(environment)
    name = algorithm or table.get("default") or _fitting(observation_space, action_space)
    general: dict[str, Any] = load("general").get(name, {"steps": 100_000, "n_envs": 1})
    return {"algorithm": name, **(table.get(name) or general)}


def origin(environment: str, algorithm: str) -> str:
    """Where ``preset`` finds the settings, in words for a person."""
    if algorithm in load(environment):
        return f"[{algorithm}] of tegu/presets/{_file(environment)}"
    if algorithm in load("general"):
        return f"none for {environment}, so [{algorithm}] of tegu/presets/general.toml"
    return f"none for {environment} and {algorithm}, whose own defaults hold"


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
    shared = ("general.toml", "mpe.toml", "mujoco.toml")
    return sorted(f.name.removesuffix(".toml") for f in files if f.name.endswith(".toml") and f.name not in shared)


def _fitting(observation_space: Any, action_space: Any) -> str:
    """The algorithm to try first where no preset names one."""
    if isinstance(observation_space, spaces.Discrete) and isinstance(action_space, spaces.Discrete):
        return "q-learning" if observation_space.n <= _LARGEST_TABLE else "ppo"
    if isinstance(action_space, spaces.Dict):  # several agents
        return "maddpg"
    if observation_space is None:
        raise TeguError("name an algorithm: there is no preset for this environment")
    return "ppo"
