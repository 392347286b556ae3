"""How good is what was learned? Fresh episodes, bounded in length, from a random stream of their own."""

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from tegu.algorithms.base import Algorithm, Learner
from tegu.core.seeds import over_seeds, pad, trim
from tegu.core.step import Decision, PyTree, over
from tegu.environments.adapters.gymnasium import GymnasiumEnvironments
from tegu.environments.base import Environment
from tegu.environments.games.base import Game
from tegu.exploration import masked
from tegu.spaces.bounds import to_bounds
from tegu.training.fused import World, advance, begin, remembered

EVALUATION = 0x5EED  #: folded into a seed's key, so that evaluation never sees the episodes of training
LONGEST = 10_000  #: steps after which an episode without a time limit is cut


class Evaluation(NamedTuple):
    """Fresh episodes, ``[seeds, episodes]`` each."""

    returns: np.ndarray  #: undiscounted; where there are several agents, the mean over them
    lengths: np.ndarray  #: steps
    agents: Mapping[str, np.ndarray] = MappingProxyType({})  #: each agent's returns, or those from each seat of a game
    measures: Mapping[str, np.ndarray] = MappingProxyType({})  #: "name/mean" over the steps, "name/end" at their end

    @property
    def mean(self) -> float:
        return float(self.returns.mean())

    @property
    def std(self) -> float:
        """Standard deviation over all episodes of all seeds."""
        return float(self.returns.std())

    @classmethod
    def of(cls, returns: PyTree, lengths: np.ndarray, measures: dict[str, np.ndarray] | None = None) -> "Evaluation":
        """From returns, by agent where there are several."""
        agents = returns if isinstance(returns, dict) else {}
        return cls(np.mean(jax.tree.leaves(returns), axis=0), lengths, agents, measures or {})


class Played(NamedTuple):
    """Episodes under way, ``[episodes]`` each."""

    returns: PyTree
    lengths: jax.Array  #: 0 while an episode goes on
    sums: dict[str, jax.Array]  #: of the environment's measures, over the steps
    ends: dict[str, jax.Array]  #: the last of them


class FusedEvaluation:
    """Playing ``episodes`` with each of some seeds' learners, side by side on the device.

    Board games are played against random moves, every other one as the first player: a win returns 1, a loss -1.
    """

    def __init__(
        self, algorithm: Any, environment: Environment, seeds: tuple[int, ...], episodes: int, deterministic: bool
    ):
        """``algorithm`` needs ``begin`` and ``act``, no more."""
        self.game = environment if isinstance(environment, Game) else None
        self.algorithm = algorithm if self.game is None else AgainstRandom(algorithm)
        self.seeds = seeds
        play = partial(_play, environment=environment, episodes=episodes, deterministic=deterministic)
        self._play = jax.jit(over_seeds(play, len(seeds)))

    def __call__(self, learners: Learner) -> Evaluation:
        """Play with ``learners`` ``[S, ...]``; the first call compiles."""
        n_seeds = len(self.seeds)
        played = trim(self._play(pad((learners, np.asarray(self.seeds)), n_seeds), self.algorithm), n_seeds)
        if self.game is not None:
            first, second = (played.returns[player] for player in self.game.agents)
            returns = np.where(np.arange(first.shape[1]) % 2 == 0, first, second)
            return Evaluation(returns, played.lengths, {"first": returns[:, ::2], "second": returns[:, 1::2]})
        means = {f"{name}/mean": total / played.lengths for name, total in played.sums.items()}
        ends = {f"{name}/end": last for name, last in played.ends.items()}
        return Evaluation.of(played.returns, played.lengths, means | ends)


