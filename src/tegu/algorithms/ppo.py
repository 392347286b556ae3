"""Proximal policy optimisation (Schulman et al. 2017)."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from gymnasium import spaces

from tegu.algorithms.base import Algorithm, Metrics, Update, check_deep, learning_metrics, named, network_field
from tegu.algorithms.minibatches import check_minibatches, epochs
from tegu.algorithms.ranges import Count, Fraction, NonNegative, Positive, PositiveOrNone, PositiveRate, Rate
from tegu.core.errors import TeguError
from tegu.core.spec import EnvironmentSpec, Spaces
from tegu.core.step import Decision, PyTree, Step, flatten_time
from tegu.experience.base import Rollout
from tegu.nn.custom import Signature, check_custom, custom_networks
from tegu.nn.distributions import n_parameters
from tegu.nn.heads import ActorCritic, CustomActorCritic, initial_log_std
from tegu.nn.moments import RunningMoments
from tegu.nn.optimizers import adam, descend
from tegu.returns import discounted_sums, gae, next_values
from tegu.spaces.features import action_mask, features, n_features


class PPOLearner(NamedTuple):
    network: ActorCritic | CustomActorCritic
    optimizer: optax.OptState
    observation_moments: RunningMoments  #: of the features; used with ``normalize_observation``
    reward_moments: RunningMoments  #: of the discounted sums of rewards; used with ``normalize_reward``
    updates: jax.Array  #: int32: gradient steps so far


class Sample(NamedTuple):
    """What a minibatch holds of every step, ``[N, ...]``."""

    x: PyTree  #: features, or the observation where a person's own network sees it
    mask: jax.Array | None
    action: PyTree
    log_prob: jax.Array
    value: jax.Array
    advantage: jax.Array
    target: jax.Array


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
    target_kl: PositiveOrNone = None  #: skip the rest of a rollout's updates once approx_kl is 1.5 times this
    normalize_observation: bool = eqx.field(static=True, default=False)  #: standardise observations (running moments)
    normalize_reward: bool = eqx.field(static=True, default=False)  #: divide rewards by the running std of returns
    net_arch: tuple[int, ...] = eqx.field(static=True, default=(64, 64))  #: hidden layers of actor and critic each
    activation: str = eqx.field(static=True, default="tanh")  #: tanh, relu, elu, gelu or silu
    features_extractor: str = eqx.field(static=True, default="auto")  #: auto, flatten, nature, impala or minatar
    network: Callable[..., Any] | str | None = network_field()  #: your own, as module:function
    log_std_init: float = 0.0  #: log standard deviation of continuous actions at the start

    @property
    def experience(self) -> Rollout:
        return Rollout(self.n_steps)

    def validate(self, spec: EnvironmentSpec, *, actor_sees: str | None = None) -> None:
        """``actor_sees``: as for ``init``."""
        kinds = (spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary, spaces.Box)
        check_deep(self, spec, *kinds)
        if self.normalize_advantage and self.batch_size == 1:
            raise TeguError("PPO: normalize_advantage leaves nothing to learn with batch_size 1")
        if self.network is not None:
            if self.normalize_observation:
                raise TeguError(
                    "PPO: normalize_observation cannot be used with your own network, which sees raw observations"
                )
            check_custom("PPO", self.network, spec, *self.signatures(spec, actor_sees))
        check_minibatches(self, spec)

    def signatures(self, spec: EnvironmentSpec, actor_sees: str | None) -> list[tuple[Signature, ...]]:
        """What a person's own network may be: one module, unless the actor sees less, or an actor and a critic."""
        seen, outputs = spec.observation_space, (n_parameters(spec.action_space),)
        actor = Signature((seen if actor_sees is None else seen[actor_sees],), (outputs,))
        two = actor, Signature((seen,), ((),))
        return [(Signature((seen,), (outputs, ())),), two] if actor_sees is None else [two]

    def init(self, key: jax.Array, spec: EnvironmentSpec, *, actor_sees: str | None = None) -> PPOLearner:
        """``actor_sees``: the entry of a Dict observation, the first one, that the actor sees; None: all of it."""
        network = self.actor_critic(key, spec, actor_sees)
        return PPOLearner(
            network=network,
            optimizer=self.optimizer().init(network),
            observation_moments=RunningMoments.start((n_features(spec.observation_space),)),
            reward_moments=RunningMoments.start(),
            updates=jnp.zeros((), jnp.int32),
        )

    def actor_critic(
        self, key: jax.Array, spec: EnvironmentSpec, actor_sees: str | None
    ) -> ActorCritic | CustomActorCritic:
        sees = spec.observation_space if actor_sees is None else spec.observation_space[actor_sees]
        if self.network is not None:
            modules = custom_networks(self.network, key, spec, Spaces(sees, spec.action_space))
            return CustomActorCritic(modules, initial_log_std(spec, self.log_std_init), spec.spaces, actor_sees)
        inputs, extractor = (None, self.features_extractor) if actor_sees is None else (n_features(sees), "flatten")
        architecture = self.net_arch, self.activation, self.log_std_init, inputs, extractor
        return ActorCritic(key, spec, *architecture, standardised=self.normalize_observation)

    def networks(self, learner: PPOLearner) -> Sequence[tuple[str, Any]]:
        return learner.network.parts

    def optimizer(self) -> optax.GradientTransformation:
        return adam(self.max_grad_norm, eps=1e-5)

    def inputs(self, learner: PPOLearner, observation: PyTree) -> PyTree:
        """Features ``[..., n]`` as the networks see them; a person's own see observations as they are."""
        if self.network is not None:
            return observation
        x = features(learner.network.spaces.observation, observation)
        return learner.observation_moments.normalize(x) if self.normalize_observation else x

    def act(
        self, learner: PPOLearner, observation: PyTree, memory: PyTree, key: jax.Array, *, explore: bool
    ) -> Decision:
        mask = action_mask(learner.network.spaces.observation, observation)
        policy, _ = learner.network(self.inputs(learner, observation), mask)
        action = policy.sample(key) if explore else policy.mode()
        return Decision(action, memory, extras=policy.log_prob(action))

    def update(self, learner: PPOLearner, batch: Step, key: jax.Array) -> Update:
        """One rollout ``[T, B, ...]``: advantages first, then ``n_epochs`` over shuffled minibatches."""
        network, space = learner.network, learner.network.spaces.observation
        learner, rewards = self.scaled_rewards(learner, batch)
        x = self.inputs(learner, batch.observation)
        _, values = network(x)
        bootstrap = next_values(
            lambda observation: network(self.inputs(learner, observation))[1],
            batch.next_observation,
            values,
            batch.truncated,
        )
        advantages = gae(rewards, values, bootstrap, batch.terminated, batch.truncated, self.gamma, self.gae_lambda)
        mask = action_mask(space, batch.observation)
        samples = Sample(x, mask, batch.action, batch.extras, values, advantages, advantages + values)
        samples = flatten_time(samples)
        optimizer, rate = self.optimizer(), self.learning_rate

        def minibatch(carry: PyTree, sample: Sample) -> tuple[PyTree, Metrics]:
            network, state, stopped, taken = carry
            gradient, metrics = jax.grad(self.loss, has_aux=True)(network, sample)
            updated = descend(optimizer, rate, network, gradient, state)
            if self.target_kl is not None:
                stopped = stopped | (metrics["approx_kl"] > 1.5 * self.target_kl)
                updated = jax.tree.map(lambda old, new: jnp.where(stopped, old, new), (network, state), updated)
            return (*updated, stopped, taken + ~stopped), metrics

        carry = (network, learner.optimizer, jnp.zeros((), bool), learner.updates)
        carry, report = epochs(minibatch, carry, samples, key, self.n_epochs, self.batch_size)
        network, state, _, updates = carry
        report |= learning_metrics(rate, updates)
        report["explained_variance"] = 1 - advantages.var() / (samples.target.var() + 1e-8)
        report["clip_range"] = jnp.asarray(self.clip_range, jnp.float32)
        if network.log_std.size:
            report["std"] = jnp.exp(network.log_std).mean()
        if self.normalize_observation:  # after the update, so that acting and learning saw the same statistics
            raw = features(space, batch.observation)
            learner = learner._replace(observation_moments=learner.observation_moments.merge(raw))
        return Update(learner._replace(network=network, optimizer=state, updates=updates), report)

    def loss(self, network: ActorCritic | CustomActorCritic, sample: Sample) -> tuple[jax.Array, Metrics]:
        """Equation 9 with its sign turned, for gradient descent; ``sample`` is ``[batch_size, ...]``."""
        policy, value = network(sample.x, sample.mask)
        advantage = sample.advantage
        if self.normalize_advantage:
            advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)

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

    def scaled_rewards(self, learner: PPOLearner, batch: Step) -> tuple[PPOLearner, jax.Array]:
        """Rewards ``[T, B]``, divided by the running deviation of the discounted return if asked to.

        Returns are summed within the rollout, so that the learner keeps nothing of single environments.
        """
        if not self.normalize_reward:
            return learner, batch.reward
        sums = discounted_sums(batch.reward, batch.terminated | batch.truncated, self.gamma)
        moments = learner.reward_moments.merge(sums)
        return learner._replace(reward_moments=moments), moments.scale(batch.reward)
