"""What Stable-Baselines3's users look at in a replay buffer, and replay buffers as files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tegu.agents.packed import unpacked
from tegu.algorithms.base import Algorithm
from tegu.core.errors import TeguError
from tegu.core.schedule import Clock
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Step
from tegu.experience.buffer import ReplayBuffer as Ring
from tegu.runs import checkpoint
from tegu.sb3.files import existing, write
from tegu.spaces.features import zeros
from tegu.training.learning import empty_buffer
from tegu.training.saving import buffer_from_blobs, buffer_to_blobs

KIND = "replay buffer of tegu.sb3"

_FIELDS = {
    "observations": "observation",
    "next_observations": "next_observation",
    "actions": "action",
    "rewards": "reward",
}


class ReplayBuffer:
    """A model's replay buffer, to be looked at: copies ``[buffer_size / n_envs, n_envs, ...]``, oldest rows wherever
    the ring has them. Nothing can be written to it."""

    def __init__(self, ring: Ring | None, capacity: int, n_envs: int, algorithm: Any):
        """``ring``: None before the first step."""
        self._ring, self.n_envs = ring, n_envs
        self.buffer_size = (capacity if ring is None else ring.capacity) // n_envs  #: steps of every environment
        self.n_steps, self.gamma = getattr(algorithm, "n_steps", 1), algorithm.gamma

    @property
    def pos(self) -> int:
        """Where the next steps go."""
        return 0 if self._ring is None else int(self._ring.position) // self.n_envs

    @property
    def full(self) -> bool:
        return self.size() == self.buffer_size

    def size(self) -> int:
        """Steps of every environment so far."""
        return 0 if self._ring is None else int(self._ring.size) // self.n_envs

    @property
    def dones(self) -> np.ndarray:
        """Whether episodes ended, as 0 or 1."""
        return (self._column("terminated") | self._column("truncated")).astype(np.float32)

    @property
    def timeouts(self) -> np.ndarray:
        """Whether they ended because time was up, as 0 or 1."""
        return self._column("truncated").astype(np.float32)

    def __getattr__(self, name: str) -> Any:
        if name not in _FIELDS:
            raise AttributeError(f"the replay buffer of tegu.sb3 has no {name}: expected {', '.join(_FIELDS)}, dones")
        return self._column(_FIELDS[name])

    def _column(self, field: str) -> Any:
        if self._ring is None or not hasattr(self._ring.steps, field):
            raise TeguError(f"the replay buffer is empty, or keeps no {field} as such")
        tree = getattr(self._ring.steps, field)
        return jax.tree.map(lambda leaf: np.array(leaf).reshape((-1, self.n_envs, *leaf.shape[1:])), tree)


def save_ring(ring: Ring, path: Any) -> Any:
    """Write a replay buffer to a file."""

    def save(folder: Path) -> None:
        blobs = buffer_to_blobs("replay", ring, int(ring.size), cuts=0, revised=True)
        checkpoint.save(folder, int(ring.size), blobs, {"kind": KIND}, keep=1)

    return write(save, path)


def load_ring(path: Any, like: Ring) -> Ring:
    """Read a replay buffer, which must have been as large as the one it is ``like``, arrays or their shapes."""
    with existing(path) as file, unpacked(file) as folder:
        saved = checkpoint.load_latest(folder)
    if saved.state.get("kind") != KIND:
        raise TeguError(f"{path} does not hold a replay buffer")
    blobs: dict[str, Mapping[str, np.ndarray]] = dict(saved.blobs)
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), like)
    return buffer_from_blobs("replay", shapes, blobs)


def ended(ring: Ring, n_envs: int) -> bool:
    """Whether the last steps of all environments ended their episodes, or there are none."""
    last = (int(ring.position) - n_envs + np.arange(n_envs)) % ring.capacity
    over = np.asarray(ring.steps.terminated)[last] | np.asarray(ring.steps.truncated)[last]
    return bool(over.all()) or not int(ring.size)


def empty_ring(algorithm: Algorithm, spec: EnvironmentSpec) -> Ring:
    """The shapes of a replay buffer of ``algorithm`` in environments as in ``spec``, which need not be there."""
    experience: Any = algorithm.experience
    n, n_steps = spec.n_envs, experience.steps_per_env(spec.n_envs)

    def empty(key: jax.Array) -> Ring:
        learner = algorithm.init(key, spec)
        seen = jax.tree.map(lambda zero: jnp.zeros((n, *zero.shape), zero.dtype), zeros(spec.observation_space))
        now = algorithm.at(Clock.of(0, 1))
        decision = now.act(learner, seen, now.begin(learner, key, n), key, explore=True)
        reward, flag = jnp.zeros(n, jnp.float32), jnp.zeros(n, bool)
        step = Step(seen, decision.action, reward, seen, flag, flag, decision.extras)
        steps = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (n_steps, *leaf.shape)), step)
        return empty_buffer(algorithm, learner, steps, spec)

    return jax.eval_shape(empty, jax.random.key(0))