def _play(
    given: tuple[Learner, jax.Array], algorithm: Any, *, environment: Environment, episodes: int, deterministic: bool
) -> Played:
    """What ``FusedEvaluation`` compiles, for one seed."""
    learner, seed = given
    key = jax.random.fold_in(jax.random.key(seed), EVALUATION)
    key, start_key, memory_key = jax.random.split(key, 3)
    limit = environment.max_episode_steps or LONGEST
    world = begin(environment, start_key, episodes, algorithm.begin(learner, memory_key, episodes))

    def running(carry: tuple[World, jax.Array, Played]) -> jax.Array:
        world, _, played = carry
        return (played.lengths == 0).any() & (world.elapsed[0] < limit)

    def step(carry: tuple[World, jax.Array, Played]) -> tuple[World, jax.Array, Played]:
        world, key, played = carry
        key, step_key = jax.random.split(key)
        taken, world = advance(algorithm, environment, learner, world, step_key, explore=not deterministic)
        on = played.lengths == 0  # an episode that has ended is stepped on with the others, but counts no more
        ends = on & (taken.terminated | taken.truncated | (world.elapsed >= limit))
        measures = jax.vmap(environment.measures)(world.state)
        now = Played(
            world.total_reward,
            jnp.where(ends, world.elapsed, 0),
            jax.tree.map(jnp.add, played.sums, measures),
            measures,
        )
        return world, key, jax.tree.map(lambda new, old: jnp.where(on, new, old), now, played)

    nothing = jax.tree.map(jnp.zeros_like, jax.vmap(environment.measures)(world.state))
    start = Played(world.total_reward, jnp.zeros_like(world.elapsed), nothing, nothing)
    return jax.lax.while_loop(running, step, (world, key, start))[2]


class AgainstRandom(eqx.Module):
    """A player of a board game and, in the other seat, one that plays legal actions at random; see ``Algorithm.act``.

    In the games of even number the player moves first.
    """

    player: Algorithm

    def begin(self, learner: Learner, key: jax.Array, n: int) -> PyTree:
        return self.player.begin(learner, key, n)

    def act(self, learner: Learner, position: PyTree, memory: PyTree, key: jax.Array, *, explore: bool) -> Decision:
        act_key, random_key = jax.random.split(key)
        decision = self.player.act(learner, position, memory, act_key, explore=explore)
        noise = jax.random.uniform(random_key, position["action_mask"].shape)
        random = jnp.argmax(masked(noise, position["action_mask"]), axis=-1).astype(decision.action.dtype)
        turn = position["to_play"] == jnp.arange(len(random)) % 2
        return decision._replace(action=jnp.where(turn, decision.action, random))


def evaluate_host(
    algorithm: Algorithm,
    environments: GymnasiumEnvironments,
    learner: Learner,
    seed: int,
    *,
    episodes: int,
    deterministic: bool,
) -> tuple[PyTree, np.ndarray]:
    """Play ``episodes`` with one learner on the host. Returns ``(returns, lengths)``, ``[episodes]`` each.

    Each of the ``n`` environments plays its share of the episodes one after the other, so that short episodes are not
    favoured.
    """
    n = len(environments)
    due = np.array([episodes // n + (i < episodes % n) for i in range(n)])
    returns: list[PyTree] = []
    lengths: list[int] = []

    @jax.jit
    def act(learner: Learner, algorithm: Algorithm, observation: PyTree, memory: PyTree, elapsed: Any, key: Any) -> Any:
        key, memory_key = jax.random.split(key)
        memory = remembered(algorithm, learner, memory, elapsed == 0, memory_key)
        return algorithm.act(learner, observation, memory, key, explore=not deterministic)

    key = jax.random.fold_in(jax.random.key(seed), EVALUATION)
    observation: Any = environments.reset()
    memory: Any = algorithm.begin(learner, key, n)
    elapsed, played = np.zeros(n, np.int32), np.zeros(n, int)
    nothing = np.zeros(n)
    total: PyTree = dict.fromkeys(environments.agents, nothing) if environments.agents else nothing
    while (played < due).any():
        key, step_key = jax.random.split(key)
        decision = act(learner, algorithm, observation, memory, elapsed, step_key)
        now = environments.step(to_bounds(environments.action_space, jax.tree.map(np.asarray, decision.action)))
        observation, memory = now.observation, decision.memory
        total = jax.tree.map(np.add, total, now.reward)
        elapsed = elapsed + 1
        cut = elapsed >= LONGEST
        ended = over(now.terminated, now.truncated)
        done = ended | cut
        for i in np.flatnonzero(done & (played < due)):
            returns.append(jax.tree.map(lambda sum, i=i: float(sum[i]), total))
            lengths.append(int(elapsed[i]))
        played += done
        total, elapsed = jax.tree.map(lambda sum, done=done: sum * ~done, (total, elapsed))
        if (cut & ~ended).any():
            observation = environments.begin_anew(cut & ~ended)
    return jax.tree.map(lambda *each: np.array(each), *returns), np.array(lengths)
