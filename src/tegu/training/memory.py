"""Whether a replay buffer will fit, said before it is made: its memory may be taken only hours later, when it fills."""

import math
import warnings
from typing import Any

import jax

from tegu.algorithms.base import Algorithm
from tegu.core.errors import TeguError
from tegu.core.memory import free_memory
from tegu.core.step import PyTree

NEARLY_ALL = 0.7  #: of the free memory: a buffer that takes more is warned of


def check_memory(algorithm: Algorithm, buffer: PyTree, n_buffers: int, n_devices: int = 1) -> None:
    """Raise ``TeguError`` where replay buffers need more memory than is free, and warn where they need nearly all.

    ``buffer`` gives the shapes of one; there are ``n_buffers``, spread evenly over ``n_devices``.
    """
    free = free_on_device()
    each = sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(buffer))
    needed = -(-n_buffers // n_devices) * each
    if free is None or needed < NEARLY_ALL * free:
        return
    experience: Any = algorithm.experience
    seeds = f" for {n_buffers} seeds" if n_buffers > 1 else ""
    says = (
        f"{algorithm.title}: a replay buffer of buffer_size {experience.capacity:,}{seeds} takes "
        f"{_gib(needed)} GiB of memory, {_gib(free)} GiB are free"
    )
    if needed > free:
        raise TeguError(f"{says}: lower buffer_size")
    warnings.warn(f"{says}: lower buffer_size if anything else needs memory", stacklevel=3)


def free_on_device() -> int | None:
    """Bytes that are free where buffers are kept; None where that is not known."""
    if jax.default_backend() == "cpu":
        return free_memory()
    stats = jax.local_devices()[0].memory_stats() or {}
    known = "bytes_limit" in stats and "bytes_in_use" in stats
    return stats["bytes_limit"] - stats["bytes_in_use"] if known else None


def _gib(n_bytes: int) -> str:
    return f"{n_bytes / 2**30:,.1f}"
