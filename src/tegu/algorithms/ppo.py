"""Proximal policy optimisation (Schulman et al. 2017)."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from tegu.algorithms.actor_critic import (
    ActorCriticLearner,
    Network,
    Sample,
    check_actor_critic,
    choose,
    first_memory,
    new_actor_critic,
    new_learner,
    policy_and_memory,
    policy_metrics,
    samples_of,
    standardized,
    with_observations,
)
from tegu.algorithms.base import Algorithm, Metrics, Update, derived, learning_metrics, named, network_field
from tegu.algorithms.minibatches import epochs, warn_of_truncated_minibatch
from tegu.algorithms.ranges import (
    Count,
    CountOrNever,
    Fraction,
    NonNegative,
    NonNegativeOrNone,
    Positive,
    PositiveOrNone,
    PositiveRate,
    Rate,
    Width,
)
from tegu.algorithms.sequences import NONE, Recalled, check_sequences
from tegu.core.errors import TeguError
from tegu.core.schedule import Clock
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Decision, PyTree, Step
from tegu.experience.base import Rollout
from tegu.nn.optimizers import adam, descend


class PPO(Algorithm):
    """Clipped surrogate objective (equation 7), generalised advantages, several epochs of minibatches per rollout."""

    name: str = named("ppo")

    learning_rate: Rate = 3e-4  #: Adam's learning rate, a number or a schedule such as "lin_3e-4"
    n_steps: Count = eqx.field(static=True, default=2048)  #: steps per environment between two updates
    batch_size: Count = eqx.field(static=True, default=64)  #: steps per minibatch
    n_epochs: Count = eqx.field(static=True, default=10)  #: epochs of updates over each rollout
    gamma: Fraction = 0.99  #: discount factor
    gae_lambda: Fraction = 0.95  #: lambda of GAE: lower has less variance and more bias
    clip_range: PositiveRate = 0.2  #: how far the probability ratio may move, epsilon in equation 7
    clip_range_vf: PositiveOrNone = None  #: the same for the value function; off by default
    normalize_advantage: bool = eqx.field(static=True, default=True)  #: mean 0 and variance 1 in each minibatch
    ent_coef: NonNegative = 0.0  #: weight of the entropy bonus, c2 in equation 9
    vf_coef: NonNegative = 0.5  #: weight of the value loss, c1 in equation 9
    max_grad_norm: Positive = 0.5  #: the gradient's norm is clipped to this
    weight_decay: NonNegativeOrNone = None  #: of all parameters at each update, times the learning rate (AdamW)
    target_kl: PositiveOrNone = None  #: skip the rest of a rollout's updates once approx_kl is 1.5 times this
    normalize_observation: bool = eqx.field(static=True, default=False)  #: standardise observations (running moments)
    normalize_reward: bool = eqx.field(static=True, default=False)  #: divide rewards by the running std of returns
    net_arch: tuple[int, ...] = eqx.field(static=True, default=(64, 64))  #: hidden layers of actor and critic each
    critic_arch: tuple[int, ...] | None = eqx.field(static=True, default=None)  #: the critic's, if they are others
    activation: str = eqx.field(static=True, default="tanh")  #: tanh, relu, elu, gelu, silu or mish
    features_extractor: str = eqx.field(static=True, default="auto")  #: flatten, nature, impala, minatar or attention
    network: Callable[..., Any] | str | None = network_field()  #: your own, as module:function
    log_std_init: float = 0.0  #: log standard deviation of continuous actions at the start
    use_sde: bool = eqx.field(static=True, default=False)  #: noise that depends on the state, gSDE (Raffin et al. 2021)
    sde_sample_freq: CountOrNever = eqx.field(static=True, default=-1)  #: steps for which it stays; -1: a rollout
    full_std: bool = eqx.field(static=True, default=True)  #: with gSDE: a deviation for each feature and action
    use_expln: bool = eqx.field(static=True, default=False)  #: with gSDE: deviations that grow slowly above 1
    recurrent: str = eqx.field(static=True, default=NONE)  #: the policy's memory: none, lstm or gru
    hidden_size: Width = eqx.field(static=True, default=64)  #: width of the recurrent state
    sequence_length: Count = eqx.field(static=True, default=16)  #: steps that its gradients go back through

    rollout: Any = derived(0)  #: int32: steps before it, which tell rollouts apart

    @property
    def experience(self) -> Rollout:
        return Rollout(self.n_steps, minibatch=self.batch_size)

    def at(self, clock: Clock) -> Self:
        return dataclasses.replace(super().at(clock), rollout=clock.steps)

    def validate(self, spec: EnvironmentSpec, *, actor_sees: str | None = None) -> None:
        """``actor_sees``: as for ``init``."""
        check_actor_critic(self, spec, actor_sees=actor_sees)
        if self.normalize_advantage and min(self.batch_size, self.n_steps * spec.n_envs) == 1:
            raise TeguError(f"{self.title}: normalize_advantage leaves nothing to learn with minibatches of 1 step")
        warn_of_truncated_minibatch(self, spec)
        check_sequences(self)

    def init(self, key: jax.Array, spec: EnvironmentSpec, *, actor_sees: str | None = None) -> ActorCriticLearner:
        """``actor_sees``: the entry of a Dict observation, the first one, that the actor sees; None: all of it."""
        network = new_actor_critic(self, key, spec, actor_sees)
        return new_learner(network, self.optimizer().init(network), spec)

    def networks(self, learner: ActorCriticLearner) -> Sequence[tuple[str, Any]]:
        return learner.network.parts

    def optimizer(self) -> optax.GradientTransformation:
        return adam(self.max_grad_norm, eps=1e-5)

    def begin(self, learner: ActorCriticLearner, key: jax.Array, n: int) -> PyTree:
        return first_memory(learner, n)

    def act(
        self, learner: ActorCriticLearner, observation: PyTree, memory: PyTree, key: jax.Array, *, explore: bool
    ) -> Decision:
        policy, after = policy_and_memory(self, learner, observation, memory)
        action, after = choose(self, learner, policy, observation, after, key, explore=explore)
        log_prob = policy.log_prob(action)
        return Decision(action, after, extras=log_prob if self.recurrent == NONE else Recalled(log_prob, memory))

    def update(
        self, learner: ActorCriticLearner, batch: Step, key: jax.Array, *, forgets: jax.Array | None = None
    ) -> Update:
        """One rollout ``[T, B, ...]``: advantages first, then ``n_epochs`` over shuffled minibatches.

        ``forgets`` ``[T, B]``: after which steps a memory starts anew, if not after all ends.
        """
        learner, samples, critic_metrics = samples_of(self, learner, batch, forgets)
        optimizer, rate = self.optimizer(), self.learning_rate

        def minibatch(carry: PyTree, sample: Sample) -> tuple[PyTree, Metrics]:
            network, state, stopped, taken = carry
            gradient, metrics = jax.grad(self.loss, has_aux=True)(network, sample)
            updated = descend(optimizer, rate, network, gradient, state, self.weight_decay)
            if self.target_kl is not None:
                stopped = stopped | (metrics["approx_kl"] > 1.5 * self.target_kl)
                updated = jax.tree.map(lambda old, new: jnp.where(stopped, old, new), (network, state), updated)
            return (*updated, stopped, taken + ~stopped), metrics

        carry = (learner.network, learner.optimizer, jnp.zeros((), bool), learner.updates)
        size = self.batch_size if self.recurrent == NONE else self.batch_size // self.sequence_length
        carry, report = epochs(minibatch, carry, samples, key, self.n_epochs, size)
        network, state, _, updates = carry
        report |= critic_metrics | policy_metrics(network) | learning_metrics(rate, updates)
        report["clip_range"] = jnp.asarray(self.clip_range, jnp.float32)
        learner = learner._replace(network=network, optimizer=state, updates=updates)
        return Update(with_observations(self, learner, batch), report)

    def loss(self, network: Network, sample: Sample) -> tuple[jax.Array, Metrics]:
        """Equation 9 with its sign turned, for gradient descent; ``sample`` is ``[batch_size, ...]``, or as
        many steps in sequences."""
        policy, value = network(sample.x, sample.mask)
        advantage = sample.advantage
        if self.normalize_advantage and advantage.size > 1:  # a truncated minibatch may have one
            advantage = standardized(advantage)

        log_ratio = policy.log_prob(sample.action) - sample.log_prob
        ratio = jnp.exp(log_ratio)
        clipped = jnp.clip(ratio, 1 - self.clip_range, 1 + self.clip_range)
        policy_loss = -jnp.minimum(ratio * advantage, clipped * advantage).mean()

        if self.clip_range_vf is not None:
            value = sample.value + jnp.clip(value - sample.value, -self.clip_range_vf, self.clip_range_vf)
        value_loss = ((value - sample.target) ** 2).mean()

        entropy = policy.entropy().mean()
        loss = policy_loss + self.vf_coef * value_loss - self.ent_coef * entropy
        return loss, {
            "loss": loss,
            "policy_gradient_loss": policy_loss,
            "value_loss": value_loss,
            "entropy_loss": -entropy,
            "approx_kl": (ratio - 1 - log_ratio).mean(),  # Schulman's low-variance estimate
            "clip_fraction": (jnp.abs(ratio - 1) > self.clip_range).mean(),
        }
