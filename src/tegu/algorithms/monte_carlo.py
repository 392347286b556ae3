"""On-policy first-visit Monte Carlo control with epsilon-greedy policies (Sutton & Barto 2018, section 5.4)."""

import dataclasses
from typing import Any, NamedTuple, Self

import equinox as eqx
import jax
import jax.numpy as jnp

from tegu.algorithms.base import Algorithm, Update, derived, falling_epsilon, named
from tegu.algorithms.ranges import Count, Fraction, Rate
from tegu.algorithms.tabular import QTable, added, check_spaces, new_table, table_metrics
from tegu.core.schedule import Clock
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Decision, PyTree, Step, flatten_time
from tegu.experience.base import Rollout
from tegu.exploration import choose, epsilon_greedy_probabilities
from tegu.returns import bootstrapped_returns


class MonteCarloLearner(NamedTuple):
    table: QTable
    visits: jax.Array  #: int32 ``[S, A]``: first visits so far, of which the table's values are averages


class MonteCarlo(Algorithm):
    """Q(s, a) is the average of the returns that followed the first visit to (s, a) in each episode (the box of
    section 5.4)."""

    name: str = named("monte-carlo")

    learning_rate: Rate = 0.0  #: the least weight of a new return, a number or a schedule; 0: the average of all
    gamma: Fraction = 0.99  #: discount factor
    n_steps: Count = eqx.field(static=True, default=500)  #: steps of each environment between updates, in new episodes
    exploration_fraction: Fraction = 0.5  #: fraction of training over which epsilon falls
    exploration_initial_eps: Fraction = 1.0  #: epsilon at the start
    exploration_final_eps: Fraction = 0.05  #: epsilon at the end
    initial_value: float = 0.0  #: every entry of the table before its first visit
    exploration_rate: Any = derived(0.05)  #: epsilon now

    @property
    def experience(self) -> Rollout:
        return Rollout(self.n_steps, whole=True)

    def at(self, clock: Clock) -> Self:
        return dataclasses.replace(super().at(clock), exploration_rate=falling_epsilon(self, clock))

    def validate(self, spec: EnvironmentSpec) -> None:
        check_spaces("Monte Carlo control", spec)

    def init(self, key: jax.Array, spec: EnvironmentSpec) -> MonteCarloLearner:
        table = new_table(spec, self.initial_value)
        return MonteCarloLearner(table, jnp.zeros_like(table.values, jnp.int32))

    def act(
        self, learner: MonteCarloLearner, observation: PyTree, memory: PyTree, key: jax.Array, *, explore: bool
    ) -> Decision:
        chosen = choose(key, learner.table(observation), self.exploration_rate, explore=explore)
        return Decision(learner.table.action(chosen), memory)

    def update(self, learner: MonteCarloLearner, batch: Step, key: jax.Array) -> Update:
        """The first visits among the steps ``[T, B]`` one after the other, each with the return that followed it."""
        table = learner.table
        policy = epsilon_greedy_probabilities(table(batch.next_observation), self.exploration_rate)
        next_values = (policy * table(batch.next_observation)).sum(axis=-1)  # where an episode was cut
        returns = bootstrapped_returns(batch.reward, next_values, batch.terminated, batch.truncated, self.gamma)
        steps = table.indices(batch)
        first = first_visits(steps, table.values.shape)

        def learn(
            carry: tuple[jax.Array, jax.Array], given: tuple[Step, jax.Array, jax.Array]
        ) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
            (values, visits), (step, target, counts) = carry, given
            visits = added(visits, (step.observation,), step.action, counts)
            error = counts * (target - values[step.observation, step.action])
            n = jnp.maximum(visits[step.observation, step.action], 1).astype(values.dtype)
            rate = jnp.maximum(1 / n, self.learning_rate)
            return (added(values, (step.observation,), step.action, rate * error), visits), jnp.abs(error)

        given = flatten_time((steps, returns, first.astype(jnp.int32)))
        (values, visits), errors = jax.lax.scan(learn, (table.values, learner.visits), given)
        learner = MonteCarloLearner(QTable(values, table.spaces), visits)
        return Update(learner, table_metrics(self, errors.sum() / first.sum()))


def first_visits(steps: Step, shape: tuple[int, ...]) -> jax.Array:
    """Whether each of ``steps`` ``[T, B]`` is the first of its episode in its state with its action.

    ``shape`` is ``(S, A)``, and all environments begin episodes at the first step.
    """
    ended = steps.terminated | steps.truncated
    episode = jnp.cumsum(ended, axis=0) - ended  # 0, 1, ... for each environment

    def forwards(last: jax.Array, step: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
        environment, state, action, episode = step
        visited = last[environment, state, action] == episode
        return last.at[environment, state, action].set(episode), ~visited

    environments = jnp.broadcast_to(jnp.arange(ended.shape[1]), ended.shape)
    never = jnp.full((ended.shape[1], *shape), -1, episode.dtype)
    _, first = jax.lax.scan(forwards, never, (environments, steps.observation, steps.action, episode))
    return first
