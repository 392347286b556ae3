"""What a learner expects of an episode, beside what the episode pays: how much it overestimates.

Both are sums of the rewards that learning sees, discounted, from the first observation to the end of what is learned
from as an episode. What lies beyond a truncation, which ends only the record, counts as what the learner expects there.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tegu.core.step import PyTree, Step, where

Expect = Callable[[PyTree, PyTree], Any]  #: of observations and memories ``[n, ...]``: an ``ExpectedReturn``, or None


class Expected(NamedTuple):
    """Episodes under way in JAX, ``[n]`` each."""

    value: jax.Array  #: the return expected at the first observation
    paid: jax.Array  #: the discounted rewards so far
    discount: jax.Array  #: of what follows
    gamma: jax.Array
    terminated: jax.Array
    observation: PyTree  #: the last
    memory: PyTree  #: the policy's, after all steps so far

    @classmethod
    def start(cls, expect: Expect, observation: PyTree, memory: PyTree) -> Any:
        """Before the first step; () where nothing is expected."""
        found = expect(observation, memory)
        if found is None:
            return ()
        value = found.value
        nothing, gamma = jnp.zeros_like(value), jnp.full_like(value, found.gamma)
        return cls(value, nothing, nothing + 1, gamma, jnp.zeros(value.shape, bool), observation, memory)

    def step(self, on: jax.Array, step: Step, memory: PyTree) -> "Expected":
        """After a ``step`` of the episodes that are ``on``, and the policy's ``memory`` there."""
        paid, discount = self.paid + self.discount * step.reward, self.discount * self.gamma
        now = Expected(self.value, paid, discount, self.gamma, step.terminated, step.next_observation, memory)
        return jax.tree.map(lambda new, old: where(on, new, old), now, self)

    def returns(self, expect: Expect) -> tuple[jax.Array, jax.Array]:
        """The returns of ended episodes, as expected and as they were."""
        beyond = jnp.where(self.terminated, 0.0, expect(self.observation, self.memory).value)
        return self.value, self.paid + self.discount * beyond


class HostExpected:
    """The same in NumPy, of episodes that begin and end at any time, ``[n]`` each."""

    def __init__(self, expect: Callable[[PyTree, PyTree, np.ndarray], Any], n: int):
        """``expect`` is also given where an episode begins, bool ``[n]``."""
        self.expect = expect
        self.known = True  #: whether anything is expected, as far as was seen
        self.value, self.paid, self.discount, self.gamma = np.zeros(n), np.zeros(n), np.zeros(n), 1.0

    def begin(self, which: np.ndarray, observation: PyTree, memory: PyTree) -> None:
        """Episodes begin where ``which`` ``[n]`` says so."""
        found = self.expect(observation, memory, which) if self.known and which.any() else None
        if found is None:
            self.known = self.known and not which.any()
            return
        self.gamma = float(found.gamma)
        self.value[which], self.paid[which], self.discount[which] = found.value[which], 0.0, 1.0

    def step(
        self, reward: np.ndarray, terminated: np.ndarray, truncated: np.ndarray, observation: PyTree, memory: PyTree
    ) -> None:
        """After a step to the true next ``observation``; what follows an end does not count, until the next ``begin``.

        To be called where anything is expected.
        """
        self.paid += self.discount * reward
        self.discount *= self.gamma * ~terminated
        cut = truncated & (self.discount > 0)
        if cut.any():
            beyond = self.expect(observation, memory, np.zeros(len(cut), bool)).value
            self.paid[cut] += (self.discount * beyond)[cut]
            self.discount[cut] = 0.0
