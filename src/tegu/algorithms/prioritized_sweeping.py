"""Prioritised sweeping (Moore & Atkeson 1993; Peng & Williams 1993; Sutton & Barto 2018, section 8.4)."""

import dataclasses
from typing import Any, NamedTuple, Self

import equinox as eqx
import jax
import jax.numpy as jnp

from tegu.algorithms.base import Algorithm, Update, derived, falling_epsilon, named
from tegu.algorithms.ranges import Fraction, Natural, NonNegative
from tegu.algorithms.tabular import QTable, check_spaces, new_table
from tegu.algorithms.tabular_model import TabularModel, backup, check_model, empty_model, seen
from tegu.core.schedule import Clock
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Decision, PyTree, Step, flatten_time
from tegu.experience.base import Rollout
from tegu.exploration import choose


class SweepingLearner(NamedTuple):
    table: QTable
    model: TabularModel
    priority: jax.Array  #: ``[S, A]``: how much an update could change each value; 0: no more than ``threshold``


class PrioritizedSweeping(Algorithm):
    """Planning in a learned model where values change most, working back from there.

    After every step the pairs of state and action of the highest priorities are updated. When a state's value has
    changed, the pairs that lead there are given the priority of what that may change in them: the discounted change
    times the probability of getting there.
    """

    name: str = named("prioritized-sweeping")

    planning_steps: Natural = eqx.field(static=True, default=10)  #: updates from the model after every step, at most
    threshold: NonNegative = 1e-4  #: smaller changes are not worth an update
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
        check_spaces("prioritised sweeping", spec)
        check_model("prioritised sweeping", spec)

    def init(self, key: jax.Array, spec: EnvironmentSpec) -> SweepingLearner:
        table = new_table(spec, self.initial_value)
        return SweepingLearner(table, empty_model(*table.values.shape), jnp.zeros_like(table.values))

    def act(
        self, learner: SweepingLearner, observation: PyTree, memory: PyTree, key: jax.Array, *, explore: bool
    ) -> Decision:
        chosen = choose(key, learner.table(observation), self.exploration_rate, explore=explore)
        return Decision(learner.table.action(chosen), memory)

    def update(self, learner: SweepingLearner, batch: Step, key: jax.Array) -> Update:
        """The steps ``[T, B]`` one after the other: each changes the model, and the values that depend on it."""
        table = learner.table

        def learn(learner: SweepingLearner, step: Step) -> tuple[SweepingLearner, jax.Array]:
            model, values = seen(learner.model, step), learner.table.values
            error = jnp.abs(self.error(model, values, step.observation, step.action))
            priority = learner.priority.at[step.observation, step.action].max(self.worthwhile(error))
            values, priority = self.plan(model, values, priority)
            return SweepingLearner(QTable(values, table.spaces), model, priority), error

        learner, errors = jax.lax.scan(learn, learner, flatten_time(table.indices(batch)))
        metrics = {"td_error": errors.mean(), "exploration_rate": self.exploration_rate}
        return Update(learner, metrics | {"queue": (learner.priority > 0).sum().astype(jnp.float32)})

    def plan(self, model: TabularModel, values: jax.Array, priority: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Action values and priorities ``[S, A]`` after ``planning_steps`` updates, or as many as are worthwhile."""

        def improve(carry: tuple[jax.Array, jax.Array], _: None) -> tuple[tuple[jax.Array, jax.Array], None]:
            values, priority = carry
            state, action = jnp.divmod(priority.argmax(), priority.shape[-1])
            error = self.error(model, values, state, action)
            updated = values.at[state, action].add(jnp.where(priority[state, action] > 0, error, 0.0))
            change = jnp.abs(updated[state].max() - values[state].max())
            leads_there = model.outcomes[:, :, state] / jnp.maximum(model.visits, 1.0)
            priority = priority.at[state, action].set(0.0)
            return (updated, jnp.maximum(priority, self.worthwhile(self.gamma * leads_there * change))), None

        carry, _ = jax.lax.scan(improve, (values, priority), length=self.planning_steps)
        return carry

    def error(self, model: TabularModel, values: jax.Array, state: jax.Array, action: jax.Array) -> jax.Array:
        """How far the value of an action is from what the model says of it."""
        return backup(model, values, state, action, self.gamma) - values[state, action]

    def worthwhile(self, change: jax.Array) -> jax.Array:
        """Changes above the threshold, 0 in place of the others."""
        return jnp.where(change > self.threshold, change, 0.0)
