"""The contract every algorithm follows: immutable hyper-parameters and a few pure functions."""

import dataclasses
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Self

import equinox as eqx
import jax
import jax.numpy as jnp
from gymnasium import spaces

from tegu.algorithms.catalogue import ALGORITHMS
from tegu.algorithms.ranges import check_ranges
from tegu.core.code import is_code
from tegu.core.errors import TeguError
from tegu.core.schedule import Clock, Linear
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Decision, PyTree, Step
from tegu.experience.base import Feedback, Replay, Rollout
from tegu.nn.encoder import check_extractor, images
from tegu.nn.mlp import check_network
from tegu.spaces.features import one_line, require

Learner = Any  #: a NamedTuple of arrays: everything that learning changes, and nothing that belongs to a loop
HandOver = Callable[[Learner, Learner], Learner]
"""Makes the learners of a phase from those of the phase before and the freshly initialised ones, all ``[S, ...]``."""

Metrics = Mapping[str, Any]  #: scalar arrays, named as in Stable-Baselines3 without the ``train/`` prefix


class Update(NamedTuple):
    """What ``Algorithm.update`` returns."""

    learner: Learner
    metrics: Metrics
    feedback: Feedback = Feedback()  #: of a replay buffer's rows that were drawn: new priorities, new contents


class ExpectedReturn(NamedTuple):
    """What ``Algorithm.expected_return`` returns."""

    value: jax.Array  #: ``[B]``: sums of the rewards to come, each discounted by
    gamma: Any  #: to the power of the steps until then


class Imagined(NamedTuple):
    """What ``Algorithm.imagine`` returns: ``H`` steps from each of ``B`` observations, by ``M`` networks or draws."""

    observation: PyTree  #: ``[M, H, B, ...]``: what is observed after each action
    reward: jax.Array  #: ``[M, H, B]``
    terminated: jax.Array  #: bool ``[M, H, B]``: whether the episode has ended; what comes later means nothing


class Dream(NamedTuple):
    """What ``Algorithm.dream_of`` returns: images of an episode of ``T`` steps, as networks see them.

    Pixels are from 0 to 1 where the space bounds them.
    """

    observed: jax.Array  #: ``[T + 1, H, W, C]``
    reconstructed: jax.Array  #: ``[T + 1, H, W, C]``: drawn from what is known after each observation
    dreamt: jax.Array  #: ``[T + 1 - seen, H, W, C]``: what is expected in place of those that are not seen


class Stage(NamedTuple):
    """One of the stages in which an algorithm trains (``Algorithm.stages``): each is a phase of the run."""

    algorithm: "Algorithm"  #: how it acts and learns in this stage
    steps: int  #: environment steps
    environment: Callable[[], Any] | None = None  #: makes one in JAX, same actions; None: the run's
    hand_over: HandOver | None = None  #: None: the learners of the stage before are kept unchanged


