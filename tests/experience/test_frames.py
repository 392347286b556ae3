"""A replay buffer that keeps every frame once, against one that keeps whole steps."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from tegu.core.errors import TeguError
from tegu.core.step import Step
from tegu.experience import frames
from tegu.experience.base import Feedback, Prioritized, Replay
from tegu.experience.buffer import ReplayBuffer
from tegu.spaces.data import from_data, to_data
from tegu.spaces.frames import FrameStack
from tegu.training.learning import cut_episodes

PICTURES = FrameStack(0, 255, (3, 2, 2), np.uint8)
SPACE = spaces.Dict({"far": FrameStack(-np.inf, np.inf, (2, 1)), "near": PICTURES, "place": spaces.Box(-1, 1, (2,))})
ADD = jax.jit(ReplayBuffer.add, static_argnames=("experience", "n_envs"))
DRAW = jax.jit(ReplayBuffer.draw, static_argnames=("experience", "n_envs"))
AT = jax.jit(ReplayBuffer.at, static_argnames="n_envs")


class Episodes:
    """``n_envs`` environments whose observations are as ``FrameStack`` promises, and whose episodes end by chance."""

    def __init__(self, n_envs: int, ends: float, seed: int = 0, space: Any = SPACE):
        self.n_envs, self.ends, self.space, self.rng = n_envs, ends, space, np.random.default_rng(seed)
        self.seen = [self.observed() for _ in range(n_envs)]

    def observed(self, before: Any = None) -> Any:
        """The observation after ``before``, or an episode's first."""
        if isinstance(self.space, FrameStack):
            return self.part(self.space, before)
        return {name: self.part(part, before and before[name]) for name, part in self.space.items()}

    def part(self, space: Any, before: Any) -> np.ndarray:
        if not isinstance(space, FrameStack):
            return self.rng.random(space.shape, np.float32)
        new = (self.rng.random((1, *space.shape[1:])) * 250 + 1).astype(space.dtype)
        older = np.zeros_like(new).repeat(space.shape[0] - 1, axis=0) if before is None else before[1:]
        return np.concatenate([older, new])

    def step(self) -> Step:
        """A step of all environments ``[n_envs, ...]``."""
        steps = []
        for i in range(self.n_envs):
            following = self.observed(self.seen[i])
            terminated, truncated = self.rng.random(2) < self.ends / 2
            reward, action = np.float32(self.rng.random()), np.int32(self.rng.integers(5))
            steps.append(Step(self.seen[i], action, reward, following, terminated, truncated, np.float32(0)))
            self.seen[i] = self.observed() if terminated or truncated else following
        return jax.tree.map(lambda *rows: np.stack(rows), *steps)

    def block(self, length: int) -> Step:
        """So many steps, one after the other ``[length * n_envs, ...]``."""
        return jax.tree.map(lambda *rows: np.concatenate(rows), *[self.step() for _ in range(length)])


def replay(capacity: int, n_steps: int = 1, batch_size: int = 64, **more: Any) -> Replay:
    return Replay(capacity, batch_size, 0, 1, 1, n_steps, **more)


def newest(blocks: list[Step], n: int) -> Step:
    """The last ``n`` rows."""
    return jax.tree.map(lambda *rows: np.concatenate(rows)[-n:], *blocks)


