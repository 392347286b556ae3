"""How good is what was learned? Fresh episodes, bounded in length, from a random stream of their own."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tegu.algorithms.base import Algorithm, Learner
from tegu.environments.adapters.gymnasium import GymnasiumEnvironments
from tegu.environments.base import Environment
from tegu.spaces import to_bounds
from tegu.step import PyTree
from tegu.training.fused import World, begin, step_world
from tegu.training.seeds import over_seeds, pad, trim

EVALUATION = 0x5EED  #: folded into a seed's key, so that evaluation never sees the episodes of training
LONGEST = 10_000  #: steps after which an episode without a time limit is cut


class Evaluation(NamedTuple):
    """Returns and lengths of fresh episodes, ``[seeds, episodes]``."""

    returns: np.ndarray
    lengths: np.ndarray

    @property
    def mean(self) -> float:
        return float(self.returns.mean())

    @property
    def std(self) -> float:
        """Standard deviation over all episodes of all seeds."""
        return float(self.returns.std())


def evaluate_fused(
    algorithm: Algorithm,
    environment: Environment,
    learners: Learner,
    seeds: tuple[int, ...],
    *,
    episodes: int,
    deterministic: bool,
) -> Evaluation:
    """Play ``episodes`` with each of the ``learners`` ``[S, ...]``, side by side on the device."""
    limit = environment.max_episode_steps or LONGEST

    def play(given: tuple[Learner, jax.Array], algorithm: Algorithm) -> tuple[jax.Array, jax.Array]:
        learner, key = given
        key, start_key = jax.random.split(key)
        world = begin(environment, start_key, episodes)
        nothing = jnp.zeros(episodes)

        def running(carry: tuple[World, jax.Array, PyTree]) -> jax.Array:
            _, _, (_, lengths, elapsed) = carry
            return (lengths == 0).any() & (elapsed < limit)

        def step(carry: tuple[World, jax.Array, PyTree]) -> tuple[World, jax.Array, PyTree]:
            world, key, (returns, lengths, elapsed) = carry
            key, step_key = jax.random.split(key)
            world, taken, after = step_world(
                algorithm, environment, learner, world, step_key, explore=not deterministic
            )
            ends = taken.terminated | taken.truncated | (after.elapsed >= limit)
            first = ends & (lengths == 0)  # later episodes of the same environment do not count
            returns = jnp.where(first, after.total_reward, returns)
            return world, key, (returns, jnp.where(first, after.elapsed, lengths), elapsed + 1)

        start = (world, key, (nothing, nothing.astype(jnp.int32), jnp.zeros((), jnp.int32)))
        _, _, (returns, lengths, _) = jax.lax.while_loop(running, step, start)
        return returns, lengths

    keys = jax.vmap(lambda seed: jax.random.fold_in(jax.random.key(seed), EVALUATION))(jnp.asarray(seeds))
    n_seeds = len(seeds)
    played = jax.jit(over_seeds(play, n_seeds))(pad((learners, keys), n_seeds), algorithm)
    return Evaluation(*jax.device_get(trim(played, n_seeds)))


def evaluate_host(
    algorithm: Algorithm,
    environments: GymnasiumEnvironments,
    learner: Learner,
    seed: int,
    *,
    episodes: int,
    deterministic: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Play ``episodes`` with one learner on the host. Returns ``(returns, lengths)``, ``[episodes]`` each.

    Each of the ``n`` environments plays its share of the episodes one after the other, so that short episodes are not
    favoured.
    """
    n = len(environments.environments)
    due = np.array([episodes // n + (i < episodes % n) for i in range(n)])
    returns: list[float] = []
    lengths: list[int] = []
    total, elapsed, played = np.zeros(n), np.zeros(n, int), np.zeros(n, int)
    act = jax.jit(lambda learner, algorithm, *seen: algorithm.act(learner, *seen, explore=not deterministic))
    key = jax.random.fold_in(jax.random.key(seed), EVALUATION)
    observation: Any = environments.reset()
    memory: Any = ()
    while (played < due).any():
        key, step_key = jax.random.split(key)
        decision = act(learner, algorithm, observation, memory, step_key)
        now = environments.step(to_bounds(environments.action_space, np.asarray(decision.action)))
        observation, memory = now.observation, decision.memory
        total, elapsed = total + now.reward, elapsed + 1
        cut = elapsed >= LONGEST
        done = now.terminated | now.truncated | cut
        for i in np.flatnonzero(done & (played < due)):
            returns.append(float(total[i]))
            lengths.append(int(elapsed[i]))
        played += done
        total, elapsed = total * ~done, elapsed * ~done
        if (stuck := cut & ~(now.terminated | now.truncated)).any():
            observation = environments.begin_anew(stuck)
    return np.array(returns), np.array(lengths)
