"""Environments by name: Tegu's in JAX, Gymnasium's, PettingZoo's, and a user's own."""

import difflib
import importlib.util
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from types import ModuleType
from typing import Any

import gymnasium

from tegu.core.code import is_code, is_registered, one_line, refuse_file
from tegu.core.errors import TeguError
from tegu.environments.adapters import atari, brax
from tegu.environments.adapters.base import HostEnvironments
from tegu.environments.adapters.gymnasium import GymnasiumEnvironments
from tegu.environments.adapters.mujoco import choose_renderer, is_mujoco, without_notices
from tegu.environments.adapters.pettingzoo import ParallelEnvironment, is_pettingzoo
from tegu.environments.base import Environment
from tegu.environments.hints import EXPECTED, described, nearest, of_tegu
from tegu.environments.native import NATIVE, OPTIONS

BACKENDS = ("jax", "gymnasium", "pettingzoo", "ale")
"""Whose implementation of an environment there can be."""

_PACKAGES = {
    "ALE/": ("ale_py", "tegu[atari]"),
    "Fetch": ("gymnasium_robotics", "tegu[robotics]"),
    "dm_control/": ("tegu.environments.adapters.dm_control", "tegu[dm_control]"),
}
"""How names begin that packages of their own register: what to import, what to install."""

_EXTRAS = {"mpe2": "pettingzoo", "pettingzoo": "pettingzoo", "gymnasium_robotics": "robotics"}
"""Packages whose environments a person names by the package, and the extra that brings them."""


@dataclass(frozen=True)
class Source:
    """Where environments come from: one in JAX, or a function that makes one in the shape of Gymnasium's."""

    id: str
    native: Environment | None = None
    make: Callable[[], gymnasium.Env] | None = None
    backend: str = "gymnasium"
    options: dict[str, Any] = field(default_factory=dict)  #: what the constructor was given
    single: bool = False  #: an instance that the user made: it cannot be made a second time
    kind: type | None = None  #: the class, where an object or a function was given and no name
    make_several: Callable[[Sequence[Sequence[int]]], HostEnvironments] | None = None  #: if not by calling ``make``

    def environments(self, entropy: Sequence[Sequence[int]]) -> HostEnvironments:
        """Environments of the host, whose randomness follows from the ``entropy`` of each."""
        if self.make is None:
            raise TeguError(f"{self.id} is not a Gymnasium environment")
        return self.make_several(entropy) if self.make_several else GymnasiumEnvironments(self.make, entropy)

    def reward_function(self) -> Any:
        """See ``EnvironmentSpec.reward``; an environment of the host is made to find out."""
        if self.native is not None:
            return self.native.reward_function
        with closing(self.environments([(0,)])) as probe:
            return probe.reward_function


class _KeptOpen(gymnasium.Wrapper):
    """An instance that the user made: ``close`` leaves it open."""

    def close(self) -> None:
        pass


