"""Training on stacks of frames: what is learned must not depend on whether the replay buffer keeps each frame once."""

from pathlib import Path
from typing import Any

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces
from run_contents import assert_same, everything, stopped_and_resumed

import tegu
from tegu.check import check
from tegu.core.step import Step
from tegu.environments.base import Environment, Timestep
from tegu.experience import frames
from tegu.experience.base import Replay
from tegu.experience.buffer import ReplayBuffer
from tegu.experience.frames import FirstFrames
from tegu.runs import checkpoint
from tegu.spaces.frames import FrameStack
from tegu.training import saving

SHAPE = 3, 2, 2
SETTINGS: dict[str, Any] = {"n_envs": 2, "train_freq": 6, "learning_starts": 20, "batch_size": 8, "net_arch": (4,)}
SETTINGS |= {"n_steps": 3, "buffer_size": 90, "steps": 300, "log_interval": 60, "checkpoint_every": 0.0}


def seen_space(declared: bool) -> spaces.Box:
    return (FrameStack if declared else spaces.Box)(0, 255, SHAPE, np.uint8)


class Flicker(Environment):
    """Random pictures; about every sixth step ends an episode."""

    id: str = eqx.field(static=True, kw_only=True, default="flicker")
    max_episode_steps: int | None = eqx.field(static=True, kw_only=True, default=9)
    declared: bool = eqx.field(static=True, default=True)

    @property
    def observation_space(self) -> spaces.Box:
        return seen_space(self.declared)

    @property
    def action_space(self) -> spaces.Discrete:
        return spaces.Discrete(2)

    def reset(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        stack = jnp.zeros(SHAPE, jnp.uint8).at[-1].set(jax.random.randint(key, SHAPE[1:], 1, 256).astype(jnp.uint8))
        return stack, stack

    def step(self, state: jax.Array, action: jax.Array, key: jax.Array) -> Timestep:
        new = jax.random.randint(key, (1, *SHAPE[1:]), 1, 256).astype(jnp.uint8)
        stack = jnp.concatenate([state[1:], new])
        return Timestep(stack, stack, action * new.mean() / 255, jax.random.bernoulli(key, 0.15))


class HostFlicker(gymnasium.Env):
    """The same on the host."""

    action_space = spaces.Discrete(2)

    def __init__(self, declared: bool = True):
        self.observation_space = seen_space(declared)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.stack = np.concatenate([np.zeros((2, 2, 2), np.uint8), self.picture()])
        return self.stack, {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.stack = np.concatenate([self.stack[1:], self.picture()])
        ends, cut = self.np_random.random(2) < 0.1
        return self.stack, action * float(self.stack[-1].mean()) / 255, bool(ends), bool(cut), {}

    def picture(self) -> np.ndarray:
        return self.np_random.integers(1, 256, (1, 2, 2)).astype(np.uint8)


class HostPlain(HostFlicker):
    def __init__(self) -> None:
        super().__init__(declared=False)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[FirstFrames]:
    """The buffers that keep each frame once, and have room for as many episodes as steps."""
    monkeypatch.setattr(frames, "_ROWS_PER_EPISODE", 1)
    found, real = [], FirstFrames.empty

    def empty(*given: Any, **more: Any) -> FirstFrames:
        found.append(real(*given, **more))
        return found[-1]

    monkeypatch.setattr(FirstFrames, "empty", empty)
    return found


@pytest.mark.parametrize(
    ("declared", "plain"),
    [
        pytest.param(Flicker(), Flicker(declared=False), id="fused", marks=pytest.mark.long),
        pytest.param(HostFlicker, HostPlain, id="split"),
    ],
)
def test_the_same_is_learned(declared, plain, made, tmp_path: Path):
    ours = tegu.train(declared, "dqn", folder=tmp_path / "ours", **SETTINGS).run
    n_made = len(made)
    theirs = tegu.train(plain, "dqn", folder=tmp_path / "theirs", **SETTINGS).run
    assert len(made) == n_made > 0
    mine, other = everything(ours), everything(theirs)
    assert mine["metrics"] == other["metrics"]
    assert_same({"blobs": {"learner": mine["blobs"]["learner"]}}, {"blobs": {"learner": other["blobs"]["learner"]}})


@pytest.mark.parametrize(
    "world", [pytest.param(Flicker(), id="fused", marks=pytest.mark.long), pytest.param(HostFlicker, id="split")]
)
def test_a_stopped_run_ends_as_if_it_had_never_stopped(world, made, tmp_path: Path):
    whole = tegu.train(world, "dqn", folder=tmp_path / "whole", **SETTINGS).run
    halves = stopped_and_resumed(world, "dqn", folder=tmp_path / "halves", **SETTINGS)
    assert_same(everything(halves), everything(whole))


@pytest.mark.parametrize("n_blocks", [2, 30])
def test_a_buffer_comes_back_from_its_blobs(n_blocks, monkeypatch):
    """In several chunks, of rows and of first frames; counts that cannot be are refused."""
    monkeypatch.setattr(saving, "CHUNK_BYTES", 200)
    experience, rng = Replay(40, 8, 0, 4, 1, 1), np.random.default_rng(0)
    space, add = seen_space(True), jax.jit(ReplayBuffer.add, static_argnames=("experience", "n_envs"))
    stack, flags = np.zeros((4, *SHAPE), np.uint8), np.zeros(4, bool)
    block = Step(stack, np.zeros(4, np.int32), np.zeros(4, np.float32), stack, flags, flags)
    buffer = ReplayBuffer.empty(block, experience, 2, space)
    for _ in range(n_blocks):
        ends, pictures = rng.random(4) < 0.3, rng.integers(256, size=(2, *stack.shape)).astype(np.uint8)
        block = block._replace(observation=pictures[0], next_observation=pictures[1], terminated=ends)
        buffer = add(buffer, block, experience, 2)
    blobs = saving.buffer_to_blobs("replay", buffer, 4 * n_blocks, cuts=0, revised=False)
    assert {"replay", "replay-0000", "replay-first-0000"} <= blobs.keys()
    assert len(blobs) > 5 or n_blocks == 2
    arrays = {name: blob.arrays() if isinstance(blob, checkpoint.Chunk) else blob for name, blob in blobs.items()}
    shapes = jax.eval_shape(lambda: buffer)
    back = saving.buffer_from_blobs("replay", shapes, arrays)
    jax.tree.map(np.testing.assert_array_equal, back, buffer)
    (count,) = [key for key in arrays["replay"] if "whole" in key]
    arrays["replay"] = {**arrays["replay"], count: np.array(10**6, np.int32)}
    with pytest.raises(tegu.TeguError, match="its counts of episodes and steps do not fit together"):
        saving.buffer_from_blobs("replay", shapes, arrays)


class Backwards(HostFlicker):
    """The newest frame comes first."""

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.stack = np.concatenate([self.picture(), self.stack[:-1]])
        return self.stack, 0.0, False, False, {}


class Repeated(HostFlicker):
    """An episode begins with its first frame three times, as other libraries have it."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.stack = np.repeat(self.picture(), 3, axis=0)
        return self.stack, {}


class RepeatedLater(HostFlicker):
    """All episodes but the first."""

    begun = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.begun += 1
        if self.begun > 1:
            self.stack = np.repeat(self.picture(), 3, axis=0)
        return self.stack, {}


class RepeatedInJax(Flicker):
    def reset(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        stack, _ = super().reset(key)
        return jnp.broadcast_to(stack[-1:], SHAPE), jnp.broadcast_to(stack[-1:], SHAPE)


class BackwardsInJax(Flicker):
    def step(self, state: jax.Array, action: jax.Array, key: jax.Array) -> Timestep:
        timestep = super().step(state, action, key)
        stack = timestep.observation
        return timestep._replace(state=stack[::-1], observation=stack[::-1])


BEGINS = "one frame, the last, and zeros where an episode begins"
GOES_ON = "the one before it without its first frame, the oldest, and with a new last one"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (Backwards, GOES_ON),
        (Repeated, BEGINS),
        (RepeatedLater, BEGINS),
        pytest.param(RepeatedInJax, BEGINS, marks=pytest.mark.long),
        (BackwardsInJax, GOES_ON),
    ],
)
def test_who_breaks_the_promise_is_told_so(kind: Any, expected: str) -> None:
    """By ``tegu check`` and when training begins; with spaces that promise nothing, nothing is said."""
    findings = [str(finding) for finding in check(kind()).findings]
    assert any("breaks what its FrameStack promises" in finding and expected in finding for finding in findings)
    environment = kind() if issubclass(kind, Environment) else kind
    with pytest.raises(tegu.TeguError, match="FrameStack promises") as caught:
        tegu.train(environment, "dqn", folder=None, **SETTINGS)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
    if not issubclass(kind, Environment):
        assert not any("FrameStack" in str(finding) for finding in check(kind(declared=False)).findings)


@pytest.mark.parametrize("kind", [pytest.param(Flicker, marks=pytest.mark.long), HostFlicker])
def test_who_keeps_it_is_told_nothing(kind: Any) -> None:
    assert not any("FrameStack" in str(finding) for finding in check(kind()).findings)
