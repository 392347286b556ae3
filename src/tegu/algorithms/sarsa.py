"""Sarsa, n-step Sarsa and Expected Sarsa (Rummery & Niranjan 1994; van Seijen et al. 2009; Sutton & Barto 2018,
sections 6.4, 6.6 and 7.2)."""

import dataclasses
from typing import Any, Self

import equinox as eqx
import jax
import jax.numpy as jnp

from tegu.algorithms.base import Algorithm, Update, derived, falling_epsilon, named
from tegu.algorithms.ranges import Count, Fraction, Rate
from tegu.algorithms.tabular import QTable, TabularLearner, added, check_spaces, new_table, table_metrics
from tegu.core.schedule import Clock
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Decision, PyTree, Step, flatten_time
from tegu.experience.base import Rollout
from tegu.exploration import epsilon_greedy_probabilities, epsilon_greedy_with, epsilon_noise
from tegu.returns import bootstrapped_returns


class Sarsa(Algorithm):
    """Q(S, A) <- Q(S, A) + alpha [R + gamma Q(S', A') - Q(S, A)], A' being the policy's next action (equation 6.7).

    After A is taken and before Q changes, A' is chosen. What it depends on but for the table, the random numbers of
    the epsilon-greedy choice, is therefore drawn one step ahead: ``act`` hands them on in its memory, and to ``update``
    in the extras.
    """

    name: str = named("sarsa")

    learning_rate: Rate = 0.5  #: alpha, a number or a schedule such as "lin_0.5"
    gamma: Fraction = 0.99  #: discount factor
    n_steps: Count = eqx.field(static=True, default=1)  #: steps between updates, the rewards in the longest return
    expected: bool = eqx.field(static=True, default=False)  #: the mean over A' in place of Q(S', A') (Expected Sarsa)
    exploration_fraction: Fraction = 0.5  #: fraction of training over which epsilon falls
    exploration_initial_eps: Fraction = 1.0  #: epsilon at the start
    exploration_final_eps: Fraction = 0.05  #: epsilon at the end
    initial_value: float = 0.0  #: every entry of the table at the start
    exploration_rate: Any = derived(0.05)  #: epsilon now

    @property
    def experience(self) -> Rollout:
        return Rollout(self.n_steps)

    def at(self, clock: Clock) -> Self:
        return dataclasses.replace(super().at(clock), exploration_rate=falling_epsilon(self, clock))

    def validate(self, spec: EnvironmentSpec) -> None:
        check_spaces(self.title, spec)

    def init(self, key: jax.Array, spec: EnvironmentSpec) -> TabularLearner:
        return TabularLearner(new_table(spec, self.initial_value))

    def begin(self, learner: TabularLearner, key: jax.Array, n: int) -> jax.Array:
        """The random numbers ``[n, A + 1]`` of the first choice."""
        return epsilon_noise(key, (n, learner.table.values.shape[-1]))

    def act(
        self, learner: TabularLearner, observation: PyTree, memory: PyTree, key: jax.Array, *, explore: bool
    ) -> Decision:
        values = learner.table(observation)
        epsilon = self.exploration_rate if explore else 0.0
        action = learner.table.action(epsilon_greedy_with(memory, values, epsilon))
        next_noise = epsilon_noise(key, values.shape)
        return Decision(action, next_noise, extras=next_noise)

    def update(self, learner: TabularLearner, batch: Step, key: jax.Array) -> Update:
        """Returns of up to ``T`` steps from the table that acted (equations 7.4 and 7.7), then the steps ``[T, B]`` one
        after the other."""
        table = learner.table
        next_values = self.next_values(table(batch.next_observation), batch.extras)
        returns = bootstrapped_returns(batch.reward, next_values, batch.terminated, batch.truncated, self.gamma)

        def learn(values: jax.Array, given: tuple[Step, jax.Array]) -> tuple[jax.Array, jax.Array]:
            step, target = given
            error = target - values[step.observation, step.action]
            return added(values, (step.observation,), step.action, self.learning_rate * error), jnp.abs(error)

        values, errors = jax.lax.scan(learn, table.values, flatten_time((table.indices(batch), returns)))
        return Update(TabularLearner(QTable(values, table.spaces)), table_metrics(self, errors.mean()))

    def next_values(self, values: jax.Array, noise: jax.Array) -> jax.Array:
        """What states of values ``[..., A]`` are worth: the value of the action ``noise`` leads to, or the mean."""
        if self.expected:
            return (epsilon_greedy_probabilities(values, self.exploration_rate) * values).sum(axis=-1)
        next_action = epsilon_greedy_with(noise, values, self.exploration_rate)
        return jnp.take_along_axis(values, next_action[..., None], axis=-1)[..., 0]
