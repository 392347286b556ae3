"""How steps reach an algorithm: what it declares, what ``update`` gets, and what it may return."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax

from tegu.core.errors import TeguError
from tegu.core.step import PyTree

STRATEGIES = ("future", "final", "episode")  #: which step of an episode gives another step its goal


@dataclass(frozen=True)
class Rollout:
    """On-policy experience: ``update`` gets the ``n_steps`` just collected from every environment, ``[T, B, ...]``."""

    n_steps: int
    whole: bool = False  #: whether every rollout begins with fresh episodes in all environments
    minibatch: int | None = None  #: steps learned from at once; None: the whole rollout

    def steps_per_env(self, n_envs: int) -> int:
        """Decisions that each of ``n_envs`` environments takes between two calls of ``update``."""
        return self.n_steps


@dataclass(frozen=True)
class Uniform:
    """Rows are drawn with equal probability."""


@dataclass(frozen=True)
class Prioritized:
    """Rows are drawn in proportion to a power of their last error (Schaul et al. 2016, proportional variant)."""

    alpha: Any = 0.6  #: exponent of the priorities; 0 is uniform
    beta: Any = 0.4  #: exponent of the importance weights; 1 corrects fully


@dataclass(frozen=True)
class Hindsight:
    """Rows are drawn with equal probability, and a share of them as if their goal had been one that was reached later.

    That is hindsight experience replay (Andrychowicz et al. 2017, section 4.5): the desired goal becomes the goal
    achieved by a step of the same episode that ``strategy`` chooses; reward and termination are computed anew. It needs
    steps whole, from an environment that says what goals pay (``EnvironmentSpec.goals``).
    """

    n_sampled_goal: int = 4  #: rows with such a goal for each that keeps its own, on average: the paper's k
    strategy: str = "future"  #: a random step from this one on; "final": the last one so far; "episode": any

    def __post_init__(self) -> None:
        if self.strategy not in STRATEGIES:
            raise TeguError(f"goal_selection_strategy must be one of {', '.join(STRATEGIES)}, got {self.strategy!r}")

    @property
    def share(self) -> float:
        """The probability of a row to get such a goal."""
        return self.n_sampled_goal / (self.n_sampled_goal + 1)


def hindsight(n_sampled_goal: int, strategy: str = "future") -> Uniform | Hindsight:
    """How an algorithm draws whose hyper-parameter ``n_sampled_goal`` is 0 where goals stay as they are."""
    found = Hindsight(n_sampled_goal, strategy)
    return found if n_sampled_goal else Uniform()


@dataclass(frozen=True)
class Replay:
    """Off-policy experience: ``update`` gets a ``Batch`` of ``batch_size`` random past steps, ``[batch_size, ...]``.

    With ``n_steps`` above 1 it gets as many windows of consecutive steps of one environment, ``[n_steps, batch_size,
    ...]``; an episode may end, and the next one begin, within a window.
    """

    capacity: int  #: steps kept, over all environments
    batch_size: int
    learning_starts: int  #: environment steps before the first update
    train_freq: int  #: environment steps (over all environments) between two rounds of updates
    gradient_steps: int  #: updates per round; -1: as many as steps were collected
    n_steps: int = 1  #: consecutive steps drawn together
    draw: Uniform | Prioritized | Hindsight = Uniform()  #: how rows are drawn

    def steps_per_env(self, n_envs: int) -> int:
        """Decisions that each of ``n_envs`` environments takes between two rounds of updates."""
        return max(self.train_freq // n_envs, 1)

    def updates(self, n_envs: int) -> int:
        """Updates per round."""
        return self.steps_per_env(n_envs) * n_envs if self.gradient_steps == -1 else self.gradient_steps

    def rows(self, block: int) -> int:
        """The capacity in whole blocks of as many rows: at least one."""
        return max(self.capacity // block, 1) * block

    def window(self, n_envs: int) -> int:
        """Rows that ``n_steps`` consecutive steps of one environment stretch over."""
        return self.n_steps * n_envs


class Batch(NamedTuple):
    """What a replay buffer gives ``update``."""

    rows: PyTree  #: ``[batch_size, ...]``, or windows ``[n_steps, batch_size, ...]``
    weight: jax.Array  #: float32 ``[batch_size]``: weight of each row in the loss (importance sampling); 1 is usual


class Feedback(NamedTuple):
    """What ``update`` returns for the rows drawn, ``[batch_size, ...]`` each; of a window, its first row."""

    priority: Any = None  #: float32: errors by which they are drawn from now on; for ``Prioritized``
    rows: PyTree = None  #: new contents, like ``Batch.rows``, with None in place of each part that stays
