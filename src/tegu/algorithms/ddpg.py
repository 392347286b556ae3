"""Deep deterministic policy gradient (Lillicrap et al. 2016), and what TD3 added to it (Fujimoto et al. 2018)."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from gymnasium import spaces

from tegu.algorithms.action_noise import check_noise, first_noise, noisy
from tegu.algorithms.base import (
    Algorithm,
    ExpectedReturn,
    Imagined,
    Metrics,
    Update,
    check_deep,
    check_replay,
    derived,
    learning_metrics,
    named,
    network_field,
    replay,
)
from tegu.algorithms.critics import Critic, Critics, check_layers, fitted_values, lowest, values
from tegu.algorithms.diagnostics import network_metrics, value_metrics
from tegu.algorithms.ranges import (
    Count,
    Few,
    Fraction,
    Natural,
    NonNegative,
    NonNegativeOrNone,
    PositiveFraction,
    Rate,
    RateOrNone,
)
from tegu.algorithms.value_expansion import (
    Model,
    check_expansion,
    expanded,
    model_learned,
    model_open_loop,
    model_taken,
    new_model,
)
from tegu.core.schedule import Clock
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Decision, PyTree, Step
from tegu.experience.base import Batch, Replay, hindsight
from tegu.nn.batch_norm import WARM_UP, fitted, with_statistics
from tegu.nn.custom import Signature, check_custom, custom_networks
from tegu.nn.heads import ActionValue, CustomPolicy, DeterministicPolicy
from tegu.nn.optimizers import adam, descend, follow
from tegu.returns import td_target
from tegu.spaces.bounds import from_unit, to_unit

Actor = DeterministicPolicy | CustomPolicy

POLICY = ("actor", "target_actor", "target_critics", "actor_optimizer", "actor_loss")  #: what a delay holds back


class DDPGLearner(NamedTuple):
    actor: Actor
    critics: Critics  #: one, or several of which the lowest counts
    target_actor: Actor
    target_critics: Critics
    actor_optimizer: optax.OptState
    critic_optimizer: optax.OptState
    actor_loss: jax.Array  #: float32: at the last update of the actor
    updates: jax.Array  #: int32: gradient steps so far
    dynamics: Model = ()  #: a model of the environment, with ``model_steps``


class DDPG(Algorithm):
    """A deterministic policy for continuous actions that climbs its critic's gradient (algorithm 1 of the paper).

    Actor and critic know actions scaled to [-1, 1], whatever the environment's bounds. TD3 is this with two critics, a
    smoothed target and delayed updates of the actor.
    """

    name: str = named("ddpg")

    learning_rate: Rate = 1e-3  #: Adam's learning rate, a number or a schedule such as "lin_1e-3"
    actor_learning_rate: RateOrNone = None  #: the actor's, if it is another
    buffer_size: Count = eqx.field(static=True, default=1_000_000)  #: steps the replay buffer keeps
    learning_starts: Natural = eqx.field(static=True, default=100)  #: random steps before learning begins
    batch_size: Count = eqx.field(static=True, default=256)  #: steps per update
    tau: PositiveFraction = 0.005  #: how far the targets follow at each update
    gamma: Fraction = 0.99  #: discount factor
    train_freq: Count = eqx.field(static=True, default=1)  #: environment steps between two rounds of updates
    gradient_steps: int = eqx.field(static=True, default=1)  #: updates per round; -1: as many as steps were taken
    n_sampled_goal: Natural = eqx.field(static=True, default=0)  #: goals reached later for each own one (HER); 0: none
    goal_selection_strategy: str = eqx.field(static=True, default="future")  #: which of those: or final, or episode
    n_critics: Few = eqx.field(static=True, default=1)  #: critics, of which the lowest value is used in the target
    policy_delay: Count = eqx.field(static=True, default=1)  #: updates of the critics per update of actor and targets
    target_policy_noise: NonNegative = 0.0  #: standard deviation of the noise of the target's actions, in half ranges
    target_noise_clip: NonNegative = 0.5  #: the most that this noise can be
    action_noise: NonNegativeOrNone = 0.1  #: standard deviation of exploration noise; 1 is half the range of actions
    noise_type: str = eqx.field(static=True, default="normal")  #: normal, or ornstein-uhlenbeck: correlated in time
    noise_theta: PositiveFraction = 0.15  #: ornstein-uhlenbeck: the share of the noise that is forgotten at each step
    weight_decay: NonNegativeOrNone = None  #: of actor and critics at each update, times the learning rate (AdamW)
    action_l2: NonNegative = 0.0  #: weight of the mean squared action in the actor's loss, against saturation
    net_arch: tuple[int, ...] = eqx.field(static=True, default=(400, 300))  #: hidden layers of actor and critic each
    critic_arch: tuple[int, ...] | None = eqx.field(static=True, default=None)  #: the critic's, if they are others
    activation: str = eqx.field(static=True, default="relu")  #: tanh, relu, elu, gelu, silu or mish
    layer_norm: bool = eqx.field(static=True, default=False)  #: normalise what enters each activation
    batch_norm: bool = eqx.field(static=True, default=False)  #: normalise inputs and hidden layers over the batch
    architecture: str = eqx.field(static=True, default="mlp")  #: of actor and critics: mlp, or simba: residual blocks
    features_extractor: str = eqx.field(static=True, default="auto")  #: flatten, nature, impala, minatar or attention
    network: Callable[..., Any] | str | None = network_field()  #: your own, as module:function
    model_steps: Natural = eqx.field(static=True, default=0)  #: steps that a learned model imagines in targets (MVE)
    td_k: bool = eqx.field(static=True, default=True)  #: with a model: whether critics learn of what is imagined, too
    model_arch: tuple[int, ...] = eqx.field(static=True, default=(128, 128, 128))  #: hidden layers of the model
    model_learning_rate: Rate = 1e-3  #: of the model

    random_actions: Any = derived(False)  #: whether learning has not begun

    @property
    def experience(self) -> Replay:
        return replay(self, draw=hindsight(self.n_sampled_goal, self.goal_selection_strategy))

    def at(self, clock: Clock) -> Self:
        return dataclasses.replace(super().at(clock), random_actions=clock.steps < self.learning_starts)

    def validate(self, spec: EnvironmentSpec) -> None:
        check_deep(self, spec, spaces.Box)
        check_replay(self)
        check_noise(self, spec)
        check_expansion(self, spec)
        check_layers(self, {"layer_norm": self.layer_norm})
        if self.network is not None:
            actor = Signature((spec.observation_space,), ((math.prod(spec.action_space.shape),),))
            scaled = spaces.Box(-1, 1, spec.action_space.shape)
            critic = Signature((spec.observation_space, scaled), ((),))
            check_custom(self.title, self.network, spec, (actor, *[critic] * self.n_critics))

    def init(self, key: jax.Array, spec: EnvironmentSpec) -> DDPGLearner:
        actor, critics = self.actor_and_critics(key, spec)
        return DDPGLearner(
            actor=actor,
            critics=critics,
            target_actor=actor,
            target_critics=critics,
            actor_optimizer=adam().init(actor),
            critic_optimizer=adam().init(critics),
            actor_loss=jnp.zeros(()),
            updates=jnp.zeros((), jnp.int32),
            dynamics=new_model(self, key, spec),
        )

    def actor_and_critics(self, key: jax.Array, spec: EnvironmentSpec) -> tuple[Actor, Critics]:
        if self.network is not None:
            actor, *critics = custom_networks(self.network, key, spec)
            return CustomPolicy(actor), tuple(critics)
        actor_key, *critic_keys = jax.random.split(key, 1 + self.n_critics)
        critic_arch = self.net_arch if self.critic_arch is None else self.critic_arch
        body = "batch-norm" if self.batch_norm else self.architecture
        architecture = self.activation, self.features_extractor, self.layer_norm, body
        return (
            DeterministicPolicy(actor_key, spec, self.net_arch, *architecture),
            tuple(ActionValue(critic_key, spec, critic_arch, *architecture) for critic_key in critic_keys),
        )

    def networks(self, learner: DDPGLearner) -> Sequence[tuple[str, Any]]:
        return (("actor", learner.actor), *(("critic", critic) for critic in learner.critics))

    def begin(self, learner: DDPGLearner, key: jax.Array, n: int) -> PyTree:
        """The noise ``[n, *shape]`` of an Ornstein-Uhlenbeck process, which starts anew with each episode."""
        return first_noise(self, n, learner.actor.spaces.action.shape)

    def act(
        self, learner: DDPGLearner, observation: PyTree, memory: PyTree, key: jax.Array, *, explore: bool
    ) -> Decision:
        action = learner.actor(observation)
        if explore:
            noise_key, random_key = jax.random.split(key)
            own, memory = noisy(self, action, memory, noise_key)
            random = jax.random.uniform(random_key, action.shape, minval=-1, maxval=1)
            action = jnp.where(self.random_actions, random, own)
        return Decision(from_unit(learner.actor.spaces.action, action), memory)

    def take(self, learner: DDPGLearner, steps: Step) -> tuple[DDPGLearner, Step]:
        """All steps are kept as they are; a model standardises by them."""
        return model_taken(learner, steps), steps

    def update(self, learner: DDPGLearner, batch: Batch, key: jax.Array) -> Update:
        """One gradient step of critics and actor on ``batch_size`` random steps ``[batch_size, ...]``.

        With a ``policy_delay`` the actor and the targets wait for several steps of the critics. With ``model_steps`` a
        step of the model comes first, and targets follow from what it imagines.
        """
        steps = batch.rows
        learner, of_model = model_learned(self, learner, steps, key)
        seen, action, target = self.targets(learner, steps, key)
        action = to_unit(learner.actor.spaces.action, action)

        def critic_loss(critics: Critics) -> tuple[jax.Array, tuple[jax.Array, Critics]]:
            value, after = fitted_values(critics, learner.updates >= WARM_UP, seen, action)
            return ((value - target) ** 2).mean(axis=1).sum(), (value, after)

        (error, (value, after)), gradient = jax.value_and_grad(critic_loss, has_aux=True)(learner.critics)
        given = adam(), self.learning_rate, learner.critics, gradient, learner.critic_optimizer
        critics, critic_optimizer = descend(*given, self.weight_decay)
        critics = with_statistics(critics, after)
        updates = learner.updates + 1
        if self.policy_delay == 1:  # both from the same networks
            changed = self.policy_update(learner, critics, learner.critics[0], steps.observation)
        else:
            changed = jax.lax.cond(
                updates % self.policy_delay == 0,
                lambda: self.policy_update(learner, critics, critics[0], steps.observation),
                lambda: {name: getattr(learner, name) for name in POLICY},
            )
        learner = learner._replace(critics=critics, critic_optimizer=critic_optimizer, updates=updates, **changed)
        metrics = {"actor_loss": learner.actor_loss, "critic_loss": error} | value_metrics(value, target, gradient)
        return Update(learner, metrics | of_model | learning_metrics(self.learning_rate, updates))

    def targets(self, learner: DDPGLearner, steps: Step, key: jax.Array) -> tuple[PyTree, jax.Array, jax.Array]:
        """Observations and actions, and what the critics should say of them: of the steps ``[B, ...]`` and, with
        ``model_steps``, of imagined ones."""
        value = partial(self.next_value, learner)
        if learner.dynamics:
            return expanded(self, learner, steps, key, partial(self.target_policy, learner), value)
        next_value = value(steps.next_observation, key)
        return steps.observation, steps.action, td_target(steps.reward, next_value, steps.terminated, self.gamma)

    def next_value(self, learner: DDPGLearner, observation: PyTree, key: jax.Array) -> jax.Array:
        """What the targets say of observations ``[B, ...]``: the lowest value of the target actor's action, to which
        clipped noise is added (TD3, equations 10 and 14)."""
        next_action = learner.target_actor(observation)
        noise = self.target_policy_noise * jax.random.normal(key, next_action.shape)
        smoothed = jnp.clip(next_action + jnp.clip(noise, -self.target_noise_clip, self.target_noise_clip), -1, 1)
        return lowest(values(learner.target_critics, observation, smoothed))

    def target_policy(
        self, learner: DDPGLearner, observation: jax.Array, key: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """The target actor as ``expanded`` plays it: nothing is random, and it is paid nothing but the reward."""
        action = from_unit(learner.actor.spaces.action, learner.target_actor(observation))
        return action, jnp.zeros(len(observation))

    def policy_update(
        self, learner: DDPGLearner, critics: Critics, critic: Critic, observation: PyTree
    ) -> dict[str, Any]:
        """The fields ``POLICY`` of the learner after one gradient step of the actor up the ``critic``; the
        targets follow it and the ``critics``."""

        def loss(actor: Actor) -> tuple[jax.Array, Actor]:
            action, after = fitted(actor, learner.updates >= WARM_UP, observation)
            return self.action_l2 * (action**2).mean() - critic(observation, action).mean(), after

        (actor_loss, after), gradient = jax.value_and_grad(loss, has_aux=True)(learner.actor)
        rate = self.learning_rate if self.actor_learning_rate is None else self.actor_learning_rate
        given = adam(), rate, learner.actor, gradient, learner.actor_optimizer
        actor, optimizer = descend(*given, self.weight_decay)
        actor = with_statistics(actor, after)
        return {
            "actor": actor,
            "target_actor": follow(learner.target_actor, actor, self.tau),
            "target_critics": follow(learner.target_critics, critics, self.tau),
            "actor_optimizer": optimizer,
            "actor_loss": actor_loss,
        }

    def diagnose(self, learner: DDPGLearner, steps: Step) -> Metrics:
        """Of the first critic."""
        action = to_unit(learner.actor.spaces.action, steps.action)
        return network_metrics(learner.critics[0], steps.observation, action)

    def expected_return(self, learner: DDPGLearner, observation: PyTree, memory: PyTree) -> ExpectedReturn:
        value = lowest(values(learner.critics, observation, learner.actor(observation)))
        return ExpectedReturn(value, self.gamma)

    def imagine(
        self, learner: DDPGLearner, observation: jax.Array, actions: jax.Array, key: jax.Array
    ) -> Imagined | None:
        return model_open_loop(self, learner, observation, actions)
