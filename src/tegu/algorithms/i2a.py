"""I2A (Weber et al. 2017): an actor-critic that looks at what a learned model imagines of each action."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from gymnasium import spaces

from tegu.algorithms.a2c import A2C
from tegu.algorithms.actor_critic import Sample
from tegu.algorithms.base import (
    Algorithm,
    ExpectedReturn,
    Imagined,
    Metrics,
    Stage,
    Update,
    learning_metrics,
    named,
)
from tegu.algorithms.environment_model import (
    EnvironmentModel,
    Transition,
    fitted,
    model_error_ratio,
    new_model,
    open_loop,
    rollouts,
    transition,
    unchanged,
)
from tegu.algorithms.learned_dynamics import Settings, deterministic
from tegu.algorithms.minibatches import epochs
from tegu.algorithms.ppo import PPO
from tegu.algorithms.ranges import Count, Few, Fraction, NonNegative, Positive, PositiveRate, Rate, Width
from tegu.core.errors import TeguError
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Decision, PyTree, Step, flatten_time
from tegu.experience.base import Rollout
from tegu.nn.distributions import Categorical
from tegu.nn.imagination import ImaginationAugmented, Rollouts, Seen
from tegu.nn.mlp import check_network
from tegu.nn.optimizers import descend
from tegu.returns import gae, next_values
from tegu.spaces.features import features, n_features, require

MODEL, IMAGINATION = "model", "imagination"  #: the stages
LARGEST = 10_000  #: numbers in an observation
LEARNED, COPY, NONE = "model", "copy", "none"  #: what imagines


class I2ALearner(NamedTuple):
    network: ImaginationAugmented
    optimizer: optax.OptState
    model: EnvironmentModel | None  #: learned in the first stage only; None where nothing is
    updates: jax.Array  #: int32: updates of the network so far


class Kept(NamedTuple):
    """What ``act`` keeps of each step ``[B, ...]``, so that ``update`` need not compute it again."""

    rollouts: Rollouts | None  #: what was imagined
    logits: jax.Array  #: of the policy
    value: jax.Array  #: of the observation


class I2A(Algorithm):
    """Advantage actor-critic that also sees an imagined rollout for each action, in a model that it learned before.

    There are two stages, each a phase of one run: in the first the agent acts without imagination, and the model is
    learned from its steps; in the second the model stays as it is, and the agent goes on with imagination.
    """

    name: str = named("i2a")

    imagination: str = eqx.field(static=True, default=LEARNED)  #: model, copy (imagines that nothing changes) or none
    model_fraction: Fraction = 0.2  #: fraction of the steps in which the model is learned; for imagination model
    policy_update: str = eqx.field(static=True, default="a2c")  #: what a rollout is learned from by: a2c or ppo
    rollout_length: Few = eqx.field(static=True, default=5)  #: steps of each imagined rollout
    learning_rate: Rate = 7e-4  #: of a2c's RMSprop or ppo's Adam, a number or a schedule such as "lin_7e-4"
    n_steps: Count = eqx.field(static=True, default=5)  #: steps per environment between two updates
    gamma: Fraction = 0.99  #: discount factor
    gae_lambda: Fraction = 1.0  #: lambda of GAE: 1 is the n-step return, lower has less variance and more bias
    ent_coef: NonNegative = 0.01  #: weight of the entropy bonus
    vf_coef: NonNegative = 0.5  #: weight of the value loss
    distillation_coef: NonNegative = 0.1  #: weight of the loss by which the rollout policy follows the policy
    max_grad_norm: Positive = 0.5  #: the gradient's norm is clipped to this
    batch_size: Count = eqx.field(static=True, default=64)  #: ppo: steps per minibatch
    n_epochs: Count = eqx.field(static=True, default=4)  #: ppo: epochs of updates over each rollout
    clip_range: PositiveRate = 0.2  #: ppo: how far the probability ratio may move
    model_learning_rate: Rate = 1e-3  #: Adam's learning rate of the model
    model_epochs: Count = eqx.field(static=True, default=4)  #: epochs of the model over each rollout
    net_arch: tuple[int, ...] = eqx.field(static=True, default=(128,))  #: hidden layers of the policies
    activation: str = eqx.field(static=True, default="relu")  #: tanh, relu, elu, gelu, silu or mish
    channels: Width = eqx.field(static=True, default=16)  #: filters of each convolution that looks at planes
    hidden_size: Width = eqx.field(static=True, default=64)  #: of the LSTM that reads rollouts
    model_arch: tuple[int, ...] = eqx.field(static=True, default=(200, 200))  #: hidden layers of a model of vectors
    model_channels: Width = eqx.field(static=True, default=16)  #: filters of each convolution of a model of planes

    stage: str = eqx.field(static=True, kw_only=True, default=IMAGINATION, metadata={"derived": True})

    @property
    def model_free(self) -> A2C | PPO:
        """What learns policy and values."""
        given: dict[str, Any] = {
            "name": self.title,
            "learning_rate": self.learning_rate,
            "n_steps": self.n_steps,
            "gamma": self.gamma,
            "gae_lambda": self.gae_lambda,
            "ent_coef": self.ent_coef,
            "vf_coef": self.vf_coef,
            "max_grad_norm": self.max_grad_norm,
        }
        if self.policy_update == "a2c":
            return A2C(**given)
        return PPO(batch_size=self.batch_size, n_epochs=self.n_epochs, clip_range=self.clip_range, **given)

    @property
    def experience(self) -> Rollout:
        return self.model_free.experience

    @property
    def settings(self) -> Settings:
        """Of a model of vectors: one network of means, which learns the end of episodes, too."""
        return deterministic(self.model_arch, self.model_learning_rate)

    def validate(self, spec: EnvironmentSpec) -> None:
        if self.imagination not in (LEARNED, COPY, NONE):
            choices = f"{LEARNED}, {COPY} or {NONE}"
            raise TeguError(f"{self.title}: imagination must be {choices}, got {self.imagination!r}")
        if self.policy_update not in ("a2c", "ppo"):
            raise TeguError(f"{self.title}: policy_update must be a2c or ppo, got {self.policy_update!r}")
        require(self.title, "action", spec.action_space, spaces.Discrete)
        require(self.title, "observation", spec.observation_space, spaces.Box, spaces.Discrete)
        self.model_free.validate(spec)
        if (size := n_features(spec.observation_space)) > LARGEST:
            raise TeguError(
                f"{self.title}: observations must have at most {LARGEST:,} numbers, as what is imagined is kept of "
                f"every step, {spec.id} has {size:,}"
            )
        check_network(self.activation, self.net_arch)
        check_network(self.activation, self.model_arch, "model_arch")
        if not self.net_arch:
            raise TeguError(
                f"{self.title}: net_arch must have at least one layer, where codes of rollouts enter, got []"
            )

    def stages(self, spec: EnvironmentSpec, steps: int) -> Sequence[Stage]:
        """Learn the model, then act by imagination: those that get steps. Where no model is learned there are none."""
        first = round(steps * self.model_fraction) if self.imagination == LEARNED else 0
        shares = ((MODEL, first), (IMAGINATION, steps - first))
        return [Stage(replace(self, stage=stage), share) for stage, share in shares if share] if first else ()

    def init(self, key: jax.Array, spec: EnvironmentSpec) -> I2ALearner:
        network_key, model_key = jax.random.split(key)
        sizes = self.net_arch, self.activation, self.channels, self.hidden_size
        network = ImaginationAugmented(network_key, spec, *sizes, self.imagination != NONE)
        model = None
        if self.imagination == LEARNED:
            model = new_model(model_key, spec, self.model_channels, self.settings)
        return I2ALearner(network, self.model_free.optimizer().init(network), model, jnp.zeros((), jnp.int32))

    def networks(self, learner: I2ALearner) -> Sequence[tuple[str, Any]]:
        return learner.network.parts if learner.model is None else (*learner.network.parts, ("model", learner.model[0]))

    def transition(self, learner: I2ALearner) -> Transition:
        """By what is imagined."""
        if learner.model is None:
            return unchanged
        seen = learner.network.spaces
        return transition(learner.model, seen.observation, seen.action, self.settings)

    def see(self, learner: I2ALearner, observation: PyTree, key: jax.Array, alike: bool = False) -> Seen:
        """Observations ``[B, ...]`` and what is imagined from them; nothing is while the model is learned.

        ``alike``: by the same random numbers for each, so that what is decided depends on nothing else in the batch.
        """
        network = learner.network
        x = features(network.spaces.observation, observation)
        if network.rollout_policy is None or self.stage == MODEL:
            return Seen(x, None)
        found = rollouts(
            self.transition(learner),
            network.rollout_policy,
            x,
            network.spaces.action,
            self.rollout_length,
            key,
            alike,
        )
        return Seen(x, found)

    def act(
        self, learner: I2ALearner, observation: PyTree, memory: PyTree, key: jax.Array, *, explore: bool
    ) -> Decision:
        imagine_key, action_key = jax.random.split(key)
        # drawn when greedy, too, as the network has learned to read such rollouts, but the same each time
        seen = self.see(learner, observation, imagine_key if explore else jax.random.key(0), alike=not explore)
        policy, value = learner.network(seen)
        action = policy.sample(action_key) if explore else policy.mode()
        return Decision(action, memory, extras=Kept(seen.rollouts, policy.logits, value))

    def update(self, learner: I2ALearner, batch: Step, key: jax.Array) -> Update:
        """Learn from a rollout ``[T, B, ...]`` as A2C or PPO do; in the first stage the model does, too."""
        imagine_key, learn_key, model_key = jax.random.split(key, 3)
        samples, critic_metrics = self.samples(learner, batch, imagine_key)
        learner, report = self.learn(learner, samples, learn_key)
        if self.stage == MODEL and learner.model is not None:
            steps, spaces = flatten_time(batch), learner.network.spaces
            size = len(steps.reward) if self.policy_update == "a2c" else self.batch_size
            how = self.model_epochs, size, self.settings
            model, model_metrics = fitted(learner.model, spaces, steps, model_key, *how)
            learner, report = learner._replace(model=model), report | model_metrics
        return Update(learner, report | critic_metrics | learning_metrics(self.learning_rate, learner.updates))

    def learn(self, learner: I2ALearner, samples: PyTree, key: jax.Array) -> tuple[I2ALearner, dict[str, jax.Array]]:
        """One gradient step of the network on all ``samples``, or, with PPO, epochs of them on minibatches."""
        optimizer = self.model_free.optimizer()

        def step(carry: PyTree, sample: PyTree) -> tuple[PyTree, Metrics]:
            network, state, updates = carry
            gradient, metrics = jax.grad(self.loss, has_aux=True)(network, *sample)
            return (*descend(optimizer, self.learning_rate, network, gradient, state), updates + 1), metrics

        carry = learner.network, learner.optimizer, learner.updates
        if self.policy_update == "a2c":
            carry, report = step(carry, samples)
        else:
            carry, report = epochs(step, carry, samples, key, self.n_epochs, self.batch_size)
            report["clip_range"] = jnp.asarray(self.clip_range, jnp.float32)
        network, state, updates = carry
        return learner._replace(network=network, optimizer=state, updates=updates), dict(report)

    def samples(
        self, learner: I2ALearner, batch: Step, key: jax.Array
    ) -> tuple[tuple[Sample, jax.Array], dict[str, jax.Array]]:
        """The samples ``[T * B, ...]`` of a rollout ``[T, B, ...]`` and the policy's logits, and how well its critic
        did."""
        network, kept = learner.network, batch.extras

        def value(observation: PyTree) -> jax.Array:
            return network(self.see(learner, observation, key))[1]

        bootstrap = next_values(value, batch.next_observation, kept.value, batch.truncated)
        ends = batch.terminated, batch.truncated
        advantages = gae(batch.reward, kept.value, bootstrap, *ends, self.gamma, self.gae_lambda)
        target = advantages + kept.value
        seen = Seen(features(network.spaces.observation, batch.observation), kept.rollouts)
        log_prob = Categorical(kept.logits, int(network.spaces.action.start)).log_prob(batch.action)
        sample = Sample(seen, None, batch.action, log_prob, kept.value, advantages, target)
        return flatten_time((sample, kept.logits)), {"explained_variance": 1 - advantages.var() / (target.var() + 1e-8)}

    def loss(self, network: ImaginationAugmented, sample: Sample, logits: jax.Array) -> tuple[jax.Array, Metrics]:
        """A2C's or PPO's loss on a ``sample`` ``[N, ...]``, and that of the rollout policy, which follows the policy
        with these ``logits`` ``[N, A]``.

        What was imagined is given: no gradient goes into the model, nor into the rollout policy for what it did there.
        """
        model_free: Any = self.model_free  # whose losses take any network that gives a policy and values
        loss, metrics = model_free.loss(network, sample)
        if network.rollout_policy is None:
            return loss, metrics
        distilled = distillation_loss(logits, network.rollout_policy(sample.x.x))
        loss = loss + self.distillation_coef * distilled
        return loss, {**metrics, "loss": loss, "distillation_loss": distilled}

    def diagnose(self, learner: I2ALearner, steps: Step) -> Metrics:
        """How good the model is, where there is one."""
        if learner.model is None:
            return {}
        space = learner.network.spaces.observation
        return {"model_error_ratio": model_error_ratio(self.transition(learner), space, steps)}

    def expected_return(self, learner: I2ALearner, observation: PyTree, memory: PyTree) -> ExpectedReturn:
        seen = self.see(learner, observation, jax.random.key(0), alike=True)
        return ExpectedReturn(learner.network(seen)[1], self.gamma)

    def imagine(self, learner: I2ALearner, observation: PyTree, actions: PyTree, key: jax.Array) -> Imagined | None:
        if learner.model is None:
            return None
        return open_loop(self.transition(learner), learner.network.spaces.observation, observation, actions)


def distillation_loss(policy: jax.Array, rollout_policy: jax.Array) -> jax.Array:
    """The mean cross-entropy of the rollout policy with the policy, of logits ``[N, A]`` both (Weber et al. 2017,
    section 3.2)."""
    return -(jax.nn.softmax(policy) * jax.nn.log_softmax(rollout_policy)).sum(axis=-1).mean()
