"""Tabular Double Q-learning (van Hasselt 2010; Sutton & Barto 2018, section 6.7)."""

import dataclasses
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp

from tegu.algorithms.base import Algorithm, Update, derived, falling_epsilon, named
from tegu.algorithms.ranges import Fraction, Rate
from tegu.algorithms.tabular import QTable, added, check_spaces, new_table, table_metrics
from tegu.core.schedule import Clock
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Decision, PyTree, Step, flatten_time
from tegu.experience.base import Rollout
from tegu.exploration import choose
from tegu.returns import td_target


class DoubleQLearner(NamedTuple):
    tables: QTable  #: both, ``[2, S, A]``


class DoubleQLearning(Algorithm):
    """Two tables, one of which learns from a step: it names the best next action, the other says what that is worth
    (equation 6.10)."""

    name: str = named("double-q-learning")

    learning_rate: Rate = 0.5  #: alpha, a number or a schedule such as "lin_0.5"
    gamma: Fraction = 0.99  #: discount factor
    exploration_fraction: Fraction = 0.5  #: fraction of training over which epsilon falls
    exploration_initial_eps: Fraction = 1.0  #: epsilon at the start
    exploration_final_eps: Fraction = 0.05  #: epsilon at the end
    initial_value: float = 0.0  #: every entry of both tables at the start
    exploration_rate: Any = derived(0.05)  #: epsilon now

    @property
    def experience(self) -> Rollout:
        return Rollout(1)

    def at(self, clock: Clock) -> Self:
        return dataclasses.replace(super().at(clock), exploration_rate=falling_epsilon(self, clock))

    def validate(self, spec: EnvironmentSpec) -> None:
        check_spaces("Double Q-learning", spec)

    def init(self, key: jax.Array, spec: EnvironmentSpec) -> DoubleQLearner:
        return DoubleQLearner(new_table(spec, self.initial_value, 2))

    def act(
        self, learner: DoubleQLearner, observation: PyTree, memory: PyTree, key: jax.Array, *, explore: bool
    ) -> Decision:
        both = learner.tables(observation).sum(axis=0)
        chosen = choose(key, both, self.exploration_rate, explore=explore)
        return Decision(learner.tables.action(chosen), memory)

    def update(self, learner: DoubleQLearner, batch: Step, key: jax.Array) -> Update:
        """The steps ``[T, B]`` one after the other; for each a coin says which table learns."""
        tables = learner.tables
        steps = flatten_time(tables.indices(batch))
        coins = jax.random.bernoulli(key, shape=steps.action.shape).astype(jnp.int32)

        def learn(values: jax.Array, given: tuple[Step, jax.Array]) -> tuple[jax.Array, jax.Array]:
            step, one = given
            next_values = values[:, step.next_observation]
            next_value = next_values[1 - one, next_values[one].argmax()]
            target = td_target(step.reward, next_value, step.terminated, self.gamma)
            error = target - values[one, step.observation, step.action]
            return added(values, (one, step.observation), step.action, self.learning_rate * error), jnp.abs(error)

        values, errors = jax.lax.scan(learn, tables.values, (steps, coins))
        return Update(DoubleQLearner(QTable(values, tables.spaces)), table_metrics(self, errors.mean()))
