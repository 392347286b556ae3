"""How steps reach an algorithm: what it declares."""

from dataclasses import dataclass


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
