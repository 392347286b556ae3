"""Tabular Q-learning (Watkins 1989; Sutton & Barto 2018, section 6.5)."""

import dataclasses
from typing import Any, NamedTuple, Self

import equinox as eqx
import jax
import jax.numpy as jnp
from gymnasium import spaces

from tegu.algorithms.base import Algorithm, Update, derived, named
from tegu.algorithms.ranges import Fraction, Rate
from tegu.core.schedule import Clock, Linear
from tegu.core.spec import EnvironmentSpec, Spaces
from tegu.core.step import Decision, PyTree, Step
from tegu.experience.base import Rollout
from tegu.exploration import epsilon_greedy
from tegu.returns import td_target
from tegu.spaces.features import require


class QTable(eqx.Module):
    """Action values ``[S, A]``."""

    values: jax.Array
    spaces: Spaces = eqx.field(static=True)


class QLearningLearner(NamedTuple):
    table: QTable


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
        epsilon = Linear(self.exploration_initial_eps, self.exploration_final_eps, self.exploration_fraction)
        return dataclasses.replace(super().at(clock), exploration_rate=epsilon(clock.progress))

    def validate(self, spec: EnvironmentSpec) -> None:
        require("Q-learning", "observation", spec.observation_space, spaces.Discrete)
        require("Q-learning", "action", spec.action_space, spaces.Discrete)

    def init(self, key: jax.Array, spec: EnvironmentSpec) -> QLearningLearner:
        shape = (int(spec.observation_space.n), int(spec.action_space.n))
        return QLearningLearner(QTable(jnp.full(shape, self.initial_value, float), spec.spaces))

    def act(
        self, learner: QLearningLearner, observation: PyTree, memory: PyTree, key: jax.Array, *, explore: bool
    ) -> Decision:
        space = learner.table.spaces
        values = learner.table.values[observation - int(space.observation.start)]
        action = epsilon_greedy(key, values, self.exploration_rate) if explore else jnp.argmax(values, axis=-1)
        return Decision(action.astype(jnp.int32) + int(space.action.start), memory)

    def update(self, learner: QLearningLearner, batch: Step, key: jax.Array) -> Update:
        """The steps ``[T, B]`` one after the other, each seeing what the one before it taught."""
        table, space = learner.table, learner.table.spaces
        steps = jax.tree.map(lambda leaf: leaf.reshape((-1, *leaf.shape[2:])), batch)

        def learn(values: jax.Array, step: Step) -> tuple[jax.Array, jax.Array]:
            state = step.observation - int(space.observation.start)
            next_state = step.next_observation - int(space.observation.start)
            action = step.action - int(space.action.start)
            target = td_target(step.reward, values[next_state].max(), step.terminated, self.gamma)
            error = target - values[state, action]
            # one row rewritten in place: a slice update keeps this loop one small kernel where a scatter would not
            row = values[state] + self.learning_rate * error * jax.nn.one_hot(action, values.shape[1])
            return jax.lax.dynamic_update_slice(values, row[None], (state, jnp.zeros_like(state))), jnp.abs(error)

        values, errors = jax.lax.scan(learn, table.values, steps)
        metrics = {
            "td_error": errors.mean(),
            "exploration_rate": self.exploration_rate,
            "learning_rate": jnp.asarray(self.learning_rate, jnp.float32),
        }
        return Update(QLearningLearner(QTable(values, space)), metrics)
