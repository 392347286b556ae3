"""Model-based policy optimisation (Janner et al. 2019): SAC learns from short rollouts in a learned model."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple, Self

import equinox as eqx
import jax
import jax.numpy as jnp

from tegu.algorithms.base import (
    Algorithm,
    ExpectedReturn,
    Imagined,
    Metrics,
    Update,
    check_replay,
    derived,
    named,
    replay,
)
from tegu.algorithms.learned_dynamics import (
    LearnedDynamics,
    Settings,
    check_dynamics,
    check_reward,
    imagined,
    learned,
    model_metrics,
    new_dynamics,
    open_loop,
    with_moments,
)
from tegu.algorithms.ranges import (
    AutoOrNonNegative,
    Count,
    Few,
    Fraction,
    Natural,
    NonNegative,
    PositiveFraction,
    Range,
    Rate,
)
from tegu.algorithms.sac import SAC, SACLearner
from tegu.core.auto import Auto
from tegu.core.errors import TeguError
from tegu.core.schedule import Clock, Linear, Schedule
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Decision, PyTree, Step
from tegu.experience.base import Batch, Replay
from tegu.nn.mlp import check_network


class MBPOLearner(NamedTuple):
    dynamics: LearnedDynamics
    policy: SACLearner
    model_metrics: dict[str, jax.Array]  #: of the model's last update, since not every update is one


class MBPO(Algorithm):
    """SAC whose batches are mostly steps that an ensemble of networks imagines, from states that were visited.

    At every update the policy is played in the model from states in the batch for ``rollout_length`` steps, and learns
    from some of these and from a few real steps (algorithm 2 of the paper).
    """

    name: str = named("mbpo")

    learning_rate: Rate = 3e-4  #: Adam's learning rate of SAC, a number or a schedule such as "lin_3e-4"
    buffer_size: Count = eqx.field(static=True, default=1_000_000)  #: steps the replay buffer keeps
    learning_starts: Natural = eqx.field(static=True, default=500)  #: random steps before learning begins
    batch_size: Count = eqx.field(static=True, default=256)  #: steps per update, real and imagined
    tau: PositiveFraction = 0.005  #: how far SAC's targets follow at each update
    gamma: Fraction = 0.99  #: discount factor
    train_freq: Count = eqx.field(static=True, default=1)  #: environment steps between two rounds of updates
    gradient_steps: int = eqx.field(static=True, default=20)  #: updates per round; -1: as many as steps were taken
    ent_coef: AutoOrNonNegative = Auto()  #: worth of the policy's entropy; auto: it is learned, auto_0.1: from 0.1 on
    target_entropy: Auto | float = Auto()  #: entropy for which it is learned; auto: follows from the action space
    net_arch: tuple[int, ...] = eqx.field(static=True, default=(256, 256))  #: hidden layers of actor and critics each
    activation: str = eqx.field(static=True, default="relu")  #: of actor, critics: tanh, relu, elu, gelu, silu or mish
    real_ratio: Fraction = 0.05  #: share of real steps in what SAC learns from
    rollout_length: Annotated[Schedule, Range(1)] = 1.0  #: steps that are imagined from a state, or a schedule of them
    max_rollout_length: Count = eqx.field(static=True, default=1)  #: the most steps to which a schedule may grow
    ensemble_size: Few = eqx.field(static=True, default=5)  #: networks of the model
    model_arch: tuple[int, ...] = eqx.field(static=True, default=(200, 200, 200))  #: hidden layers of each
    model_learning_rate: Rate = 1e-3  #: Adam's learning rate of the model, or a schedule
    model_weight_decay: NonNegative = 1e-4  #: of the model's parameters, per learning rate and gradient step
    model_delay: Count = eqx.field(static=True, default=5)  #: updates of SAC per update of the model
    model_warm_up: Natural = 1000  #: first updates, in which the model learns each time, and SAC from real steps alone
    learn_termination: bool = eqx.field(static=True, default=True)  #: whether the model predicts the end of episodes
    reward: str = eqx.field(static=True, default="learned")  #: whether rewards and ends are learned, or given

    random_actions: Any = derived(False)  #: whether learning has not begun

    @property
    def experience(self) -> Replay:
        return replay(self)

    @property
    def sac(self) -> SAC:
        """How the policy learns."""
        shared = (
            *("learning_rate", "buffer_size", "learning_starts", "batch_size", "tau", "gamma", "train_freq"),
            *("gradient_steps", "ent_coef", "target_entropy", "net_arch", "activation", "random_actions", "name"),
        )
        return SAC(**{name: getattr(self, name) for name in shared})

    @property
    def reads_reward(self) -> bool:
        return self.reward == "given"

    @property
    def settings(self) -> Settings:
        return Settings(
            members=self.ensemble_size,
            net_arch=self.model_arch,
            activation="silu",
            learning_rate=self.model_learning_rate,
            weight_decay=self.model_weight_decay,
            probabilistic=True,
            nll_beta=1.0,
            learns_end=self.learn_termination,
            reward=self.reward,
        )

    def at(self, clock: Clock) -> Self:
        return dataclasses.replace(super().at(clock), random_actions=clock.steps < self.learning_starts)

    def validate(self, spec: EnvironmentSpec) -> None:
        check_replay(self)
        check_dynamics(self.title, spec)
        check_reward(self, spec)
        check_network("silu", self.model_arch, "model_arch")
        self.sac.validate(spec)
        longest = self.rollout_length
        longest = max(longest.initial, longest.final) if isinstance(longest, Linear) else longest
        if longest > self.max_rollout_length:
            raise TeguError(
                f"{self.title}: rollout_length must be at most max_rollout_length, got {longest:g} and "
                f"{self.max_rollout_length}"
            )

    def init(self, key: jax.Array, spec: EnvironmentSpec) -> MBPOLearner:
        model_key, policy_key = jax.random.split(key)
        none = {name: jnp.zeros(()) for name in ("model_loss", "model_error", "model_end_loss")}
        return MBPOLearner(
            new_dynamics(model_key, spec, self.settings),
            self.sac.init(policy_key, spec),
            none,
        )

    def networks(self, learner: MBPOLearner) -> Sequence[tuple[str, Any]]:
        return self.sac.networks(learner.policy)

    def act(
        self, learner: MBPOLearner, observation: PyTree, memory: PyTree, key: jax.Array, *, explore: bool
    ) -> Decision:
        return self.sac.act(learner.policy, observation, memory, key, explore=explore)

    def take(self, learner: MBPOLearner, steps: Step) -> tuple[MBPOLearner, Step]:
        space: Any = learner.policy.actor.spaces.action
        return learner._replace(dynamics=with_moments(learner.dynamics, space, steps)), steps

    def update(self, learner: MBPOLearner, batch: Batch, key: jax.Array) -> Update:
        """A gradient step of SAC on real and imagined steps, and every ``model_delay`` times one of the model."""
        space: Any = learner.policy.actor.spaces.action
        model_key, rollout_key, policy_key = jax.random.split(key, 3)

        def learn() -> tuple[LearnedDynamics, dict[str, jax.Array]]:
            return learned(learner.dynamics, space, batch.rows, model_key, self.settings)

        waiting = learner.dynamics, learner.model_metrics
        updates = learner.policy.updates
        warm = updates < self.model_warm_up
        due = warm | (updates % self.model_delay == 0)
        dynamics, metrics = jax.lax.cond(due, learn, lambda: waiting)
        imagined_steps = self.rollouts(dynamics, learner.policy, batch.rows, rollout_key)
        rows = jnp.arange(self.batch_size)
        rows = jnp.where(warm | (rows < jnp.round(self.real_ratio * self.batch_size)), rows, rows + self.batch_size)
        mixed = jax.tree.map(lambda real, new: jnp.concatenate([real, new])[rows], batch.rows, imagined_steps)
        update = self.sac.update(learner.policy, Batch(mixed, batch.weight), policy_key)
        return Update(MBPOLearner(dynamics, update.learner, metrics), {**update.metrics, **metrics})

    def rollouts(self, dynamics: LearnedDynamics, policy: SACLearner, steps: Step, key: jax.Array) -> Step:
        """As many imagined steps as ``steps`` ``[N, ...]``, from whose observations the policy plays in the model.

        Every step is taken by a network drawn at random. What would come after an end is not among them.
        """
        space: Any = policy.actor.spaces.action
        sac = dataclasses.replace(self.sac, random_actions=False)
        n, members = len(steps.reward), self.ensemble_size
        rows = math.ceil(n / members) * members
        start_key, play_key, draw_key = jax.random.split(key, 3)

        def by_network(x: jax.Array) -> jax.Array:
            return x.reshape((members, rows // members, *x.shape[1:]))

        def play(t: jax.Array, carry: Any) -> Any:
            observation, alive, kept, counts = carry
            order_key, act_key, model_key = jax.random.split(jax.random.fold_in(play_key, t), 3)
            order = jax.random.permutation(order_key, rows)  # which deals the rows out to the networks
            observation, alive = observation[order], alive[order]
            action = sac.act(policy, observation, (), act_key, explore=True).action
            given = by_network(action), by_network(observation)
            outcome, following = imagined(dynamics, space, model_key, *given, self.settings)
            following, reward, ended = (x.reshape((rows, *x.shape[2:])) for x in (following, *outcome))
            step = Step(observation, action, reward, following, ended, jnp.zeros(rows, bool))
            kept = jax.tree.map(lambda all_steps, new: all_steps.at[t].set(new), kept, step)
            return following, alive & ~ended, kept, counts.at[t].set(alive)

        start = steps.observation[jax.random.randint(start_key, (rows,), 0, n)]
        shape = self.max_rollout_length, rows
        kept = jax.tree.map(lambda leaf: jnp.zeros((*shape, *leaf.shape[1:]), leaf.dtype), steps)
        carry = start, jnp.ones(rows, bool), kept, jnp.zeros(shape, bool)
        # A loop of as many steps as are wanted now, however long a schedule lets rollouts grow
        *_, kept, counts = jax.lax.fori_loop(0, jnp.round(self.rollout_length).astype(jnp.int32), play, carry)
        # The first n in a random order of those that count; of the first step alone there are as many
        index = jnp.argsort(jax.random.uniform(draw_key, counts.shape).ravel() + ~counts.ravel())[:n]
        return jax.tree.map(lambda leaf: leaf.reshape((-1, *leaf.shape[2:]))[index], kept)

    def diagnose(self, learner: MBPOLearner, steps: Step) -> Metrics:
        """Of the first critic, and how far the model is from what came (``MPC.diagnose``)."""
        space: Any = learner.policy.actor.spaces.action
        of_model = model_metrics(learner.dynamics, space, steps, self.settings)
        return {**self.sac.diagnose(learner.policy, steps), **of_model}

    def imagine(self, learner: MBPOLearner, observation: jax.Array, actions: jax.Array, key: jax.Array) -> Imagined:
        space: Any = learner.policy.actor.spaces.action
        return open_loop(learner.dynamics, space, observation, actions, self.settings)

    def expected_return(self, learner: MBPOLearner, observation: PyTree, memory: PyTree) -> ExpectedReturn:
        """With the entropy to come, which critics count."""
        return self.sac.expected_return(learner.policy, observation, memory)
