"""What environments of the host must return. What does not fit is one line; what has an obvious meaning is taken."""

import copy
import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from reprlib import repr as shorten
from typing import Any

import gymnasium
import numpy as np

from tegu.core.code import one_line
from tegu.core.errors import TeguError
from tegu.core.step import PyTree
from tegu.core.trees import as_array

RESET = "reset", ("observation", "info")
LARGEST = 2**127  #: a whole number that float32 holds
STEP = "step", ("observation", "reward", "terminated", "truncated", "info")
_COUNTING_OR_CHECKING = (
    gymnasium.wrappers.TimeLimit,
    gymnasium.wrappers.OrderEnforcing,
    gymnasium.wrappers.PassiveEnvChecker,
)


def check_apart_from(training: Sequence[gymnasium.Env], make: Callable[[], gymnasium.Env]) -> None:
    """Raise ``TeguError`` where an evaluation by what ``make`` makes would step an environment of the training."""
    other = make()
    if any(other.unwrapped is environment.unwrapped for environment in training):
        raise TeguError(
            f"the function that makes environments returned for the evaluations the {type(other.unwrapped).__name__} "
            "that is trained in: expected a new one at each call"
        )
    close(other)


def check_apart(environments: Sequence[gymnasium.Env]) -> None:
    """Raise ``TeguError`` where one environment is there twice, each of which would step it."""
    if len({id(environment.unwrapped) for environment in environments}) < len(environments):
        raise TeguError(
            f"the function that makes environments returned the same {type(environments[0].unwrapped).__name__} "
            "more than once: expected a new one at each call"
        )


def check_reset(environment: Any) -> None:
    """Raise ``TeguError`` unless ``reset`` of an environment, that inside Gymnasium's own wrappers, takes a seed."""
    while isinstance(environment, gymnasium.Wrapper) and type(environment).reset.__module__.startswith("gymnasium."):
        environment = environment.env
    with suppress(TypeError, ValueError):  # what cannot be inspected
        signature = inspect.signature(environment.reset)
        takes = signature.parameters
        if "seed" not in takes and not any(each.kind is each.VAR_KEYWORD for each in takes.values()):
            raise TeguError(
                f"reset() of the environment must take a seed: expected reset(self, *, seed=None, options=None), "
                f"got reset{signature} (as environments of the old gym do)"
            )


def spaces_of(environment: Any) -> tuple[gymnasium.Space, gymnasium.Space]:
    """Observation and action space. ``TeguError`` names one that is missing, or no space of Gymnasium's."""
    found = []
    for name in ("observation_space", "action_space"):
        space = getattr(environment, name, None)
        if not isinstance(space, gymnasium.Space):
            got = "none" if space is None else f"{type(space).__module__}.{type(space).__qualname__}"
            raise TeguError(
                f"{type(environment.unwrapped).__name__} must have an {name}, such as "
                f"gymnasium.spaces.Box(...) or Discrete(n): got {got}"
            )
        found.append(space)
    return found[0], found[1]


def spaces_made(make: Callable[[], Any]) -> tuple[gymnasium.Space, gymnasium.Space]:
    """``spaces_of`` what ``make`` makes, which is closed again."""
    environment = make()
    try:
        return spaces_of(environment)
    finally:
        close(environment)


def bare(environment: Any) -> Any:
    """An environment without the wrappers of Gymnasium's that only check it or count its steps."""
    while isinstance(environment, _COUNTING_OR_CHECKING):
        environment = environment.env
    return environment


def close(environment: Any) -> None:
    """Close an environment, and warn if that fails: what was trained in it stays."""
    try:
        environment.close()
    except Exception as error:
        warnings.warn(f"close() of the environment failed: {one_line(error)}", stacklevel=2)


def parts(returned: Any, method: str, names: tuple[str, ...]) -> tuple[Any, ...]:
    """What ``reset`` or ``step`` returned, if it is what Gymnasium's API says."""
    complete = isinstance(returned, tuple) and len(returned) == len(names)
    if complete and (type(returned[-1]) is dict or isinstance(returned[-1], Mapping)):  # the first is what is quick
        return returned
    if not isinstance(returned, tuple):
        got = f"a {type(returned).__name__}"
    elif len(returned) != len(names):
        got = f"{len(returned)} values" + " (as environments of the old gym do)" * (len(returned) == 4)
    else:
        got = f"a {type(returned[-1]).__name__} for info"
    raise TeguError(f"{method}() of the environment must return ({', '.join(names)}), got {got}")


def copied(tree: PyTree) -> PyTree:
    """An observation or action apart from the arrays it came in, which an environment may write into afterwards.

    Mappings of whatever type become dicts.
    """
    if isinstance(tree, np.ndarray):
        return tree.copy()
    if isinstance(tree, Mapping):
        return {name: copied(part) for name, part in tree.items()}
    return tree if isinstance(tree, int | float | np.generic) else copy.deepcopy(tree)


def success_of(info: Mapping[str, Any]) -> bool | None:
    """``is_success`` of an info, as Gymnasium-Robotics has it; None where there is no such flag or number."""
    said = info.get("is_success")
    return bool(said) if isinstance(said, bool | int | float | np.bool_ | np.number) else None


def number(reward: Any) -> Any:
    """A reward as a number; an array of one number is that number."""
    if type(reward) is float or isinstance(reward, np.number):
        return reward
    if isinstance(reward, int):
        if abs(reward) > LARGEST:
            raise TeguError(f"the reward of the environment must be a number that float32 holds, got {shorten(reward)}")
        return reward
    array = as_array(reward)
    if array.size != 1 or array.dtype.kind not in "fiub":
        got = f"{array.dtype}{list(array.shape)}" if array.dtype.kind in "fiub" else type(reward).__name__
        raise TeguError(f"the reward of the environment must be a number, got {got}")
    return array.item()


def flag_of(flag: Any) -> bool:
    """``terminated`` or ``truncated`` as a truth value; so is an array of one."""
    if type(flag) is bool:
        return flag
    array = as_array(flag)
    if array.size != 1 or array.dtype.kind not in "iub":
        got = f"{array.dtype}{list(array.shape)}" if array.dtype.kind in "fiub" else type(flag).__name__
        raise TeguError(f"terminated and truncated of the environment must be True or False, got {got}")
    return bool(array.item())
