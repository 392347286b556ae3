"""The contract every algorithm follows: immutable hyper-parameters and three pure functions."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import equinox as eqx
import jax

from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Decision, PyTree, Step
from tegu.experience.base import Replay, Rollout

Learner = Any  #: a NamedTuple of arrays with a field ``clock``: everything that learning changes
Metrics = Mapping[str, Any]  #: scalar arrays, named as in Stable-Baselines3 without the ``train/`` prefix


class Algorithm(eqx.Module):
    """Hyper-parameters as fields, and ``init``, ``act`` and ``update`` as pure functions.

    Float fields are pytree leaves, so one compiled program serves all their values; shapes and counts are static. An
    algorithm knows nothing of environments' insides, devices, files or logs.
    """

    name: ClassVar[str]
    several: ClassVar[bool] = False  #: whether it is made for several agents, or for two players
    group: ClassVar[int] = 0  #: environments that act together, apart from others that another core may play; 0: all

    @property
    @abstractmethod
    def experience(self) -> Rollout | Replay:
        """How steps reach ``update``."""

    def validate(self, spec: EnvironmentSpec) -> None:
        """Raise ``TeguError`` with one clear line where hyper-parameters or spaces do not fit, before compilation."""

    @abstractmethod
    def init(self, key: jax.Array, spec: EnvironmentSpec) -> Learner:
        """A fresh learner for environments as in ``spec``."""

    def begin(self, learner: Learner, key: jax.Array, n: int) -> PyTree:
        """The memory ``[n, ...]`` with which ``act`` starts ``n`` episodes; empty unless the policy remembers."""
        return ()

    @abstractmethod
    def act(self, learner: Learner, observation: PyTree, memory: PyTree, key: jax.Array, *, explore: bool) -> Decision:
        """Choose actions for a batch of observations ``[B, ...]``; ``explore=False`` is the greedy policy."""

    @abstractmethod
    def update(self, learner: Learner, batch: Any, key: jax.Array) -> tuple[Learner, Metrics]:
        """Learn from a batch laid out as ``experience`` declares."""

    def rows(self, steps: Step) -> PyTree:
        """What of the steps just collected, ``[T, B, ...]``, a replay buffer keeps for ``update``: all of it."""
        return steps
