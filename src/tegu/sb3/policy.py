"""What a model does with what it has learned."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import jax
import numpy as np
from gymnasium import spaces

from tegu.agents.agent import Agent
from tegu.algorithms.base import Learner
from tegu.core.errors import TeguError
from tegu.core.step import PyTree
from tegu.sb3.errors import ArgumentError
from tegu.sb3.files import read, write
from tegu.sb3.parameters import NETWORKS, arrays_of, with_arrays
from tegu.sb3.vec_parts import as_in


@dataclass(frozen=True)
class Device:
    """Where JAX computes."""

    type: str  #: cpu, cuda, tpu...

    def __str__(self) -> str:
        return self.type


def get_device(device: Any = "auto") -> Device:
    """The device that everything is computed on, which is JAX's to choose, whatever ``device`` says."""
    backend = jax.default_backend()
    return Device("cuda" if backend == "gpu" else backend)


class Policy(Agent):
    """An agent that follows a learner while it goes on learning, without compiling anew."""

    put: Callable[[Learner], None] | None = None  #: what takes over changed learners ``[1, ...]``

    @property
    def networks(self) -> tuple[str, ...]:
        """The fields of the learner that are the policy's parameters."""
        if self.algorithm.name not in NETWORKS:
            raise TeguError(f"tegu.sb3 does not know which parameters of {self.algorithm.name} are the policy's")
        return NETWORKS[self.algorithm.name]

    def follow(self, learners: Learner, steps: int) -> None:
        """Act as ``learners`` ``[1, ...]`` have learned after ``steps``."""
        self.now(learners, steps, steps)

    def predict(
        self,
        observation: PyTree,
        state: PyTree = None,
        episode_start: Any = None,
        deterministic: bool = False,
        *,
        index: int = 0,
    ) -> tuple[Any, PyTree]:
        """The action for an observation or a batch of them, and ``state``; sampled unless ``deterministic``."""
        if isinstance(observation, tuple) and len(observation) == 2 and isinstance(observation[1], dict):
            raise ArgumentError(
                "predict: got a pair of an observation and an info. You are mixing Gym API with SB3 VecEnv API: "
                "reset() of Gymnasium returns (observation, info), that of a VecEnv the observation"
            )
        observation = as_in(self.spec.observation_space, observation)
        action, memory = super().predict(observation, state, episode_start, deterministic, index=index)
        space = self.spec.action_space
        return np.asarray(action, space.dtype) if isinstance(space, spaces.Box) else np.asarray(action), memory

    def reseed(self, seed: int) -> None:
        """Sample as ``seed`` says from now on."""
        self._random = np.random.default_rng(seed)

    def explore_at(self, epsilon: float) -> None:
        """Take random actions with this probability from now on."""
        self.act_by(
            replace(
                self.algorithm,
                exploration_initial_eps=epsilon,
                exploration_final_eps=epsilon,
                learning_starts=0,  # type: ignore[call-arg]
            )
        )

    def act_by(self, algorithm: Any) -> None:
        """Act as ``algorithm`` says, whose networks are the same."""
        if algorithm is not self.algorithm:
            self.algorithm = algorithm
            self.__dict__.pop("policy", None)  # compiled for the other one

    @property
    def observation_space(self) -> spaces.Space:
        return self.spec.observation_space

    @property
    def action_space(self) -> spaces.Space:
        return self.spec.action_space

    @property
    def net_arch(self) -> Any:
        return list(getattr(self.algorithm, "net_arch", ()))

    @property
    def device(self) -> Device:
        return get_device()

    def set_training_mode(self, mode: bool) -> None:
        """Nothing: no network of Tegu's does otherwise while it learns."""

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of the networks' arrays."""
        return arrays_of(self.learner(), self.networks)["policy"]

    def load_state_dict(self, state_dict: Mapping[str, np.ndarray], strict: bool = True) -> None:
        """Take over arrays as ``state_dict`` names them; unless ``strict``, those that are missing stay."""
        changed = with_arrays(self.learner(), {"policy": state_dict}, self.networks, ("policy",) if strict else ())
        learners = jax.tree.map(lambda leaf: leaf[None], changed)
        if self.put is not None:
            self.put(learners)
        self.follow(learners, self.steps)

    def parameters_to_vector(self) -> np.ndarray:
        """All numbers of the networks, one after the other."""
        return np.concatenate([array.ravel() for array in self.state_dict().values()])

    def load_from_vector(self, vector: np.ndarray) -> None:
        """Take over what ``parameters_to_vector`` gave."""
        arrays, vector = self.state_dict(), np.asarray(vector)
        ends = np.cumsum([array.size for array in arrays.values()])
        if vector.shape != (ends[-1],):
            raise ArgumentError(f"load_from_vector: expected {ends[-1]:,} numbers, got an array {list(vector.shape)}")
        pieces = np.split(vector, ends[:-1])
        self.load_state_dict(
            {name: piece.reshape(arrays[name].shape) for name, piece in zip(arrays, pieces, strict=True)}
        )

    def save(self, path: Any) -> Any:
        """Write the policy to the file ``path``, which gets the ending ``.zip`` if it has none, or to an open file."""
        return write(super().save, path)

    @classmethod
    def load(cls, path: Any, device: Any = "auto") -> Self:
        """Read a policy, or a model, that was saved."""
        agent = read(path)
        policy = cls(agent.algorithm, agent.spec, None, agent.seeds[:1], agent.steps)
        policy.follow(jax.tree.map(lambda leaf: leaf[:1], agent.learners), agent.steps)
        return policy


class MlpPolicy(Policy):
    """The policy of that name, to be given to a model, or to load one."""


class CnnPolicy(Policy):
    """The policy of that name, to be given to a model, or to load one."""


class MultiInputPolicy(Policy):
    """The policy of that name, to be given to a model, or to load one."""


def epsilon(algorithm: Any, clock: Any) -> float:
    """The probability of a random action now. ``AttributeError`` where an algorithm has none."""
    if not hasattr(algorithm, "exploration_final_eps"):
        raise AttributeError(f"{type(algorithm).__name__} has no exploration_rate")
    try:
        return float(algorithm.at(clock).exploration_rate)
    except TypeError as error:
        raise TeguError("the exploration rate is not known") from error