def find(
    environment: str | Environment | gymnasium.Env | Callable[[], gymnasium.Env],
    backend: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> Source:
    """Where to get ``environment`` from.

    A name is Tegu's JAX implementation if there is one (unless ``backend`` says otherwise), one of Brax's or MuJoCo
    Playground's (``brax/...``, ``playground/...``), a game of the Arcade Learning Environment as learners see them
    (``ALE/...``, see ``AtariOptions``), else Gymnasium's.
    ``"module:Class"`` names a class of either kind, ``"package:Name-v0"`` what a package registers with Gymnasium; an
    instance or a function that makes one is taken as it is. ``options`` go to the constructor, or to the function.
    Raises ``TeguError`` naming the nearest match, or what to install.
    """
    if backend not in (None, *BACKENDS):
        raise TeguError(f"backend must be one of {', '.join(BACKENDS)}, got {backend!r}")
    options = dict(options or {})
    if isinstance(environment, Environment | gymnasium.Env) or is_pettingzoo(environment):
        return _existing(environment, options)
    if callable(environment):
        name = getattr(environment, "__name__", type(environment).__name__)
        made = _made(name, lambda: adapted(_called(name, environment, options)), options, unnamed=True)
        return replace(made, id=made.native.id) if made.native is not None else made
    if not isinstance(environment, str):
        raise TeguError(f"the environment must be {EXPECTED}, got {described(environment)}")
    if environment in NATIVE and backend in (None, "jax"):
        native = _build(environment, NATIVE[environment], OPTIONS.get(environment, {}) | options)
        return Source(environment, native, backend="jax", options=options)
    if environment.partition("/")[0] in brax.PACKAGES and backend in (None, "jax"):
        body = _called(environment, partial(brax.made, environment), options)
        return Source(environment, body, backend="jax", options=options)
    if is_code(environment) and not is_registered(environment):
        return _made(environment, lambda: _build(environment, environment, options), options)
    if backend == "jax":
        raise TeguError(
            f"{environment} does not exist in JAX{nearest(environment, NATIVE)}; expected one of {', '.join(NATIVE)}"
        )
    if backend == "pettingzoo":
        factory = _mpe2(environment)
        return Source(
            environment, make=lambda: adapted(_called(environment, factory, options)), backend=backend, options=options
        )
    _register(environment)
    if backend == "ale" or (backend is None and environment.startswith("ALE/")):
        one, several = atari.makers(environment, options)
        return Source(environment, make=one, make_several=several, backend="ale", options=options)
    return Source(environment, make=lambda: _from_gymnasium(environment, options), options=options)


def adapted(environment: Any) -> Any:
    """An environment of PettingZoo's in the shape of Gymnasium's; others as they are."""
    return ParallelEnvironment(environment) if is_pettingzoo(environment) else environment


def make(environment: str, backend: str | None = None, **options: Any) -> Environment | gymnasium.Env:
    """One environment by name, as ``find`` resolves it."""
    source = find(environment, backend, options)
    return source.native if source.native is not None else source.make()  # type: ignore[misc]


def unadapted(environment: str, backend: str | None = None, **options: Any) -> Any:
    """One environment by name as its author wrote it: one of PettingZoo's keeps its own shape."""
    if is_code(environment) and not is_registered(environment):
        return _called(environment, _imported(environment, environment), options)
    return make(environment, backend, **options)


def names() -> dict[str, str]:
    """Every environment that can be made here by name, with its backend; Brax's and Playground's are not listed."""
    if importlib.util.find_spec("dm_control"):
        with suppress(Exception):  # whatever dm_control does when MuJoCo is of another release: then there are none
            importlib.import_module(_PACKAGES["dm_control/"][0])
    found = dict.fromkeys(gymnasium.registry, "gymnasium")
    return dict(sorted((found | dict.fromkeys(NATIVE, "jax")).items()))


def _instance_id(environment: gymnasium.Env) -> str:
    inner = environment.unwrapped
    if isinstance(inner, ParallelEnvironment):
        return str(inner.parallel)
    return environment.spec.id if environment.spec is not None else type(inner).__name__


def _backend(environment: gymnasium.Env) -> str:
    return "pettingzoo" if isinstance(environment.unwrapped, ParallelEnvironment) else "gymnasium"


def _kind(environment: Any) -> type:
    """The class of what a person wrote, within whatever is around it."""
    inner = getattr(environment, "unwrapped", environment)
    return type(inner.parallel if isinstance(inner, ParallelEnvironment) else inner)


def _build(name: str, path: str, options: Mapping[str, Any]) -> Any:
    return adapted(_called(name, _imported(name, path), options))


def _imported(name: str, path: str) -> Any:
    """The class or function that ``module:Class`` names; of ``module:`` the module."""
    module, _, attribute = path.partition(":")
    if is_code(name):  # a name of ours may have a slash
        refuse_file(name, "the environment")
    try:
        package = importlib.import_module(module)
        return _attribute(package, attribute) if attribute else package
    except (Exception, SystemExit) as error:  # whatever the module does when it is imported
        if isinstance(error, ModuleNotFoundError) and error.name in _EXTRAS:
            extra = f"tegu[{_EXTRAS[error.name]}]"
            raise TeguError(f"{name} needs {extra}: pip install '{extra}'") from error
        raise TeguError(f"cannot import the environment {name}: {one_line(error)}") from error


def _called(name: str, factory: Any, options: Mapping[str, Any]) -> Any:
    if not callable(factory):
        raise TeguError(f"cannot make {name}: it is a {type(factory).__name__}, not a class or function")
    try:
        return factory(**options)
    except TeguError:
        raise
    except Exception as error:  # whatever a person's constructor does
        given = f" with {dict(options)}" if options else ""
        raise TeguError(f"cannot make {name}{given}: {one_line(error)}") from error


def _attribute(package: ModuleType, name: str) -> Any:
    """A class or function of a package; PettingZoo's packages have a module for each environment instead."""
    found = getattr(package, name, None)
    if found is not None and not isinstance(found, ModuleType):
        return found
    modules = [module.name for module in pkgutil.iter_modules(getattr(package, "__path__", []))]
    if name not in modules:
        own = [each for each, value in vars(package).items() if callable(value)]
        near = difflib.get_close_matches(name, [*own, *modules], n=1)
        raise AttributeError(f"{package.__name__} has no {name}" + (f", did you mean {near[0]}?" if near else ""))
    module = importlib.import_module(f"{package.__name__}.{name}")
    return getattr(module, "parallel_env", None) or module.env


def _mpe2(name: str) -> Any:
    """The constructor of the environment in ``mpe2``, the package that Tegu's MPE follows."""
    try:
        importlib.import_module("mpe2")
    except ImportError as error:
        raise TeguError(f"{name} of PettingZoo needs tegu[pettingzoo]: pip install 'tegu[pettingzoo]'") from error
    particles = [known for known, path in NATIVE.items() if path.startswith("tegu.environments.particle.")]
    if name not in particles:
        raise TeguError(
            f"{name} is none of PettingZoo's particle environments{nearest(name, particles)} "
            "(others are named with their package, such as pettingzoo.sisl:waterworld_v4)"
        )
    return _imported(name, f"mpe2:{name}")


def _from_gymnasium(name: str, options: Mapping[str, Any]) -> gymnasium.Env:
    mujoco = is_mujoco(name)
    if mujoco and options.get("render_mode") == "rgb_array":
        choose_renderer()
    try:
        with without_notices() if mujoco else nullcontext():
            return gymnasium.make(name, disable_env_checker=True, **options)
    except TeguError:
        raise
    except (gymnasium.error.Error, ImportError) as error:  # what is missing
        raise TeguError(f"cannot make {name}: {of_tegu(' '.join(str(error).split()))}") from error
    except Exception as error:  # an unknown option, or whatever a person's constructor does
        raise TeguError(f"cannot make {name}: {one_line(error)}") from error


def _existing(environment: Any, options: Mapping[str, Any]) -> Source:
    """An instance that the user made."""
    own = adapted(environment)
    name = own.id if isinstance(own, Environment) else _instance_id(own)
    if options:
        raise TeguError(f"{name} is an instance already, so options have no effect: got {', '.join(options)}")
    if isinstance(own, Environment):
        return Source(name, own, backend="jax", kind=type(own))
    return Source(name, make=lambda: _KeptOpen(own), backend=_backend(own), single=True, kind=_kind(own))


def _made(name: str, make: Callable[[], Any], options: dict[str, Any], *, unnamed: bool = False) -> Source:
    """What a user's own class or function makes; its kind is known once it is called."""
    environment = make()
    kind = _kind(environment) if unnamed else None
    if isinstance(environment, Environment):
        return Source(name, environment, backend="jax", options=options, kind=kind)
    if isinstance(environment, gymnasium.Env):
        return Source(name, make=make, backend=_backend(environment), options=options, kind=kind)
    raise TeguError(
        f"{name} must make a gymnasium.Env, a PettingZoo environment or a tegu.Environment, it makes "
        f"{described(environment)}"
    )


def _register(name: str) -> None:
    """Make sure that Gymnasium knows ``name``, importing its package: that of the namespace, or the one it names."""
    package, named, id = name.rpartition(":")
    if named:
        _imported(name, f"{package}:")
        if id not in gymnasium.registry:
            own = [each.id for each in gymnasium.registry.values() if package in str(each.entry_point)]
            near = difflib.get_close_matches(id, own, n=1)
            hint = f"; did you mean {package}:{near[0]}?" if near else ""
            raise TeguError(f"{package} registers no environment {id} with Gymnasium{hint}")
        return
    if name in gymnasium.registry:
        return
    for package, extra in (found for start, found in _PACKAGES.items() if name.startswith(start)):
        try:
            gymnasium.register_envs(importlib.import_module(package))
        except ImportError as error:
            raise TeguError(f"{name} needs {extra}: pip install '{extra}'") from error
        except Exception as error:  # as of releases of packages that do not go together
            raise TeguError(f"{name} needs {extra}, which cannot be imported: {one_line(error)}") from error
    if name in gymnasium.registry:
        return
    if name in NATIVE:
        raise TeguError(f"Gymnasium has no {name}; only Tegu has it, in JAX")
    if name.endswith(".py"):
        refuse_file(name, "the environment")
    raise TeguError(f"there is no environment {name}{nearest(name, [*NATIVE, *gymnasium.registry])}")
