"""What goals pay in environments of the host: functions that are written with NumPy, computed by JAX."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from tegu.core.code import one_line
from tegu.core.errors import TeguError
from tegu.spaces.features import ACHIEVED_GOAL, DESIRED_GOAL, observes_goals

_PAIRS = 100  #: of goals for which NumPy and JAX must agree
_NEARNESS = (0.0, 1e-3, 1e-2, 0.1, 1.0)  #: standard deviations by which the numbers in a pair differ


class HostGoals:
    """``compute_reward`` and ``compute_terminated`` of an environment with Gymnasium-Robotics' API, as JAX.

    They get goals one by one, in arrays whose NumPy functions JAX computes, and an empty ``info``.
    """

    def __init__(self, environment: gymnasium.Env):
        self._environment = environment

    @classmethod
    def of(cls, environment: gymnasium.Env) -> "HostGoals | None":
        """Those of an environment that observes goals and says what they pay, else None."""
        seen = observes_goals(environment.observation_space)
        return cls(environment) if seen and environment.has_wrapper_attr("compute_reward") else None

    def compute_reward(self, achieved_goal: jax.Array, desired_goal: jax.Array) -> jax.Array:
        """What a step pays that leads to ``achieved_goal`` where ``desired_goal`` is desired: float32 scalar."""
        return _by_jax(self._function("compute_reward"), achieved_goal, desired_goal).astype(jnp.float32)

    def compute_terminated(self, achieved_goal: jax.Array, desired_goal: jax.Array) -> jax.Array:
        """Whether such a step ends the task: bool scalar. Where the environment does not say so, no goal does."""
        return _by_jax(self._function("compute_terminated"), achieved_goal, desired_goal).astype(bool)

    def check(self) -> None:
        """Raise ``TeguError`` where JAX cannot compute a function, or what it computes is not what NumPy does."""
        space: Any = self._environment.observation_space
        shapes = space[ACHIEVED_GOAL].shape, space[DESIRED_GOAL].shape
        if shapes[0] != shapes[1]:
            raise TeguError(
                f"{ACHIEVED_GOAL} and {DESIRED_GOAL} must have the same shape, got {shapes[0]} and {shapes[1]}"
            )
        achieved, desired = _pairs(space[DESIRED_GOAL])
        for name in ("compute_reward", "compute_terminated"):
            function = self._function(name)
            try:
                ours = np.asarray(jax.vmap(getattr(self, name))(*map(jnp.asarray, (achieved, desired))))
            except Exception as error:  # whatever a person's function does with what is no NumPy array
                raise TeguError(f"{name} of the environment cannot be computed by JAX: {one_line(error)}") from error
            theirs = np.array([function(*pair, {}) for pair in zip(achieved, desired, strict=True)], np.float64)
            if not np.allclose(ours, theirs, rtol=1e-3, atol=1e-4):
                i = int(abs(ours - theirs).argmax())
                where = f"{ACHIEVED_GOAL} {achieved[i].tolist()}, {DESIRED_GOAL} {desired[i].tolist()}"
                raise TeguError(
                    f"{name} of the environment gives {theirs[i]:g} with NumPy and {ours[i]:g} with JAX for {where}: "
                    "it must follow from these alone"
                )

    def reads_info(self) -> bool:
        """Whether a function looks at the infos of steps."""
        space: Any = self._environment.observation_space
        try:
            for pair in zip(*_pairs(space[DESIRED_GOAL]), strict=True):
                for name in ("compute_reward", "compute_terminated"):
                    self._function(name)(*pair, _Unread())
        except _ReadError:
            return True
        return False

    def _function(self, name: str) -> Callable[..., Any]:
        there = self._environment.has_wrapper_attr(name)
        return self._environment.get_wrapper_attr(name) if there else lambda achieved, desired, info: False


def _pairs(space: spaces.Space) -> tuple[np.ndarray, np.ndarray]:
    """Goals ``[n, ...]`` and others that are equal, near, equal in part, or anything."""
    space, rng = copy.deepcopy(space), np.random.default_rng(0)
    space.seed(0)
    one, other = (np.stack([space.sample() for _ in range(_PAIRS)]) for _ in range(2))
    one = np.where(rng.random(one.shape) < np.resize((0, 0, 0.5, 1), (_PAIRS,) + (1,) * (one.ndim - 1)), one, other)
    if one.dtype.kind == "f":
        one += np.resize(_NEARNESS, (_PAIRS,) + (1,) * (one.ndim - 1)) * rng.normal(size=one.shape)
    return one, other


class _ReadError(Exception):
    """Somebody has looked."""


class _Unread:
    """An info that nobody may look at."""

    def _read(self, *_: Any) -> Any:
        raise _ReadError

    __getattribute__ = __getitem__ = __contains__ = __iter__ = __len__ = __bool__ = _read


class _Array(np.lib.mixins.NDArrayOperatorsMixin):
    """An array of JAX's for code that knows NumPy's: functions of NumPy are those of the same name in JAX."""

    def __init__(self, value: jax.Array):
        self.value = value

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        arrays = [np.asarray(each) if isinstance(each, list | tuple) else each for each in inputs]
        return _called(ufunc, arrays, options) if method == "__call__" else NotImplemented

    def __array_function__(self, function: Any, types: Any, inputs: Any, options: Any) -> Any:
        return _called(function, inputs, options)

    def _unknown(self, *options: Any, **more: Any) -> Any:
        raise TypeError(
            "no number is known yet, so no if, bool(), float(), np.array() or np.asarray() of it; use np.where"
        )

    __array__ = __bool__ = __float__ = __int__ = _unknown

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.value, name)
        return (lambda *inputs, **options: _apply(found, inputs, options)) if callable(found) else _kept(found)

    def __getitem__(self, index: Any) -> "_Array":
        return _Array(self.value[index])

    def __iter__(self) -> Iterator["_Array"]:
        return map(_Array, self.value)

    def __len__(self) -> int:
        return len(self.value)


def _by_jax(function: Callable[..., Any], achieved_goal: jax.Array, desired_goal: jax.Array) -> jax.Array:
    """The scalar that a function of the environment makes of two goals."""
    result = function(_Array(achieved_goal), _Array(desired_goal), {})
    value = result.value if isinstance(result, _Array) else jnp.asarray(result)
    return value.reshape(())


def _called(function: Any, inputs: Any, options: Any) -> Any:
    """What JAX has under the name of a NumPy function."""
    inside = jnp.linalg if getattr(function, "__module__", "") == "numpy.linalg" else jnp
    found = getattr(inside, function.__name__, None)
    if found is None:
        raise TypeError(f"JAX has no {function.__name__}")
    return _apply(found, inputs, options)


def _apply(function: Any, inputs: Any, options: Any) -> Any:
    """Call one of JAX's functions with what may be ``_Array``; types of 64 bits become those of 32."""
    return _kept(function(*map(_given, inputs), **{name: _given(value) for name, value in options.items()}))


def _given(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(map(_given, value))
    if isinstance(value, np.dtype) or (isinstance(value, type) and issubclass(value, np.generic)):
        return jax.dtypes.canonicalize_dtype(value)
    return value.value if isinstance(value, _Array) else value


def _kept(value: Any) -> Any:
    return _Array(value) if isinstance(value, jax.Array) else value
