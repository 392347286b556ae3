"""The replay buffer: a ring of rows in a device's memory, which on a CPU is the host's."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from tegu.core.errors import TeguError
from tegu.core.step import PyTree, Step
from tegu.experience.base import Batch, Feedback, Hindsight, Prioritized, Replay
from tegu.experience.hindsight import Numbered, later_rows, numbered, relabelled
from tegu.experience.priorities import Priorities
from tegu.spaces.features import ACHIEVED_GOAL

_SMALLEST_ERROR = 1e-6  #: added to every error, so that each row is drawn again some day


class Drawn(NamedTuple):
    """A batch and where it came from."""

    batch: Batch
    indices: jax.Array  #: int32 ``[batch_size]``: rows of the ring; of a window, its first


class ReplayBuffer(NamedTuple):
    """Rows of the last steps. Blocks are written whole, so the capacity is a multiple of the block.

    Steps of one environment lie ``n_envs`` rows apart.
    """

    rows: PyTree  #: leaves ``[capacity, ...]``; ``Numbered`` for hindsight
    position: jax.Array  #: int32: where the next block goes
    size: jax.Array  #: int32: rows filled
    priorities: Any = ()  #: ``Priorities`` where rows are drawn by them

    @classmethod
    def empty(cls, block: PyTree, experience: Replay) -> "ReplayBuffer":
        """Room for ``experience.capacity`` rows, rounded to whole blocks; ``block`` gives the shapes ``[n, ...]``."""
        length = jax.tree.leaves(block)[0].shape[0]
        if isinstance(experience.draw, Hindsight):
            if not isinstance(block, Step):
                raise TeguError(f"hindsight needs steps whole: take must keep Step, it keeps {type(block).__name__}")
            block = Numbered(block, jax.ShapeDtypeStruct((length,), jnp.int32))
        capacity = experience.rows(length)
        rows = jax.tree.map(lambda leaf: jnp.zeros((capacity, *leaf.shape[1:]), leaf.dtype), block)
        priorities: Any = Priorities.empty(capacity) if isinstance(experience.draw, Prioritized) else ()
        return cls(rows, jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32), priorities)

    @property
    def capacity(self) -> int:
        return jax.tree.leaves(self.rows)[0].shape[0]

    def add(self, rows: PyTree, experience: Replay, n_envs: int) -> "ReplayBuffer":
        """Write ``rows`` ``[n, ...]`` over the oldest ones."""
        block = self.block(rows, experience, n_envs)
        return self.advance(jax.tree.leaves(block)[0].shape[0], experience, n_envs).write(block)

    def block(self, rows: PyTree, experience: Replay, n_envs: int) -> PyTree:
        """What ``write`` takes where ``rows`` ``[n, ...]`` are to follow those that were last written."""
        return numbered(rows, self.last(n_envs), n_envs) if isinstance(experience.draw, Hindsight) else rows

    def advance(self, length: int, experience: Replay, n_envs: int) -> "ReplayBuffer":
        """All that ``add`` does for a block of this ``length`` but writing it."""
        priorities = self.priorities
        if priorities:
            written = (self.position + jnp.arange(length)) % self.capacity
            lag = experience.window(n_envs) - n_envs  # rows that are still to come before a window is complete
            priorities = priorities.put(written, jnp.zeros(length))
            complete = (written - lag) % self.capacity
            known = jnp.arange(length) >= lag - jnp.minimum(self.size, self.capacity - length)  # else gone or never was
            priorities = priorities.put(complete, jnp.where(known, priorities.largest, 0.0))
        position = (self.position + length) % self.capacity
        size = jnp.minimum(self.size + length, self.capacity)
        return ReplayBuffer(self.rows, position, size, priorities)

    def write(self, block: PyTree) -> "ReplayBuffer":
        """Write the block by which it was last advanced: one contiguous slice per leaf, no scatter."""
        start = self._start(jax.tree.leaves(block)[0].shape[0])
        rows = jax.tree.map(
            lambda ring, new: jax.lax.dynamic_update_slice_in_dim(ring, new, start, axis=0), self.rows, block
        )
        return self._replace(rows=rows)

    def last(self, length: int) -> PyTree:
        """The block ``[length, ...]`` that was last written; to write it again changes nothing."""
        start = self._start(length)
        return jax.tree.map(lambda ring: jax.lax.dynamic_slice_in_dim(ring, start, length, axis=0), self.rows)

    def _start(self, length: int) -> jax.Array:
        """Where the block before ``position`` begins."""
        return (self.position - length) % self.capacity

    def draw(self, key: jax.Array, experience: Replay, n_envs: int, goals: Any = None) -> Drawn:
        """``batch_size`` rows or windows as ``experience`` declares, with replacement.

        ``goals``: ``EnvironmentSpec.goals``, which hindsight needs.
        """
        n = experience.batch_size
        key, goal_key = jax.random.split(key) if isinstance(experience.draw, Hindsight) else (key, key)
        if isinstance(experience.draw, Prioritized):
            index, probability = self.priorities.draw(key, n)
            weight = (self.size * probability) ** -experience.draw.beta
            weight = weight / weight.max()
        else:
            starts = self.size - (experience.window(n_envs) - n_envs)
            index = self.position - self.size + jax.random.randint(key, (n,), 0, jnp.maximum(starts, 1))
            weight = jnp.ones(n)
        where = index
        if experience.n_steps > 1:
            where = index + n_envs * jnp.arange(experience.n_steps)[:, None]
        rows = jax.tree.map(lambda ring: ring[where % self.capacity], self.rows)
        if isinstance(experience.draw, Hindsight):
            rows = self._in_hindsight(goal_key, rows.steps, index, experience.draw.share, n_envs, goals)
        return Drawn(Batch(rows, weight), index % self.capacity)

    def _in_hindsight(
        self, key: jax.Array, steps: Step, index: jax.Array, share: float, n_envs: int, goals: Any
    ) -> Step:
        """The ``steps`` drawn from the rows ``index``, a share of them with a goal that was achieved later."""
        chosen_key, later_key = jax.random.split(key)
        chosen = jax.random.bernoulli(chosen_key, share, index.shape)
        newer = (self.position - 1 - index) // n_envs
        later = later_rows(later_key, self.rows.episode, index, newer, n_envs)
        return relabelled(steps, chosen, self.rows.steps.next_observation[ACHIEVED_GOAL][later], goals)

    def revise(self, index: jax.Array, feedback: Feedback, experience: Replay) -> "ReplayBuffer":
        """Take in what an update answered of the rows ``index``."""
        buffer = self
        if feedback.priority is not None and isinstance(experience.draw, Prioritized):
            weight = (feedback.priority + _SMALLEST_ERROR) ** experience.draw.alpha
            priorities = self.priorities.put(index, weight)
            largest = jnp.maximum(priorities.largest, weight.max())
            buffer = buffer._replace(priorities=priorities._replace(largest=largest))
        if feedback.rows is not None:
            new_rows = Numbered(feedback.rows, None) if isinstance(experience.draw, Hindsight) else feedback.rows
            rows = jax.tree.map(
                lambda new, ring: ring if new is None else ring.at[index].set(new),
                new_rows,
                buffer.rows,
                is_leaf=lambda part: part is None,
            )
            buffer = buffer._replace(rows=rows)
        return buffer
