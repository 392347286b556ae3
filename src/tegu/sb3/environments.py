"""Stable-Baselines3's vectorised environments over Gymnasium's, stepped one after the other in this process."""

import multiprocessing
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import jax
import numpy as np

from tegu.core.errors import TeguError
from tegu.core.step import PyTree
from tegu.environments.adapters.base import HostStep
from tegu.environments.adapters.gymnasium import GymnasiumEnvironments
from tegu.environments.adapters.mujoco import NoRendererError
from tegu.environments.base import Environment
from tegu.environments.make import adapted, find
from tegu.sb3.errors import ArgumentError
from tegu.sb3.monitor import Monitor, is_wrapped
from tegu.sb3.settings import at_least, seed_of
from tegu.sb3.vec_env import Indices, VecEnv, VecEnvStep
from tegu.sb3.watched import Watched


class DummyVecEnv(VecEnv):
    """SB3's vectorised environment of Gymnasium's, stepped one after the other.

    Every episode begins from a seed of its own, which follows from ``seed``, the index and the episode's number.
    """

    def __init__(self, env_fns: Sequence[Callable[[], gymnasium.Env]], *, seed: int | None = None):
        made = [make() for make in env_fns]
        if len({id(env.unwrapped) for env in made}) != len(made):
            raise ArgumentError("every function must make an environment of its own, these return the same one twice")
        self.watched = [Watched(env) for env in made]
        makes = iter(self.watched)
        entropy = [[seed_of(seed), i] for i in range(len(made))]
        self.environments = GymnasiumEnvironments(lambda: next(makes), entropy)
        super().__init__(len(made), made[0].observation_space, made[0].action_space)
        self.agents, self.goals = self.environments.agents, self.environments.goals
        self.render_mode, self.metadata = made[0].render_mode, made[0].metadata
        self.stands_for: str | None = None  #: the environment in JAX that a model trains in, of which this is a double
        self._fresh = True  # no episode has begun since the seed was set
        self._began = False
        self._actions: Any = np.empty(0)

    @property
    def id(self) -> str:
        spec = self.watched[0].spec
        return spec.id if spec is not None else type(self.watched[0].unwrapped).__name__

    @property
    def reset_infos(self) -> list[dict[str, Any]]:
        return [env.reset_info for env in self.watched]

    @reset_infos.setter
    def reset_infos(self, infos: list[dict[str, Any]]) -> None:
        pass  # the environments have them

    @property
    def standing(self) -> list[tuple[int, ...]]:
        """Changes when anybody resets or steps one of the environments; see ``Watched.standing``."""
        return [env.standing for env in self.watched]

    @property
    def envs(self) -> list[gymnasium.Env]:
        """The environments. ``TeguError`` where nobody trains in them, as from all that may change them."""
        self._refuse_double("envs")
        return [env.env for env in self.watched]

    def seed(self, seed: int | None = None) -> Sequence[int]:
        first = seed_of(seed)
        self.environments.entropy = [[first, i] for i in range(self.num_envs)]
        self.environments.episodes, self._fresh = [0] * self.num_envs, True
        return [first + i for i in range(self.num_envs)]

    def set_options(self, options: Any = None) -> None:
        each = options if isinstance(options, list) else [options] * self.num_envs
        for env, own in zip(self.watched, each, strict=True):
            env.options = own

    def reset(self) -> PyTree:
        if not self._fresh:
            self.environments.episodes = [number + 1 for number in self.environments.episodes]
        self._fresh, self._began = False, True
        return self.environments.reset()

    def begin_anew(self, where: np.ndarray) -> PyTree:
        """Begin a new episode where the mask ``[n]`` says so. Returns the observations of all."""
        return self.environments.begin_anew(where)

    def step_async(self, actions: Any) -> None:
        self._actions = actions

    def step_wait(self) -> VecEnvStep:
        if not self._began:
            self.reset()
        now = self.environments.step(np.asarray(self._actions))
        return now.observation, now.reward, now.terminated | now.truncated, self.infos(now)

    def infos(self, now: HostStep) -> list[dict[str, Any]]:
        """The infos of the step that ``now`` is."""
        infos = [{**env.info, "TimeLimit.truncated": bool(now.truncated[i])} for i, env in enumerate(self.watched)]
        for i in map(int, np.flatnonzero(now.terminated | now.truncated)):
            infos[i]["terminal_observation"] = jax.tree.map(lambda leaf, i=i: leaf[i], now.next_observation)
        return infos

    def close(self) -> None:
        self.environments.close()

    def render(self, mode: str | None = None) -> np.ndarray | None:
        """Let environments made with ``render_mode="human"`` draw themselves; else the pictures side by side as one.

        There is no window for pictures: ``mode="human"`` then only says so.
        """
        mode = mode or self.render_mode
        if self.render_mode == "human" == mode:
            for env in self.watched:
                env.render()
        elif self.render_mode == "rgb_array" == mode:
            return np.concatenate(self.get_images(), axis=1)
        else:
            warnings.warn(
                f"nothing is rendered with mode {mode!r}: the environment was made with "
                f"render_mode={self.render_mode!r}; gymnasium.make(..., render_mode='human') opens a window",
                stacklevel=2,
            )
        return None

    def get_images(self) -> list[Any]:
        """One picture per environment made with ``render_mode="rgb_array"``."""
        return [env.render() for env in self.watched]

    def has_attr(self, attr_name: str) -> bool:
        return all(env.env.has_wrapper_attr(attr_name) for env in self.watched)

    def get_attr(self, attr_name: str, indices: Indices = None) -> list[Any]:
        self._refuse_double("get_attr")
        return [env.get_wrapper_attr(attr_name) for env in self._chosen(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Indices = None) -> None:
        self._refuse_double("set_attr")
        for env in self._chosen(indices):
            env.set_wrapper_attr(attr_name, value)

    def env_method(self, method_name: str, *arguments: Any, indices: Indices = None, **named: Any) -> list[Any]:
        """Call a method of the environments."""
        self._refuse_double("env_method")
        return [env.get_wrapper_attr(method_name)(*arguments, **named) for env in self._chosen(indices)]

    def env_is_wrapped(self, wrapper_class: type[gymnasium.Wrapper], indices: Indices = None) -> list[bool]:
        return [is_wrapped(env, wrapper_class) for env in self._chosen(indices)]

    def _chosen(self, indices: Indices) -> list[gymnasium.Env]:
        if indices is None:
            return [env.env for env in self.watched]
        return [self.watched[i].env for i in ([indices] if isinstance(indices, int) else indices)]

    def _refuse_double(self, what: str) -> None:
        """What would change the environment, or look inside, is an error where another one is trained in."""
        if self.stands_for is not None:
            raise TeguError(
                f"{what}: the model trains in {self.stands_for} in JAX, not in this environment of Gymnasium's; "
                f"give the model make_vec_env({self.stands_for!r}) instead of the name, and it trains in that"
            )


class SubprocVecEnv(DummyVecEnv):
    """SB3's environments in processes of their own: here they are stepped in this one, with the same results."""

    def __init__(self, env_fns: Sequence[Callable[[], gymnasium.Env]], start_method: str | None = None, **seed: Any):
        multiprocessing.get_context(start_method)  # which knows the names of the methods
        super().__init__(env_fns, **seed)


def make_vec_env(
    env_id: str | Callable[..., gymnasium.Env],
    n_envs: int = 1,
    seed: int | None = None,
    start_index: int = 0,
    monitor_dir: str | None = None,
    wrapper_class: Callable[..., gymnasium.Env] | None = None,
    env_kwargs: dict[str, Any] | None = None,
    vec_env_cls: Callable[..., Any] | None = None,
    vec_env_kwargs: dict[str, Any] | None = None,
    monitor_kwargs: dict[str, Any] | None = None,
    wrapper_kwargs: dict[str, Any] | None = None,
) -> DummyVecEnv:
    """``n_envs`` monitored environments from a name, a class or a function, as SB3's function of that name."""

    def make(rank: int) -> gymnasium.Env:
        env = _make_one(env_id, env_kwargs or {})
        filename = None if monitor_dir is None else Path(monitor_dir) / str(rank)
        if filename is not None:
            filename.parent.mkdir(parents=True, exist_ok=True)
        env = Monitor(env, filename, **(monitor_kwargs or {}))
        return wrapper_class(env, **(wrapper_kwargs or {})) if wrapper_class is not None else env

    n_envs = at_least(1, n_envs, "n_envs")
    makes = [partial(make, rank) for rank in range(start_index, start_index + n_envs)]
    made = (vec_env_cls or DummyVecEnv)(makes, **(vec_env_kwargs or {}))
    made.seed(None if seed is None else seed + start_index)
    return made


def as_vec_env(env: Any, *, monitored: bool = False) -> VecEnv:
    """A vectorised environment, or one of Gymnasium's as a vector of one, ``monitored`` if asked to."""
    if isinstance(env, VecEnv):
        return env
    if isinstance(env, gymnasium.Env):
        return DummyVecEnv([lambda: Monitor(env) if monitored and not is_wrapped(env, Monitor) else env])
    if isinstance(env, str):
        raise TeguError(f"env must be a gymnasium.Env or a VecEnv here, got {env!r}: make_vec_env makes one of it")
    raise TeguError(f"env must be a name, a gymnasium.Env or a VecEnv of tegu.sb3, got {type(env).__name__}")


def resolve(env: Any) -> tuple[str, Environment | VecEnv]:
    """The id and the environment to train on: Tegu's own in JAX where ``env`` names one, else Gymnasium's."""
    if isinstance(env, str | Environment):
        source = find(env)
        found = source.native if source.native is not None else make_vec_env(str(env))
        return _alone(source.id, found)
    vector = as_vec_env(adapted(env), monitored=True)
    return _alone(vector.id, vector)


def _alone(id: str, environment: Environment | VecEnv) -> tuple[str, Environment | VecEnv]:
    """Both as they are, if there is only one agent."""
    if agents := environment.agents:
        names = ", ".join(agents)
        raise TeguError(f"tegu.sb3 trains a single agent, {id} has {len(agents)} ({names}): use tegu.train")
    return id, environment


def _make_one(env_id: str | Callable[..., gymnasium.Env], options: dict[str, Any]) -> gymnasium.Env:
    if not isinstance(env_id, str):
        return env_id(**options)
    try:
        return find(env_id, "gymnasium", {"render_mode": "rgb_array", **options}).make()  # type: ignore[misc]
    except (TypeError, TeguError) as error:
        if not isinstance(error.__cause__ or error, TypeError | NoRendererError):
            raise
        # an environment that does not know render modes, or that nothing can draw here
        return find(env_id, "gymnasium", options).make()  # type: ignore[misc]
