"""Soft actor-critic (Haarnoja et al. 2018b), also for discrete actions (Christodoulou 2019), and with quantile critics:
TQC (Kuznetsov et al. 2020)."""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from gymnasium import spaces

from tegu.algorithms.action_kinds import action_kind
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
    replay,
)
from tegu.algorithms.critics import Critic, lowest, truncated
from tegu.algorithms.diagnostics import network_metrics, value_metrics
from tegu.algorithms.ranges import AutoOrNonNegative, Count, Few, Fraction, Natural, PositiveFraction, Rate, WidthOrNone
from tegu.algorithms.return_distributions.base import aligned, midpoints, quantile_huber_loss
from tegu.core.auto import Auto
from tegu.core.errors import TeguError
from tegu.core.schedule import Clock
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Decision, PyTree, Step
from tegu.experience.base import Batch, Replay, hindsight
from tegu.nn.custom import Signature, check_custom, custom_networks
from tegu.nn.heads import CustomStochasticPolicy, QNetwork, StochasticPolicy, stochastic_outputs
from tegu.nn.optimizers import adam, descend, follow
from tegu.returns import td_target
from tegu.spaces.features import action_mask

Actor = StochasticPolicy | CustomStochasticPolicy
Critics = tuple[Critic | QNetwork, ...]


class SACLearner(NamedTuple):
    actor: Actor
    critics: Critics
    target_critics: Critics
    log_ent_coef: jax.Array  #: float32: log of the entropy coefficient; 0 if that is a given number
    actor_optimizer: optax.OptState
    critic_optimizer: optax.OptState
    ent_coef_optimizer: optax.OptState
    updates: jax.Array  #: int32: gradient steps so far


