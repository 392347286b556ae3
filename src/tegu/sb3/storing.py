"""What a model of ``tegu.sb3`` hands out, takes over, writes and reads."""

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np

from tegu.agents.agent import Agent
from tegu.algorithms.base import Algorithm, Learner
from tegu.algorithms.registry import settings as known_settings
from tegu.core.errors import TeguError
from tegu.experience.base import Hindsight, Replay
from tegu.sb3.errors import as_argument_errors
from tegu.sb3.files import read, read_arguments, write, write_arguments
from tegu.sb3.parameters import arrays_of, with_arrays
from tegu.sb3.policies import check_same, policy_name, policy_settings
from tegu.sb3.policy import Device, Policy, get_device
from tegu.sb3.replay import ReplayBuffer, empty_ring, ended, load_ring, save_ring
from tegu.sb3.settings import KEPT, OF_THE_MODEL, as_given, build, left_out_of, settings_of, translated
from tegu.sb3.training_state import TrainingState
from tegu.sb3.utils import get_system_info


class Storing:
    """Parameters, files and the replay buffer of a model."""

    name: ClassVar[str]
    networks: ClassVar[tuple[str, ...]]
    usual: ClassVar[dict[str, Any]]

    algorithm: Algorithm
    _policy: Policy
    _training: TrainingState | None
    _followed: int
    _seed: int
    _arguments: dict[str, Any]
    _waiting: Any = None  # a replay buffer that was loaded before there was an environment
    _deleted: bool = False  # whether the replay buffer was deleted, and neither another one loaded nor trained on

    @property
    def policy(self) -> Policy:
        """What was learned so far, able to ``predict``."""
        self._follow()
        return self._policy

    def _follow(self) -> None:
        if self._training is not None and self._followed != self._training.revision:
            self._policy.follow(self._training.learners(), self._training.steps)
            self._followed = self._training.revision

    def _put(self, learners: Learner) -> None:
        """Go on with other learners ``[1, ...]``."""
        if self._training is None:
            self._policy.follow(learners, self._policy.steps)
        else:
            self._training.put(learners)

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
    def device(self) -> Device:
        """Where JAX computes."""
        return get_device()

    # Parameters

    def get_parameters(self) -> dict[str, dict[str, np.ndarray]]:
        """Copies of the networks' arrays under ``"policy"`` and the optimizers', such as ``"policy.optimizer"``."""
        return arrays_of(self.policy.learner(), self.networks)

    def set_parameters(self, load_path_or_dict: Any, exact_match: bool = True, device: str = "auto") -> None:
        """Take over arrays as ``get_parameters`` names them, from a dict or a saved model.

        Unless ``exact_match``, those that are missing stay.
        """
        given = load_path_or_dict
        if not isinstance(given, dict):
            given = type(self).load(given).get_parameters()
        learner = self.policy.learner()
        whole = list(arrays_of(learner, self.networks)) if exact_match else []
        changed = with_arrays(learner, given, self.networks, whole)
        self._put(jax.tree.map(lambda leaf: leaf[None], changed))

    # The replay buffer

    @property
    def _replays(self) -> bool:
        return isinstance(self.algorithm.experience, Replay)

    @property
    def replay_buffer(self) -> ReplayBuffer:
        """The replay buffer, to be looked at. ``AttributeError`` where the algorithm has none."""
        experience = self.algorithm.experience
        if not isinstance(experience, Replay) or self._deleted:
            raise AttributeError(f"{type(self).__name__} has no replay_buffer")
        training = self._training
        ring = training.buffer if training is not None and training.begun else self._waiting
        return ReplayBuffer(ring, experience.capacity, self.n_envs, self.algorithm)

    @replay_buffer.deleter
    def replay_buffer(self) -> None:
        """Begin with an empty one, which is there from the next ``load_replay_buffer`` or ``learn`` on."""
        training = self._replaying()
        training.put_buffer(jax.tree.map(jnp.zeros_like, training.buffer))
        self._deleted = True

    def save_replay_buffer(self, path: Any) -> None:
        """Write the replay buffer to the file ``path``, which gets the ending ``.zip`` if it has none; no pickle."""
        save_ring(self._replaying().buffer, path)

    def load_replay_buffer(self, path: Any, truncate_last_traj: bool = True) -> None:
        """Go on with a replay buffer that was saved, of the same size. Running episodes end in it, and begin anew."""
        self._deleted = False
        if self._replays and self._training is None:
            self._waiting = load_ring(path, empty_ring(self.algorithm, self._policy.spec))
            return
        training = self._replaying()
        ring = load_ring(path, training.buffer)
        hindsight = isinstance(getattr(self.algorithm.experience, "draw", None), Hindsight)
        if truncate_last_traj and hindsight and not ended(ring, self.n_envs):
            warnings.warn("The last trajectory in the replay buffer will be truncated.", stacklevel=2)
        training.put_buffer(ring)

    def _replaying(self) -> TrainingState:
        if not self._replays:
            raise TeguError(f"{type(self).__name__} has no replay buffer")
        if self._training is None:
            raise TeguError("a replay buffer belongs to an environment: pass env to load, or call set_env")
        return self._training

    # Files

    def save(self, path: Any, exclude: Iterable[str] | None = None, include: Iterable[str] | None = None) -> None:
        """Write the model to the file ``path``, which gets the ending ``.zip`` if it has none; ``tegu.load`` reads it.

        Settings, networks, optimizer and counters are kept; environments and a replay buffer are not. ``path`` may be
        an open binary file. Of ``KEPT``, those that ``exclude`` names are left out, but for those in ``include``.
        """
        with as_argument_errors():
            known = {"policy", *self.usual}
            left_out = left_out_of(exclude, include, known)
        kept = {name: self._current(name) for name in KEPT if name not in left_out and name in known}

        def write_both(folder: Path) -> None:
            Agent.save(self.policy, folder)
            write_arguments(folder, kept)

        write(write_both, path)

    def _current(self, name: str) -> Any:
        """An argument as it is now: attributes may have been set since."""
        if name == "policy":
            return policy_name(self._arguments[name])
        value = getattr(self, name)
        return str(value) if isinstance(value, Path) else value

    @classmethod
    def load(
        cls,
        path: Any,
        env: Any = None,
        device: str = "auto",
        custom_objects: dict[str, Any] | None = None,
        print_system_info: bool = False,
        force_reset: bool = True,
        **kwargs: Any,
    ) -> Self:
        """Read a model that was saved, to be used in ``env`` or only to predict. ``kwargs`` are settings to change,
        and so are those of ``custom_objects`` that the model has. ``path`` may be an open binary file."""
        if print_system_info:
            get_system_info()
        agent, kept = read(path, cls.name), read_arguments(path)
        changes = {key: value for key, value in (custom_objects or {}).items() if key in cls.usual} | kwargs
        with as_argument_errors():
            saved = settings_of(agent.algorithm, agent.spec.n_envs)
            apart = {key: value for key, value in changes.items() if key not in OF_THE_MODEL}
            settings = saved | translated(cls.name, apart)
            if changes.get("policy_kwargs"):
                known = known_settings(cls.name)
                policy = kept.get("policy", "MultiInputPolicy")
                asked = policy_settings(cls.__name__, policy, changes["policy_kwargs"], known=known)
                check_same(cls.__name__, saved, asked)
            read_back = {key: as_given(getattr(agent.algorithm, key)) for key in cls.usual if key in saved}
            arguments = cls.usual | read_back | {"policy": None, "seed": agent.seeds[0]} | kept | changes
            if "train_freq" in saved:
                arguments["train_freq"] = settings["train_freq"]
            model = cls.__new__(cls)
            model._setup(arguments, settings)  # type: ignore[attr-defined]
            model.algorithm = build(cls.name, settings, agent.spec.n_envs)
            model._policy = model._policy_of(agent.spec, agent.steps)  # type: ignore[attr-defined]
            model._policy.follow(jax.tree.map(lambda leaf: leaf[:1], agent.learners), agent.steps)
            if env is not None:
                model._attach(env, fresh=False, force_reset=force_reset)  # type: ignore[attr-defined]
        return model
