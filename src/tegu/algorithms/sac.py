"""Soft actor-critic (Haarnoja et al. 2018b), also for discrete actions (Christodoulou 2019), and what came later.

These are options: quantile critics (TQC, Kuznetsov et al. 2020), many critics (REDQ, Chen et al. 2021), dropout in them
(DroQ, Hiraoka et al. 2022), batch normalisation without targets (CrossQ, Bhatt et al. 2024), and residual networks
(SimBa, Lee et al. 2025).
"""

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
from tegu.algorithms.action_noise import first_noise, noisy
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
from tegu.algorithms.critics import Critic
from tegu.algorithms.diagnostics import network_metrics, value_metrics
from tegu.algorithms.ranges import (
    AutoOrNonNegative,
    BelowOneOrNone,
    Count,
    CountOrNever,
    Few,
    FewOrNone,
    Fraction,
    Natural,
    NonNegativeOrNone,
    PositiveFraction,
    Rate,
    WidthOrNone,
)
from tegu.algorithms.soft_policy import POLICY, policy_update
from tegu.algorithms.soft_values import ValuesAndTargets, check_options, combined, soft_critic_loss, values_and_targets
from tegu.algorithms.state_dependent_exploration import check_sde, explored
from tegu.algorithms.value_expansion import (
    Model,
    check_expansion,
    model_learned,
    model_open_loop,
    model_taken,
    new_model,
)
from tegu.core.auto import Auto
from tegu.core.schedule import Clock
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Decision, PyTree, Step
from tegu.experience.base import Batch, Replay, hindsight
from tegu.nn.batch_norm import with_statistics
from tegu.nn.custom import Signature, check_custom, custom_networks
from tegu.nn.heads import QNetwork
from tegu.nn.moments import Moments, RunningMoments, merged, standardised
from tegu.nn.optimizers import adam, descend, follow
from tegu.nn.state_dependent_noise import SDE, StateDependentPolicy
from tegu.nn.stochastic_policy import CustomStochasticPolicy, StochasticPolicy, stochastic_outputs
from tegu.spaces.features import action_mask, n_features

Actor = StochasticPolicy | StateDependentPolicy | CustomStochasticPolicy
Critics = tuple[Critic | QNetwork, ...]


