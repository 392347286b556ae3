"""Stable-Baselines3's vectorised environments over Gymnasium's, stepped one after the other in this process."""

import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import gymnasium
import jax
import numpy as np

from tegu.core.errors import TeguError
from tegu.core.step import PyTree
from tegu.environments.adapters.gymnasium import GymnasiumEnvironments
from tegu.environments.base import Environment
from tegu.environments.make import adapted, find
from tegu.sb3.monitor import Monitor, is_wrapped
from tegu.sb3.settings import refuse

Indices = int | Iterable[int] | None


class DummyVecEnv:
    """SB3's vectorised environment: a 4-tuple from ``step``, ended episodes begin anew, ``done`` is either flag.

    ``infos[i]`` holds ``TimeLimit.truncated``, and at the end of an episode ``terminal_observation`` and ``episode``.
    Every episode begins from a seed of its own, which follows from ``seed``, the index and the episode's number.
    """

    def __init__(self, env_fns: Sequence[Callable[[], gymnasium.Env]], *, seed: int | None = None):
        envs = [made if isinstance(made, Monitor) else Monitor(made) for made in (make() for make in env_fns)]
        if len({id(env.unwrapped) for env in envs}) != len(envs):
            raise TeguError("every function must make an environment of its own, these return the same one twice")
        makes = iter(envs)
        entropy = [[_seed(seed), i] for i in range(len(envs))]
        self.environments = GymnasiumEnvironments(lambda: next(makes), entropy)
        self.monitors: list[Monitor] = envs
        self.num_envs, self.agents, self.goals = len(envs), self.environments.agents, self.environments.goals
        self.observation_space, self.action_space = envs[0].observation_space, envs[0].action_space
        self.render_mode, self.metadata = envs[0].render_mode, envs[0].metadata
        self.stands_for: str | None = None  #: the environment in JAX that a model trains in, of which this is a double
        self._fresh = True  # no episode has begun since the seed was set
        self._actions = np.empty(0)

    @property
    def id(self) -> str:
        spec = self.monitors[0].spec
        return spec.id if spec is not None else type(self.monitors[0].unwrapped).__name__

    @property
    def unwrapped(self) -> "DummyVecEnv":
        return self

    @property
    def reset_infos(self) -> list[dict[str, Any]]:
        return [env.reset_info for env in self.monitors]

    @property
    def standing(self) -> list[tuple[int, ...]]:
        """Changes when anybody resets or steps one of the environments; see ``Monitor.standing``."""
        return [env.standing for env in self.monitors]

    @property
    def envs(self) -> list[Monitor]:
        """The monitored environments. ``TeguError`` where nobody trains in them, as from all that may change them."""
        self._refuse_double("envs")
        return self.monitors

    def seed(self, seed: int | None = None) -> list[int]:
        """From the next ``reset`` on, the episodes that ``seed`` stands for."""
        first = _seed(seed)
        self.environments.entropy = [[first, i] for i in range(self.num_envs)]
        self.environments.episodes, self._fresh = [0] * self.num_envs, True
        return [first + i for i in range(self.num_envs)]

    def reset(self) -> PyTree:
        """Begin a new episode everywhere. Returns observations ``[n, ...]``."""
        if not self._fresh:
            self.environments.episodes = [number + 1 for number in self.environments.episodes]
        self._fresh = False
        return self.environments.reset()

    def begin_anew(self, where: np.ndarray) -> PyTree:
        """Begin a new episode where the mask ``[n]`` says so. Returns the observations of all."""
        return self.environments.begin_anew(where)

    def step(self, actions: Any) -> tuple[PyTree, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Act in every environment. Returns ``(observations, rewards, dones, infos)``."""
        now = self.environments.step(np.asarray(actions))
        done = now.terminated | now.truncated
        infos = [{**env.info, "TimeLimit.truncated": bool(now.truncated[i])} for i, env in enumerate(self.monitors)]
        for i in map(int, np.flatnonzero(done)):
            infos[i]["terminal_observation"] = jax.tree.map(lambda leaf, i=i: leaf[i], now.next_observation)
        return now.observation, now.reward, done, infos

    def step_async(self, actions: Any) -> None:
        self._actions = actions

    def step_wait(self) -> tuple[PyTree, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        return self.step(self._actions)

    def close(self) -> None:
        self.environments.close()

    def render(self, mode: str | None = None) -> np.ndarray | None:
        """Let environments made with ``render_mode="human"`` draw themselves; else the pictures side by side as one.

        There is no window for pictures: ``mode="human"`` then only says so.
        """
        mode = mode or self.render_mode
        if self.render_mode == "human" == mode:
            for env in self.monitors:
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
        return [env.render() for env in self.monitors]

    def has_attr(self, name: str) -> bool:
        return all(env.has_wrapper_attr(name) for env in self.monitors)

    def get_attr(self, name: str, indices: Indices = None) -> list[Any]:
        self._refuse_double("get_attr")
        return [env.get_wrapper_attr(name) for env in self._chosen(indices)]

    def set_attr(self, name: str, value: Any, indices: Indices = None) -> None:
        self._refuse_double("set_attr")
        for env in self._chosen(indices):
            env.set_wrapper_attr(name, value)

    def env_method(self, name: str, *arguments: Any, indices: Indices = None, **named: Any) -> list[Any]:
        """Call a method of the environments."""
        self._refuse_double("env_method")
        return [env.get_wrapper_attr(name)(*arguments, **named) for env in self._chosen(indices)]

    def env_is_wrapped(self, wrapper_class: type[gymnasium.Wrapper], indices: Indices = None) -> list[bool]:
        return [is_wrapped(env, wrapper_class) for env in self._chosen(indices)]

    def _chosen(self, indices: Indices) -> list[Monitor]:
        if indices is None:
            return self.monitors
        return [self.monitors[i] for i in ([indices] if isinstance(indices, int) else indices)]

    def _refuse_double(self, what: str) -> None:
        """What would change the environment, or look inside, is an error where another one is trained in."""
        if self.stands_for is not None:
            raise TeguError(
                f"{what}: the model trains in {self.stands_for} in JAX, not in this environment of Gymnasium's; "
                f"give the model make_vec_env({self.stands_for!r}) instead of the name, and it trains in that"
            )


VecEnv = DummyVecEnv


def make_vec_env(
    env_id: str | Callable[..., gymnasium.Env],
    n_envs: int = 1,
    seed: int | None = None,
    start_index: int = 0,
    monitor_dir: str | None = None,
    wrapper_class: Callable[..., gymnasium.Env] | None = None,
    env_kwargs: dict[str, Any] | None = None,
    vec_env_cls: type[DummyVecEnv] | None = None,
    vec_env_kwargs: dict[str, Any] | None = None,
    monitor_kwargs: dict[str, Any] | None = None,
    wrapper_kwargs: dict[str, Any] | None = None,
) -> DummyVecEnv:
    """``n_envs`` monitored environments from a name, a class or a function, as SB3's function of that name."""
    other_class = vec_env_cls if vec_env_cls is not DummyVecEnv else None
    refuse("make_vec_env", monitor_dir=monitor_dir, vec_env_cls=other_class, vec_env_kwargs=vec_env_kwargs)

    def make() -> gymnasium.Env:
        env = Monitor(_make_one(env_id, env_kwargs or {}), **(monitor_kwargs or {}))
        return wrapper_class(env, **(wrapper_kwargs or {})) if wrapper_class is not None else env

    return DummyVecEnv([make] * n_envs, seed=None if seed is None else seed + start_index)


def as_vec_env(env: Any) -> DummyVecEnv:
    """A vectorised environment, or one of Gymnasium's as a vector of one."""
    if isinstance(env, DummyVecEnv):
        return env
    if isinstance(env, gymnasium.Env):
        return DummyVecEnv([lambda: env])
    raise TeguError(f"env must be a name, a gymnasium.Env or a VecEnv of tegu.sb3, got {type(env).__name__}")


def resolve(env: Any) -> tuple[str, Environment | DummyVecEnv]:
    """The id and the environment to train on: Tegu's own in JAX where ``env`` names one, else Gymnasium's."""
    if isinstance(env, str | Environment):
        source = find(env)
        found = source.native if source.native is not None else make_vec_env(str(env))
        return _alone(source.id, found)
    vector = as_vec_env(adapted(env))
    return _alone(vector.id, vector)


def _alone(id: str, environment: Environment | DummyVecEnv) -> tuple[str, Environment | DummyVecEnv]:
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
        if not isinstance(error.__cause__ or error, TypeError):
            raise
        # an environment that does not know render modes
        return find(env_id, "gymnasium", options).make()  # type: ignore[misc]


def _seed(seed: int | None) -> int:
    return int(np.random.SeedSequence().generate_state(1)[0] >> 1) if seed is None else seed
