"""Stable-Baselines3's vectorised environments: what they have in common, and wrappers around them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import gymnasium
import numpy as np

from tegu.core.errors import TeguError
from tegu.core.step import PyTree
from tegu.sb3.errors import ArgumentError

Indices = int | Iterable[int] | None
W = TypeVar("W", bound="VecEnvWrapper")
VecEnvStep = tuple[PyTree, np.ndarray, np.ndarray, list[dict[str, Any]]]  #: observations, rewards, dones, infos


class VecEnv:
    """``num_envs`` environments side by side, each of which begins anew when an episode has ended.

    Derive from this and define ``reset``, ``step_async``, ``step_wait``, ``close`` and what reaches into the
    environments. ``infos[i]`` of a last step holds ``terminal_observation``, and ``TimeLimit.truncated`` where only
    time was up.
    """

    num_envs: int
    observation_space: gymnasium.Space  #: of one environment
    action_space: gymnasium.Space
    render_mode: str | None = None
    metadata: dict[str, Any] = {}  # noqa: RUF012 - Gymnasium's way
    agents: tuple[str, ...] = ()  #: where there are several
    goals: Any = None  #: what goals pay, where environments say so: see ``EnvironmentSpec.goals``
    reward_function: Any = None  #: none of SB3's algorithms asks for it
    reset_infos: list[dict[str, Any]]  #: of the last reset of each
    left: tuple[Any, PyTree] | None = None  #: where training left the environments, and what it saw last
    turned: "VecEnv | None" = None  #: this one in a ``VecTransposeImage``, where models have put it

    def __init__(self, num_envs: int, observation_space: gymnasium.Space, action_space: gymnasium.Space):
        self.num_envs, self.observation_space, self.action_space = num_envs, observation_space, action_space
        self.reset_infos = [{} for _ in range(num_envs)]

    def reset(self) -> PyTree:
        """Begin a new episode everywhere. Returns observations ``[n, ...]``."""
        raise NotImplementedError

    def step_async(self, actions: Any) -> None:
        """Say what to do in every environment."""
        raise NotImplementedError

    def step_wait(self) -> VecEnvStep:
        """Do it."""
        raise NotImplementedError

    def step(self, actions: Any) -> VecEnvStep:
        """Act in every environment. Returns ``(observations, rewards, dones, infos)``."""
        self.step_async(actions)
        return self.step_wait()

    def close(self) -> None:
        raise NotImplementedError

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """From the next ``reset`` on, the episodes that ``seed`` stands for."""
        return [None] * self.num_envs

    def set_options(self, options: Any = None) -> None:
        """Options of the next ``reset``: a dict for all, or a list of one for each."""
        raise NotImplementedError

    def render(self, mode: str | None = None) -> Any:
        return None

    def get_images(self) -> Sequence[Any]:
        raise NotImplementedError

    def get_attr(self, attr_name: str, indices: Indices = None) -> list[Any]:
        raise NotImplementedError

    def set_attr(self, attr_name: str, value: Any, indices: Indices = None) -> None:
        raise NotImplementedError

    def env_method(self, method_name: str, *arguments: Any, indices: Indices = None, **named: Any) -> list[Any]:
        raise NotImplementedError

    def env_is_wrapped(self, wrapper_class: type[gymnasium.Wrapper], indices: Indices = None) -> list[bool]:
        raise NotImplementedError

    def has_attr(self, attr_name: str) -> bool:
        """Whether all environments have an attribute."""
        try:
            self.get_attr(attr_name)
        except AttributeError:
            return False
        return True

    @property
    def unwrapped(self) -> "VecEnv":
        return self

    @property
    def id(self) -> str:
        """What the environments are called."""
        return type(self).__name__


class VecEnvWrapper(VecEnv):
    """Changes what goes in and out of a ``VecEnv``; what it does not define is that one's.

    Derive from this and define ``reset`` and ``step_wait``.
    """

    keeps_goals: ClassVar[bool] = False  #: whether observations and rewards go through unchanged

    def __init__(
        self,
        venv: VecEnv,
        observation_space: gymnasium.Space | None = None,
        action_space: gymnasium.Space | None = None,
    ):
        if not isinstance(venv, VecEnv):
            raise ArgumentError(f"{type(self).__name__}: venv must be a VecEnv, got {type(venv).__name__}")
        self.venv = venv
        super().__init__(venv.num_envs, observation_space or venv.observation_space, action_space or venv.action_space)
        self.render_mode, self.metadata, self.agents = venv.render_mode, venv.metadata, venv.agents
        self.goals = venv.goals if self.keeps_goals else None
        del self.reset_infos  # those of the environments are found by ``__getattr__``

    def __getattr__(self, name: str) -> Any:
        """What only a ``VecEnv`` further inside has; where two wrappers have it, nobody knows which is meant."""
        if name.startswith("__") or "venv" not in self.__dict__:
            raise AttributeError(name)
        inside, having = self.venv, []
        while True:
            having += [inside] if name in vars(inside) or hasattr(type(inside), name) else []
            if not isinstance(inside, VecEnvWrapper):
                break
            inside = inside.venv
        if len(having) != 1:
            found = " and ".join(type(each).__name__ for each in having) or "none of them"
            raise AttributeError(f"{name} of a {type(self).__name__} is that of a VecEnv inside: {found} has it")
        return getattr(having[0], name)

    def reset(self) -> PyTree:
        return self.venv.reset()

    def step_async(self, actions: Any) -> None:
        self.venv.step_async(actions)

    def step_wait(self) -> VecEnvStep:
        return self.venv.step_wait()

    def close(self) -> None:
        self.venv.close()

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        return self.venv.seed(seed)

    def set_options(self, options: Any = None) -> None:
        self.venv.set_options(options)

    def render(self, mode: str | None = None) -> Any:
        return self.venv.render(mode=mode)

    def get_images(self) -> Sequence[Any]:
        return self.venv.get_images()

    def get_attr(self, attr_name: str, indices: Indices = None) -> list[Any]:
        return self.venv.get_attr(attr_name, indices)

    def set_attr(self, attr_name: str, value: Any, indices: Indices = None) -> None:
        self.venv.set_attr(attr_name, value, indices)

    def env_method(self, method_name: str, *arguments: Any, indices: Indices = None, **named: Any) -> list[Any]:
        return self.venv.env_method(method_name, *arguments, indices=indices, **named)

    def env_is_wrapped(self, wrapper_class: type[gymnasium.Wrapper], indices: Indices = None) -> list[bool]:
        return self.venv.env_is_wrapped(wrapper_class, indices=indices)

    def has_attr(self, attr_name: str) -> bool:
        return self.venv.has_attr(attr_name)

    @property
    def unwrapped(self) -> VecEnv:
        return self.venv.unwrapped

    @property
    def id(self) -> str:
        return self.venv.id


def unwrap_vec_wrapper(env: VecEnv, wrapper_class: type[W]) -> W | None:
    """The outermost ``wrapper_class`` around a ``VecEnv``, or None."""
    while isinstance(env, VecEnvWrapper):
        if isinstance(env, wrapper_class):
            return env
        env = env.venv
    return None


def is_vecenv_wrapped(env: VecEnv, wrapper_class: type[VecEnvWrapper]) -> bool:
    """Whether ``wrapper_class`` is around a ``VecEnv``."""
    return unwrap_vec_wrapper(env, wrapper_class) is not None


def last_observation(info: Mapping[str, Any]) -> PyTree:
    """What was seen last of an episode, which the ``info`` of its last step holds in SB3's vectors."""
    if "terminal_observation" not in info:
        raise TeguError("the info of a VecEnv's step that ends an episode must have the entry terminal_observation")
    return info["terminal_observation"]