class SACLearner(NamedTuple):
    actor: Actor
    critics: Critics
    target_critics: Critics  #: none with ``batch_norm``
    log_ent_coef: jax.Array  #: float32: log of the entropy coefficient; 0 if that is a given number
    actor_optimizer: optax.OptState
    critic_optimizer: optax.OptState
    ent_coef_optimizer: optax.OptState
    updates: jax.Array  #: int32: gradient steps so far
    policy_metrics: dict[str, jax.Array]  #: of the last update of the actor, if not every update is one
    observation_moments: Moments  #: with ``normalize_observation``
    dynamics: Model = ()  #: a model of the environment, with ``model_steps``


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
    policy_delay: Count = eqx.field(static=True, default=1)  #: updates of the critics per update of the actor
    n_critics: Few = eqx.field(static=True, default=2)  #: critics, of which the lowest value counts in the target
    target_subset: FewOrNone = eqx.field(static=True, default=0)  #: critics drawn at random for each target; 0: all
    actor_value: str = eqx.field(static=True, default="min")  #: min or mean: which of the critics' values it climbs
    n_quantiles: WidthOrNone = eqx.field(static=True, default=0)  #: of the return, from each critic; 0: its mean
    top_quantiles_to_drop_per_net: Natural = eqx.field(static=True, default=2)  #: the largest, not used in the target
    net_arch: tuple[int, ...] = eqx.field(static=True, default=(256, 256))  #: hidden layers of actor and critics each
    critic_arch: tuple[int, ...] | None = eqx.field(static=True, default=None)  #: the critics', if they are others
    activation: str = eqx.field(static=True, default="relu")  #: tanh, relu, elu, gelu, silu or mish
    architecture: str = eqx.field(static=True, default="mlp")  #: mlp, or simba: a residual block for each of net_arch
    critic_layer_norm: bool = eqx.field(static=True, default=False)  #: normalise what enters the critics' activations
    critic_dropout: BelowOneOrNone = None  #: share of the critics' hidden units that is left out at random
    batch_norm: bool = eqx.field(static=True, default=False)  #: batch renormalisation, and no target networks (CrossQ)
    normalize_observation: bool = eqx.field(static=True, default=False)  #: standardise observations by all seen so far
    adam_b1: BelowOneOrNone = None  #: Adam's share of the mean gradient that is kept; none: 0.9
    weight_decay: NonNegativeOrNone = None  #: of actor and critics at each update, times the learning rate
    features_extractor: str = eqx.field(static=True, default="auto")  #: flatten, nature, impala, minatar or attention
    network: Callable[..., Any] | str | None = network_field()  #: your own, as module:function
    action_noise: NonNegativeOrNone = None  #: standard deviation of more noise on a Box; 1 is half the range of actions
    noise_type: str = eqx.field(static=True, default="normal")  #: normal, or ornstein-uhlenbeck: correlated in time
    noise_theta: PositiveFraction = 0.15  #: ornstein-uhlenbeck: the share of the noise that is forgotten at each step
    use_sde: bool = eqx.field(static=True, default=False)  #: noise that depends on the state, gSDE (Raffin et al. 2021)
    sde_sample_freq: CountOrNever = eqx.field(static=True, default=-1)  #: steps for which it stays; -1: train_freq
    use_sde_at_warmup: bool = eqx.field(static=True, default=False)  #: with gSDE: no random actions before learning
    log_std_init: float = -3.0  #: with gSDE: log standard deviation of the noise's weights at the start
    full_std: bool = eqx.field(static=True, default=True)  #: with gSDE: a deviation for each feature and action
    use_expln: bool = eqx.field(static=True, default=False)  #: with gSDE: deviations that grow slowly above 1
    model_steps: Natural = eqx.field(static=True, default=0)  #: steps that a learned model imagines in targets (MVE)
    td_k: bool = eqx.field(static=True, default=True)  #: with a model: whether critics learn of what is imagined, too
    model_arch: tuple[int, ...] = eqx.field(static=True, default=(128, 128, 128))  #: hidden layers of the model
    model_learning_rate: Rate = 1e-3  #: of the model

    random_actions: Any = derived(False)  #: whether learning has not begun
    rollout: Any = derived(0)  #: int32: steps before it, which tell rounds of steps apart

    @property
    def experience(self) -> Replay:
        return replay(self, draw=hindsight(self.n_sampled_goal, self.goal_selection_strategy))

    def at(self, clock: Clock) -> Self:
        random = clock.steps < self.learning_starts
        if self.use_sde and self.use_sde_at_warmup:
            random = False
        return dataclasses.replace(super().at(clock), random_actions=random, rollout=clock.steps)

    def validate(self, spec: EnvironmentSpec) -> None:
        check_deep(self, spec, spaces.Box, spaces.Discrete)
        check_sde(self, spec)
        check_replay(self)
        check_options(self, spec)
        check_expansion(self, spec)
        if self.network is not None:
            actor = Signature((spec.observation_space,), ((stochastic_outputs(spec.action_space),),))
            critic = action_kind(spec.action_space).signature(spec.observation_space, self.n_quantiles)
            check_custom(self.title, self.network, spec, (actor, *[critic] * self.n_critics))

    def init(self, key: jax.Array, spec: EnvironmentSpec) -> SACLearner:
        actor, critics = self.actor_and_critics(key, spec)
        initial = self.ent_coef.initial if isinstance(self.ent_coef, Auto) else None
        log_ent_coef = jnp.zeros(()) if initial is None else jnp.log(jnp.asarray(initial, float))
        moments = RunningMoments.start(spec.observation_space.shape or ()) if self.normalize_observation else ()
        reported = ("actor_loss", "entropy", *(["ent_coef_loss"] if isinstance(self.ent_coef, Auto) else []))
        return SACLearner(
            actor=actor,
            critics=critics,
            target_critics=() if self.batch_norm else critics,
            log_ent_coef=log_ent_coef,
            actor_optimizer=adam().init(actor),
            critic_optimizer=adam().init(critics),
            ent_coef_optimizer=adam().init(log_ent_coef),
            updates=jnp.zeros((), jnp.int32),
            policy_metrics={name: jnp.zeros(()) for name in reported} if self.policy_delay > 1 else {},
            observation_moments=moments,
            dynamics=new_model(self, key, spec),
        )

    def actor_and_critics(self, key: jax.Array, spec: EnvironmentSpec) -> tuple[Actor, tuple[Any, ...]]:
        if self.network is not None:
            actor, *own_critics = custom_networks(self.network, key, spec)
            return CustomStochasticPolicy(actor), tuple(own_critics)
        actor_key, *critic_keys = jax.random.split(key, 1 + self.n_critics)
        rest, kind = (self.activation, self.features_extractor), action_kind(spec.action_space)
        body = "batch-norm" if self.batch_norm else self.architecture
        critic_arch = self.net_arch if self.critic_arch is None else self.critic_arch
        of_critics = self.n_quantiles, (critic_arch, *rest, self.critic_layer_norm, body)
        critics = tuple(kind.critic(critic_key, spec, *of_critics) for critic_key in critic_keys)
        if self.use_sde:
            given = actor_key, spec, self.net_arch, *rest
            return StateDependentPolicy(*given, self.log_std_init, SDE(self.full_std, self.use_expln)), critics
        return StochasticPolicy(actor_key, spec, self.net_arch, *rest, body), critics

    def networks(self, learner: SACLearner) -> Sequence[tuple[str, Any]]:
        return (("actor", learner.actor), *(("critic", critic) for critic in learner.critics))

    def begin(self, learner: SACLearner, key: jax.Array, n: int) -> PyTree:
        """The noise that depends on the state, or that of an Ornstein-Uhlenbeck process, of which there may be one."""
        if isinstance(learner.actor, StateDependentPolicy):
            return learner.actor.noise.start(n)
        return first_noise(self, n, (n_features(learner.actor.spaces.action),))

    def act(
        self, learner: SACLearner, observation: PyTree, memory: PyTree, key: jax.Array, *, explore: bool
    ) -> Decision:
        known, seen = learner.actor.spaces, standardised(learner.observation_moments, observation)
        kind, policy = action_kind(known.action), learner.actor(seen)
        if explore:
            policy_key, random_key = jax.random.split(key)
            random = kind.uniform(policy, action_mask(known.observation, observation), random_key)
            if isinstance(learner.actor, StateDependentPolicy):
                given = policy, learner.actor.noise, learner.actor.hidden(seen)
                own, memory = explored(self, *given, memory, policy_key)
            else:
                own = policy.sample(policy_key)
            own, memory = noisy(self, own, memory, jax.random.fold_in(key, 2))
            action = jnp.where(self.random_actions, random, own)
        else:
            action = policy.mode()
        return Decision(kind.to_space(action), memory)

    def take(self, learner: SACLearner, steps: Step) -> tuple[SACLearner, Step]:
        """Take in what was observed, and keep all steps as they are."""
        learner = model_taken(learner, steps)
        return learner._replace(observation_moments=merged(learner.observation_moments, steps.observation)), steps

    def update(self, learner: SACLearner, batch: Batch, key: jax.Array) -> Update:
        """One gradient step of critics, actor and entropy coefficient on ``batch_size`` random steps.

        With a ``policy_delay`` the actor and the coefficient wait for several steps of the critics. With
        ``model_steps`` a step of the model comes first, and targets follow from what it imagines.
        """
        steps = batch.rows
        learner, of_model = model_learned(self, learner, steps, key)
        target_key, policy_key = jax.random.split(key)
        ent_coef = jnp.exp(learner.log_ent_coef) if isinstance(self.ent_coef, Auto) else self.ent_coef
        of_critics = values_and_targets(self, learner, steps, ent_coef, target_key)

        def critic_loss(critics: Critics) -> tuple[jax.Array, ValuesAndTargets]:
            outputs, target, after = of_critics(critics)
            return soft_critic_loss(self, outputs, target), (outputs, target, after)

        (error, (outputs, target, after)), gradient = jax.value_and_grad(critic_loss, has_aux=True)(learner.critics)
        critics, critic_optimizer = self.descend(learner.critics, gradient, learner.critic_optimizer)
        critics = with_statistics(critics, after)
        updates = learner.updates + 1
        seen = standardised(learner.observation_moments, steps.observation)
        of_policy = partial(policy_update, self, learner, critics, seen, ent_coef, policy_key)
        if self.policy_delay == 1:
            changed, metrics = of_policy()
        else:
            waiting = {name: getattr(learner, name) for name in POLICY}, learner.policy_metrics
            changed, metrics = jax.lax.cond(updates % self.policy_delay == 0, of_policy, lambda: waiting)
            learner = learner._replace(policy_metrics=metrics)
        due, targets = updates % self.target_update_interval == 0, learner.target_critics
        learner = learner._replace(
            critics=critics,
            target_critics=follow(targets, critics, jnp.where(due, self.tau, 0.0)) if targets else targets,
            critic_optimizer=critic_optimizer,
            updates=updates,
            **changed,
        )
        if self.n_quantiles:
            outputs, target = outputs.mean(axis=-1), target.mean(axis=-1)
        metrics = {"critic_loss": error, **metrics, **value_metrics(outputs, target, gradient), **of_model}
        return Update(learner, {**metrics, "ent_coef": ent_coef, **learning_metrics(self.learning_rate, updates)})

    def descend(self, networks: Any, gradient: Any, state: optax.OptState) -> tuple[Any, optax.OptState]:
        """One step of Adam of the actor or of all critics."""
        return descend(adam(b1=self.adam_b1), self.learning_rate, networks, gradient, state, self.weight_decay)

    def diagnose(self, learner: SACLearner, steps: Step) -> Metrics:
        """Of the first critic."""
        seen = action_kind(learner.actor.spaces.action).seen(steps.action)
        observation = standardised(learner.observation_moments, steps.observation)
        return network_metrics(learner.critics[0], observation, *seen)

    def expected_return(self, learner: SACLearner, observation: PyTree, memory: PyTree) -> ExpectedReturn:
        """With the entropy to come, which critics count."""
        kind = action_kind(learner.actor.spaces.action)
        observation = standardised(learner.observation_moments, observation)
        action = kind.to_space(learner.actor(observation).mode())
        return ExpectedReturn(combined(self, kind.values(learner.critics, observation, action)), self.gamma)

    def imagine(
        self, learner: SACLearner, observation: jax.Array, actions: jax.Array, key: jax.Array
    ) -> Imagined | None:
        return model_open_loop(self, learner, observation, actions)
