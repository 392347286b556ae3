"""Dyna-Q: learning and planning with one table (Sutton 1990; Sutton & Barto 2018, section 8.2)."""

import dataclasses
from typing import Any, NamedTuple, Self

import equinox as eqx
import jax
import jax.numpy as jnp

from tegu.algorithms.base import Algorithm, Update, derived, falling_epsilon, named
from tegu.algorithms.q_learning import learned_from
from tegu.algorithms.ranges import Fraction, Natural, Rate
from tegu.algorithms.tabular import QTable, added, check_spaces, new_table, table_metrics
from tegu.algorithms.tabular_model import TabularModel, backup, check_model, empty_model, seen
from tegu.core.schedule import Clock
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Decision, PyTree, Step, flatten_time
from tegu.experience.base import Rollout
from tegu.exploration import choose


class DynaQLearner(NamedTuple):
    table: QTable
    model: TabularModel
    tried: jax.Array  #: int32 ``[S A]``: pairs of state and action (``s A + a``) in the order in which they were tried
    n_tried: jax.Array  #: int32: how many of those there are


class DynaQ(Algorithm):
    """Q-learning that also learns a model, and after every step learns from remembered pairs of state and action, too.

    Planning updates the value of random pairs that were tried before towards what the model says of them.
    """

    name: str = named("dyna-q")

    planning_steps: Natural = eqx.field(static=True, default=10)  #: updates from the model after every step
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
        check_spaces("Dyna-Q", spec)
        check_model("Dyna-Q", spec)

    def init(self, key: jax.Array, spec: EnvironmentSpec) -> DynaQLearner:
        table = new_table(spec, self.initial_value)
        states, actions = table.values.shape
        model = empty_model(states, actions)
        return DynaQLearner(table, model, jnp.zeros(states * actions, jnp.int32), jnp.int32(0))

    def act(
        self, learner: DynaQLearner, observation: PyTree, memory: PyTree, key: jax.Array, *, explore: bool
    ) -> Decision:
        chosen = choose(key, learner.table(observation), self.exploration_rate, explore=explore)
        return Decision(learner.table.action(chosen), memory)

    def update(self, learner: DynaQLearner, batch: Step, key: jax.Array) -> Update:
        """The steps ``[T, B]`` one after the other: a step of Q-learning, one of the model, and the planning."""
        table, steps = learner.table, flatten_time(learner.table.indices(batch))

        def learn(learner: DynaQLearner, given: tuple[Step, jax.Array]) -> tuple[DynaQLearner, jax.Array]:
            step, key = given
            values, error = learned_from(learner.table.values, step, self.learning_rate, self.gamma)
            learner = remember(learner._replace(model=seen(learner.model, step)), step)
            values = self.plan(learner, values, key)
            return learner._replace(table=QTable(values, table.spaces)), error

        learner, errors = jax.lax.scan(learn, learner, (steps, jax.random.split(key, len(steps.reward))))
        return Update(learner, table_metrics(self, errors.mean()))

    def plan(self, learner: DynaQLearner, values: jax.Array, key: jax.Array) -> jax.Array:
        """Action values ``[S, A]`` after ``planning_steps`` updates of random pairs that were tried."""
        n_actions = values.shape[-1]

        def improve(values: jax.Array, pair: jax.Array) -> tuple[jax.Array, None]:
            state, action = jnp.divmod(pair, n_actions)
            error = backup(learner.model, values, state, action, self.gamma) - values[state, action]
            return added(values, (state,), action, self.learning_rate * error), None

        drawn = jax.random.randint(key, (self.planning_steps,), 0, learner.n_tried)
        values, _ = jax.lax.scan(improve, values, learner.tried[drawn])
        return values


def remember(learner: DynaQLearner, step: Step) -> DynaQLearner:
    """The learner, whose model has just seen a ``step``, with its pair among those tried."""
    first = learner.model.visits[step.observation, step.action] == 1
    pair = step.observation * learner.table.values.shape[-1] + step.action
    # Written one past those tried in any case, which the next first visit overwrites; the last pair is there already.
    tried = learner.tried.at[learner.n_tried].set(jnp.where(first, pair, 0).astype(jnp.int32), mode="drop")
    return learner._replace(tried=tried, n_tried=learner.n_tried + first)
