"""What Stable-Baselines3's algorithms share: constructing, training on, predicting, parameters, files."""

import inspect
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import jax

from tegu.algorithms.base import Algorithm
from tegu.algorithms.registry import settings as known_settings
from tegu.core.errors import TeguError
from tegu.core.paths import path_of
from tegu.core.runtime import configure_jax
from tegu.core.step import PyTree
from tegu.sb3.environments import DummyVecEnv, make_vec_env, resolve
from tegu.sb3.errors import ArgumentError, as_argument_errors, bound
from tegu.sb3.her import check_infos
from tegu.sb3.learning import Learning
from tegu.sb3.logger import EpisodeWindow, Logger
from tegu.sb3.parameters import NETWORKS
from tegu.sb3.policies import check_policy, policy_settings
from tegu.sb3.policy import Policy, epsilon
from tegu.sb3.schedules import FloatSchedule
from tegu.sb3.settings import at_least, build, hyper_settings, seed_of, warn_of_interval
from tegu.sb3.stock_callbacks import as_callback
from tegu.sb3.storing import Storing
from tegu.sb3.training_state import TrainingState
from tegu.sb3.vec_env import VecEnv
from tegu.sb3.vec_normalize import VecNormalize, unwrap_vec_normalize
from tegu.sb3.vec_wrappers import with_channels_first
from tegu.training.fitting import validate
from tegu.training.plan import spec_of

COMPUTED = ("lr_schedule", "exploration_schedule", "rollout_buffer")
"""What SB3's models keep besides their settings, and Tegu's compute: to set it would have no effect."""


