"""Adaptive dynamic programming: value iteration in a learned model (Sato, Abe & Takeda 1988; Barto, Bradtke & Singh
1995, section 7.1)."""

import dataclasses
from typing import Any, NamedTuple, Self

import equinox as eqx
import jax
import jax.numpy as jnp

from tegu.algorithms.base import Algorithm, Update, derived, falling_epsilon, named
from tegu.algorithms.ranges import Count, Fraction
from tegu.algorithms.tabular import QTable, check_spaces, new_table
from tegu.algorithms.tabular_model import TabularModel, backup, check_model, empty_model, seen, sweep
from tegu.core.schedule import Clock
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Decision, PyTree, Step, flatten_time
from tegu.experience.base import Rollout
from tegu.exploration import choose


class AdaptiveDPLearner(NamedTuple):
    table: QTable
    model: TabularModel


class AdaptiveDP(Algorithm):
    """Value iteration in a model counted from the steps so far: what is optimal if the world is as it was seen
    (certainty equivalence)."""

    name: str = named("adaptive-dp")

    sweeps: Count = eqx.field(static=True, default=1)  #: of value iteration over the whole table after every step
    gamma: Fraction = 0.99  #: discount factor
    exploration_fraction: Fraction = 0.5  #: fraction of training over which epsilon falls
    exploration_initial_eps: Fraction = 1.0  #: epsilon at the start
    exploration_final_eps: Fraction = 0.05  #: epsilon at the end
    initial_value: float = 0.0  #: of actions that were never taken
    exploration_rate: Any = derived(0.05)  #: epsilon now

    @property
    def experience(self) -> Rollout:
        return Rollout(1)

    def at(self, clock: Clock) -> Self:
        return dataclasses.replace(super().at(clock), exploration_rate=falling_epsilon(self, clock))

    def validate(self, spec: EnvironmentSpec) -> None:
        check_spaces("adaptive DP", spec)
        check_model("adaptive DP", spec)

    def init(self, key: jax.Array, spec: EnvironmentSpec) -> AdaptiveDPLearner:
        table = new_table(spec, self.initial_value)
        return AdaptiveDPLearner(table, empty_model(*table.values.shape))

    def act(
        self, learner: AdaptiveDPLearner, observation: PyTree, memory: PyTree, key: jax.Array, *, explore: bool
    ) -> Decision:
        chosen = choose(key, learner.table(observation), self.exploration_rate, explore=explore)
        return Decision(learner.table.action(chosen), memory)

    def update(self, learner: AdaptiveDPLearner, batch: Step, key: jax.Array) -> Update:
        """The steps ``[T, B]`` one after the other: each is counted, and ``sweeps`` follow."""
        table = learner.table

        def learn(learner: AdaptiveDPLearner, step: Step) -> tuple[AdaptiveDPLearner, Any]:
            model, before = seen(learner.model, step), learner.table.values
            expected = backup(model, before, step.observation, step.action, self.gamma)
            values = jax.lax.fori_loop(0, self.sweeps, lambda _, values: sweep(model, values, self.gamma), before)
            errors = jnp.abs(expected - before[step.observation, step.action]), jnp.abs(values - before).max()
            return AdaptiveDPLearner(QTable(values, table.spaces), model), errors

        learner, (errors, changes) = jax.lax.scan(learn, learner, flatten_time(table.indices(batch)))
        metrics = {"td_error": errors.mean(), "value_change": changes.mean(), "exploration_rate": self.exploration_rate}
        return Update(learner, metrics)
