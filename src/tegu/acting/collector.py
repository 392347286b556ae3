"""What the split loop asks of whatever collects its steps."""

from collections.abc import Mapping
from typing import Any, Protocol

import jax
import numpy as np

from tegu.acting.episodes import Episodes
from tegu.algorithms.base import Learner
from tegu.core.schedule import Clock
from tegu.core.step import Step

Arrays = Mapping[str, np.ndarray]


class Collector(Protocol):
    """Environments in the middle of their episodes, and the policy that acts in them: steps come out."""

    seconds: dict[str, float]  #: time spent so far, by kind of work
    all_cores: bool  #: whether it keeps all cores busy, so that nothing can well be computed beside it

    def start(self, learner: Learner, key: jax.Array) -> None:
        """Fresh episodes in all environments."""

    def restart(self, learner: Learner, key: jax.Array) -> None:
        """Leave the running episodes where they are, and begin new ones in all environments."""

    def collect(self, learner: Learner, clock: Clock, key: jax.Array, n_steps: int) -> tuple[Step, Episodes]:
        """``n_steps`` decisions in every environment: steps ``[T, B, ...]`` and the episodes that ended in them."""
        ...

    def shapes(self, learner: Learner, n_steps: int) -> Step:
        """The shapes of the steps that ``collect`` returns, of which it takes no step."""
        ...

    def dump(self) -> tuple[dict[str, Arrays], dict[str, Any]]:
        """Where the episodes stand, as blobs of named arrays and plain data."""
        ...

    def restore(self, blobs: Mapping[str, Arrays], data: Any) -> np.ndarray:
        """Bring started environments to where ``dump`` found them. Returns where that failed, ``[B]``.

        ``TeguError`` if ``blobs`` or ``data`` cannot be what it gave.
        """
        ...

    def close(self) -> None:
        """Let go of the environments."""
