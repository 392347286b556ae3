"""Replaying stacks of frames of which every frame is kept once: about an eighth of the memory, for stacks of 4."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from gymnasium import spaces

from tegu.core.step import PyTree, Step, episode_ended
from tegu.spaces.features import zeros
from tegu.spaces.frames import FrameStack

_ROWS_PER_EPISODE = 16  #: for so many rows there is room for the beginning of one episode


class FrameRows(NamedTuple):
    """Steps ``[n, ...]`` without what other rows hold already: of a stack only the next observation's newest frame."""

    steps: Step  #: without observations
    observation: list[jax.Array]  #: the parts that are no stacks
    next_observation: list[jax.Array]  #: all parts, or their newest frame
    place: jax.Array  #: int32: of an episode's first step, where the first frame is kept, counted from 1; else 0


class FrameBlock(NamedTuple):
    """A block ``[n, ...]`` that is to be written."""

    rows: FrameRows
    first: list[jax.Array]  #: the newest frame of each stack observed: kept where it is the first of an episode


class FirstFrames(eqx.Module):
    """The first frame of every episode, and what else is needed to make whole steps of ``FrameRows``.

    All other frames are the newest ones of the next observations before. There are fewer places than rows: where so
    many episodes began that a first frame is lost, the rows up to it are given up.
    """

    frames: list[jax.Array]  #: ``[places, *frame]`` for each stack
    row: jax.Array  #: int32 ``[places]``: of the episode's first step
    begun: jax.Array  #: int32: episodes so far
    whole: jax.Array  #: int32: how many of the newest rows can be made whole
    sizes: tuple[int, ...] = eqx.field(static=True)  #: frames in each part of an observation; 0: it is no stack
    structure: Any = eqx.field(static=True)  #: of an observation

    @classmethod
    def empty(cls, block: Step, sizes: tuple[int, ...], capacity: int, least: int) -> "FirstFrames":
        """Before the first of ``capacity`` rows; ``block`` gives shapes; ``least`` places, but no more than rows."""
        leaves, structure = jax.tree.flatten(block.observation)
        places = min(max(capacity // _ROWS_PER_EPISODE, least), capacity)
        frames = [jnp.zeros((places, *leaf.shape[2:]), leaf.dtype) for leaf, n in zip(leaves, sizes, strict=True) if n]
        counts = jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32)  # two arrays: programs use them up
        return cls(frames, jnp.zeros(places, jnp.int32), *counts, sizes, structure)

    def without(self) -> "FirstFrames":
        """All but the frames."""
        return FirstFrames([], self.row, self.begun, self.whole, self.sizes, self.structure)

    @property
    def longest(self) -> int:
        """Frames in the largest stack."""
        return max(self.sizes)

    @property
    def places(self) -> int:
        return self.row.shape[0]

    def block(self, steps: Step, ended: jax.Array) -> FrameBlock:
        """Steps ``[n, ...]`` as a block; ``ended`` ``[B]``: whether the steps before were the last of an episode."""
        all_ended = episode_ended(steps.terminated, steps.truncated)
        begins = jnp.concatenate([ended, all_ended])[: all_ended.shape[0]]
        place = jnp.where(begins, (self.begun + jnp.cumsum(begins) - 1) % self.places + 1, 0)
        seen, following = jax.tree.leaves(steps.observation), jax.tree.leaves(steps.next_observation)
        rows = FrameRows(
            steps._replace(observation=(), next_observation=()),
            [leaf for leaf, n in zip(seen, self.sizes, strict=True) if not n],
            [leaf[:, -1] if n else leaf for leaf, n in zip(following, self.sizes, strict=True)],
            place.astype(jnp.int32),
        )
        return FrameBlock(rows, [leaf[:, -1] for leaf, n in zip(seen, self.sizes, strict=True) if n])

    def last(self, rows: FrameRows) -> FrameBlock:
        """The block that was last written, of its rows."""
        return FrameBlock(rows, [frames[rows.place - 1] for frames in self.frames])

    def advance(
        self, block: FrameBlock, ring: FrameRows, position: jax.Array, limit: int, n_envs: int
    ) -> "FirstFrames":
        """Make room for a block at ``position`` of the ``ring``, of which no more than ``limit`` rows are wanted."""
        place, capacity = block.rows.place, ring.place.shape[0]
        length = place.shape[0]
        owner = self.row[place - 1]  # of the frame that will be lost, if it is still there
        gone = (owner - position) % capacity < length
        lost = (place > 0) & (ring.place[owner] == place) & ~gone
        after = (position + length - owner - 1) % capacity + 1 - self.longest * n_envs  # rows that do not need it
        whole = jnp.minimum(self.whole + length, limit)
        whole = jnp.minimum(whole, jnp.where(lost, jnp.maximum(after, 0), limit).min())
        begun = self.begun + (place > 0).sum().astype(jnp.int32)
        return FirstFrames(self.frames, self.row, begun, whole, self.sizes, self.structure)

    def write(self, block: FrameBlock, start: jax.Array) -> "FirstFrames":
        """Keep the first frames of a block whose rows are written from ``start``."""
        place = jnp.where(block.rows.place > 0, block.rows.place - 1, self.places)  # beyond all, which is left out
        frames = [kept.at[place].set(new, mode="drop") for kept, new in zip(self.frames, block.first, strict=True)]
        row = self.row.at[place].set(start + jnp.arange(place.shape[0], dtype=jnp.int32), mode="drop")
        return FirstFrames(frames, row, self.begun, self.whole, self.sizes, self.structure)

    def steps(self, ring: FrameRows, index: jax.Array, n_envs: int) -> Step:
        """Whole steps ``[..., ...]`` of the rows ``index`` ``[...]`` of the ``ring``; those of one environment lie
        ``n_envs`` apart."""
        capacity, n = ring.place.shape[0], self.longest
        rows = (index[..., None] - n_envs * jnp.arange(n + 1)) % capacity  # the row itself, and those before it
        places = ring.place[rows[..., :n]]
        begins = places > 0
        age = jnp.where(begins.any(axis=-1), jnp.argmax(begins, axis=-1), n)  # steps since the episode began, up to n
        place = jnp.take_along_axis(places, jnp.minimum(age, n - 1)[..., None], axis=-1)[..., 0]
        plain, firsts = iter(ring.observation), iter(self.frames)
        seen, following = [], []
        for kept, size in zip(ring.next_observation, self.sizes, strict=True):
            if not size:
                seen.append(next(plain)[rows[..., 0]])
                following.append(kept[rows[..., 0]])
                continue
            frames = kept[rows[..., : size + 1]]
            first = jnp.expand_dims(next(firsts)[place - 1], index.ndim)
            back = jnp.arange(size + 1) - age[..., None]  # from the frame after the episode's first: 1 is the first
            back = back.reshape(back.shape + (1,) * (frames.ndim - back.ndim))
            frames = jnp.where(back <= 0, frames, jnp.where(back == 1, first, jnp.zeros_like(first)))
            frames = jnp.flip(frames, axis=index.ndim)
            seen.append(jax.lax.slice_in_dim(frames, 0, size, axis=index.ndim))
            following.append(jax.lax.slice_in_dim(frames, 1, size + 1, axis=index.ndim))
        steps = jax.tree.map(lambda leaf: leaf[rows[..., 0]], ring.steps)
        observations = [jax.tree.unflatten(self.structure, leaves) for leaves in (seen, following)]
        return steps._replace(observation=observations[0], next_observation=observations[1])


def stack_sizes(space: spaces.Space, steps: PyTree) -> tuple[int, ...]:
    """How many frames each part of an observation stacks, 0 where it is no stack; all 0 where whole rows must be kept.

    ``steps`` gives the shapes ``[n, ...]`` of what is kept: ``Step``s of one agent, with the observations of ``space``.
    """
    parts = _parts(space)
    if not isinstance(steps, Step) or isinstance(steps.terminated, dict) or not any(n for n, _ in parts):
        return (0,) * len(parts)
    for observation in (steps.observation, steps.next_observation):
        leaves = jax.tree.leaves(observation)
        if len(leaves) != len(parts):
            return (0,) * len(parts)
        for leaf, (n, part) in zip(leaves, parts, strict=True):
            if n and (leaf.shape[1:], leaf.dtype) != (part.shape, zeros(part).dtype):
                return (0,) * len(parts)
    return tuple(n for n, _ in parts)


def _parts(space: spaces.Space) -> list[tuple[int, spaces.Space]]:
    """The parts of a space in the order of JAX's leaves, each with the frames that it stacks."""
    if isinstance(space, spaces.Dict):
        return [part for name in sorted(space.spaces) for part in _parts(space.spaces[name])]
    return [(space.shape[0] if isinstance(space, FrameStack) else 0, space)]
