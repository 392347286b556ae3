"""TD-MPC2 (Hansen, Su & Wang 2024): planning in the latent space of a model that is learned without a decoder."""

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, ClassVar, NamedTuple, Self

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
    check_replay,
    derived,
    learning_metrics,
    named,
    replay,
)
from tegu.algorithms.diagnostics import value_metrics
from tegu.algorithms.dreamer_losses import ReturnRange, weighted_sum
from tegu.algorithms.ranges import (
    BelowOneOrNone,
    Count,
    Few,
    Fraction,
    Natural,
    NonNegative,
    Positive,
    PositiveFraction,
    Range,
    Rate,
    Several,
)
from tegu.algorithms.tdmpc2_losses import goes_on, model_losses, policy_loss, value_targets
from tegu.algorithms.tdmpc2_model import LatentDynamics, Sizes, drawn_critics, layers, logits_of, policy_of
from tegu.algorithms.tdmpc2_planning import Planner
from tegu.core.errors import TeguError
from tegu.core.schedule import Clock
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Decision, PyTree, Step
from tegu.experience.base import Batch, Replay
from tegu.nn.encoder import check_extractor
from tegu.nn.mlp import MLP, check_network
from tegu.nn.optimizers import adam, descend, follow
from tegu.search.guided import Guided
from tegu.spaces.features import n_features, one_line, require

BinLimit = Annotated[int, Range(1, 80)]  #: float32 ends at symexp(88)


class TDMPC2Learner(NamedTuple):
    model: LatentDynamics
    policy: MLP  #: mean and spread of actions in latent states
    target_critics: MLP
    model_optimizer: optax.OptState
    policy_optimizer: optax.OptState
    return_range: ReturnRange  #: by which the policy's values are scaled
    updates: jax.Array  #: int32: gradient steps so far


