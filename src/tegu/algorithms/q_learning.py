"""Tabular Q-learning (Watkins 1989; Sutton & Barto 2018, section 6.5)."""

import dataclasses
from typing import Any, Self

import jax
import jax.numpy as jnp

from tegu.algorithms.base import Algorithm, Update, derived, falling_epsilon, named
from tegu.algorithms.ranges import Fraction, Rate
from tegu.algorithms.tabular import QTable, TabularLearner, added, check_spaces, new_table, table_metrics
from tegu.core.schedule import Clock
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Decision, PyTree, Step, flatten_time
from tegu.experience.base import Rollout
from tegu.exploration import choose
from tegu.returns import td_target


class QLearning(Algorithm):
    """Q(s, a) <- Q(s, a) + alpha [r + gamma max_a' Q(s', a') - Q(s, a)] after every step (equation 6.8)."""

    name: str = named("q-learning")

    learning_rate: Rate = 0.7  #: alpha, a number or a schedule such as "lin_0.7"
    gamma: Fraction = 0.99  #: discount factor
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
        check_spaces("Q-learning", spec)

    def init(self, key: jax.Array, spec: EnvironmentSpec) -> TabularLearner:
        return TabularLearner(new_table(spec, self.initial_value))

    def act(
        self, learner: TabularLearner, observation: PyTree, memory: PyTree, key: jax.Array, *, explore: bool
    ) -> Decision:
        chosen = choose(key, learner.table(observation), self.exploration_rate, explore=explore)
        return Decision(learner.table.action(chosen), memory)

    def update(self, learner: TabularLearner, batch: Step, key: jax.Array) -> Update:
        """The steps ``[T, B]`` one after the other, each seeing what the one before it taught."""
        table = learner.table

        def learn(values: jax.Array, step: Step) -> tuple[jax.Array, jax.Array]:
            return learned_from(values, step, self.learning_rate, self.gamma)

        values, errors = jax.lax.scan(learn, table.values, flatten_time(table.indices(batch)))
        return Update(TabularLearner(QTable(values, table.spaces)), table_metrics(self, errors.mean()))


def learned_from(
    values: jax.Array, step: Step, learning_rate: float | jax.Array, gamma: float | jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Action values ``[S, A]`` after one step (equation 6.8), and how large its error was."""
    target = td_target(step.reward, values[step.next_observation].max(), step.terminated, gamma)
    error = target - values[step.observation, step.action]
    return added(values, (step.observation,), step.action, learning_rate * error), jnp.abs(error)
