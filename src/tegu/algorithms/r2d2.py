"""Recurrent replay distributed DQN (Kapturowski et al. 2019): Q-learning with a memory, from stored sequences."""

import dataclasses
from collections.abc import Sequence
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
    check_replay,
    derived,
    falling_epsilon,
    learning_metrics,
    named,
    replay,
)
from tegu.algorithms.diagnostics import network_metrics, value_metrics
from tegu.algorithms.ranges import Count, Fraction, Natural, Positive, PositiveFraction, Rate, Width
from tegu.algorithms.target_network import count, sync
from tegu.core.errors import TeguError
from tegu.core.schedule import Clock
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Decision, PyTree, Step
from tegu.experience.base import Batch, Feedback, Prioritized, Replay
from tegu.exploration import choose, masked
from tegu.nn.optimizers import adam, descend
from tegu.nn.recurrent import LSTMState, Observed, RecurrentQNetwork
from tegu.returns import n_step, rescaled, unscaled
from tegu.spaces.features import action_mask, features


class R2D2Learner(NamedTuple):
    online: RecurrentQNetwork
    target: RecurrentQNetwork
    optimizer: optax.OptState
    since_sync: jax.Array  #: int32: environment steps since the target last followed the online network
    updates: jax.Array  #: int32: gradient steps so far


