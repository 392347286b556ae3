"""What happened during a chunk, summed on the device so that a chunk hands back a few scalars."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from types import MappingProxyType
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tegu.acting.episodes import Episodes
from tegu.algorithms.base import Metrics
from tegu.core.step import PyTree, Step

Array = jax.Array | np.ndarray


class Fault(NamedTuple):
    """Where the numbers first stopped being finite. ``iteration`` is -1 while all is well."""

    iteration: Array
    observation: Array  #: bool each: whether it was found there
    reward: Array
    learning: Array

    @classmethod
    def none(cls) -> "Fault":
        no = jnp.zeros((), bool)
        return cls(jnp.full((), -1, jnp.int32), no, no, no)


class Sum(NamedTuple):
    """A sum of float32 numbers that loses nothing however many there are: a plain one stands still beyond 2**24.

    Neumaier's (1974) improvement of Kahan's summation.
    """

    total: Array
    lost: Array  #: what rounding has kept out of ``total``

    @classmethod
    def zero(cls) -> "Sum":
        return cls(jnp.zeros(()), jnp.zeros(()))

    def add(self, term: Array) -> "Sum":
        total = self.total + term
        larger = jnp.abs(self.total) >= jnp.abs(term)
        high, low = jnp.where(larger, self.total, term), jnp.where(larger, term, self.total)
        return Sum(total, self.lost + ((high - total) + low))

    def __float__(self) -> float:
        return float(self.total) + float(self.lost)


class Tally(NamedTuple):
    """Sums over the iterations of a chunk, for one seed."""

    iterations: Array  #: int32
    ended: Array  #: int32: episodes
    total_reward: PyTree  #: a ``Sum`` of their returns; by agent where there are several
    length: Array  #: int32: of their steps
    updates: Array  #: int32: iterations that learned
    metrics: dict[str, Sum]  #: over those
    fault: Fault

    @classmethod
    def zero(cls, reward: PyTree, metrics: PyTree) -> "Tally":
        """Nothing yet; the arguments give the structure (their values are not read)."""
        none = jnp.zeros((), jnp.int32)
        total_reward = jax.tree.map(lambda _: Sum.zero(), reward)
        return cls(none, none, total_reward, none, none, {name: Sum.zero() for name in metrics}, Fault.none())

    def add(self, steps: Step, episodes: Episodes, metrics: Metrics) -> "Tally":
        """Take in one iteration: the steps collected, the episodes that ended in them, and what the update reported,
        which is nothing where none was made."""
        observation = ~finite((steps.observation, steps.next_observation))
        reward, learning = ~finite(steps.reward), ~finite(metrics)
        first = (self.fault.iteration < 0) & (observation | reward | learning)
        found = Fault(self.iterations, observation, reward, learning)
        return Tally(
            self.iterations + 1,
            self.ended + episodes.ended,
            jax.tree.map(lambda term, sum: sum.add(term), episodes.total_reward, self.total_reward),
            self.length + episodes.length,
            self.updates + bool(metrics),
            {name: sum.add(metrics[name]) if metrics else sum for name, sum in self.metrics.items()},
            jax.tree.map(lambda old, new: jnp.where(first, new, old), self.fault, found),
        )


def finite(tree: PyTree) -> jax.Array:
    """Whether every float in a pytree is a finite number."""
    leaves = [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in leaves]).all() if leaves else jnp.ones((), bool)


def summarize(tally: Tally, diagnosed: Mapping[str, np.ndarray] = MappingProxyType({})) -> list[dict[str, float]]:
    """The metrics of each seed, by log key, from a tally whose leaves are NumPy arrays ``[seeds]``, as is what was
    ``diagnosed`` at its end."""
    return [
        _seed_metrics(jax.tree.map(lambda leaf, seed=seed: leaf[seed], tally))
        | {_key(name): float(found[seed]) for name, found in diagnosed.items()}
        for seed in range(len(tally.iterations))
    ]


def _seed_metrics(tally: Tally) -> dict[str, float]:
    metrics: dict[str, float] = {}
    if tally.ended > 0:
        is_sum = lambda part: isinstance(part, Sum)  # noqa: E731
        means = jax.tree.map(lambda sum: float(sum) / int(tally.ended), tally.total_reward, is_leaf=is_sum)
        metrics["rollout/ep_rew_mean"] = fmean(jax.tree.leaves(means))  # over the agents, where there are several
        if isinstance(means, dict):
            metrics |= {f"rollout/ep_rew_mean/{agent}": mean for agent, mean in means.items()}
        metrics["rollout/ep_len_mean"] = int(tally.length) / int(tally.ended)
        metrics["rollout/episodes"] = float(tally.ended)
    if tally.updates > 0:
        metrics |= {_key(name): float(sum) / int(tally.updates) for name, sum in tally.metrics.items()}
    return metrics


def _key(name: str) -> str:
    """The log key that Stable-Baselines3 uses for a metric."""
    return f"rollout/{name}" if name == "exploration_rate" else f"train/{name}"


def fault_message(tally: Tally, steps_before: int, steps_per_iteration: int, seeds: Sequence[int]) -> str | None:
    """One line that names the first non-finite number of a chunk, if there was one, from NumPy leaves ``[seeds]``."""
    for i in map(int, np.flatnonzero(tally.fault.iteration >= 0)):
        what = [name for name in ("observation", "reward", "learning") if getattr(tally.fault, name)[i]]
        named = {"observation": "an observation", "reward": "a reward", "learning": "the loss"}
        step = steps_before + (int(tally.fault.iteration[i]) + 1) * steps_per_iteration
        return f"{named[what[0]]} became NaN or infinite by step {step:,} (seed {seeds[i]})"
    return None
