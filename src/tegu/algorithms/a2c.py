"""Advantage actor-critic, the synchronous form of A3C (Mnih et al. 2016)."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Self

import equinox as eqx
import jax
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
    policy_for,
    policy_metrics,
    samples_of,
    standardized,
    with_observations,
)
from tegu.algorithms.base import Algorithm, Metrics, Update, derived, learning_metrics, named, network_field
from tegu.algorithms.ranges import Count, CountOrNever, Fraction, NonNegative, NonNegativeOrNone, Positive, Rate
from tegu.core.errors import TeguError
from tegu.core.schedule import Clock
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Decision, PyTree, Step
from tegu.experience.base import Rollout
from tegu.nn.optimizers import adam, descend, rmsprop


class A2C(Algorithm):
    """The policy gradient with a critic's advantages, one step of it per short rollout (algorithm S3 of the paper, all
    environments in step)."""

    name: str = named("a2c")

    learning_rate: Rate = 7e-4  #: RMSprop's learning rate, a number or a schedule such as "lin_7e-4"
    n_steps: Count = eqx.field(static=True, default=5)  #: steps per environment between two updates
    gamma: Fraction = 0.99  #: discount factor
    gae_lambda: Fraction = 1.0  #: lambda of GAE: 1 is the n-step return, lower has less variance and more bias
    ent_coef: NonNegative = 0.0  #: weight of the entropy bonus, beta in the paper
    vf_coef: NonNegative = 0.5  #: weight of the value loss
    max_grad_norm: Positive = 0.5  #: the gradient's norm is clipped to this
    rms_prop_eps: Positive = 1e-5  #: epsilon of RMSprop, added to the root
    use_rms_prop: bool = eqx.field(static=True, default=True)  #: RMSprop; else Adam
    rms_prop_tf_like: bool = eqx.field(static=True, default=False)  #: TensorFlow's RMSprop, as older code had it
    weight_decay: NonNegativeOrNone = None  #: of all parameters at each update, times the learning rate (AdamW)
    normalize_advantage: bool = eqx.field(static=True, default=False)  #: mean 0 and variance 1 in each rollout
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

    rollout: Any = derived(0)  #: int32: steps before it, which tell rollouts apart

    @property
    def experience(self) -> Rollout:
        return Rollout(self.n_steps)

    def at(self, clock: Clock) -> Self:
        return dataclasses.replace(super().at(clock), rollout=clock.steps)

    def validate(self, spec: EnvironmentSpec) -> None:
        check_actor_critic(self, spec)
        if self.normalize_advantage and self.n_steps * spec.n_envs == 1:
            raise TeguError("A2C: normalize_advantage leaves nothing to learn with n_steps 1 and n_envs 1")

    def init(self, key: jax.Array, spec: EnvironmentSpec) -> ActorCriticLearner:
        network = new_actor_critic(self, key, spec)
        return new_learner(network, self.optimizer().init(network), spec)

    def networks(self, learner: ActorCriticLearner) -> Sequence[tuple[str, Any]]:
        return learner.network.parts

    def optimizer(self) -> optax.GradientTransformation:
        if not self.use_rms_prop:
            return adam(self.max_grad_norm, 1e-5)
        return rmsprop(self.max_grad_norm, self.rms_prop_eps, tf_like=self.rms_prop_tf_like)

    def begin(self, learner: ActorCriticLearner, key: jax.Array, n: int) -> PyTree:
        return first_memory(learner, n)

    def act(
        self, learner: ActorCriticLearner, observation: PyTree, memory: PyTree, key: jax.Array, *, explore: bool
    ) -> Decision:
        policy = policy_for(self, learner, observation)
        return Decision(*choose(self, learner, policy, observation, memory, key, explore=explore))

    def update(self, learner: ActorCriticLearner, batch: Step, key: jax.Array) -> Update:
        """One gradient step on a rollout ``[T, B, ...]``."""
        learner, sample, critic_metrics = samples_of(self, learner, batch)
        gradient, report = jax.grad(self.loss, has_aux=True)(learner.network, sample)
        given = self.optimizer(), self.learning_rate, learner.network, gradient, learner.optimizer
        network, state = descend(*given, self.weight_decay)
        learner = learner._replace(network=network, optimizer=state, updates=learner.updates + 1)
        report |= critic_metrics | policy_metrics(network) | learning_metrics(self.learning_rate, learner.updates)
        return Update(with_observations(self, learner, batch), report)

    def loss(self, network: Network, sample: Sample) -> tuple[jax.Array, Metrics]:
        """Minus the policy gradient's objective (section 4 of the paper), the value loss and minus the entropy bonus;
        ``sample`` is ``[T * B, ...]``."""
        policy, value = network(sample.x, sample.mask)
        advantage = standardized(sample.advantage) if self.normalize_advantage else sample.advantage
        policy_loss = -(policy.log_prob(sample.action) * advantage).mean()
        value_loss = ((value - sample.target) ** 2).mean()
        entropy = policy.entropy().mean()
        loss = policy_loss + self.vf_coef * value_loss - self.ent_coef * entropy
        return loss, {"loss": loss, "policy_loss": policy_loss, "value_loss": value_loss, "entropy_loss": -entropy}
