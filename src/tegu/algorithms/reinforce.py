"""REINFORCE (Williams 1992), and with a baseline the policy gradient that is called vanilla."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from tegu.algorithms.actor_critic import (
    ActorCriticLearner,
    Network,
    Sample,
    check_actor_critic,
    critic_optimizer,
    fit_critic,
    inputs,
    new_actor_critic,
    new_learner,
    policy_for,
    policy_metrics,
    samples_of,
    scaled_rewards,
    standardized,
    with_observations,
)
from tegu.algorithms.base import Algorithm, Metrics, Update, learning_metrics, named, network_field
from tegu.algorithms.minibatches import warn_of_truncated_minibatch
from tegu.algorithms.ranges import Count, Fraction, Rate
from tegu.core.errors import TeguError
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Decision, PyTree, Step, flatten_time
from tegu.experience.base import Rollout
from tegu.nn.optimizers import adam, descend
from tegu.returns import bootstrapped_returns
from tegu.spaces.features import action_mask


class Optimizers(NamedTuple):
    policy: optax.OptState
    critic: optax.OptState


class REINFORCE(Algorithm):
    """One step along the gradient of the expected return, estimated from what whole episodes returned after each action
    (theorem 1 of the paper)."""

    name: str = named("reinforce")

    learning_rate: Rate = 1e-3  #: learning rate of the policy's Adam, a number or a schedule such as "lin_1e-3"
    n_steps: Count = eqx.field(static=True, default=2048)  #: steps per environment between two updates
    gamma: Fraction = 0.99  #: discount factor
    baseline: bool = eqx.field(static=True, default=False)  #: subtract learned state values, and bootstrap with them
    gae_lambda: Fraction = 1.0  #: with the baseline: lambda of GAE; 1 is the whole return minus the baseline
    normalize_advantage: bool = eqx.field(static=True, default=False)  #: mean 0 and variance 1 in each rollout
    critic_learning_rate: Rate = 1e-3  #: learning rate of the baseline's Adam
    n_critic_updates: Count = eqx.field(static=True, default=10)  #: epochs of the baseline over each rollout
    batch_size: Count = eqx.field(static=True, default=128)  #: steps per minibatch of the baseline
    normalize_observation: bool = eqx.field(static=True, default=False)  #: standardise observations (running moments)
    normalize_reward: bool = eqx.field(static=True, default=False)  #: divide rewards by the running std of returns
    net_arch: tuple[int, ...] = eqx.field(static=True, default=(64, 64))  #: hidden layers of policy and baseline each
    critic_arch: tuple[int, ...] | None = eqx.field(static=True, default=None)  #: the baseline's, if they are others
    activation: str = eqx.field(static=True, default="tanh")  #: tanh, relu, elu, gelu, silu or mish
    features_extractor: str = eqx.field(static=True, default="auto")  #: flatten, nature, impala, minatar or attention
    network: Callable[..., Any] | str | None = network_field()  #: your own, as module:function
    log_std_init: float = 0.0  #: log standard deviation of continuous actions at the start

    @property
    def experience(self) -> Rollout:
        """Without a baseline every rollout begins new episodes, for only whole ones count."""
        return Rollout(self.n_steps, not self.baseline, self.batch_size if self.baseline else None)

    def validate(self, spec: EnvironmentSpec) -> None:
        check_actor_critic(self, spec, apart=self.baseline)
        if self.baseline:
            warn_of_truncated_minibatch(self, spec)
        elif isinstance(self.gae_lambda, int | float) and self.gae_lambda != 1:
            raise TeguError(f"REINFORCE: gae_lambda needs a baseline, got {self.gae_lambda} and baseline False")

    def init(self, key: jax.Array, spec: EnvironmentSpec) -> ActorCriticLearner:
        network = new_actor_critic(self, key, spec)
        state = Optimizers(self.optimizer().init(network), critic_optimizer().init(network.critic))
        return new_learner(network, state, spec)

    def networks(self, learner: ActorCriticLearner) -> Sequence[tuple[str, Any]]:
        return [(part, network) for part, network in learner.network.parts if self.baseline or part != "critic"]

    def optimizer(self) -> optax.GradientTransformation:
        return adam(eps=1e-5)

    def act(
        self, learner: ActorCriticLearner, observation: PyTree, memory: PyTree, key: jax.Array, *, explore: bool
    ) -> Decision:
        policy = policy_for(self, learner, observation)
        return Decision(policy.sample(key) if explore else policy.mode(), memory)

    def update(self, learner: ActorCriticLearner, batch: Step, key: jax.Array) -> Update:
        """One gradient step of the policy on a rollout ``[T, B, ...]``, then the baseline's epochs if there is one."""
        if self.baseline:
            learner, samples, report = samples_of(self, learner, batch)
            counts = jnp.ones_like(samples.advantage, bool)
        else:
            learner, samples, counts = self.whole_episodes(learner, batch)
            report = {"finished_fraction": counts.mean()}
        advantage = standardized(samples.advantage, counts) if self.normalize_advantage else samples.advantage
        weighted = samples._replace(advantage=jnp.where(counts, advantage, 0.0))

        gradient, of_policy = jax.grad(self.loss, has_aux=True)(learner.network, weighted)
        state: Optimizers = learner.optimizer
        network, policy_state = descend(self.optimizer(), self.learning_rate, learner.network, gradient, state.policy)
        state = state._replace(policy=policy_state)
        if self.baseline:
            given = state.critic, samples, key, self.critic_learning_rate
            network, critic_state, of_critic = fit_critic(self, network, *given)
            state = state._replace(critic=critic_state)
            report |= of_critic
        learner = learner._replace(network=network, optimizer=state, updates=learner.updates + 1)
        report |= of_policy | policy_metrics(network) | learning_metrics(self.learning_rate, learner.updates)
        return Update(with_observations(self, learner, batch), report)

    def whole_episodes(self, learner: ActorCriticLearner, batch: Step) -> tuple[ActorCriticLearner, Sample, jax.Array]:
        """The samples ``[T * B, ...]`` of a rollout, their advantages being the discounted rewards from there to the
        episode's end, and which of them count: those of the episodes that ended in the rollout."""
        learner, rewards = scaled_rewards(self, learner, batch)
        nothing, ends = jnp.zeros_like(rewards), (batch.terminated, batch.truncated)
        returns = bootstrapped_returns(rewards, nothing, *ends, self.gamma)
        ends_later = jnp.cumsum((batch.terminated | batch.truncated)[::-1], axis=0)[::-1]
        x = inputs(self, learner, batch.observation)
        mask = action_mask(learner.network.spaces.observation, batch.observation)
        sample = Sample(x, mask, batch.action, batch.extras, nothing, returns, returns)
        return learner, *flatten_time((sample, ends_later > 0))

    def loss(self, network: Network, sample: Sample) -> tuple[jax.Array, Metrics]:
        """Minus the objective whose gradient is that of the expected return; ``sample`` is ``[T * B, ...]``."""
        policy, _ = network(sample.x, sample.mask)
        loss = -(policy.log_prob(sample.action) * sample.advantage).mean()
        return loss, {"policy_loss": loss, "entropy_loss": -policy.entropy().mean()}
