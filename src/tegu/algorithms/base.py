"""The contract every algorithm follows: immutable hyper-parameters and three pure functions."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from tegu.step import Decision, EnvironmentSpec, PyTree, Step

Learner = Any  #: a NamedTuple of arrays with a field ``clock``: everything that learning changes
Metrics = Mapping[str, Any]  #: scalar arrays, named as in Stable-Baselines3 without the ``train/`` prefix


class Clock(NamedTuple):
    """How far training has come. The loops set it before each collection; schedules read it."""

    steps: jax.Array  #: int32 scalar: environment steps so far, over all environments
    total: jax.Array  #: int32 scalar: environment steps planned

    @classmethod
    def start(cls) -> "Clock":
        return cls(jnp.zeros((), jnp.int32), jnp.ones((), jnp.int32))

    @property
    def progress(self) -> jax.Array:
        """Share of the training done, in [0, 1], float32."""
        return jnp.minimum(self.steps.astype(jnp.float32) / self.total.astype(jnp.float32), 1.0)


class Linear(eqx.Module):
    """A value that falls linearly from ``initial`` to ``final`` over the first ``fraction`` of training."""

    initial: float
    final: float = 0.0
    fraction: float = 1.0

    def __call__(self, progress: jax.Array) -> jax.Array:
        share = jnp.clip(progress / self.fraction, 0.0, 1.0)
        return self.initial + share * (self.final - self.initial)


Schedule = float | Linear


def scheduled(value: Schedule, clock: Clock) -> jax.Array | float:
    """The value of a hyper-parameter now: itself if it is a number, else the schedule at ``clock``."""
    return value(clock.progress) if isinstance(value, Linear) else value


@dataclass(frozen=True)
class Rollout:
    """On-policy experience: ``update`` gets the ``n_steps`` just collected from every environment, ``[T, B, ...]``."""

    n_steps: int


@dataclass(frozen=True)
class Replay:
    """Off-policy experience: ``update`` gets ``batch_size`` random past steps, ``[batch_size, ...]``.

    With ``n_steps`` above 1 it gets as many windows of consecutive steps of one environment, ``[n_steps, batch_size,
    ...]``; an episode may end, and the next one begin, within a window.
    """

    capacity: int  #: steps kept, over all environments
    batch_size: int
    learning_starts: int  #: environment steps taken at random before the first update
    train_freq: int  #: environment steps (over all environments) between two rounds of updates
    gradient_steps: int  #: updates per round; -1: as many as steps were collected
    n_steps: int = 1  #: consecutive steps drawn together


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