class Algorithm(eqx.Module):
    """Hyper-parameters as fields, and ``init``, ``act`` and ``update`` as pure functions.

    Float fields are pytree leaves, so one compiled program serves all their values; shapes and counts are static. An
    algorithm knows nothing of environments' insides, devices, files or logs.
    """

    multi_agent: ClassVar[bool] = False  #: whether it is for multi-agent environments, or for two players
    plans: ClassVar[bool] = False  #: whether ``act`` searches ahead in a model, which takes long

    name: str = eqx.field(static=True, kw_only=True, default="")  #: as registered

    def __check_init__(self) -> None:
        check_ranges(self)

    @property
    @abstractmethod
    def experience(self) -> Rollout | Replay:
        """How steps reach ``update``."""

    @property
    def title(self) -> str:
        """What messages call the algorithm: as ``tegu`` does, or by its class, or by the name of a variant of that."""
        if self.name in ALGORITHMS and type(self).__module__.startswith("tegu."):  # a person's own class has its name
            return ALGORITHMS[self.name].public
        usual = {"", self.__dataclass_fields__["name"].default}
        return type(self).__name__ if self.name in usual or is_code(self.name) else self.name

    def at(self, clock: Clock) -> Self:
        """The algorithm as it is at a point of the training: every schedule is its number now."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        now: dict[str, Any] = {
            name: value(clock.progress) for name, value in values.items() if isinstance(value, Linear)
        }
        now |= {name: value.at(clock) for name, value in values.items() if isinstance(value, Algorithm)}
        return dataclasses.replace(self, **now)

    def validate(self, spec: EnvironmentSpec) -> None:
        """Raise ``TeguError`` with one clear line where hyper-parameters or spaces do not fit, before compilation."""

    def samples_per_step(self, spec: EnvironmentSpec) -> int:
        """How many samples of its batches one step of one environment gives: several where agents share a policy."""
        return 1

    def stages(self, spec: EnvironmentSpec, steps: int) -> Sequence[Stage]:
        """The stages in which it trains for ``steps`` in all, one after the other; none: it trains as it is.

        All stages have the same learner, whose ``init`` is given ``spec``, and with the algorithm as it is (not as it
        is in a stage) the learner is evaluated, saved, and played with. The same arguments give the same stages, so
        that a run can be resumed, and all seeds have the same. What has to be made for a stage first, such as data to
        learn from, is the same for the same hyper-parameters, and made by the stage's ``environment``: a run that is
        resumed in a later stage does not need it. The first stage has no ``hand_over``.
        """
        return ()

    def networks(self, learner: Learner) -> Sequence[tuple[str, Any]]:
        """The learner's networks, each with its part (``"actor"``, or nothing), for the line that describes them."""
        return ()

    @abstractmethod
    def init(self, key: jax.Array, spec: EnvironmentSpec) -> Learner:
        """A fresh learner for environments as in ``spec``. It does not depend on ``spec.n_envs``."""

    def begin(self, learner: Learner, key: jax.Array, n: int) -> PyTree:
        """The recurrent state ``[n, ...]`` with which ``act`` starts ``n`` episodes; empty for policies without one."""
        return ()

    @property
    def reads_reward(self) -> bool:
        """Whether it has to know ``EnvironmentSpec.reward``."""
        return False

    @property
    def fork_probability(self) -> Any:
        """With which probability an episode begins where the one before it in the same environment once stood, after
        any of its steps; None: never. Only training in environments in JAX does so."""
        return None

    def fork(self, memory: PyTree) -> PyTree:
        """The memory ``[n, ...]`` with which ``act`` goes on from there, given the one it had then."""
        return memory

    @abstractmethod
    def act(self, learner: Learner, observation: PyTree, memory: PyTree, key: jax.Array, *, explore: bool) -> Decision:
        """Choose actions for a batch of observations ``[B, ...]``; ``explore=False`` is the deterministic policy."""

    def take(self, learner: Learner, steps: Step) -> tuple[Learner, PyTree]:
        """What the learner learns directly from new steps ``[T, B, ...]``, and the rows to store ``[T, B, ...]``.

        Called where ``experience`` is a ``Replay``: after every round of updates, before its steps are stored. By
        default the steps are stored whole, and nothing is learned.
        """
        return learner, steps

    @abstractmethod
    def update(self, learner: Learner, batch: Any, key: jax.Array) -> Update:
        """Learn from a batch laid out as ``experience`` declares."""

    def diagnose(self, learner: Learner, steps: Any) -> Metrics:
        """Metrics that would take too long at every update, of some of the ``steps`` ``[B, ...]`` learned from.

        They are rows as ``take`` keeps them, or the steps of a rollout. Loops call it a few times in a training.
        """
        return {}

    def expected_return(self, learner: Learner, observation: PyTree, memory: PyTree) -> ExpectedReturn | None:
        """What ``act`` with ``explore=False`` is expected to earn from observations ``[B, ...]`` on.

        None where the learner has no such opinion. Evaluations compare it with what was earned.
        """
        return None

    def imagine(self, learner: Learner, observation: PyTree, actions: PyTree, key: jax.Array) -> Imagined | None:
        """What a learned model says comes of the environment's ``actions`` ``[H, B, ...]`` from observations
        ``[B, ...]`` on, with nothing seen in between (open loop). None where no model is learned. With ``key`` a model
        draws that draws.
        """
        return None

    def dream_of(
        self, learner: Learner, observation: PyTree, actions: PyTree, seen: int, key: jax.Array
    ) -> Dream | None:
        """What a learned model makes of one episode, the observations ``[T + 1, ...]`` and the environment's
        ``actions`` ``[T, ...]``: the images it reconstructs, and those it expects once it has seen the first ``seen``.

        None where no model draws images. With ``key`` a model draws that draws.
        """
        return None