class SAC(Algorithm):
    """Off-policy actor-critic whose policy is paid for its entropy (algorithm 1 of the paper).

    Actor and critics know actions of a Box scaled to [-1, 1], whatever the environment's bounds.
    """

    name: str = named("sac")

    learning_rate: Rate = 3e-4  #: Adam's learning rate, a number or a schedule such as "lin_3e-4"
    buffer_size: Count = eqx.field(static=True, default=1_000_000)  #: steps the replay buffer keeps
    learning_starts: Natural = eqx.field(static=True, default=100)  #: random steps before learning begins
    batch_size: Count = eqx.field(static=True, default=256)  #: steps per update
    tau: PositiveFraction = 0.005  #: how far the targets follow at each update of them
    gamma: Fraction = 0.99  #: discount factor
    train_freq: Count = eqx.field(static=True, default=1)  #: environment steps between two rounds of updates
    gradient_steps: int = eqx.field(static=True, default=1)  #: updates per round; -1: as many as steps were taken
    n_sampled_goal: Natural = eqx.field(static=True, default=0)  #: goals reached later for each own one (HER); 0: none
    goal_selection_strategy: str = eqx.field(static=True, default="future")  #: which of those: or final, or episode
    ent_coef: AutoOrNonNegative = Auto()  #: worth of the policy's entropy; auto: it is learned, auto_0.1: from 0.1 on
    target_entropy: Auto | float = Auto()  #: entropy for which it is learned; auto: follows from the action space
    target_update_interval: Count = eqx.field(static=True, default=1)  #: updates between two of the targets
    n_critics: Few = eqx.field(static=True, default=2)  #: critics, of which the lowest value counts
    n_quantiles: WidthOrNone = eqx.field(static=True, default=0)  #: of the return, from each critic; 0: its mean
    top_quantiles_to_drop_per_net: Natural = eqx.field(static=True, default=2)  #: the largest, not used in the target
    net_arch: tuple[int, ...] = eqx.field(static=True, default=(256, 256))  #: hidden layers of actor and critics each
    critic_arch: tuple[int, ...] | None = eqx.field(static=True, default=None)  #: the critics', if they are others
    activation: str = eqx.field(static=True, default="relu")  #: tanh, relu, elu, gelu or silu
    features_extractor: str = eqx.field(static=True, default="auto")  #: auto, flatten, nature, impala or minatar
    network: Callable[..., Any] | str | None = network_field()  #: your own, as module:function

    random_actions: Any = derived(False)  #: whether learning has not begun

    @property
    def experience(self) -> Replay:
        return replay(self, draw=hindsight(self.n_sampled_goal, self.goal_selection_strategy))

    def at(self, clock: Clock) -> Self:
        return dataclasses.replace(super().at(clock), random_actions=clock.steps < self.learning_starts)

    def validate(self, spec: EnvironmentSpec) -> None:
        check_deep(self, spec, spaces.Box, spaces.Discrete)
        check_replay(self)
        if isinstance(self.target_entropy, Auto) and self.target_entropy.initial is not None:
            raise TeguError(f"SAC: target_entropy must be a number or auto, got {self.target_entropy}")
        if self.n_quantiles:
            if isinstance(spec.action_space, spaces.Discrete):
                raise TeguError("SAC: n_quantiles needs a Box action space")
            if self.top_quantiles_to_drop_per_net >= self.n_quantiles:
                most, got = self.n_quantiles, self.top_quantiles_to_drop_per_net
                raise TeguError(f"SAC: top_quantiles_to_drop_per_net must be below n_quantiles, {most}, got {got}")
        if self.network is not None:
            actor = Signature((spec.observation_space,), ((stochastic_outputs(spec.action_space),),))
            critic = action_kind(spec.action_space).signature(spec.observation_space, self.n_quantiles)
            check_custom("SAC", self.network, spec, (actor, *[critic] * self.n_critics))

    def init(self, key: jax.Array, spec: EnvironmentSpec) -> SACLearner:
        actor, critics = self.actor_and_critics(key, spec)
        initial = self.ent_coef.initial if isinstance(self.ent_coef, Auto) else None
        log_ent_coef = jnp.zeros(()) if initial is None else jnp.log(jnp.asarray(initial, float))
        return SACLearner(
            actor=actor,
            critics=critics,
            target_critics=critics,
            log_ent_coef=log_ent_coef,
            actor_optimizer=adam().init(actor),
            critic_optimizer=adam().init(critics),
            ent_coef_optimizer=adam().init(log_ent_coef),
            updates=jnp.zeros((), jnp.int32),
        )

    def actor_and_critics(self, key: jax.Array, spec: EnvironmentSpec) -> tuple[Actor, tuple[Any, ...]]:
        if self.network is not None:
            actor, *own_critics = custom_networks(self.network, key, spec)
            return CustomStochasticPolicy(actor), tuple(own_critics)
        actor_key, *critic_keys = jax.random.split(key, 1 + self.n_critics)
        rest, kind = (self.activation, self.features_extractor), action_kind(spec.action_space)
        of_critics = self.n_quantiles, (self.net_arch if self.critic_arch is None else self.critic_arch, *rest)
        critics = tuple(kind.critic(critic_key, spec, *of_critics) for critic_key in critic_keys)
        return StochasticPolicy(actor_key, spec, self.net_arch, *rest), critics

    def networks(self, learner: SACLearner) -> Sequence[tuple[str, Any]]:
        return (("actor", learner.actor), *(("critic", critic) for critic in learner.critics))

    def act(
        self, learner: SACLearner, observation: PyTree, memory: PyTree, key: jax.Array, *, explore: bool
    ) -> Decision:
        known, policy = learner.actor.spaces, learner.actor(observation)
        kind = action_kind(known.action)
        if explore:
            policy_key, random_key = jax.random.split(key)
            random = kind.uniform(policy, action_mask(known.observation, observation), random_key)
            action = jnp.where(self.random_actions, random, policy.sample(policy_key))
        else:
            action = policy.mode()
        return Decision(kind.to_space(action), memory)

    def update(self, learner: SACLearner, batch: Batch, key: jax.Array) -> Update:
        """One gradient step of critics, actor and entropy coefficient on ``batch_size`` random steps
        ``[batch_size, ...]``."""
        steps, rate = batch.rows, self.learning_rate
        target_key, policy_key = jax.random.split(key)
        ent_coef = jnp.exp(learner.log_ent_coef) if isinstance(self.ent_coef, Auto) else self.ent_coef
        target = self.target(learner, steps, ent_coef, target_key)
        kind = action_kind(learner.actor.spaces.action)

        def critic_loss(critics: Critics) -> tuple[jax.Array, jax.Array]:
            outputs = kind.values(critics, steps.observation, steps.action)
            return self.critic_loss(outputs, target), outputs

        def actor_loss(actor: Actor) -> tuple[jax.Array, jax.Array]:
            seen = steps.observation
            value, entropy = kind.expected(critics, self.combined, seen, actor(seen), policy_key)
            return -(value + ent_coef * entropy).mean(), entropy.mean()

        def ent_coef_loss(log_ent_coef: jax.Array) -> jax.Array:
            mask = action_mask(learner.actor.spaces.observation, steps.observation)
            auto = isinstance(self.target_entropy, Auto)
            return log_ent_coef * (entropy - (kind.target_entropy(mask) if auto else self.target_entropy))

        (error, outputs), gradient = jax.value_and_grad(critic_loss, has_aux=True)(learner.critics)
        critics, critic_optimizer = descend(adam(), rate, learner.critics, gradient, learner.critic_optimizer)
        (loss, entropy), actor_gradient = jax.value_and_grad(actor_loss, has_aux=True)(learner.actor)
        actor, actor_optimizer = descend(adam(), rate, learner.actor, actor_gradient, learner.actor_optimizer)
        metrics = {"actor_loss": loss, "critic_loss": error, "ent_coef": ent_coef, "entropy": entropy}
        if isinstance(self.ent_coef, Auto):
            log_ent_coef = learner.log_ent_coef
            metrics["ent_coef_loss"], ent_coef_gradient = jax.value_and_grad(ent_coef_loss)(log_ent_coef)
            given = adam(), rate, log_ent_coef, ent_coef_gradient, learner.ent_coef_optimizer
            log_ent_coef, ent_coef_optimizer = descend(*given)
            learner = learner._replace(log_ent_coef=log_ent_coef, ent_coef_optimizer=ent_coef_optimizer)
        updates = learner.updates + 1
        due = updates % self.target_update_interval == 0
        learner = learner._replace(
            actor=actor,
            critics=critics,
            target_critics=follow(learner.target_critics, critics, jnp.where(due, self.tau, 0.0)),
            actor_optimizer=actor_optimizer,
            critic_optimizer=critic_optimizer,
            updates=updates,
        )
        if self.n_quantiles:
            outputs, target = outputs.mean(axis=-1), target.mean(axis=-1)
        return Update(learner, metrics | value_metrics(outputs, target, gradient) | learning_metrics(rate, updates))

    def target(self, learner: SACLearner, steps: Step, ent_coef: jax.Array | float, key: jax.Array) -> jax.Array:
        """What the critics should say of the steps ``[B]`` (the paper's equations 2 and 3), or quantiles ``[B, n]``."""
        kind, seen = action_kind(learner.actor.spaces.action), steps.next_observation
        combine = partial(truncated, drop=self.top_quantiles_to_drop_per_net) if self.n_quantiles else lowest
        outputs, entropy = kind.expected(learner.target_critics, combine, seen, learner.actor(seen), key)
        future = outputs + ent_coef * aligned(entropy, outputs)
        return td_target(aligned(steps.reward, future), future, aligned(steps.terminated, future), self.gamma)

    def critic_loss(self, outputs: jax.Array, target: jax.Array) -> jax.Array:
        """How far all critics are from the ``target``: equation 5 of the paper, or quantile regression."""
        if not self.n_quantiles:
            return 0.5 * ((outputs - target) ** 2).mean(axis=1).sum()
        losses = [quantile_huber_loss(each, target, midpoints(self.n_quantiles), 1.0) for each in outputs]
        return jnp.stack(losses).mean() / self.n_quantiles

    def combined(self, outputs: jax.Array) -> jax.Array:
        """What the actor makes of the critics' ``outputs`` ``[critics, ...]``: the lowest, of quantiles their mean."""
        return outputs.mean(axis=(0, -1)) if self.n_quantiles else lowest(outputs)

    def diagnose(self, learner: SACLearner, steps: Step) -> Metrics:
        """Of the first critic."""
        seen = action_kind(learner.actor.spaces.action).seen(steps.action)
        return network_metrics(learner.critics[0], steps.observation, *seen)

    def expected_return(self, learner: SACLearner, observation: PyTree, memory: PyTree) -> ExpectedReturn:
        """With the entropy to come, which critics count."""
        kind = action_kind(learner.actor.spaces.action)
        action = kind.to_space(learner.actor(observation).mode())
        return ExpectedReturn(self.combined(kind.values(learner.critics, observation, action)), self.gamma)
