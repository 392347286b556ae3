"""Deep Q-network (Mnih et al. 2015) and what was added to it: up to Rainbow, IQN and Munchausen."""

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
    ExpectedReturn,
    Metrics,
    Update,
    check_deep,
    check_replay,
    derived,
    falling_epsilon,
    learning_metrics,
    named,
    network_field,
    replay,
)
from tegu.algorithms.diagnostics import network_metrics, value_metrics
from tegu.algorithms.munchausen import log_policy, soft_outputs
from tegu.algorithms.ranges import (
    Count,
    Fraction,
    Natural,
    NonNegative,
    NonNegativeOrNone,
    NonPositive,
    Positive,
    PositiveFraction,
    Rate,
    Several,
    Width,
)
from tegu.algorithms.return_distributions import (
    Categorical,
    Expectation,
    ImplicitQuantiles,
    Quantiles,
    ReturnDistribution,
)
from tegu.algorithms.return_distributions.base import over_actions
from tegu.algorithms.target_network import count, sync
from tegu.core.errors import TeguError
from tegu.core.schedule import Clock, Linear
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Decision, PyTree, Step
from tegu.experience.base import Batch, Feedback, Hindsight, Prioritized, Replay, Uniform, hindsight
from tegu.exploration import choose, masked
from tegu.nn.custom import CustomNetwork, Signature, check_custom, custom_networks
from tegu.nn.heads import QNetwork
from tegu.nn.noisy import NoisyNetwork, drawn
from tegu.nn.optimizers import adam, descend
from tegu.nn.return_network import ReturnNetwork
from tegu.returns import n_step
from tegu.spaces.features import action_mask, features

QNet = QNetwork | ReturnNetwork | CustomNetwork | NoisyNetwork

DISTRIBUTIONS = ("expectation", "categorical", "quantiles", "implicit-quantiles")


class DQNLearner(NamedTuple):
    online: QNet
    target: QNet
    optimizer: optax.OptState
    since_sync: jax.Array  #: int32: environment steps since the target last followed the online network
    updates: jax.Array  #: int32: gradient steps so far


