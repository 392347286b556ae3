"""Rollouts of a policy that remembers, cut into sequences for truncated backpropagation through time."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from tegu.core.errors import TeguError
from tegu.core.step import PyTree, Step, flatten_time
from tegu.nn.recurrent import CELLS, Memory, RecurrentActorCritic, Sequences
from tegu.returns import next_values

NONE = "none"
RECURRENT = (NONE, *CELLS)  #: what a policy may remember with


class Recalled(NamedTuple):
    """What a policy that remembers keeps of each step ``[T, B, ...]``."""

    log_prob: jax.Array
    memory: Memory  #: before the step


def check_sequences(algorithm: Any) -> None:
    """Raise ``TeguError`` unless rollouts and minibatches divide into sequences."""
    title, length = algorithm.title, algorithm.sequence_length
    if algorithm.recurrent not in RECURRENT:
        raise TeguError(f"{title}: recurrent must be one of {', '.join(RECURRENT)}, got {algorithm.recurrent!r}")
    if algorithm.recurrent == NONE:
        return
    if algorithm.network is not None:
        raise TeguError(f"{title}: recurrent cannot be used with your own network")
    for name in ("n_steps", "batch_size"):
        if (size := getattr(algorithm, name)) % length:
            raise TeguError(f"{title}: {name} must be a multiple of sequence_length, got {size} and {length}")


def sequences(
    network: RecurrentActorCritic,
    batch: Step,
    x: jax.Array,
    next_x: Callable[[PyTree], jax.Array],
    forgets: jax.Array | None = None,
) -> tuple[Sequences, jax.Array, jax.Array]:
    """A rollout of features ``x`` ``[T, B, n]``, each step beside the memory before it; the values ``[T, B]`` of its
    observations, and those of the true next observations, of which ``next_x`` makes features. ``forgets`` ``[T, B]``:
    after which steps the memory starts anew, if not after all ends."""
    before, forgets = batch.extras.memory, batch.terminated | batch.truncated if forgets is None else forgets
    begins = jnp.concatenate([jnp.zeros_like(forgets[:1]), forgets[:-1]])  # the first memory is fresh where one began
    after = network.unroll(x, begins, jax.tree.map(lambda leaf: leaf[0], before))
    _, values = network.of_memory(after)

    def value(following: tuple[PyTree, Memory]) -> jax.Array:
        observation, memory = following
        return network.of_memory(network.remember(next_x(observation), memory))[1]

    following = next_values(value, (batch.next_observation, after), values, batch.truncated)
    return Sequences(x, begins, before), values, following


def cut(sample: Any, length: int) -> Any:
    """``[T, B, ...]`` as sequences ``[N, length, ...]``, each with the memory before its first step only."""
    pieces = jax.tree.map(lambda leaf: _pieces(leaf, length), sample)
    memory = jax.tree.map(lambda leaf: leaf[:, 0], pieces.x.memory)
    return pieces._replace(x=pieces.x._replace(memory=memory))


def _pieces(leaf: jax.Array, length: int) -> jax.Array:
    cut = leaf.reshape((leaf.shape[0] // length, length, *leaf.shape[1:]))  # [T / length, length, B, ...]
    return flatten_time(jnp.moveaxis(cut, 2, 1))
