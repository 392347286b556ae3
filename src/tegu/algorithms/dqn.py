"""Deep Q-network (Mnih et al. 2015)."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from gymnasium import spaces

from tegu.algorithms.base import (
    Algorithm,
    Update,
    check_replay,
    derived,
    falling_epsilon,
    learning_metrics,
    named,
    network_field,
)
from tegu.algorithms.ranges import Count, Fraction, Natural, Positive, PositiveFraction, Rate
from tegu.core.schedule import Clock
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Decision, PyTree, Step
from tegu.experience.base import Batch, Replay
from tegu.exploration import epsilon_greedy, masked
from tegu.nn.custom import CustomNetwork, Signature, check_custom, custom_networks
from tegu.nn.heads import QNetwork
from tegu.nn.mlp import check_network
from tegu.nn.optimizers import adam, descend, follow
from tegu.returns import n_step, td_target
from tegu.spaces.features import action_mask, require


class DQNLearner(NamedTuple):
    online: QNetwork | CustomNetwork
    target: QNetwork | CustomNetwork
    optimizer: optax.OptState
    since_sync: jax.Array  #: int32: environment steps since the target last followed the online network
    updates: jax.Array  #: int32: gradient steps so far


class DQN(Algorithm):
    """Q-learning with a network, a replay buffer and a target network (algorithm 1 of the paper)."""

    name: str = named("dqn")

    learning_rate: Rate = 1e-4  #: Adam's learning rate, a number or a schedule such as "lin_1e-4"
    buffer_size: Count = eqx.field(static=True, default=1_000_000)  #: steps the replay buffer keeps
    learning_starts: Natural = eqx.field(static=True, default=100)  #: random steps before learning begins
    batch_size: Count = eqx.field(static=True, default=32)  #: steps per update
    tau: PositiveFraction = 1.0  #: how far the target follows the online network at each sync; 1 copies it
    gamma: Fraction = 0.99  #: discount factor
    train_freq: Count = eqx.field(static=True, default=4)  #: environment steps between two rounds of updates
    gradient_steps: int = eqx.field(static=True, default=1)  #: updates per round; -1: as many as steps were taken
    n_steps: Count = eqx.field(static=True, default=1)  #: number of rewards in the target (n-step return)
    target_update_interval: Count = eqx.field(static=True, default=10_000)  #: environment steps between syncs
    exploration_fraction: Fraction = 0.1  #: fraction of training over which epsilon falls
    exploration_initial_eps: Fraction = 1.0  #: epsilon at the start
    exploration_final_eps: Fraction = 0.05  #: epsilon at the end
    max_grad_norm: Positive = 10.0  #: the gradient's norm is clipped to this
    net_arch: tuple[int, ...] = eqx.field(static=True, default=(64, 64))  #: hidden layers
    activation: str = eqx.field(static=True, default="relu")  #: tanh, relu, elu, gelu or silu
    network: Callable[..., Any] | str | None = network_field()  #: your own, as module:function

    exploration_rate: Any = derived(0.05)  #: epsilon now

    @property
    def experience(self) -> Replay:
        return Replay(
            self.buffer_size,
            self.batch_size,
            self.learning_starts,
            self.train_freq,
            self.gradient_steps,
            self.n_steps,
        )

    def at(self, clock: Clock) -> Self:
        rate = jnp.where(clock.steps < self.learning_starts, 1.0, falling_epsilon(self, clock))
        return dataclasses.replace(super().at(clock), exploration_rate=rate)

    def validate(self, spec: EnvironmentSpec) -> None:
        check_network(self.activation, self.net_arch)
        check_replay(self)
        require("DQN", "action", spec.action_space, spaces.Discrete)
        require("DQN", "observation", spec.observation_space, spaces.Space)
        if self.network is not None:
            values = Signature((spec.observation_space,), ((int(spec.action_space.n),),))
            check_custom("DQN", self.network, spec, (values,))

    def init(self, key: jax.Array, spec: EnvironmentSpec) -> DQNLearner:
        if self.network is None:
            network: QNetwork | CustomNetwork = QNetwork(key, spec, self.net_arch, self.activation)
        else:
            (network,) = custom_networks(self.network, key, spec)
        return DQNLearner(
            online=network,
            target=network,
            optimizer=self.optimizer().init(network),
            since_sync=jnp.zeros((), jnp.int32),
            updates=jnp.zeros((), jnp.int32),
        )

    def networks(self, learner: DQNLearner) -> Sequence[tuple[str, Any]]:
        return (("", learner.online),)

    def optimizer(self) -> optax.GradientTransformation:
        return adam(self.max_grad_norm)

    def act(
        self, learner: DQNLearner, observation: PyTree, memory: PyTree, key: jax.Array, *, explore: bool
    ) -> Decision:
        space = learner.online.spaces
        values, mask = learner.online(observation), action_mask(space.observation, observation)
        if explore:
            action = epsilon_greedy(key, values, self.exploration_rate, mask)
        else:
            action = jnp.argmax(masked(values, mask), axis=-1)
        return Decision(action.astype(jnp.int32) + int(space.action.start), memory)

    def take(self, learner: DQNLearner, steps: Step) -> tuple[DQNLearner, Step]:
        """Count the steps to the next sync, and keep all of them."""
        return learner._replace(since_sync=learner.since_sync + steps.action.size), steps

    def update(self, learner: DQNLearner, batch: Batch, key: jax.Array) -> Update:
        """One gradient step on ``batch_size`` random steps, or windows of ``n_steps``, as ``Replay`` declares."""
        learner, space = self.sync(learner), learner.online.spaces
        steps, gamma = n_step(batch.rows, self.gamma) if self.n_steps > 1 else (batch.rows, self.gamma)
        mask = action_mask(space.observation, steps.next_observation)
        next_value = masked(learner.target(steps.next_observation), mask).max(axis=-1)
        target = td_target(steps.reward, next_value, steps.terminated, gamma)
        chosen = jax.nn.one_hot(steps.action - int(space.action.start), int(space.action.n))

        def loss(online: QNetwork | CustomNetwork) -> tuple[jax.Array, jax.Array]:
            value = (online(steps.observation) * chosen).sum(axis=-1)
            return optax.huber_loss(value, target).mean(), value.mean()

        (error, mean_value), gradient = jax.value_and_grad(loss, has_aux=True)(learner.online)
        rate = self.learning_rate
        online, optimizer = descend(self.optimizer(), rate, learner.online, gradient, learner.optimizer)
        learner = learner._replace(online=online, optimizer=optimizer, updates=learner.updates + 1)
        metrics = {"loss": error, "q_mean": mean_value, "exploration_rate": self.exploration_rate}
        metrics |= learning_metrics(rate, learner.updates)
        return Update(learner, metrics)

    def sync(self, learner: DQNLearner) -> DQNLearner:
        """Let the target follow the online network if ``target_update_interval`` steps have passed."""
        due = learner.since_sync >= self.target_update_interval
        target = follow(learner.target, learner.online, jnp.where(due, self.tau, 0.0))
        return learner._replace(target=target, since_sync=learner.since_sync % self.target_update_interval)
