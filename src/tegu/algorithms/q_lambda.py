"""Watkins's Q(lambda): Q-learning with eligibility traces (Watkins 1989; Sutton & Barto 2018, section 12.10)."""

import dataclasses
from typing import Any, Self

import equinox as eqx
import jax
import jax.numpy as jnp

from tegu.algorithms.base import Algorithm, Update, derived, falling_epsilon, named
from tegu.algorithms.ranges import Fraction, Rate
from tegu.algorithms.tabular import QTable, TabularLearner, check_spaces, new_table, table_metrics
from tegu.core.schedule import Clock
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Decision, PyTree, Step, flatten_time
from tegu.experience.base import Rollout
from tegu.exploration import choose
from tegu.returns import td_target


class QLambda(Algorithm):
    """Every step's TD error changes all pairs of state and action that led there, back to the last action that was not
    greedy.

    The eligibility traces ``z`` of an episode are the policy's memory: they follow from its states and actions alone.
    """

    name: str = named("q-lambda")

    learning_rate: Rate = 0.5  #: alpha, a number or a schedule such as "lin_0.5"
    gamma: Fraction = 0.99  #: discount factor
    trace_decay: Fraction = 0.9  #: lambda, how much of a trace remains after each step, beside gamma
    accumulating: bool = eqx.field(static=True, default=False)  #: traces add up at each visit; off: they are set to 1
    exploration_fraction: Fraction = 0.5  #: fraction of training over which epsilon falls
    exploration_initial_eps: Fraction = 1.0  #: epsilon at the start
    exploration_final_eps: Fraction = 0.05  #: epsilon at the end
    initial_value: float = 0.0  #: every entry of the table at the start
    exploration_rate: Any = derived(0.05)  #: epsilon now

    @property
    def experience(self) -> Rollout:
        return Rollout(1)

    def at(self, clock: Clock) -> Self:
        return dataclasses.replace(super().at(clock), exploration_rate=falling_epsilon(self, clock))

    def validate(self, spec: EnvironmentSpec) -> None:
        check_spaces("Q(lambda)", spec)

    def init(self, key: jax.Array, spec: EnvironmentSpec) -> TabularLearner:
        return TabularLearner(new_table(spec, self.initial_value))

    def begin(self, learner: TabularLearner, key: jax.Array, n: int) -> jax.Array:
        """No traces, ``[n, S, A]``."""
        return jnp.zeros((n, *learner.table.values.shape), learner.table.values.dtype)

    def act(
        self, learner: TabularLearner, observation: PyTree, memory: PyTree, key: jax.Array, *, explore: bool
    ) -> Decision:
        values = learner.table(observation)
        chosen = choose(key, values, self.exploration_rate, explore=explore)
        greedy = jnp.take_along_axis(values, chosen[:, None], axis=-1)[:, 0] == values.max(axis=-1)
        traces = self.traces(memory, greedy, learner.table.one_hot(observation, chosen))
        return Decision(learner.table.action(chosen), traces, extras=traces)

    def traces(self, before: jax.Array, greedy: jax.Array, visited: jax.Array) -> jax.Array:
        """``z`` ``[B, S, A]`` after one more step, whose action was ``greedy`` ``[B]``, in the pairs that were
        ``visited``, one-hot ``[B, S, A]``."""
        decayed = jnp.where(greedy, self.gamma * self.trace_decay, 0.0)[:, None, None] * before
        return decayed + visited if self.accumulating else jnp.maximum(decayed, visited)

    def update(self, learner: TabularLearner, batch: Step, key: jax.Array) -> Update:
        """The steps ``[T, B]`` one after the other, each with the traces of its own environment."""
        table = learner.table

        def learn(values: jax.Array, step: Step) -> tuple[jax.Array, jax.Array]:
            target = td_target(step.reward, values[step.next_observation].max(), step.terminated, self.gamma)
            error = target - values[step.observation, step.action]
            return values + self.learning_rate * error * step.extras, jnp.abs(error)

        values, errors = jax.lax.scan(learn, table.values, flatten_time(table.indices(batch)))
        return Update(TabularLearner(QTable(values, table.spaces)), table_metrics(self, errors.mean()))
