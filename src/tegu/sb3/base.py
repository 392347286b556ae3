"""What Stable-Baselines3's algorithms share: training on, predicting, parameters, files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import jax
import numpy as np

from tegu.agents.agent import Agent
from tegu.agents.agent import load as load_agent
from tegu.algorithms.base import Algorithm
from tegu.core.errors import TeguError
from tegu.core.paths import path_of
from tegu.core.runtime import configure_jax
from tegu.core.step import PyTree
from tegu.core.trees import from_arrays, to_arrays
from tegu.sb3.callbacks import as_callback
from tegu.sb3.environments import DummyVecEnv, make_vec_env, resolve
from tegu.sb3.learning import Learning
from tegu.sb3.logger import Logger
from tegu.sb3.policy import Policy
from tegu.sb3.settings import at_least, build, changed, refuse, seed_of, settings_of
from tegu.sb3.training_state import TrainingState
from tegu.training.fitting import validate
from tegu.training.plan import spec_of

Parameters = Mapping[str, Mapping[str, np.ndarray]]
COMPUTED = ("lr_schedule", "exploration_schedule", "exploration_rate", "replay_buffer", "rollout_buffer")
"""What SB3's models keep besides their settings, and Tegu's compute: to set it would have no effect."""


class BaseAlgorithm:
    """What ``PPO`` and ``DQN`` share. Steps always count over all environments."""

    name: ClassVar[str]  #: in Tegu's registry
    networks: ClassVar[tuple[str, ...]]  #: fields of the learner that are the policy's parameters

    algorithm: Algorithm  #: Tegu's own, which holds the settings

    def _setup(
        self,
        settings: Mapping[str, Any],
        *,
        seed: int | None = None,
        verbose: int = 0,
        tensorboard_log: str | None = None,
        stats_window_size: int = 100,
    ) -> None:
        configure_jax()
        self._settings = settings
        self.seed, self.verbose = seed, verbose
        if tensorboard_log is not None:
            path_of(tensorboard_log, "tensorboard_log")
        self.tensorboard_log = tensorboard_log
        self.stats_window_size = at_least(1, stats_window_size, "stats_window_size")
        self.logger = Logger(int(verbose) if isinstance(verbose, bool) else at_least(0, verbose, "verbose"))
        self.total_timesteps = 0  #: where the last ``learn`` ends
        self._seed = seed_of(seed)
        self._training: TrainingState | None = None
        self._env: DummyVecEnv | None = None

    def _attach(self, env: Any, *, fresh: bool) -> None:
        """Train in ``env`` from now on, with a ``fresh`` learner or the present one."""
        id, environment = resolve(env)
        if not fresh:
            self._check_spaces(environment)
        self._env = environment if isinstance(environment, DummyVecEnv) else None
        self._show = id if isinstance(env, str) else None  # what to show in ``get_env`` when training needs none
        learners, steps = (None, 0) if fresh else (self.policy.learners, self.num_timesteps)
        spec = spec_of(id, environment, self._env.num_envs if self._env is not None else 1)
        self.algorithm = build(self.name, self._settings, spec.n_envs)
        validate(self.algorithm, spec)
        if self._env is not None:
            self._env.stands_for = None
            if self.seed is not None:
                self._env.seed(self.seed)
        self._training = TrainingState(self.algorithm, environment, spec, self._seed, learners, steps)
        self._policy = Policy(self.algorithm, spec, None, (self._seed,), steps)
        self._followed = -1
        if self.verbose:
            where = "is stepped in Python" if self._env is not None else "runs in JAX, compiled together with learning"
            print(f"{id} {where}; JAX device: {jax.default_backend()}")

    def __getattr__(self, name: str) -> Any:
        """Settings, by SB3's names; only what is not found otherwise is looked for here."""
        settings = self.__dict__.get("_settings", {})
        if name not in settings:
            raise AttributeError(f"{type(self).__name__} of tegu.sb3 has no {name}")
        return settings[name]

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.__dict__.get("_settings", {}) or name in COMPUTED:
            raise TeguError(
                f"{name} of a model cannot be set, it is compiled: save the model, "
                f"then {type(self).__name__}.load(path, env=env, ...) takes other settings"
            )
        super().__setattr__(name, value)

    # Training

    def _learn(
        self,
        total_timesteps: int,
        callback: Any,
        log_interval: int | None,
        tb_log_name: str,
        reset_num_timesteps: bool,
        progress_bar: bool,
    ) -> Self:
        if self._training is None:
            raise TeguError("there is no environment to learn in: pass env to load, or call set_env")
        callbacks = as_callback(callback, progress_bar)
        steps = at_least(1, total_timesteps, "total_timesteps")
        log_interval = None if log_interval is None else at_least(0, log_interval, "log_interval")
        if reset_num_timesteps and self._training.steps:
            self._training.steps = 0
            self._training.restart()
        learning = Learning(self, self._training, callbacks, steps, log_interval)
        self.total_timesteps = learning.total
        self.logger.open(self.tensorboard_log, tb_log_name, another=reset_num_timesteps)
        learning.run()
        self._follow()
        return self

    @property
    def num_timesteps(self) -> int:
        """Environment steps so far, over all environments."""
        return self._training.steps if self._training is not None else self._policy.steps

    # Acting

    @property
    def policy(self) -> Policy:
        """What was learned so far, able to ``predict``."""
        self._follow()
        return self._policy

    def _follow(self) -> None:
        if self._training is not None and self._followed != self._training.revision:
            self._policy.follow(self._training.learners(), self._training.steps)
            self._followed = self._training.revision

    def predict(
        self, observation: PyTree, state: PyTree = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[Any, PyTree]:
        """The action for an observation or a batch of them, and ``state``; sampled unless ``deterministic``."""
        return self.policy.predict(observation, state, episode_start, deterministic)

    def set_random_seed(self, seed: int | None = None) -> None:
        """Draw everything from now on from ``seed``."""
        if seed is None:
            return
        self.policy.reseed(seed)
        if self._training is not None:
            self._training.reseed(seed)
        if self._env is not None:
            self._env.seed(seed)

    # The environment

    @property
    def observation_space(self) -> Any:
        return self._policy.spec.observation_space

    @property
    def action_space(self) -> Any:
        return self._policy.spec.action_space

    @property
    def n_envs(self) -> int:
        return self._policy.spec.n_envs

    @property
    def env(self) -> DummyVecEnv | None:
        return self.get_env()

    def get_env(self) -> DummyVecEnv | None:
        """The training environments; where those are in JAX, a double: Gymnasium's environments of the same name.

        A double can be played in. What would change it, or look inside (``set_attr``...), is a ``TeguError``.
        """
        if self._env is None and self._training is not None:
            if self._show is None:
                raise TeguError("an environment in JAX is not a VecEnv: name it, or make one of Gymnasium's")
            try:
                self._env = make_vec_env(self._show, seed=self.seed)
                self._env.stands_for = self._show
            except TeguError:
                raise TeguError(
                    f"{self._show} exists only in JAX, there is no VecEnv of it: "
                    "save the model and use tegu.load(...).evaluate()"
                ) from None
        return self._env

    def set_env(self, env: Any, force_reset: bool = True) -> None:
        """Train in another environment of the same spaces. Its episodes begin anew; a replay buffer begins empty."""
        self._attach(env, fresh=False)

    def _check_spaces(self, environment: Any) -> None:
        for kind in ("observation_space", "action_space"):
            own, other = getattr(self, kind), getattr(environment, kind)
            if own != other:
                raise TeguError(f"the {kind} does not fit: the model has {own}, the environment {other}")

    # Parameters and files

    def get_parameters(self) -> dict[str, dict[str, np.ndarray]]:
        """Copies of the networks' arrays under ``"policy"`` and the optimizer's under ``"policy.optimizer"``."""
        found: dict[str, dict[str, np.ndarray]] = {"policy": {}, "policy.optimizer": {}}
        for name, array in to_arrays(self.policy.learner()).items():
            if (group := self._group(name)) is not None:
                found[group][name] = np.array(array)
        return found

    def set_parameters(
        self, load_path_or_dict: str | Path | Parameters, exact_match: bool = True, device: str = "auto"
    ) -> None:
        """Take over arrays as ``get_parameters`` names them, from a dict or a saved model.

        Unless ``exact_match``, those that are missing stay.
        """
        given = load_path_or_dict
        if not isinstance(given, Mapping):
            given = type(self).load(given).get_parameters()
        learner = self.policy.learner()
        arrays = to_arrays(learner)
        expected = {name for name in arrays if self._group(name) is not None}
        new = {name: array for group in given.values() for name, array in group.items()}
        if odd := sorted(set(new) - expected or (expected - set(new) if exact_match else ())):
            raise TeguError(f"parameters do not match: {odd[0]} is {'unknown' if odd[0] in new else 'missing'}")
        arrays |= {name: np.asarray(array, arrays[name].dtype) for name, array in new.items()}
        changed_learner = from_arrays(learner, arrays, "the given dict")
        learners = jax.tree.map(lambda leaf: leaf[None], changed_learner)
        if self._training is None:
            self._policy.follow(learners, self.num_timesteps)
        else:
            self._training.put(learners)

    def save(self, path: str | Path, exclude: Any = None, include: Any = None) -> None:
        """Write the model to the folder ``path`` (an ending ``.zip`` is left out), as ``tegu.load`` reads it too.

        Settings, networks, optimizer and counters are kept; environments and a replay buffer are not.
        """
        refuse("save", exclude=exclude, include=include)
        self.policy.save(_folder(path))

    @classmethod
    def load(
        cls,
        path: str | Path,
        env: Any = None,
        device: str = "auto",
        custom_objects: Any = None,
        print_system_info: bool = False,
        force_reset: bool = True,
        **kwargs: Any,
    ) -> Self:
        """Read a model that was saved, to be used in ``env`` or only to predict. ``kwargs`` are settings to change."""
        refuse("load", custom_objects=custom_objects)
        agent = _read(cls.name, path)
        options = {key: kwargs.pop(key) for key in _OPTIONS if key in kwargs}
        settings = changed(settings_of(agent.algorithm, agent.spec.n_envs), kwargs)
        model = cls.__new__(cls)
        model._setup(settings, **({"seed": agent.seeds[0]} | options))
        model.algorithm = build(cls.name, settings, agent.spec.n_envs)
        model._policy = Policy(model.algorithm, agent.spec, None, (model._seed,), agent.steps)
        model._policy.follow(jax.tree.map(lambda leaf: leaf[:1], agent.learners), agent.steps)
        if env is not None:
            model.set_env(env)
        return model

    def _group(self, name: str) -> str | None:
        """Where an array of the learner, such as ``.network.actor.weights[0]``, belongs among the parameters."""
        field = name.removeprefix(".").partition(".")[0].partition("[")[0]
        return "policy" if field in self.networks else "policy.optimizer" if field == "optimizer" else None


_OPTIONS = ("seed", "verbose", "tensorboard_log", "stats_window_size")


def _folder(path: str | Path) -> Path:
    return Path(str(path).removesuffix(".zip"))


def _read(name: str, path: str | Path) -> Agent:
    """The agent that a model was saved as."""
    folder = _folder(path)
    if not folder.is_dir():
        for file in (Path(path), Path(f"{folder}.zip")):
            if file.is_file():
                raise TeguError(
                    f"{file} is not loaded: files of Stable-Baselines3 hold pickles, which can run any code"
                )
        raise TeguError(f"there is no saved model {folder}")
    agent = load_agent(folder)
    if agent.algorithm.name != name:
        raise TeguError(f"{folder} holds a model of {agent.algorithm.name}, not of {name}")
    return agent
