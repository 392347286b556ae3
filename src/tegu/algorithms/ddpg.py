"""Deep deterministic policy gradient (Lillicrap et al. 2016)."""

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
    check_replay,
    derived,
    learning_metrics,
    named,
    network_field,
)
from tegu.algorithms.diagnostics import network_metrics, value_metrics
from tegu.algorithms.ranges import Count, Fraction, Natural, NonNegative, PositiveFraction, Rate
from tegu.core.schedule import Clock
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Decision, PyTree, Step
from tegu.experience.base import Batch, Replay, hindsight
from tegu.nn.custom import CustomNetwork, Signature, check_custom, custom_networks
from tegu.nn.heads import ActionValue, CustomPolicy, DeterministicPolicy
from tegu.nn.optimizers import adam, descend, follow
from tegu.returns import td_target
from tegu.spaces.bounds import from_unit, to_unit

Actor = DeterministicPolicy | CustomPolicy
Critic = ActionValue | CustomNetwork


class DDPGLearner(NamedTuple):
    actor: Actor
    critic: Critic
    target_actor: Actor
    target_critic: Critic
    actor_optimizer: optax.OptState
    critic_optimizer: optax.OptState
    updates: jax.Array  #: int32: gradient steps so far


class DDPG(Algorithm):
    """A deterministic policy for continuous actions that climbs its critic's gradient (algorithm 1 of the paper).

    Actor and critic know actions scaled to [-1, 1], whatever the environment's bounds.
    """

    name: str = named("ddpg")

    learning_rate: Rate = 1e-3  #: Adam's learning rate, a number or a schedule such as "lin_1e-3"
    buffer_size: Count = eqx.field(static=True, default=1_000_000)  #: steps the replay buffer keeps
    learning_starts: Natural = eqx.field(static=True, default=100)  #: random steps before learning begins
    batch_size: Count = eqx.field(static=True, default=256)  #: steps per update
    tau: PositiveFraction = 0.005  #: how far the targets follow at each update
    gamma: Fraction = 0.99  #: discount factor
    train_freq: Count = eqx.field(static=True, default=1)  #: environment steps between two rounds of updates
    gradient_steps: int = eqx.field(static=True, default=1)  #: updates per round; -1: as many as steps were taken
    n_sampled_goal: Natural = eqx.field(static=True, default=0)  #: goals reached later for each own one (HER); 0: none
    action_noise: NonNegative = 0.1  #: standard deviation of the exploration noise; 1 is half the range of the actions
    net_arch: tuple[int, ...] = eqx.field(static=True, default=(400, 300))  #: hidden layers of actor and critic each
    activation: str = eqx.field(static=True, default="relu")  #: tanh, relu, elu, gelu or silu
    features_extractor: str = eqx.field(static=True, default="auto")  #: auto, flatten, nature, impala or minatar
    network: Callable[..., Any] | str | None = network_field()  #: your own, as module:function

    random_actions: Any = derived(False)  #: whether learning has not begun

    @property
    def experience(self) -> Replay:
        return Replay(
            self.buffer_size,
            self.batch_size,
            self.learning_starts,
            self.train_freq,
            self.gradient_steps,
            draw=hindsight(self.n_sampled_goal),
        )

    def at(self, clock: Clock) -> Self:
        return dataclasses.replace(super().at(clock), random_actions=clock.steps < self.learning_starts)

    def validate(self, spec: EnvironmentSpec) -> None:
        check_deep(self, spec, spaces.Box)
        check_replay(self)
        if self.network is not None:
            actor = Signature((spec.observation_space,), ((math.prod(spec.action_space.shape),),))
            scaled = spaces.Box(-1, 1, spec.action_space.shape)
            critic = Signature((spec.observation_space, scaled), ((),))
            check_custom("DDPG", self.network, spec, (actor, critic))

    def init(self, key: jax.Array, spec: EnvironmentSpec) -> DDPGLearner:
        actor, critic = self.actor_and_critic(key, spec)
        return DDPGLearner(
            actor=actor,
            critic=critic,
            target_actor=actor,
            target_critic=critic,
            actor_optimizer=adam().init(actor),
            critic_optimizer=adam().init(critic),
            updates=jnp.zeros((), jnp.int32),
        )

    def actor_and_critic(self, key: jax.Array, spec: EnvironmentSpec) -> tuple[Actor, Critic]:
        if self.network is not None:
            actor, critic = custom_networks(self.network, key, spec)
            return CustomPolicy(actor), critic
        actor_key, critic_key = jax.random.split(key)
        architecture = self.net_arch, self.activation, self.features_extractor
        return (
            DeterministicPolicy(actor_key, spec, *architecture),
            ActionValue(critic_key, spec, *architecture),
        )

    def networks(self, learner: DDPGLearner) -> Sequence[tuple[str, Any]]:
        return (("actor", learner.actor), ("critic", learner.critic))

    def act(
        self, learner: DDPGLearner, observation: PyTree, memory: PyTree, key: jax.Array, *, explore: bool
    ) -> Decision:
        action = learner.actor(observation)
        if explore:
            noise_key, random_key = jax.random.split(key)
            noise = self.action_noise * jax.random.normal(noise_key, action.shape)
            random = jax.random.uniform(random_key, action.shape, minval=-1, maxval=1)
            action = jnp.where(self.random_actions, random, jnp.clip(action + noise, -1, 1))
        return Decision(from_unit(learner.actor.spaces.action, action), memory)

    def update(self, learner: DDPGLearner, batch: Batch, key: jax.Array) -> Update:
        """One gradient step of critic and actor on ``batch_size`` random steps ``[batch_size, ...]``."""
        steps = batch.rows
        action = to_unit(learner.actor.spaces.action, steps.action)
        next_value = learner.target_critic(steps.next_observation, learner.target_actor(steps.next_observation))
        target = td_target(steps.reward, next_value, steps.terminated, self.gamma)

        def critic_loss(critic: Critic) -> tuple[jax.Array, jax.Array]:
            value = critic(steps.observation, action)
            return ((value - target) ** 2).mean(), value

        def actor_loss(actor: Actor) -> jax.Array:
            return -learner.critic(steps.observation, actor(steps.observation)).mean()

        (error, value), critic_gradient = jax.value_and_grad(critic_loss, has_aux=True)(learner.critic)
        loss, actor_gradient = jax.value_and_grad(actor_loss)(learner.actor)
        rate = self.learning_rate
        critic, critic_optimizer = descend(adam(), rate, learner.critic, critic_gradient, learner.critic_optimizer)
        actor, actor_optimizer = descend(adam(), rate, learner.actor, actor_gradient, learner.actor_optimizer)
        learner = DDPGLearner(
            actor=actor,
            critic=critic,
            target_actor=follow(learner.target_actor, actor, self.tau),
            target_critic=follow(learner.target_critic, critic, self.tau),
            actor_optimizer=actor_optimizer,
            critic_optimizer=critic_optimizer,
            updates=learner.updates + 1,
        )
        metrics = {"actor_loss": loss, "critic_loss": error} | value_metrics(value, target, critic_gradient)
        return Update(learner, metrics | learning_metrics(rate, learner.updates))

    def diagnose(self, learner: DDPGLearner, steps: Step) -> Metrics:
        """Of the critic."""
        action = to_unit(learner.actor.spaces.action, steps.action)
        return network_metrics(learner.critic, steps.observation, action)

    def expected_return(self, learner: DDPGLearner, observation: PyTree, memory: PyTree) -> ExpectedReturn:
        return ExpectedReturn(learner.critic(observation, learner.actor(observation)), self.gamma)