def assert_same(ours: Any, theirs: Any) -> None:
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n_envs", "length", "capacity", "n_steps", "draw"),
    [(1, 1, 9, 1, {}), (1, 4, 41, 3, {}), (3, 2, 40, 1, {}), (2, 3, 37, 4, {"draw": Prioritized(0.6, 0.4)})],
)
def test_what_is_drawn_is_what_whole_steps_would_give(n_envs, length, capacity, n_steps, draw, monkeypatch):
    """The very same batches: before and after the ring has wrapped, over ends, time limits and cuts, in windows."""
    monkeypatch.setattr(frames, "_ROWS_PER_EPISODE", 1)
    experience = replay(capacity, n_steps, **draw)
    for seed, ends in enumerate((0.1, 0.5, 2.0)):  # of 2, both ends of every step
        world, shapes = Episodes(n_envs, ends, seed), Episodes(n_envs, ends).block(length)
        ours = ReplayBuffer.empty(shapes, experience, n_envs, SPACE)
        theirs = ReplayBuffer.empty(shapes, experience, n_envs)
        for i in range(5 * capacity // 2 // (length * n_envs)):
            block = world.block(length)
            ours, theirs = (ADD(buffer, block, experience, n_envs) for buffer in (ours, theirs))
            if i % 5 == 2:
                where = np.arange(n_envs) == i % n_envs
                ours, theirs = (cut_episodes(buffer, jnp.asarray(where)) for buffer in (ours, theirs))
                world.seen = [world.observed() if cut else seen for cut, seen in zip(where, world.seen, strict=True)]
            whole = int(ours.frames.whole)
            assert whole == theirs.size
            if i % 3 or whole < experience.window(n_envs):
                continue
            (drawn, _), index = DRAW(ours, jax.random.key(i), experience, n_envs)
            age = (int(ours.position) - np.asarray(index) - 1) % ours.capacity + 1
            where = int(theirs.position) - age + n_envs * np.arange(n_steps)[:, None]
            assert_same(drawn, AT(theirs, where if n_steps > 1 else where[0], n_envs))
            if not draw:
                assert_same(drawn, DRAW(theirs, jax.random.key(i), experience, n_envs).batch.rows)
                continue
            live = np.flatnonzero(np.ravel(ours.priorities.weight))
            allowed = (int(ours.position) - whole + np.arange(whole - (n_steps - 1) * n_envs)) % ours.capacity
            assert set(live) == set(allowed.tolist())
            error = np.random.default_rng(i).random(experience.batch_size).astype(np.float32)
            ours = ours.revise(index, Feedback(priority=error), experience)
        rows = [AT(buffer, buffer.position - whole + np.arange(whole), n_envs) for buffer in (ours, theirs)]
        assert_same(*rows)


def test_rows_are_given_up_where_too_many_episodes_begin():
    """There is room for the beginning of every 16th row's episode. What is left is exact, and as much as fits; after
    longer episodes all is as before."""
    n_envs, length, capacity = 2, 4, 640
    experience = replay(capacity, draw=Prioritized(0.6, 0.4))
    world = Episodes(n_envs, 0.01, space=PICTURES)
    ours = ReplayBuffer.empty(Episodes(n_envs, 0.5, space=PICTURES).block(length), experience, n_envs, PICTURES)
    places = ours.frames.places
    assert places == ours.capacity // 16
    blocks, held = [], []
    for i in range(250):
        world.ends = 0.6 if 100 <= i < 140 else 0.01
        blocks.append(world.block(length))
        ours = ADD(ours, blocks[-1], experience, n_envs)
        held.append(int(ours.frames.whole))
        if i % 20 == 19 or 100 <= i < 106:
            rows = AT(ours, np.arange(ours.position - capacity, ours.position), n_envs)
            assert_same(newest([rows], held[-1]), newest(blocks, held[-1]))
            live = np.flatnonzero(np.ravel(ours.priorities.weight))
            assert set(live) == {(int(ours.position) - 1 - n) % ours.capacity for n in range(held[-1])}
    assert held[99] == held[-1] == capacity
    assert places - 3 * n_envs <= min(held[100:]) < 4 * places


def test_a_block_may_be_written_later_and_twice():
    """As the fused loop does, whose first act is to write the last block again."""
    experience, world = replay(40), Episodes(2, 0.1)

    @jax.jit
    def later_written(buffer: ReplayBuffer, rows: Step) -> ReplayBuffer:
        block = buffer.block(rows, experience, 2)
        return buffer.advance(block, experience, 2).write(block)

    again = jax.jit(lambda buffer: buffer.write(buffer.last(6)))
    buffer = again(ReplayBuffer.empty(Episodes(2, 0.4).block(3), experience, 2, SPACE))
    for _ in range(12):
        rows = world.block(3)
        later = later_written(buffer, rows)
        assert_same(ADD(buffer, rows, experience, 2), later)
        assert_same(again(later), later)
        buffer = later
    assert buffer.frames.whole == 36


def test_what_is_no_observation_can_be_revised():
    experience, world = replay(12), Episodes(1, 0.3)
    rows = world.block(4)
    buffer = ADD(ReplayBuffer.empty(rows, experience, 1, SPACE), rows, experience, 1)
    nothing = Step(*[None] * 7)
    new = Feedback(rows=nothing._replace(extras=np.float32([7, 8])))
    revised = jax.jit(ReplayBuffer.revise, static_argnums=3)(buffer, np.array([1, 3]), new, experience)
    expected = rows._replace(extras=np.float32([0, 7, 0, 8]))
    assert_same(AT(revised, np.arange(4), 1), expected)
    with pytest.raises(TeguError, match="kept frame by frame"):
        buffer.revise(np.array([1]), Feedback(rows=rows), experience)


@pytest.mark.parametrize(
    "kept",
    [
        lambda steps: steps._replace(observation=jax.tree.map(np.float16, steps.observation)),  # normalised, perhaps
        lambda steps: {"seen": steps.observation},
        lambda steps: steps._replace(observation=steps.observation["near"]),
    ],
)
def test_rows_that_are_not_what_was_observed_are_kept_whole(kept):
    buffer = ReplayBuffer.empty(kept(Episodes(1, 0.5).block(4)), replay(12), 1, SPACE)
    assert not buffer.frames


def test_a_million_frames_fit_in_seven_and_a_half_gib():
    """As many bytes as the check of free memory counts, of which nothing is taken here."""
    pictures = FrameStack(0, 255, (4, 84, 84), np.uint8)
    one, picture = np.zeros(32, np.float32), np.zeros((32, *pictures.shape), np.uint8)
    flag = np.zeros(32, bool)
    block = Step(picture, np.zeros(32, np.int32), one, picture, flag, flag)

    def needed(space: Any) -> float:
        make = partial(ReplayBuffer.empty, block, replay(1_000_000), 8, space)
        return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(jax.eval_shape(make))) / 2**30

    assert needed(pictures) < 7.5
    assert needed(None) > 52


def test_a_stack_of_frames_is_a_space_of_its_own():
    """It survives being written as JSON, and is no other Box."""
    for space in (PICTURES, SPACE):
        assert from_data(to_data(space)) == space
    box = spaces.Box(0, 255, PICTURES.shape, np.uint8)
    assert not PICTURES == box and not box == PICTURES  # noqa: SIM201, SIM300, PT018 - both ways
    assert repr(PICTURES) == "FrameStack(0, 255, (3, 2, 2), uint8)"
    assert isinstance(from_data(to_data(box)), spaces.Box)
    assert not isinstance(from_data(to_data(box)), FrameStack)