class BaseAlgorithm(Storing):
    """What the algorithms share. Steps always count over all environments."""

    name: ClassVar[str]  #: in Tegu's registry
    networks: ClassVar[tuple[str, ...]]  #: those of ``NETWORKS``
    usual: ClassVar[dict[str, Any]] = {}  #: SB3's arguments after ``policy`` and ``env``, with their defaults
    usual_log_interval: ClassVar[int] = 1  #: SB3's default of ``learn``, in rollouts
    behind_images: ClassVar[tuple[int, ...]] = ()  #: SB3's default layers of the ``CnnPolicy``
    shares_extractor: ClassVar[bool] = True  #: whether SB3's actor and critic share what sees images

    algorithm: Algorithm  #: Tegu's own, which holds the settings

    def __init_subclass__(cls) -> None:
        """The signature that ``usual`` describes, and the networks."""
        cls.networks = NETWORKS[cls.name]
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        parameters = [inspect.Parameter(name, kind) for name in ("policy", "env")]
        parameters += [inspect.Parameter(name, kind, default=value) for name, value in cls.usual.items()]
        cls.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]

    def __init__(self, *given: Any, **named: Any):
        arguments = {**self.usual, **bound(type(self), given, named)}
        env = arguments.pop("env")
        with as_argument_errors():
            settings = self._settings_of(arguments)
            self._setup(arguments, settings)
            self._attach(env, fresh=True)

    def _settings_of(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of the constructor as hyper-parameters."""
        title = type(self).__name__
        settings = hyper_settings(self.name, title, arguments, self.usual)
        return settings | policy_settings(
            title,
            arguments["policy"],
            arguments["policy_kwargs"],
            known=known_settings(self.name),
            shares_extractor=self.shares_extractor,
            behind_images=self.behind_images,
        )

    def _setup(self, arguments: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
        configure_jax()
        self._settings, self._arguments = settings, dict(arguments)
        verbose, self.seed = arguments["verbose"], arguments["seed"]
        self.tensorboard_log = arguments["tensorboard_log"]
        if self.tensorboard_log is not None:
            path_of(self.tensorboard_log, "tensorboard_log")
        self.verbose = int(verbose) if isinstance(verbose, bool) else at_least(0, verbose, "verbose")
        self.stats_window_size = at_least(1, arguments.get("stats_window_size", 100), "stats_window_size")
        self.window = EpisodeWindow(self.stats_window_size)
        self.logger, self._custom_logger = Logger(), False
        self.total_timesteps = 0  #: where the last ``learn`` ends
        self._seed = seed_of(self.seed)
        self._training: TrainingState | None = None
        self._env: VecEnv | None = None

    def _attach(self, env: Any, *, fresh: bool, force_reset: bool = True, as_many: bool = False) -> None:
        """Train in ``env`` from now on, with a ``fresh`` learner or the present one; see ``set_env``.

        ``as_many``: only in as many environments as before.
        """
        id, environment = resolve(env)
        if isinstance(environment, VecEnv):
            turned = with_channels_first(environment)
            environment = turned if fresh or turned.observation_space == self.observation_space else environment
        n_envs = environment.num_envs if isinstance(environment, VecEnv) else 1
        spec = spec_of(id, environment, n_envs)  # finds out whether it is sound
        check_policy(
            type(self).__name__, self._arguments["policy"], self._settings["features_extractor"], spec.observation_space
        )
        if not fresh:
            self._check_spaces(environment)
        if as_many and n_envs != self.n_envs:
            raise ArgumentError(
                f"set_env: the model trains in {self.n_envs} environments, these are {n_envs}: "
                f"{type(self).__name__}.load(path, env=env) takes any number"
            )
        self._env = environment if isinstance(environment, VecEnv) else None
        self._show = id if isinstance(env, str) else None  # what to show in ``get_env`` when training needs none
        learners, steps = (None, 0) if fresh else (self.policy.learners, self.num_timesteps)
        self.algorithm = build(self.name, self._settings, spec.n_envs)
        validate(self.algorithm, spec, few_rows=True)
        warn_of_interval(self._settings, spec.n_envs)
        check_infos(self._arguments.get("replay_buffer_kwargs"), spec.goals)
        inside = self._env.unwrapped if self._env is not None else None
        if isinstance(inside, DummyVecEnv):
            inside.stands_for = None
        if self._env is not None and self.seed is not None:
            self._env.seed(self.seed)
        self._training = TrainingState(
            self.algorithm, environment, spec, self._seed, learners, steps, resumes=not force_reset
        )
        if self._waiting is not None:
            self._training.put_buffer(self._waiting)
            self._waiting = None
        self._policy = self._policy_of(spec, steps)
        self._followed = -1
        if self.verbose:
            where = "is stepped in Python" if self._env is not None else "runs in JAX, compiled together with learning"
            print(f"{id} {where}; JAX device: {jax.default_backend()}")

    def _policy_of(self, spec: Any, steps: int) -> Policy:
        policy = Policy(self.algorithm, spec, None, (self._seed,), steps)
        policy.put = self._put
        return policy

    def __getattr__(self, name: str) -> Any:
        """Arguments and settings, by SB3's names; only what is not found otherwise is looked for here."""
        settings, arguments = (self.__dict__.get(each, {}) for each in ("_settings", "_arguments"))
        if name not in settings and name not in arguments:
            raise AttributeError(f"{type(self).__name__} of tegu.sb3 has no {name}")
        value = arguments.get(name, settings.get(name))
        return FloatSchedule(value) if name.startswith("clip_range") and value is not None else value

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.__dict__.get("_settings", {}) or name in COMPUTED:
            raise TeguError(
                f"{name} of a model cannot be set, it is compiled: save the model, "
                f"then {type(self).__name__}.load(path, env=env, ...) takes other settings"
            )
        super().__setattr__(name, value)

    # Training

    def learn(
        self,
        total_timesteps: int,
        callback: Any = None,
        log_interval: int | str | None = "usual",
        tb_log_name: str | None = None,
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Train for ``total_timesteps``, rounded up to whole rollouts or rounds of ``train_freq`` steps.

        ``reset_num_timesteps=False`` goes on exactly where training stopped. ``log_interval`` counts rollouts between
        two tables (``verbose=1``) and TensorBoard points, or episodes where there is a replay buffer; usually 1 or 4,
        100 for A2C, as in SB3; None is never. ``tb_log_name`` is the name of the class unless given.
        """
        if self._training is None:
            raise TeguError("there is no environment to learn in: pass env to load, or call set_env")
        if log_interval == "usual":
            log_interval = 4 if self._replays else self.usual_log_interval
        with as_argument_errors():
            callbacks = as_callback(callback, progress_bar)
            steps = at_least(1, total_timesteps, "total_timesteps")
            interval = None if log_interval is None else at_least(0, log_interval, "log_interval")
        if reset_num_timesteps:
            self.window = EpisodeWindow(self.stats_window_size)
            if self._training.steps:
                self._training.steps = 0
                self._training.restart()
        self._deleted = False
        self._policy.act_by(self.algorithm)
        learning = Learning(self, self._training, callbacks, steps, interval)
        self.total_timesteps = learning.total
        if not self._custom_logger:
            name = tb_log_name or type(self).__name__
            self.logger.open(self.verbose, self.tensorboard_log, name, another=reset_num_timesteps)
        learning.run()
        self._follow()
        return self

    @property
    def num_timesteps(self) -> int:
        """Environment steps so far, over all environments."""
        return self._training.steps if self._training is not None else self._policy.steps

    @property
    def ep_info_buffer(self) -> Any:
        """The last ``stats_window_size`` episodes as ``{"r": return, "l": length}``; those that ended between two
        reports share the means of both."""
        return self.window.episodes

    @property
    def ep_success_buffer(self) -> Any:
        """Of the last ``stats_window_size`` episodes that said so, whether they succeeded; stepped in Python only."""
        return self.window.successes

    @property
    def lr_schedule(self) -> FloatSchedule:
        return FloatSchedule(self._arguments["learning_rate"])

    @property
    def exploration_rate(self) -> float:
        """The probability of random actions; to set it holds for ``predict`` until the next ``learn``."""
        return epsilon(self._policy.algorithm, self.policy.clock)

    @exploration_rate.setter
    def exploration_rate(self, value: float) -> None:
        epsilon(self.algorithm, self.policy.clock)
        self._policy.explore_at(value)

    def set_logger(self, logger: Logger) -> None:
        """Record and write with another logger."""
        self.logger, self._custom_logger = logger, True

    # Acting

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
    def env(self) -> VecEnv | None:
        return self.get_env()

    def get_env(self) -> VecEnv | None:
        """The training environments; where those are in JAX, a double: Gymnasium's environments of the same name.

        A double can be played in. What would change it, or look inside (``set_attr``...), is a ``TeguError``.
        """
        if self._env is None and self._training is not None:
            if self._show is None:
                raise TeguError("an environment in JAX is not a VecEnv: name it, or make one of Gymnasium's")
            try:
                double = make_vec_env(self._show, seed=self.seed)
                double.stands_for = self._show
                self._env = double
            except TeguError:
                raise TeguError(
                    f"{self._show} exists only in JAX, there is no VecEnv of it: "
                    "save the model and use tegu.load(...).evaluate()"
                ) from None
        return self._env

    def set_env(self, env: Any, force_reset: bool = True) -> None:
        """Train in another environment of the same spaces, in as many as before. A replay buffer begins empty.

        Episodes begin anew; unless ``force_reset``, they go on where a model last trained in this very ``VecEnv``.
        """
        with as_argument_errors():
            self._attach(env, fresh=False, force_reset=force_reset, as_many=self._training is not None)

    @property
    def _last_obs(self) -> PyTree:
        """What ``learn(reset_num_timesteps=False)`` acts on first; None where it begins new episodes."""
        return self._training.seen if self._training is not None else None

    def get_vec_normalize_env(self) -> VecNormalize | None:
        """The ``VecNormalize`` around the training environments, or None."""
        return unwrap_vec_normalize(self._env) if self._env is not None else None

    def _check_spaces(self, environment: Any) -> None:
        for kind in ("observation_space", "action_space"):
            own, other = getattr(self, kind), getattr(environment, kind)
            if own != other:
                raise ArgumentError(f"the {kind} does not fit: the model has {own}, the environment {other}")