class TDMPC2(Algorithm):
    """Model-predictive control in a latent model, with a policy that proposes and critics that say what comes later."""

    plans: ClassVar[bool] = True

    name: str = named("td-mpc2")

    learning_rate: Rate = 3e-4  #: Adam's learning rate, a number or a schedule such as "lin_3e-4"
    encoder_learning_rate_scale: Positive = 0.3  #: times that is the encoder's
    buffer_size: Count = eqx.field(static=True, default=1_000_000)  #: steps the replay buffer keeps
    learning_starts: Natural = eqx.field(static=True, default=1000)  #: random steps before learning begins
    batch_size: Count = eqx.field(static=True, default=128)  #: windows of steps per update
    train_freq: Count = eqx.field(static=True, default=1)  #: environment steps between two rounds of updates
    gradient_steps: int = eqx.field(static=True, default=1)  #: updates per round; -1: as many as steps were taken
    gamma: Fraction = 0.99  #: discount factor
    tau: PositiveFraction = 0.01  #: how far the target critics follow at each update
    horizon: Several = eqx.field(static=True, default=3)  #: steps that the model is unrolled, to learn and to plan
    rho: Fraction = 0.5  #: how much each further step of an unroll counts in the losses
    consistency_coef: NonNegative = 20.0  #: weight of the loss of predicted latent states
    reward_coef: NonNegative = 0.1  #: weight of the loss of rewards
    vf_coef: NonNegative = 0.1  #: weight of the loss of values
    termination_coef: NonNegative = 1.0  #: weight of the loss of the end of episodes
    ent_coef: NonNegative = 1e-4  #: worth of the policy's entropy beside values scaled to a range of 1
    max_grad_norm: Positive = 20.0  #: the gradient's norm is clipped to this, of the model's and of the policy's
    plan: bool = eqx.field(static=True, default=True)  #: whether it plans; otherwise the policy acts
    n_candidates: Several = eqx.field(static=True, default=128)  #: sequences of actions that are tried out at once
    n_policy_candidates: Natural = eqx.field(static=True, default=8)  #: of which so many are the policy's
    n_elite: Count = eqx.field(static=True, default=16)  #: the best sequences, to which a plan is fitted
    n_iterations: Few = eqx.field(static=True, default=4)  #: times that a plan is improved
    temperature: Positive = 2.0  #: elites count exp(return / temperature); the paper's is the inverse of it
    min_std: Positive = 0.05  #: smallest standard deviation of the actions that are tried out
    max_std: Positive = 2.0  #: largest, and the one with which a plan begins
    learn_termination: bool = eqx.field(static=True, default=True)  #: whether the end of episodes is predicted
    latent_size: Several = eqx.field(static=True, default=64)  #: numbers of a latent state
    simnorm_size: Several = eqx.field(static=True, default=8)  #: of which so many at a time are a distribution
    encoder_arch: tuple[int, ...] = eqx.field(static=True, default=(64,))  #: hidden layers of the encoder
    net_arch: tuple[int, ...] = eqx.field(static=True, default=(128, 128))  #: hidden layers of each other network
    n_critics: Few = eqx.field(static=True, default=5)  #: critics, of which two are drawn each time
    critic_dropout: BelowOneOrNone = None  #: share of the critics' hidden units left out at random while learning
    n_bins: Several = eqx.field(static=True, default=101)  #: of the distributions of rewards and values
    bin_limit: BinLimit = eqx.field(static=True, default=10)  #: symlog of the largest reward or value; 10: about 22,000
    features_extractor: str = eqx.field(static=True, default="auto")  #: flatten, nature, impala, minatar or attention

    random_actions: Any = derived(False)  #: whether learning has not begun

    @property
    def experience(self) -> Replay:
        return replay(self, n_steps=self.horizon)

    def at(self, clock: Clock) -> Self:
        return dataclasses.replace(super().at(clock), random_actions=clock.steps < self.learning_starts)

    def validate(self, spec: EnvironmentSpec) -> None:
        title, space = self.title, spec.action_space
        require(title, "action", space, spaces.Box)
        if space.dtype.kind != "f":
            raise TeguError(f"{title} needs actions of floats, the environment has {one_line(space)}")
        require(title, "observation", spec.observation_space, spaces.Space)
        check_extractor(title, self.features_extractor, spec.observation_space)
        check_network("mish", self.net_arch)
        check_network("mish", self.encoder_arch, "encoder_arch")
        if self.latent_size % self.simnorm_size:
            raise TeguError(
                f"{title}: latent_size must be a multiple of simnorm_size, got {self.latent_size} and "
                f"{self.simnorm_size}"
            )
        check_replay(self)
        for name in ("n_policy_candidates", "n_elite"):
            if (size := getattr(self, name)) > self.n_candidates:
                raise TeguError(f"{title}: {name} must be at most n_candidates, got {size} of {self.n_candidates}")
        if not isinstance(self.min_std, jax.core.Tracer) and self.min_std > self.max_std:
            raise TeguError(f"{title}: min_std must be at most max_std, got {self.min_std} and {self.max_std}")

    def init(self, key: jax.Array, spec: EnvironmentSpec) -> TDMPC2Learner:
        model_key, policy_key = jax.random.split(key)
        sizes = Sizes(
            self.latent_size,
            self.simnorm_size,
            self.encoder_arch,
            self.net_arch,
            self.n_critics,
            self.n_bins,
            self.bin_limit,
        )
        model = LatentDynamics(model_key, spec, sizes, self.features_extractor, self.learn_termination)
        policy = layers(policy_key, (self.latent_size, *self.net_arch, 2 * n_features(spec.action_space)))
        return TDMPC2Learner(
            model=model,
            policy=policy,
            target_critics=model.critics,
            model_optimizer=self.model_optimizer().init(model),
            policy_optimizer=self.policy_optimizer().init(policy),
            return_range=ReturnRange.start(),
            updates=jnp.zeros((), jnp.int32),
        )

    def networks(self, learner: TDMPC2Learner) -> Sequence[tuple[str, Any]]:
        model = learner.model
        ends = [("termination", model.termination)] if model.termination else []
        parts = (
            ("encoder", (model.encoder, model.representation)),
            ("dynamics", model.dynamics),
            ("reward", model.reward),
        )
        return (*parts, *ends, (f"{self.n_critics} critics", model.critics), ("policy", learner.policy))

    def model_optimizer(self) -> optax.GradientTransformation:
        """Adam, with smaller steps of the encoder."""

        def scaled(direction: Any, parameters: Any = None) -> Any:
            parts = [direction.encoder, direction.representation]
            slower = jax.tree.map(lambda leaf: self.encoder_learning_rate_scale * leaf, parts)
            return eqx.tree_at(lambda model: [model.encoder, model.representation], direction, slower)

        return optax.chain(adam(self.max_grad_norm), optax.stateless(scaled))

    def policy_optimizer(self) -> optax.GradientTransformation:
        return adam(self.max_grad_norm, eps=1e-5)

    def begin(self, learner: TDMPC2Learner, key: jax.Array, n: int) -> PyTree:
        """Means of plans ``[n, H, k]`` that know nothing."""
        return jnp.zeros((n, self.horizon, n_features(learner.model.spaces.action))) if self.plan else ()

    def act(
        self, learner: TDMPC2Learner, observation: PyTree, memory: PyTree, key: jax.Array, *, explore: bool
    ) -> Decision:
        """The first actions of plans, or those of the policy; plans are made of sequences drawn by ``key``, also where
        nothing is explored."""
        model, (plan_key, random_key) = learner.model, jax.random.split(key)
        n = jax.tree.leaves(observation)[0].shape[0]

        def own() -> tuple[jax.Array, PyTree]:
            state = model.encode(observation)
            if self.plan:
                return self.planned(learner, state, memory, plan_key, explore)
            policy = policy_of(learner.policy, state)
            return policy.sample(plan_key) if explore else policy.mode(), memory

        def random() -> tuple[jax.Array, PyTree]:
            return jax.random.uniform(random_key, (n, n_features(model.spaces.action)), minval=-1, maxval=1), memory

        action, memory = jax.lax.cond(self.random_actions, random, own) if explore else own()
        return Decision(model.to_space(action), memory)

    def planned(
        self, learner: TDMPC2Learner, state: jax.Array, mean: jax.Array, key: jax.Array, explore: bool
    ) -> tuple[jax.Array, jax.Array]:
        """Actions ``[B, k]`` in latent states ``[B, n]``, and the means with which the next plans begin, both from
        ``mean`` ``[B, H, k]``."""
        draw_key, key = jax.random.split(key)
        # one draw of critics for all environments, so that their weights are the same array for all
        critics = drawn_critics(learner.model.critics, draw_key)
        settings = Guided(
            self.n_candidates, self.n_iterations, self.n_elite, self.temperature, self.min_std, self.max_std
        )
        planner = Planner(learner.model, learner.policy, critics, self.gamma, self.n_policy_candidates, settings)
        keys = jax.random.split(key, len(state))
        return jax.vmap(partial(planner.decide, explore=explore))(state, mean, keys)

    def update(self, learner: TDMPC2Learner, batch: Batch, key: jax.Array) -> Update:
        """One gradient step of model and policy on ``batch_size`` windows of steps ``[horizon, batch_size, ...]``."""
        steps, dropout = batch.rows, self.critic_dropout
        target_key, model_key, policy_key = jax.random.split(key, 3)
        next_state = learner.model.encode(steps.next_observation)
        networks = learner.model, learner.policy, learner.target_critics
        target = value_targets(*networks, steps, next_state, self.gamma, target_key)
        coefficients = {
            "consistency_loss": self.consistency_coef,
            "reward_loss": self.reward_coef,
            "value_loss": self.vf_coef,
            "termination_loss": self.termination_coef,
        }

        def model_loss(model: LatentDynamics) -> tuple[jax.Array, Any]:
            losses, unrolled = model_losses(model, steps, next_state, target, self.rho, dropout, model_key)
            return weighted_sum(losses, coefficients), (losses, unrolled)

        (error, (losses, unrolled)), gradient = jax.value_and_grad(model_loss, has_aux=True)(learner.model)
        rate, optimizer = self.learning_rate, self.model_optimizer()
        model, model_optimizer = descend(optimizer, rate, learner.model, gradient, learner.model_optimizer)

        def loss(policy: MLP) -> tuple[jax.Array, Any]:
            of_states = unrolled.states, goes_on(steps), learner.return_range
            return policy_loss(policy, model, *of_states, self.ent_coef, self.rho, dropout, policy_key)

        (actor_loss, found), policy_gradient = jax.value_and_grad(loss, has_aux=True)(learner.policy)
        optimizer = self.policy_optimizer()
        policy, policy_optimizer = descend(optimizer, rate, learner.policy, policy_gradient, learner.policy_optimizer)
        updates = learner.updates + 1
        metrics = {
            "loss": error,
            **losses,
            "actor_loss": actor_loss,
            "entropy": found.entropy,
            "return_scale": found.return_range.scale,
            **value_metrics(unrolled.value[0], target[0], gradient),  # later steps may lie beyond an episode's end
            **learning_metrics(rate, updates),
        }
        targets = follow(learner.target_critics, model.critics, self.tau)
        optimizers = model_optimizer, policy_optimizer
        return Update(TDMPC2Learner(model, policy, targets, *optimizers, found.return_range, updates), metrics)

    def diagnose(self, learner: TDMPC2Learner, steps: Step) -> Metrics:
        """How well one step is predicted. Of the latent state's change the error is a fraction: 1 is no better than
        predicting none."""
        model = learner.model
        state, after = model.encode(steps.observation), model.encode(steps.next_observation)
        action = model.action_features(steps.action)
        error, change = ((x - after) ** 2 for x in (model.next(state, action), state))
        return {
            "latent_error": jnp.sqrt(error.mean() / jnp.maximum(change.mean(), 1e-12)),
            "predicted_reward_error": jnp.abs(model.reward_of(state, action) - steps.reward).mean(),
        }

    def expected_return(self, learner: TDMPC2Learner, observation: PyTree, memory: PyTree) -> ExpectedReturn:
        """Of the policy's likeliest action, by all critics."""
        model = learner.model
        state = model.encode(observation)
        action = policy_of(learner.policy, state).mode()
        value = model.scalar(logits_of(model.critics, state, action)).mean(axis=0)
        return ExpectedReturn(value, self.gamma)