class DQN(Algorithm):
    """Q-learning with a network, a replay buffer and a target network (algorithm 1 of the paper).

    What came later are options, to be used alone or together; Rainbow is six of them.
    """

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
    n_sampled_goal: Natural = eqx.field(static=True, default=0)  #: goals reached later for each own one (HER); 0: none
    goal_selection_strategy: str = eqx.field(static=True, default="future")  #: which of those: or final, or episode
    target_update_interval: Count = eqx.field(static=True, default=10_000)  #: environment steps between syncs
    exploration_fraction: Fraction = 0.1  #: fraction of training over which epsilon falls
    exploration_initial_eps: Fraction = 1.0  #: epsilon at the start
    exploration_final_eps: Fraction = 0.05  #: epsilon at the end
    max_grad_norm: Positive = 10.0  #: the gradient's norm is clipped to this
    weight_decay: NonNegativeOrNone = None  #: of all parameters at each update, times the learning rate (AdamW)
    net_arch: tuple[int, ...] = eqx.field(static=True, default=(64, 64))  #: hidden layers
    activation: str = eqx.field(static=True, default="relu")  #: tanh, relu, elu, gelu, silu or mish
    features_extractor: str = eqx.field(static=True, default="auto")  #: flatten, nature, impala, minatar or attention
    network: Callable[..., Any] | str | None = network_field()  #: your own, as module:function

    double: bool = eqx.field(static=True, default=False)  #: the online network chooses the target's action
    dueling: bool = eqx.field(static=True, default=False)  #: network of state values and advantages
    prioritized: bool = eqx.field(static=True, default=False)  #: draw steps in proportion to their last errors
    prioritized_alpha: Fraction = 0.6  #: prioritized: exponent of the errors; 0 draws uniformly
    prioritized_beta: Fraction = 0.4  #: prioritized: exponent of the importance weights at the start; rises to 1
    noisy: bool = eqx.field(static=True, default=False)  #: explore by noise in the weights instead of epsilon
    noisy_sigma: NonNegative = 0.5  #: noisy: the noise's standard deviation at the start, times sqrt(inputs)
    distribution: str = eqx.field(static=True, default="expectation")  #: or categorical, quantiles, implicit-quantiles
    n_atoms: Several = eqx.field(static=True, default=51)  #: categorical: number of returns with a probability
    v_min: float = -10.0  #: categorical: the lowest of these returns
    v_max: float = 10.0  #: categorical: the highest of these returns
    n_quantiles: Width = eqx.field(static=True, default=200)  #: quantiles: their number; implicit: random ones (N)
    n_target_quantiles: Width = eqx.field(static=True, default=64)  #: implicit: random quantiles of the target (N')
    n_acting_quantiles: Width = eqx.field(static=True, default=32)  #: implicit: quantiles whose mean is acted on (K)
    n_cosines: Width = eqx.field(static=True, default=64)  #: implicit: size of the embedding of quantile fractions
    kappa: Positive = 1.0  #: quantiles, implicit: errors smaller than this count less (Huber)
    munchausen: bool = eqx.field(static=True, default=False)  #: soft policy, whose log-probability is added to rewards
    munchausen_alpha: Fraction = 0.9  #: munchausen: weight of the log-probability
    munchausen_temperature: Positive = 0.03  #: munchausen: temperature of the soft policy
    munchausen_clip: NonPositive = -1.0  #: munchausen: lowest temperature times log-probability

    exploration_rate: Any = derived(0.05)  #: epsilon now
    importance_exponent: Any = derived(0.4)  #: ``prioritized_beta`` now

    @property
    def experience(self) -> Replay:
        return replay(self, n_steps=self.n_steps, draw=self.draw)

    @property
    def draw(self) -> Uniform | Prioritized | Hindsight:
        """How steps are drawn from the replay buffer."""
        if self.prioritized:
            return Prioritized(self.prioritized_alpha, self.importance_exponent)
        return hindsight(self.n_sampled_goal, self.goal_selection_strategy)

    @property
    def returns(self) -> ReturnDistribution:
        """What the network says of returns."""
        match self.distribution:
            case "categorical":
                return Categorical(self.n_atoms, self.v_min, self.v_max)
            case "quantiles":
                return Quantiles(self.n_quantiles, self.kappa)
            case "implicit-quantiles":
                sizes = self.n_quantiles, self.n_target_quantiles, self.n_acting_quantiles
                return ImplicitQuantiles(*sizes, self.kappa, self.n_cosines)
        return Expectation()

    def at(self, clock: Clock) -> Self:
        later = jnp.zeros(()) if self.noisy else falling_epsilon(self, clock)
        return dataclasses.replace(
            super().at(clock),
            exploration_rate=jnp.where(clock.steps < self.learning_starts, 1.0, later),
            importance_exponent=Linear(self.prioritized_beta, 1.0)(clock.progress),
        )

    def validate(self, spec: EnvironmentSpec) -> None:
        check_deep(self, spec, spaces.Discrete)
        check_replay(self)
        self.check_options()
        if self.network is not None:
            outputs = (int(spec.action_space.n), *self.returns.shape)
            check_custom(self.title, self.network, spec, (Signature((spec.observation_space,), (outputs,)),))

    def check_options(self) -> None:
        """Raise ``TeguError`` where options are unknown or exclude each other."""
        if self.distribution not in DISTRIBUTIONS:
            expected = ", ".join(DISTRIBUTIONS)
            raise TeguError(f"{self.title}: distribution must be one of {expected}, got {self.distribution!r}")
        if self.v_min >= self.v_max:
            raise TeguError(f"{self.title}: v_min must be below v_max, got {self.v_min} and {self.v_max}")
        if self.munchausen and self.double:
            raise TeguError(
                f"{self.title}: munchausen cannot be used with double: its target has no greedy action to choose"
            )
        if self.munchausen and self.distribution == "categorical":
            raise TeguError(
                f"{self.title}: munchausen cannot be used with a categorical distribution, only with quantiles"
            )
        if self.prioritized and self.n_sampled_goal:
            raise TeguError(f"{self.title}: prioritized cannot be used with n_sampled_goal above 0")
        own = {"dueling": self.dueling, "noisy": self.noisy, self.distribution: self.returns.cosines is not None}
        if self.network is not None and (needed := [option for option, on in own.items() if on]):
            raise TeguError(f"{self.title}: {needed[0]} needs Tegu's network, it cannot be used with your own")

    def init(self, key: jax.Array, spec: EnvironmentSpec) -> DQNLearner:
        network = self.value_network(key, spec)
        return DQNLearner(
            online=network,
            target=network,
            optimizer=self.optimizer().init(network),
            since_sync=jnp.zeros((), jnp.int32),
            updates=jnp.zeros((), jnp.int32),
        )

    def value_network(self, key: jax.Array, spec: EnvironmentSpec) -> QNet:
        """A fresh network, or the person's own."""
        returns, architecture = self.returns, (self.net_arch, self.activation, self.features_extractor)
        network: QNet
        if self.network is not None:
            (network,) = custom_networks(self.network, key, spec)
        elif self.dueling or returns.shape:
            network = ReturnNetwork(
                key, spec, returns.shape, *architecture, dueling=self.dueling, cosines=returns.cosines
            )
        else:
            network = QNetwork(key, spec, *architecture)
        return NoisyNetwork(network, self.noisy_sigma) if self.noisy else network

    def networks(self, learner: DQNLearner) -> Sequence[tuple[str, Any]]:
        return (("", learner.online),)

    def optimizer(self) -> optax.GradientTransformation:
        return adam(self.max_grad_norm)

    def act(
        self, learner: DQNLearner, observation: PyTree, memory: PyTree, key: jax.Array, *, explore: bool
    ) -> Decision:
        space = learner.online.spaces
        mask = action_mask(space.observation, observation)
        network = drawn(learner.online, jax.random.fold_in(key, 0)) if explore else learner.online
        action = choose(key, self.values(network, observation), self.exploration_rate, mask, explore=explore)
        return Decision(action.astype(jnp.int32) + int(space.action.start), memory)

    def values(self, network: QNet, observation: PyTree) -> jax.Array:
        """The expected return ``[B, A]`` of every action."""
        returns = self.returns
        return returns.mean(network(observation, *returns.acting_fractions()))

    def take(self, learner: DQNLearner, steps: Step) -> tuple[DQNLearner, Step]:
        """Count the steps to the next sync, and keep all of them."""
        return count(learner, steps), steps

    def update(self, learner: DQNLearner, batch: Batch, key: jax.Array) -> Update:
        """One gradient step on ``batch_size`` random steps, or windows of ``n_steps``, as ``Replay`` declares."""
        learner, returns = sync(learner, self), self.returns
        steps, gamma = n_step(batch.rows, self.gamma) if self.n_steps > 1 else (batch.rows, self.gamma)
        target_key, noise_key, fraction_key = jax.random.split(key, 3)
        target = self.target(learner, steps, gamma, target_key)
        fractions = returns.fractions(fraction_key, len(steps.reward))
        action = features(learner.online.spaces.action, steps.action)

        def loss(online: QNet) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
            outputs = drawn(online, noise_key)(steps.observation, *fractions)
            prediction = over_actions(outputs, action)
            losses, errors = returns.loss(prediction, target, *fractions)
            return (batch.weight * losses).mean(), (returns.mean(prediction), errors)

        (mean_loss, (value, errors)), gradient = jax.value_and_grad(loss, has_aux=True)(learner.online)
        rate = self.learning_rate
        online, optimizer = descend(
            self.optimizer(), rate, learner.online, gradient, learner.optimizer, self.weight_decay
        )
        learner = learner._replace(online=online, optimizer=optimizer, updates=learner.updates + 1)
        metrics = {"loss": mean_loss, "exploration_rate": self.exploration_rate}
        metrics |= value_metrics(value, returns.expected(target), gradient) | learning_metrics(rate, learner.updates)
        return Update(learner, metrics, Feedback(priority=errors) if self.prioritized else Feedback())

    def target(self, learner: DQNLearner, steps: Step, gamma: Any, key: jax.Array) -> jax.Array:
        """What to predict for the actions taken, ``[B]`` or ``[B, n]``."""
        returns, seen = self.returns, steps.next_observation
        target_key, online_key, fraction_key = jax.random.split(key, 3)
        network = drawn(learner.target, target_key)
        outputs = network(seen, *returns.target_fractions(fraction_key, len(steps.reward)))
        mask = action_mask(learner.online.spaces.observation, seen)
        if self.munchausen:
            policy = log_policy(self.values(network, seen), mask, self.munchausen_temperature)
            next_outputs = soft_outputs(outputs, policy, self.munchausen_temperature)
            steps = steps._replace(reward=steps.reward + self.bonus(network, steps))
        else:  # with double, the online network chooses and the target network judges (van Hasselt et al. 2016)
            chooser = drawn(learner.online, online_key) if self.double else network
            next_action = jnp.argmax(masked(self.values(chooser, seen), mask), axis=-1)
            next_outputs = over_actions(outputs, jax.nn.one_hot(next_action, outputs.shape[1]))
        return returns.target(next_outputs, steps.reward, steps.terminated, gamma)

    def diagnose(self, learner: DQNLearner, steps: Step) -> Metrics:
        return network_metrics(learner.online, steps.observation, *self.returns.acting_fractions())

    def expected_return(self, learner: DQNLearner, observation: PyTree, memory: PyTree) -> ExpectedReturn:
        mask = action_mask(learner.online.spaces.observation, observation)
        return ExpectedReturn(masked(self.values(learner.online, observation), mask).max(axis=-1), self.gamma)

    def bonus(self, network: QNet, steps: Step) -> jax.Array:
        """What Munchausen adds to the rewards ``[B]`` of the actions taken."""
        space, temperature = network.spaces, self.munchausen_temperature
        mask = action_mask(space.observation, steps.observation)
        policy = log_policy(self.values(network, steps.observation), mask, temperature)
        taken = over_actions(policy, features(space.action, steps.action))
        return self.munchausen_alpha * jnp.clip(temperature * taken, self.munchausen_clip, 0.0)