def named(name: str) -> Any:
    """The field by which an algorithm says what it is called."""
    return eqx.field(static=True, kw_only=True, default=name)


def derived(value: Any) -> Any:
    """A field that is not a hyper-parameter: ``at`` computes it from the others; ``value`` holds until then."""
    return eqx.field(kw_only=True, default=value, metadata={"derived": True})


def network_field(*names: str) -> Any:
    """The field of a person's own network: a function of a key and the spec, or ``module:function``.

    ``names`` stand for networks that the algorithm has itself, the first is the default; else that is none.
    """
    return eqx.field(static=True, default=names[0] if names else None, metadata={"networks": names})


def check_deep(algorithm: Any, spec: EnvironmentSpec, *actions: type[spaces.Space]) -> None:
    """Raise ``TeguError`` unless a deep algorithm's network can be made; ``actions``: the spaces that it can act in."""
    title = algorithm.title
    check_network(algorithm.activation, (*algorithm.net_arch, *(getattr(algorithm, "critic_arch", None) or ())))
    require(title, "action", spec.action_space, *actions)
    require(title, "observation", spec.observation_space, spaces.Space)
    check_extractor(title, algorithm.features_extractor, spec.observation_space)


def check_standardised(title: str, space: spaces.Space) -> None:
    """Raise ``TeguError`` unless observations in ``space`` can be standardised before a network sees them."""
    if not isinstance(space, spaces.Box) or space.dtype.kind != "f" or any(images(space)):
        raise TeguError(
            f"{title}: normalize_observation needs a Box of floats without images, the environment has "
            f"{one_line(space)}"
        )


def replay(algorithm: Any, **more: Any) -> Replay:
    """How steps reach an algorithm, by the fields that all replaying ones have; ``more``: what else ``Replay`` has."""
    return Replay(
        algorithm.buffer_size,
        algorithm.batch_size,
        algorithm.learning_starts,
        algorithm.train_freq,
        algorithm.gradient_steps,
        **more,
    )


def check_replay(algorithm: Any) -> None:
    """Raise ``TeguError`` unless the number of updates that all replaying algorithms have makes sense."""
    if algorithm.gradient_steps < 1 and algorithm.gradient_steps != -1:
        title = algorithm.title
        raise TeguError(f"{title}: gradient_steps must be at least 1, or -1, got {algorithm.gradient_steps}")


def check_reanalysed(algorithm: Any) -> None:
    """Raise ``TeguError`` unless a batch has as many rows as are to be searched again."""
    searched, batch_size = algorithm.n_reanalysed, algorithm.batch_size
    if searched > batch_size:
        raise TeguError(
            f"{algorithm.title}: n_reanalysed must be at most batch_size, got {searched:,} and {batch_size:,}"
        )


def falling_epsilon(algorithm: Any, clock: Clock) -> jax.Array:
    """The probability of a random action at a point of the training, by an algorithm's fields ``exploration_*``."""
    initial, final = algorithm.exploration_initial_eps, algorithm.exploration_final_eps
    return Linear(initial, final, algorithm.exploration_fraction)(clock.progress)


def learning_metrics(learning_rate: jax.Array | float, updates: jax.Array) -> dict[str, jax.Array]:
    """What every gradient step reports."""
    return {
        "learning_rate": jnp.asarray(learning_rate, jnp.float32),
        "n_updates": updates.astype(jnp.float32),
    }
