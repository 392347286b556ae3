"""What a model does with what it has learned."""

from typing import Any

import numpy as np

from tegu.agents.agent import Agent
from tegu.algorithms.base import Learner
from tegu.core.step import PyTree


class Policy(Agent):
    """An agent that follows a learner while it goes on learning, without compiling anew."""

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
        return super().predict(observation, state, episode_start, deterministic, index=index)

    def reseed(self, seed: int) -> None:
        """Sample as ``seed`` says from now on."""
        self._random = np.random.default_rng(seed)
