"""The replay buffer: a ring of rows in a device's memory, which on a CPU is the host's."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from tegu.core.errors import TeguError
from tegu.core.step import PyTree, Step, episode_ended
from tegu.experience.base import Batch, Feedback, Hindsight, Prioritized, Replay
from tegu.experience.frames import FirstFrames, stack_sizes
from tegu.experience.hindsight import Numbered, numbered, relabelled, rows_of_goals
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

    rows: PyTree  #: leaves ``[capacity, ...]``; ``Numbered`` for hindsight, ``FrameRows`` for stacks of frames
    position: jax.Array  #: int32: where the next block goes
    size: jax.Array  #: int32: rows filled
    priorities: Any = ()  #: ``Priorities`` where rows are drawn by them
    frames: Any = ()  #: ``FirstFrames`` where observations hold stacks of frames

    @classmethod
    def empty(cls, block: PyTree, experience: Replay, n_envs: int = 1, space: Any = None) -> "ReplayBuffer":
        """Room for ``experience.capacity`` rows, rounded to whole blocks; ``block`` gives the shapes ``[n, ...]``.

        Where ``space``, that of the observations, says that they hold stacks of frames, each frame is kept once.
        """
        length = length_of(block)
        capacity = experience.rows(length)
        frames: Any = ()
        if isinstance(experience.draw, Hindsight):
            if not isinstance(block, Step):
                raise TeguError(f"hindsight needs steps whole: take must keep Step, it keeps {type(block).__name__}")
            block = Numbered(block, jax.ShapeDtypeStruct((length,), jnp.int32))
        elif space is not None and any(sizes := stack_sizes(space, block)):
            before = max(sizes) * n_envs  # rows that are drawn no more, of which the oldest stacks are made
            capacity += -(-before // length) * length
            frames = FirstFrames.empty(block, sizes, capacity, least=experience.window(n_envs) + before + length)
            block = jax.eval_shape(lambda steps: frames.block(steps, jnp.zeros(n_envs, bool)).rows, block)
        rows = jax.tree.map(lambda leaf: jnp.zeros((capacity, *leaf.shape[1:]), leaf.dtype), block)
        priorities: Any = Priorities.empty(capacity) if isinstance(experience.draw, Prioritized) else ()
        return cls(rows, jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32), priorities, frames)

    @property
    def capacity(self) -> int:
        return length_of(self.rows)

    @property
    def steps(self) -> PyTree:
        """The rows as they were added, without observations where those are kept frame by frame."""
        return self.rows.steps if self._wrapped else self.rows

    def with_steps(self, steps: PyTree) -> "ReplayBuffer":
        """With other contents in place of ``steps``."""
        return self._replace(rows=self.rows._replace(steps=steps) if self._wrapped else steps)

    @property
    def _wrapped(self) -> bool:
        """Whether rows hold more than what was added."""
        return bool(self.frames) or isinstance(self.rows, Numbered)

    @property
    def _whole(self) -> jax.Array:
        """How many of the newest rows can be drawn."""
        return self.frames.whole if self.frames else self.size

    def block(self, rows: PyTree, experience: Replay, n_envs: int) -> PyTree:
        """Rows ``[n, ...]`` as they are written after those that were written last."""
        if isinstance(experience.draw, Hindsight):
            return numbered(rows, self.last(n_envs), n_envs)
        if not self.frames:
            return rows
        last = (self.position - n_envs + jnp.arange(n_envs)) % self.capacity
        ended = episode_ended(self.rows.steps.terminated[last], self.rows.steps.truncated[last])
        return self.frames.block(rows, ended | (self.size == 0))

    def add(self, rows: PyTree, experience: Replay, n_envs: int) -> "ReplayBuffer":
        """Write ``rows`` ``[n, ...]`` over the oldest ones."""
        block = self.block(rows, experience, n_envs)
        return self.advance(block, experience, n_envs).write(block)

    def advance(self, block: PyTree, experience: Replay, n_envs: int) -> "ReplayBuffer":
        """All that ``add`` does for a block but writing it."""
        length, frames = length_of(block), self.frames
        position = (self.position + length) % self.capacity
        size = jnp.minimum(self.size + length, self.capacity)
        if frames:
            frames = frames.advance(block, self.rows, self.position, experience.rows(length), n_envs)
        buffer = ReplayBuffer(self.rows, position, size, self.priorities, frames)
        return buffer._replace(priorities=self._advanced_priorities(buffer, length, experience, n_envs))

    def _advanced_priorities(self, after: "ReplayBuffer", length: int, experience: Replay, n_envs: int) -> Any:
        """Weights of the rows that can be drawn ``after`` a block of ``length`` has been added."""
        priorities = self.priorities
        if not priorities:
            return priorities
        written = (self.position + jnp.arange(length)) % self.capacity
        lag = experience.window(n_envs) - n_envs  # rows that are still to come before a window is complete
        priorities = priorities.put(written, jnp.zeros(length))
        complete = (written - lag) % self.capacity
        known = jnp.arange(length) >= lag - jnp.minimum(self.size, self.capacity - length)  # else gone or never was
        priorities = priorities.put(complete, jnp.where(known, priorities.largest, 0.0))
        if not self.frames:
            return priorities
        # rows that stay only because later stacks are made of them are drawn no more: few, or many at once
        end = self.position + length - after._whole

        def forget(carry: tuple[jax.Array, Priorities]) -> tuple[jax.Array, Priorities]:
            first, priorities = carry
            given_up = jnp.minimum(first + jnp.arange(length), end - 1) % self.capacity
            return first + length, priorities.put(given_up, jnp.zeros(length))

        carry = self.position - self._whole, priorities
        return jax.lax.while_loop(lambda carry: carry[0] < end, forget, carry)[1]

    def write(self, block: PyTree) -> "ReplayBuffer":
        """Write the block by which it was last advanced: one contiguous slice per leaf, no scatter."""
        start = self._start(length_of(block))
        frames = self.frames.write(block, start) if self.frames else self.frames
        rows = jax.tree.map(
            lambda ring, new: jax.lax.dynamic_update_slice_in_dim(ring, new, start, axis=0),
            self.rows,
            block.rows if self.frames else block,
        )
        return self._replace(rows=rows, frames=frames)

    def last(self, length: int) -> PyTree:
        """The block ``[length, ...]`` that was last written; to write it again changes nothing."""
        start = self._start(length)
        rows = jax.tree.map(lambda ring: jax.lax.dynamic_slice_in_dim(ring, start, length, axis=0), self.rows)
        return self.frames.last(rows) if self.frames else rows

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
            starts = self._whole - (experience.window(n_envs) - n_envs)
            index = self.position - self._whole + jax.random.randint(key, (n,), 0, jnp.maximum(starts, 1))
            weight = jnp.ones(n)
        where = index
        if experience.n_steps > 1:
            where = index + n_envs * jnp.arange(experience.n_steps)[:, None]
        rows = self.at(where, n_envs)
        if isinstance(experience.draw, Hindsight):
            rows = self._in_hindsight(goal_key, rows.steps, index, experience.draw, n_envs, goals)
        return Drawn(Batch(rows, weight), index % self.capacity)

    def age(self, index: jax.Array) -> jax.Array:
        """How many rows were added after those of ``index``, int32."""
        return (self.position - 1 - index) % self.capacity

    def at(self, index: jax.Array, n_envs: int) -> PyTree:
        """Rows by index, whole steps where they are kept frame by frame: ``[..., ...]`` for ``index`` ``[...]``."""
        if self.frames:
            return self.frames.steps(self.rows, index, n_envs)
        return jax.tree.map(lambda ring: ring[index % self.capacity], self.rows)

    def _in_hindsight(
        self, key: jax.Array, steps: Step, index: jax.Array, draw: Hindsight, n_envs: int, goals: Any
    ) -> Step:
        """The ``steps`` drawn from the rows ``index``, a share of them with a goal that was achieved otherwise."""
        chosen_key, other_key = jax.random.split(key)
        chosen = jax.random.bernoulli(chosen_key, draw.share, index.shape)
        newer = (self.position - 1 - index) // n_envs
        older = (index - self.position + self._whole) // n_envs
        other = rows_of_goals(other_key, self.rows.episode, index, newer, older, n_envs, draw.strategy)
        return relabelled(steps, chosen, self.rows.steps.next_observation[ACHIEVED_GOAL][other], goals)

    def revise(self, index: jax.Array, feedback: Feedback, experience: Replay) -> "ReplayBuffer":
        """Take in what an update answered of the rows ``index``; of a row drawn several times, its first answer."""
        buffer = self
        # A scatter may write those of one row in any order: then all of them must write the same.
        first = (index[:, None] == index).argmax(axis=1)
        feedback = jax.tree.map(lambda answers: answers[first], feedback)
        if feedback.priority is not None and isinstance(experience.draw, Prioritized):
            weight = (feedback.priority + _SMALLEST_ERROR) ** experience.draw.alpha
            priorities = self.priorities.put(index, weight)
            largest = jnp.maximum(priorities.largest, weight.max())
            buffer = buffer._replace(priorities=priorities._replace(largest=largest))
        if feedback.rows is not None:
            rows = jax.tree.map(
                lambda new, ring: ring if new is None else ring.at[index].set(new),
                self._revisable(feedback.rows),
                self.steps,
                is_leaf=lambda part: part is None,
            )
            buffer = buffer.with_steps(rows)
        return buffer

    def _revisable(self, rows: PyTree) -> PyTree:
        """New contents of rows, without observations where those are kept frame by frame: they cannot change there."""
        if not self.frames:
            return rows
        if rows.observation is not None or rows.next_observation is not None:
            raise TeguError("an update cannot revise observations that are kept frame by frame (FrameStack)")
        return rows._replace(observation=(), next_observation=())


def length_of(rows: PyTree) -> int:
    """How many rows there are."""
    return jax.tree.leaves(rows)[0].shape[0]
