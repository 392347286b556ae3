"""Parallelised Q-network (Gallici et al. 2025): deep Q-learning without replay buffer and target network."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from gymnasium import spaces

from tegu.algorithms.base import (
    Algorithm,
    ExpectedReturn,
    Metrics,
    Update,
    check_deep,
    derived,
    falling_epsilon,
    learning_metrics,
    named,
    network_field,
)
from tegu.algorithms.diagnostics import network_metrics, value_metrics
from tegu.algorithms.minibatches import epochs, warn_of_truncated_minibatch
from tegu.algorithms.ranges import Count, Fraction, Positive, Rate
from tegu.core.schedule import Clock
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Decision, PyTree, Step, flatten_time
from tegu.experience.base import Rollout
from tegu.exploration import choose, masked
from tegu.nn.custom import CustomNetwork, Signature, check_custom, custom_networks
from tegu.nn.heads import QNetwork
from tegu.nn.optimizers import descend, radam
from tegu.returns import lambda_returns, next_values
from tegu.spaces.features import action_mask, features


class PQNLearner(NamedTuple):
    network: QNetwork | CustomNetwork
    optimizer: optax.OptState
    updates: jax.Array  #: int32: gradient steps so far


class Sample(NamedTuple):
    """What a minibatch is drawn from, ``[T * B, ...]``."""

    observation: PyTree
    action: jax.Array
    target: jax.Array


class PQN(Algorithm):
    """Q(lambda) on rollouts of many environments, with layer normalisation in place of a target network (algorithm 1
    and appendix of the paper)."""

    name: str = named("pqn")

    learning_rate: Rate = 2.5e-4  #: RAdam's learning rate, a number or a schedule such as "lin_2.5e-4"
    n_steps: Count = eqx.field(static=True, default=32)  #: steps per environment between two updates
    batch_size: Count = eqx.field(static=True, default=32)  #: steps per minibatch
    n_epochs: Count = eqx.field(static=True, default=2)  #: epochs of updates over each rollout
    gamma: Fraction = 0.99  #: discount factor
    q_lambda: Fraction = 0.65  #: lambda of the returns: 0 is one step, 1 as many as the rollout has
    exploration_fraction: Fraction = 0.1  #: fraction of training over which epsilon falls
    exploration_initial_eps: Fraction = 1.0  #: epsilon at the start
    exploration_final_eps: Fraction = 0.05  #: epsilon at the end
    max_grad_norm: Positive = 10.0  #: the gradient's norm is clipped to this
    layer_norm: bool = eqx.field(static=True, default=True)  #: normalise what enters each activation
    net_arch: tuple[int, ...] = eqx.field(static=True, default=(128, 128))  #: hidden layers
    activation: str = eqx.field(static=True, default="relu")  #: tanh, relu, elu, gelu, silu or mish
    features_extractor: str = eqx.field(static=True, default="auto")  #: flatten, nature, impala, minatar or attention
    network: Callable[..., Any] | str | None = network_field()  #: your own, as module:function

    exploration_rate: Any = derived(0.05)  #: epsilon now

    @property
    def experience(self) -> Rollout:
        return Rollout(self.n_steps, minibatch=self.batch_size)

    def at(self, clock: Clock) -> Self:
        return dataclasses.replace(super().at(clock), exploration_rate=falling_epsilon(self, clock))

    def validate(self, spec: EnvironmentSpec) -> None:
        check_deep(self, spec, spaces.Discrete)
        warn_of_truncated_minibatch(self, spec)
        if self.network is not None:
            values = Signature((spec.observation_space,), ((int(spec.action_space.n),),))
            check_custom("PQN", self.network, spec, (values,))

    def init(self, key: jax.Array, spec: EnvironmentSpec) -> PQNLearner:
        if self.network is None:
            architecture = self.net_arch, self.activation, self.features_extractor, self.layer_norm
            network: QNetwork | CustomNetwork = QNetwork(key, spec, *architecture)
        else:
            (network,) = custom_networks(self.network, key, spec)
        return PQNLearner(network, self.optimizer().init(network), jnp.zeros((), jnp.int32))

    def networks(self, learner: PQNLearner) -> Sequence[tuple[str, Any]]:
        return (("", learner.network),)

    def optimizer(self) -> optax.GradientTransformation:
        return radam(self.max_grad_norm)

    def values(self, network: QNetwork | CustomNetwork, observation: PyTree) -> jax.Array:
        """Action values ``[..., A]``; illegal actions are worth less than every legal one."""
        return masked(network(observation), action_mask(network.spaces.observation, observation))

    def act(
        self, learner: PQNLearner, observation: PyTree, memory: PyTree, key: jax.Array, *, explore: bool
    ) -> Decision:
        space, values = learner.network.spaces, learner.network(observation)
        mask = action_mask(space.observation, observation)
        action = choose(key, values, self.exploration_rate, mask, explore=explore)
        return Decision(action.astype(jnp.int32) + int(space.action.start), memory)

    def update(self, learner: PQNLearner, batch: Step, key: jax.Array) -> Update:
        """One rollout ``[T, B, ...]``: the returns first, then ``n_epochs`` over shuffled minibatches."""
        space, optimizer, rate = learner.network.spaces, self.optimizer(), self.learning_rate
        samples = flatten_time(Sample(batch.observation, batch.action, self.returns(learner.network, batch)))

        def loss(network: QNetwork | CustomNetwork, sample: Sample) -> tuple[jax.Array, jax.Array]:
            value = (network(sample.observation) * features(space.action, sample.action)).sum(axis=-1)
            return 0.5 * ((value - sample.target) ** 2).mean(), value

        def minibatch(carry: PyTree, sample: Sample) -> tuple[PyTree, dict[str, jax.Array]]:
            network, state = carry
            (error, value), gradient = jax.value_and_grad(loss, has_aux=True)(network, sample)
            metrics = {"loss": error} | value_metrics(value, sample.target, gradient)
            return descend(optimizer, rate, network, gradient, state), metrics

        carry = learner.network, learner.optimizer
        (network, state), metrics = epochs(minibatch, carry, samples, key, self.n_epochs, self.batch_size)
        taken = self.n_epochs * math.ceil(samples.target.size / self.batch_size)
        learner = PQNLearner(network, state, learner.updates + taken)
        metrics["exploration_rate"] = jnp.asarray(self.exploration_rate, jnp.float32)
        return Update(learner, metrics | learning_metrics(rate, learner.updates))

    def diagnose(self, learner: PQNLearner, steps: Step) -> Metrics:
        return network_metrics(learner.network, steps.observation)

    def expected_return(self, learner: PQNLearner, observation: PyTree, memory: PyTree) -> ExpectedReturn:
        return ExpectedReturn(self.values(learner.network, observation).max(axis=-1), self.gamma)

    def returns(self, network: QNetwork | CustomNetwork, batch: Step) -> jax.Array:
        """The lambda-returns ``[T, B]``: r + gamma ((1 - lambda) max Q(s', .) + lambda times the next return)."""

        def value(observation: PyTree) -> jax.Array:
            return self.values(network, observation).max(axis=-1)

        following = next_values(value, batch.next_observation, value(batch.observation), batch.truncated)
        discount = self.gamma * (1.0 - batch.terminated)
        shares = jnp.where(batch.terminated | batch.truncated, 0.0, self.q_lambda)
        return lambda_returns(batch.reward, discount, following, shares, following[-1])