class R2D2(Algorithm):
    """Double Q-learning with an LSTM, whose state is stored with each step and refreshed by a burn-in (section 2.3)."""

    name: str = named("r2d2")

    learning_rate: Rate = 1e-4  #: Adam's learning rate, a number or a schedule such as "lin_1e-4"
    buffer_size: Count = eqx.field(static=True, default=1_000_000)  #: steps the replay buffer keeps
    learning_starts: Natural = eqx.field(static=True, default=1000)  #: random steps before learning begins
    batch_size: Count = eqx.field(static=True, default=32)  #: sequences per update
    burn_in: Natural = eqx.field(static=True, default=40)  #: steps that only refresh the LSTM's state
    sequence_length: Count = eqx.field(static=True, default=80)  #: steps that are learned from after them
    n_steps: Count = eqx.field(static=True, default=5)  #: number of rewards in the target (n-step return)
    prioritized_alpha: Fraction = 0.9  #: exponent of the priorities; 0 draws uniformly
    prioritized_beta: Fraction = 0.6  #: exponent of the importance weights; 1 corrects fully
    priority_eta: Fraction = 0.9  #: share of a sequence's largest error in its priority; the rest is the mean
    gamma: Fraction = 0.997  #: discount factor
    tau: PositiveFraction = 1.0  #: how far the target follows the online network at each sync; 1 copies it
    train_freq: Count = eqx.field(static=True, default=4)  #: environment steps between two rounds of updates
    gradient_steps: int = eqx.field(static=True, default=1)  #: updates per round; -1: as many as steps were taken
    target_update_interval: Count = eqx.field(static=True, default=10_000)  #: environment steps between syncs
    exploration_fraction: Fraction = 0.1  #: fraction of training over which epsilon falls
    exploration_initial_eps: Fraction = 1.0  #: epsilon at the start
    exploration_final_eps: Fraction = 0.05  #: epsilon at the end
    max_grad_norm: Positive = 40.0  #: the gradient's norm is clipped to this
    net_arch: tuple[int, ...] = eqx.field(static=True, default=(64,))  #: hidden layers before the LSTM
    lstm_hidden_size: Width = eqx.field(static=True, default=64)  #: width of the LSTM
    dueling: bool = eqx.field(static=True, default=False)  #: streams of state values and advantages after the LSTM
    activation: str = eqx.field(static=True, default="relu")  #: tanh, relu, elu, gelu, silu or mish
    features_extractor: str = eqx.field(static=True, default="auto")  #: flatten, nature, impala, minatar or attention

    exploration_rate: Any = derived(0.05)  #: epsilon now

    @property
    def experience(self) -> Replay:
        n_steps = self.burn_in + self.sequence_length + self.n_steps - 1
        return replay(self, n_steps=n_steps, draw=Prioritized(self.prioritized_alpha, self.prioritized_beta))

    def at(self, clock: Clock) -> Self:
        rate = jnp.where(clock.steps < self.learning_starts, 1.0, falling_epsilon(self, clock))
        return dataclasses.replace(super().at(clock), exploration_rate=rate)

    def validate(self, spec: EnvironmentSpec) -> None:
        check_deep(self, spec, spaces.Discrete)
        check_replay(self)
        if not self.net_arch:
            raise TeguError("R2D2: net_arch must have a layer before the LSTM")

    def init(self, key: jax.Array, spec: EnvironmentSpec) -> R2D2Learner:
        architecture = self.net_arch, self.activation, self.features_extractor, self.lstm_hidden_size
        network = RecurrentQNetwork(key, spec, *architecture, self.dueling)
        zero = jnp.zeros((), jnp.int32)
        return R2D2Learner(network, network, self.optimizer().init(network), zero, zero)

    def networks(self, learner: R2D2Learner) -> Sequence[tuple[str, Any]]:
        return (("", learner.online),)

    def optimizer(self) -> optax.GradientTransformation:
        return adam(self.max_grad_norm, eps=1e-3)

    def begin(self, learner: R2D2Learner, key: jax.Array, n: int) -> LSTMState:
        return learner.online.lstm.start(n)

    def act(
        self, learner: R2D2Learner, observation: PyTree, memory: LSTMState, key: jax.Array, *, explore: bool
    ) -> Decision:
        """The extras are the LSTM's state before the observation."""
        space = learner.online.spaces
        (values, state), mask = learner.online(observation, memory), action_mask(space.observation, observation)
        action = choose(key, values, self.exploration_rate, mask, explore=explore)
        return Decision(action.astype(jnp.int32) + int(space.action.start), state, extras=memory)

    def take(self, learner: R2D2Learner, steps: Step) -> tuple[R2D2Learner, Step]:
        """Count the steps to the next sync, and keep all of them."""
        return count(learner, steps), steps

    def update(self, learner: R2D2Learner, batch: Batch, key: jax.Array) -> Update:
        """One gradient step on ``batch_size`` sequences ``[burn_in + sequence_length + n_steps - 1, batch_size]``."""
        learner, steps, space = sync(learner, self), batch.rows, learner.online.spaces
        _, target_next = self.values(learner.target, steps)
        mask, action = action_mask(space.observation, steps.next_observation), features(space.action, steps.action)
        learned = slice(self.burn_in, self.burn_in + self.sequence_length)

        def loss(network: RecurrentQNetwork) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
            values, online_next = self.values(network, steps)
            target = self.targets(steps, online_next, target_next, mask)
            value = (values * action).sum(axis=-1)[learned]
            error = target - value
            return (batch.weight * 0.5 * error**2).mean(), (value, target)

        (error, (value, target)), gradient = jax.value_and_grad(loss, has_aux=True)(learner.online)
        rate = self.learning_rate
        network, optimizer = descend(self.optimizer(), rate, learner.online, gradient, learner.optimizer)
        learner = learner._replace(online=network, optimizer=optimizer, updates=learner.updates + 1)
        errors, eta = jnp.abs(target - value), self.priority_eta
        priority = eta * errors.max(axis=0) + (1 - eta) * errors.mean(axis=0)
        metrics = {"loss": error, "exploration_rate": self.exploration_rate} | value_metrics(value, target, gradient)
        return Update(learner, metrics | learning_metrics(rate, learner.updates), Feedback(priority=priority))

    def diagnose(self, learner: R2D2Learner, steps: Step) -> Metrics:
        return network_metrics(learner.online, steps.observation, steps.extras)

    def expected_return(self, learner: R2D2Learner, observation: PyTree, memory: LSTMState) -> ExpectedReturn:
        values, _ = learner.online(observation, memory)
        mask = action_mask(learner.online.spaces.observation, observation)
        return ExpectedReturn(unscaled(masked(values, mask).max(axis=-1)), self.gamma)

    def values(self, network: RecurrentQNetwork, steps: Step) -> tuple[jax.Array, jax.Array]:
        """Scaled values ``[T, B, A]`` of the observations and of the next ones, from the stored state on.

        No gradient goes through the steps of the burn-in.
        """
        ended = steps.terminated | steps.truncated
        begins = jnp.concatenate([jnp.zeros_like(ended[:1]), ended[:-1]])
        seen = Observed(steps.observation, steps.next_observation, begins)
        state = jax.tree.map(lambda leaf: leaf[0], steps.extras)
        if not self.burn_in:
            return network.unroll(seen, state)[0]
        burned, state = jax.lax.stop_gradient(network).unroll(part(seen, slice(0, self.burn_in)), state)
        learned, _ = network.unroll(part(seen, slice(self.burn_in, None)), jax.lax.stop_gradient(state))
        return jax.tree.map(lambda *both: jnp.concatenate(both), burned, learned)

    def targets(self, steps: Step, online_next: jax.Array, target_next: jax.Array, mask: jax.Array | None) -> jax.Array:
        """Scaled n-step targets ``[sequence_length, B]``, of which the online network chooses the last action.

        ``online_next`` and ``target_next`` are scaled values ``[T, B, A]`` of the next observations, ``mask`` their
        legal actions.
        """
        best = jnp.argmax(masked(online_next, mask), axis=-1)
        next_value = unscaled(jnp.take_along_axis(target_next, best[..., None], axis=-1)[..., 0])
        # each step with those that follow it, as one long step; what comes next is only a value here
        small = Step((), (), steps.reward, next_value, steps.terminated, steps.truncated)
        starts = range(self.burn_in, self.burn_in + self.n_steps)
        windows = jax.tree.map(
            lambda leaf: jnp.stack([leaf[start : start + self.sequence_length].ravel() for start in starts]), small
        )
        long, discount = n_step(windows, self.gamma)
        future = jnp.where(long.terminated, 0.0, discount * long.next_observation)
        return rescaled(long.reward + future).reshape(self.sequence_length, -1)


def part(seen: Observed, when: slice) -> Observed:
    """Some steps of a sequence."""
    return jax.tree.map(lambda leaf: leaf[when], seen)
