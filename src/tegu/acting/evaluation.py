"""How good is what was learned? Fresh episodes, bounded in length, from a random stream of their own."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from tegu.acting.expected_returns import Expected, HostExpected
from tegu.acting.jax_collector import CollectorState, act_and_step, select, start_episodes
from tegu.acting.policy import Policy
from tegu.algorithms.base import Algorithm, ExpectedReturn, Learner
from tegu.core.schedule import Clock
from tegu.core.seeds import Layout
from tegu.core.step import Decision, PyTree, episode_ended
from tegu.environments.adapters.base import HostEnvironments
from tegu.environments.base import Environment
from tegu.environments.games.base import Game
from tegu.exploration import masked
from tegu.spaces.bounds import to_bounds

EVALUATION = 0x5EED  #: folded into a seed's key, so that evaluation never sees the episodes of training
LONGEST = 10_000  #: steps after which an episode without a time limit is cut
SUCCESS = "is_success/end"  #: the measure that says whether an episode reached its goal
ENOUGH = 8  #: episodes that are played of an environment of the host in which none of them ends


class Evaluation(NamedTuple):
    """Fresh episodes, ``[seeds, episodes]`` each."""

    returns: np.ndarray  #: undiscounted; in multi-agent environments the mean over the agents
    lengths: np.ndarray  #: steps
    agents: Mapping[str, np.ndarray] = MappingProxyType({})  #: each agent's returns, or those from each seat of a game
    measures: Mapping[str, np.ndarray] = MappingProxyType({})  #: "name/mean" over the steps, "name/end" at the end
    expected: np.ndarray | None = None  #: the discounted returns that the learner expected at the beginning, if it does
    discounted: np.ndarray | None = None  #: these returns as they were; see ``acting.expected_returns``

    def __repr__(self) -> str:
        seeds, episodes = self.returns.shape
        many = f"{episodes:,} episode{'s' * (episodes > 1)}" + f" of each of {seeds} seeds" * (seeds > 1)
        return f"<return {self.mean:.4g}, std {self.std:.4g}, mean length {self.lengths.mean():.4g}; {many}>"

    @property
    def mean(self) -> float:
        return float(self.returns.mean())

    @property
    def std(self) -> float:
        """Standard deviation over all episodes of all seeds."""
        return float(self.returns.std())

    @property
    def success_rate(self) -> float | None:
        """The fraction of episodes that ended at their goal, where the environment says so (``is_success``)."""
        return float(self.measures[SUCCESS].mean()) if SUCCESS in self.measures else None

    @classmethod
    def of(cls, returns: PyTree, lengths: np.ndarray, measures: dict[str, np.ndarray], *expected: Any) -> "Evaluation":
        """From returns, by agent where there are several, and what was ``expected`` and ``discounted``, if anything."""
        agents = returns if isinstance(returns, dict) else {}
        return cls(np.mean(jax.tree.leaves(returns), axis=0), lengths, agents, measures, *expected)


class Evaluator(Protocol):
    """Plays fresh episodes with what each of some seeds has learned."""

    def __call__(self, learners: Learner, clock: Clock) -> Evaluation:
        """Play with ``learners`` ``[S, ...]``; schedules are as they are at ``clock``."""
        ...


class Played(NamedTuple):
    """Episodes under way, ``[episodes]`` each."""

    returns: PyTree
    lengths: jax.Array  #: 0 while an episode goes on
    sums: dict[str, jax.Array]  #: of the environment's measures, over the steps
    ends: dict[str, jax.Array]  #: the last of them; when all is played, with the measures of whole episodes
    last: PyTree  #: the environment's states, for measures of whole episodes; () where there are none
    expected: Any = ()  #: ``Expected`` and, in the end, its returns; () where the learner expects nothing


class JaxEvaluator:
    """Plays ``episodes`` with each seed's learner, side by side on the device.

    Board games are played against random moves, every other one as the first player: a win returns 1, a loss -1.
    """

    def __init__(
        self, algorithm: Any, environment: Environment, seeds: Sequence[int], episodes: int, deterministic: bool
    ):
        """``algorithm`` needs ``at``, ``begin``, ``act`` and, for a single agent, ``expected_return``, no more."""
        self.game = environment if isinstance(environment, Game) else None
        self.algorithm = algorithm if self.game is None else AgainstRandom(algorithm)
        self.endless = environment.time_limit is None
        self.seeds, self.layout = tuple(seeds), Layout(len(seeds))
        play = partial(_play, environment=environment, episodes=episodes, deterministic=deterministic)
        self._play = self.layout.program(play, n_shared=2)

    def __call__(self, learners: Learner, clock: Clock) -> Evaluation:
        """Play with ``learners`` ``[S, ...]``; the first call compiles. Warns if no episode ends."""
        played = self.play(learners, clock)
        if self.game is not None:
            first, second = (played.returns[player] for player in self.game.agents)
            returns = np.where(np.arange(first.shape[1]) % 2 == 0, first, second)
            return Evaluation(returns, played.lengths, {"first": returns[:, ::2], "second": returns[:, 1::2]})
        if self.endless and (played.lengths == LONGEST).all():
            _warn_of_endless(played.lengths.shape[1])
        means = {f"{name}/mean": total / played.lengths for name, total in played.sums.items()}
        ends = {f"{name}/end": last for name, last in played.ends.items()}
        return Evaluation.of(played.returns, played.lengths, means | ends, *played.expected)

    def play(self, learners: Learner, clock: Clock) -> Any:
        """The episodes alone, ``Played`` of NumPy arrays ``[S, episodes]``, without a warning."""
        parts = self.layout.split(learners), self.layout.split(np.asarray(self.seeds))
        return self.layout.join(self._play(*parts, self.algorithm, clock))


def _play(
    learner: Learner,
    seed: jax.Array,
    algorithm: Any,
    clock: Clock,
    *,
    environment: Environment,
    episodes: int,
    deterministic: bool,
) -> Played:
    """What ``JaxEvaluator`` compiles, for one seed."""
    algorithm = algorithm.at(clock)
    key = jax.random.fold_in(jax.random.key(seed), EVALUATION)
    key, start_key, memory_key = jax.random.split(key, 3)
    limit = environment.time_limit or LONGEST
    state = start_episodes(environment, start_key, episodes, algorithm.begin(learner, memory_key, episodes))

    def expect(observation: PyTree, memory: PyTree) -> ExpectedReturn | None:
        return None if environment.agents else algorithm.expected_return(learner, observation, memory)

    def running(carry: tuple[CollectorState, jax.Array, Played]) -> jax.Array:
        state, _, played = carry
        return (played.lengths == 0).any() & (state.elapsed[0] < limit)

    def step(carry: tuple[CollectorState, jax.Array, Played]) -> tuple[CollectorState, jax.Array, Played]:
        state, key, played = carry
        key, step_key = jax.random.split(key)
        taken, state = act_and_step(algorithm, environment, learner, state, step_key, explore=not deterministic)
        on = played.lengths == 0  # an episode that has ended is stepped on with the others, but counts no more
        ends = on & (taken.terminated | taken.truncated | (state.elapsed >= limit))
        measures = jax.vmap(environment.measures)(state.env_state)
        lengths, sums = jnp.where(ends, state.elapsed, 0), jax.tree.map(jnp.add, played.sums, measures)
        now = Played(state.total_reward, lengths, sums, measures, state.env_state if whole else ())
        now = select(on, now, played._replace(expected=()))
        expected = played.expected and played.expected.step(on, taken, state.memory)
        return state, key, now._replace(expected=expected)

    whole = jax.eval_shape(jax.vmap(environment.episode_measures), state.env_state)
    nothing = jax.tree.map(jnp.zeros_like, jax.vmap(environment.measures)(state.env_state))
    expected = Expected.start(expect, state.observation, state.memory)
    last = state.env_state if whole else ()
    start = Played(state.total_reward, jnp.zeros_like(state.elapsed), nothing, nothing, last, expected)
    played = jax.lax.while_loop(running, step, (state, key, start))[2]
    # some at a time: they may take much memory each
    ends = played.ends | (jax.lax.map(environment.episode_measures, played.last, batch_size=8) if whole else {})
    return played._replace(ends=ends, last=(), expected=played.expected and played.expected.returns(expect))


class AgainstRandom(eqx.Module):
    """A player of a board game and, in the other seat, one that plays legal actions at random; see ``Algorithm.act``.

    In the games of even number the player moves first.
    """

    player: Algorithm

    def at(self, clock: Clock) -> "AgainstRandom":
        return AgainstRandom(self.player.at(clock))

    def begin(self, learner: Learner, key: jax.Array, n: int) -> PyTree:
        return self.player.begin(learner, key, n)

    def act(self, learner: Learner, position: PyTree, memory: PyTree, key: jax.Array, *, explore: bool) -> Decision:
        act_key, random_key = jax.random.split(key)
        decision = self.player.act(learner, position, memory, act_key, explore=explore)
        noise = jax.random.uniform(random_key, position["action_mask"].shape)
        random = jnp.argmax(masked(noise, position["action_mask"]), axis=-1).astype(decision.action.dtype)
        turn = position["to_play"] == jnp.arange(len(random)) % 2
        return decision._replace(action=jnp.where(turn, decision.action, random))


class HostEvaluator:
    """Plays ``episodes`` with each seed's learner in environments of the host, one seed after the other.

    Each of the environments plays its part of the episodes one after the other, so that short ones are not favoured.
    """

    def __init__(
        self,
        policy: Policy,
        make: Callable[[int], HostEnvironments],
        seeds: Sequence[int],
        episodes: int,
        deterministic: bool,
    ):
        """``make``: the environments to play in with a seed's learner."""
        self.policy, self.make, self.seeds = policy, make, tuple(seeds)
        self.episodes, self.deterministic = episodes, deterministic

    def __call__(self, learners: Learner, clock: Clock) -> Evaluation:
        """Play with ``learners`` ``[S, ...]``; warns if no episode of a seed ends, and plays fewer than asked for."""
        played = []
        for index, seed in enumerate(self.seeds):
            environments = self.make(seed)
            try:
                learner = jax.tree.map(lambda leaf, index=index: leaf[index], learners)
                played.append(self._play(self.policy.leaves(learner), environments, seed, clock))
            finally:
                environments.close()
        n = min(len(lengths) for _, lengths, _, _ in played)
        if n < self.episodes:
            _warn_of_endless(n, self.episodes)
        returns, lengths, success, expected = jax.tree.map(lambda *each: np.stack([one[:n] for one in each]), *played)
        said = not np.isnan(success).all()  # some environments speak of it in the infos of success alone
        return Evaluation.of(returns, lengths, {SUCCESS: np.nan_to_num(success)} if said else {}, *expected)

    def _play(
        self, leaves: list[jax.Array], environments: HostEnvironments, seed: int, clock: Clock
    ) -> tuple[PyTree, np.ndarray, np.ndarray, tuple[np.ndarray, ...]]:
        """Returns, lengths, success (NaN where unknown) and the returns of ``HostExpected``, if any: ``[episodes]``.

        Of ``ENOUGH`` episodes where none ends by itself.
        """
        n = len(environments)
        due = np.array([self.episodes // n + (i < self.episodes % n) for i in range(n)])
        returns: list[PyTree] = []
        lengths: list[int] = []
        success: list[float] = []
        random = np.random.default_rng([seed, EVALUATION])
        observation: Any = environments.reset()
        memory = self.policy.memory(leaves, jax.random.key(0), n)
        elapsed, played, begins = np.zeros(n, np.int32), np.zeros(n, int), np.ones(n, bool)
        begun, values, discounted = np.ones(n, bool), list[float](), list[float]()
        expected = HostExpected(partial(self._expect, environments, leaves, clock), n)
        nothing = np.zeros(n)
        total: PyTree = dict.fromkeys(environments.agents, nothing) if environments.agents else nothing
        endless, longest = 0, max(LONGEST, environments.time_limit or 0)
        while (played < due).any() and not endless == len(lengths) >= ENOUGH:
            expected.begin(begun, observation, memory)
            words = random.integers(2**32, size=2, dtype=np.uint32)
            given = leaves, observation, memory, begins, words, clock
            decision = self.policy.act(*given, explore=not self.deterministic)
            now = environments.step(to_bounds(environments.action_space, decision.action))
            observation, memory = now.observation, decision.memory
            total, elapsed = jax.tree.map(np.add, total, now.score), elapsed + 1
            cut = elapsed >= longest
            if expected.known:
                ends = now.terminated, now.truncated | cut
                expected.step(now.reward, *ends, now.next_observation, memory)
            for i in np.flatnonzero((now.over | cut) & (played < due)):
                returns.append(jax.tree.map(lambda sum, i=i: float(sum[i]), total))
                lengths.append(int(elapsed[i]))
                success.append(np.nan if now.success is None else float(now.success[i]))
                values.append(expected.value[i])
                discounted.append(expected.paid[i])
                endless += not now.over[i]
            played += now.over | cut
            begun = now.over | cut
            begins = episode_ended(now.terminated, now.truncated) | begun
            total, elapsed = jax.tree.map(lambda sum, done=now.over | cut: sum * ~done, (total, elapsed))
            if (cut & ~now.over).any():
                observation = environments.begin_anew(cut & ~now.over)
        pair = (np.array(values), np.array(discounted)) if expected.known else ()
        return jax.tree.map(lambda *each: np.array(each), *returns), np.array(lengths), np.array(success), pair

    def _expect(
        self,
        environments: HostEnvironments,
        leaves: list[jax.Array],
        clock: Clock,
        observation: PyTree,
        memory: PyTree,
        begins: np.ndarray,
    ) -> ExpectedReturn | None:
        """What ``HostExpected`` asks."""
        return None if environments.agents else self.policy.expected_return(leaves, observation, memory, begins, clock)


def _warn_of_endless(played: int, wanted: int | None = None) -> None:
    instead = f" instead of {wanted}" if wanted else ""
    warnings.warn(
        f"no episode of the evaluation ended: {played}{instead} were played, and cut after {LONGEST:,} steps; "
        "does the environment need a time limit?",
        stacklevel=3,
    )
