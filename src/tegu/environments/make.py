"""Environments by name: ours in JAX, Gymnasium's, and a person's own."""

import difflib
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium

from tegu.environments.base import Environment
from tegu.errors import TeguError

NATIVE = {
    "lizard": "tegu.environments.lizard:Lizard",
    "CartPole-v1": "tegu.environments.cartpole:CartPole",
    "Acrobot-v1": "tegu.environments.acrobot:Acrobot",
    "MountainCar-v0": "tegu.environments.mountain_car:MountainCar",
    "MountainCarContinuous-v0": "tegu.environments.mountain_car:MountainCarContinuous",
    "Pendulum-v1": "tegu.environments.pendulum:Pendulum",
    "FrozenLake-v1": "tegu.environments.frozen_lake:FrozenLake",
    "FrozenLake8x8-v1": "tegu.environments.frozen_lake:FrozenLake",
    "CliffWalking-v1": "tegu.environments.cliff_walking:CliffWalking",
    "CliffWalkingSlippery-v1": "tegu.environments.cliff_walking:CliffWalking",
    "Taxi-v4": "tegu.environments.taxi:Taxi",
}
"""Our environments in pure JAX. The names are Gymnasium's where both have the environment."""

_OPTIONS: dict[str, dict[str, Any]] = {
    "FrozenLake8x8-v1": {"map_name": "8x8"},
    "CliffWalkingSlippery-v1": {"is_slippery": True},
}

_PACKAGES = {"ALE": ("ale_py", "tegu[atari]")}
"""Environment namespaces that live in packages of their own: what to import, what to install."""


@dataclass(frozen=True)
class Source:
    """Where environments come from: one in JAX, or a function that makes one of Gymnasium's."""

    id: str
    native: Environment | None = None
    make: Callable[[], gymnasium.Env] | None = None

    @property
    def backend(self) -> str:
        return "jax" if self.native is not None else "gymnasium"


class _Lent(gymnasium.Wrapper):
    """Somebody's own instance: it is theirs to close."""

    def close(self) -> None:
        pass


def find(
    environment: str | Environment | gymnasium.Env | Callable[[], gymnasium.Env],
    backend: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> Source:
    """Where to get ``environment`` from.

    A name is ours in JAX if we have it (unless ``backend="gymnasium"``), else Gymnasium's; ``"module:Class"`` names a
    class of either kind; an instance or a function that makes one is taken as it is. ``options`` go to the
    constructor. Raises ``TeguError`` naming the nearest match, or what to install.
    """
    if backend not in (None, "jax", "gymnasium"):
        raise TeguError(f"backend must be 'jax' or 'gymnasium', got {backend!r}")
    options = dict(options or {})
    if isinstance(environment, type) and issubclass(environment, Environment):
        environment = environment(**options)
    if isinstance(environment, Environment):
        return Source(environment.id, native=environment)
    if isinstance(environment, gymnasium.Env):
        return Source(_instance_id(environment), make=lambda: _Lent(environment))
    if callable(environment):
        return Source(getattr(environment, "__name__", type(environment).__name__), make=environment)  # type: ignore[arg-type]
    if environment in NATIVE and backend != "gymnasium":
        return Source(
            environment, native=_build(environment, NATIVE[environment], _OPTIONS.get(environment, {}) | options)
        )
    if is_code(environment):
        return _own(environment, options)
    if backend == "jax":
        raise TeguError(
            f"{environment} does not exist in JAX{_nearest(environment, NATIVE)}; we have {', '.join(NATIVE)}"
        )
    _register(environment)
    return Source(environment, make=lambda: _from_gymnasium(environment, options))


def is_code(name: str) -> bool:
    """Whether a name says which code to import (``module:Class``); such a name is only taken from a person."""
    return ":" in name


def make(environment: str, backend: str | None = None, **options: Any) -> Environment | gymnasium.Env:
    """One environment by name, as ``find`` resolves it."""
    source = find(environment, backend, options)
    return source.native if source.native is not None else source.make()  # type: ignore[misc]


def names() -> dict[str, str]:
    """Every environment that can be made here by name, with its backend."""
    found = dict.fromkeys(gymnasium.registry, "gymnasium")
    return dict(sorted((found | dict.fromkeys(NATIVE, "jax")).items()))


def _instance_id(environment: gymnasium.Env) -> str:
    return environment.spec.id if environment.spec is not None else type(environment.unwrapped).__name__


def _build(name: str, path: str, options: Mapping[str, Any]) -> Any:
    module, _, attribute = path.partition(":")
    try:
        factory = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise TeguError(f"cannot import the environment {name}: {error}") from error
    try:
        return factory(**options)
    except TypeError as error:
        raise TeguError(f"cannot make {name} with {dict(options)}: {error}") from error


def _from_gymnasium(name: str, options: Mapping[str, Any]) -> gymnasium.Env:
    try:
        return gymnasium.make(name, disable_env_checker=True, **options)
    except (gymnasium.error.Error, TypeError) as error:  # a package that is missing, an option that does not exist
        raise TeguError(f"cannot make {name}: {error}") from error


def _own(name: str, options: Mapping[str, Any]) -> Source:
    environment = _build(name, name, options)
    if isinstance(environment, Environment):
        return Source(name, native=environment)
    if isinstance(environment, gymnasium.Env):
        return Source(name, make=lambda: _build(name, name, options))
    raise TeguError(
        f"{name} is neither a gymnasium.Env nor a tegu.Environment, it is a {type(environment).__mro__[0].__name__}"
    )


def _register(name: str) -> None:
    """Make sure that Gymnasium knows ``name``, importing the package of its namespace if there is one."""
    if name in gymnasium.registry:
        return
    namespace = name.partition("/")[0]
    if namespace in _PACKAGES:
        package, extra = _PACKAGES[namespace]
        try:
            gymnasium.register_envs(importlib.import_module(package))
        except ImportError as error:
            raise TeguError(f"{name} needs {extra}: pip install '{extra}'") from error
    if name not in gymnasium.registry:
        raise TeguError(f"there is no environment {name}{_nearest(name, [*NATIVE, *gymnasium.registry])}")


def _nearest(name: str, known: Any) -> str:
    near = difflib.get_close_matches(name, list(dict.fromkeys(known)), n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(near)}?" if near else "; `tegu list` shows all there are"
