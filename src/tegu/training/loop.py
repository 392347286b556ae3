"""What a trainer asks of the loops."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from tegu.algorithms.base import Learner
from tegu.core.spec import EnvironmentSpec
from tegu.training.saving import Arrays, Blobs
from tegu.training.tally import Tally


class Loop(Protocol):
    """What the trainer drives: ``FusedLoop`` or ``SplitLoop``."""

    spec: EnvironmentSpec
    seeds: tuple[int, ...]
    steps_per_iteration: int

    @property
    def seconds(self) -> dict[str, float]:
        """Time spent so far, by kind of work."""
        ...

    def start(self) -> Any: ...
    def compile(self, state: Any, start: int) -> None: ...
    def chunk(self, state: Any, iterations: int, start: int, total: int) -> tuple[Any, Tally]: ...
    def diagnose(self, state: Any, steps: int, total: int) -> Mapping[str, np.ndarray]:
        """What ``Algorithm.diagnose`` finds after so many ``steps`` of ``total``, for every seed ``[S]``."""
        ...

    def salvage(self, state: Any) -> tuple[Any, int]:
        """After ``chunk`` raised an error: what is left of its ``state``, and how many of its iterations are in it."""
        ...

    def learners(self, state: Any) -> Learner: ...
    def with_learners(self, state: Any, learners: Learner) -> Any: ...
    def with_keys(self, state: Any, seeds: Sequence[int]) -> Any: ...
    def restart(self, state: Any) -> Any: ...
    def dump(self, state: Any, members: Sequence[int]) -> tuple[Blobs, dict[str, Any]]: ...
    def restore(self, blobs: Mapping[str, Arrays], data: Mapping[str, Any]) -> Any: ...
    def close(self) -> None: ...


def whole_iterations(steps: int, each: int) -> int:
    """``steps`` rounded up to whole iterations of so many steps ``each``."""
    return -(-steps // each) * each
