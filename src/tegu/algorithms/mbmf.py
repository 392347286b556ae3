"""MBMF (Nagabandi et al. 2018): a model-based controller teaches a policy, which then learns without a model."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from tegu.algorithms.actor_critic import ActorCriticLearner, policy_for, with_observations
from tegu.algorithms.base import Algorithm, Imagined, Metrics, Stage, Update, derived, learning_metrics, named
from tegu.algorithms.mpc import MPC, MPCLearner
from tegu.algorithms.ppo import PPO
from tegu.algorithms.ranges import Count, Fraction, Natural, Positive, Rate, Several
from tegu.algorithms.trpo import TRPO
from tegu.core.errors import TeguError
from tegu.core.schedule import Clock
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Decision, PyTree, Step
from tegu.experience.base import Batch, Replay, Rollout
from tegu.nn.distributions import Categorical, Distribution
from tegu.nn.mlp import check_network
from tegu.nn.optimizers import adam, descend

MODEL, IMITATION, FINE_TUNING = "model", "imitation", "fine-tuning"  #: the stages
FINE_TUNERS = ("trpo", "ppo")


class MBMFLearner(NamedTuple):
    mpc: MPCLearner  #: the learned dynamics
    policy: ActorCriticLearner  #: as ``fine_tune`` has it; its optimizer knows nothing of the imitation
    imitation: optax.OptState  #: of the policy while it imitates
    imitated: jax.Array  #: int32: gradient steps of the imitation so far


class Demonstration(NamedTuple):
    """What the expert would have done, ``[..., B, ...]``."""

    observation: jax.Array
    action: jax.Array


class MBMF(Algorithm):
    """Model-predictive control with learned dynamics, then a policy that imitates it, then TRPO or PPO from there on.

    Each of the three is a stage, and a phase of one run. MPC plans by random shooting, and is imitated with DAgger. The
    agent is the policy.
    """

    plans: ClassVar[bool] = True
    name: str = named("mbmf")

    fine_tune: str = eqx.field(static=True, default="trpo")  #: what improves the policy in the end: trpo or ppo
    model_fraction: Fraction = 0.1  #: fraction of the steps in which the dynamics are learned, and MPC acts
    imitation_fraction: Fraction = 0.1  #: fraction in which the policy imitates MPC; fine-tuning gets the rest
    horizon: Count = eqx.field(static=True, default=20)  #: steps that are planned ahead
    n_candidates: Several = eqx.field(static=True, default=1000)  #: random sequences of actions in each plan
    model_arch: tuple[int, ...] = eqx.field(static=True, default=(500, 500))  #: hidden layers of the dynamics
    model_learning_rate: Rate = 1e-3  #: Adam's learning rate of the dynamics
    buffer_size: Count = eqx.field(static=True, default=1_000_000)  #: steps that each of the first two stages keeps
    learning_starts: Natural = eqx.field(static=True, default=1000)  #: random steps before the dynamics are learned
    train_freq: Count = eqx.field(static=True, default=50)  #: environment steps between two rounds of updates
    gradient_steps: int = eqx.field(static=True, default=50)  #: the dynamics' updates per round; -1: as many as steps
    imitation_gradient_steps: Count = eqx.field(static=True, default=100)  #: the imitation's updates per round
    imitation_learning_rate: Rate = 1e-3  #: Adam's learning rate of the imitation
    expert_fraction: Fraction = 0.2  #: fraction of the imitation in which MPC acts (beta = 1), and not the policy
    learning_rate: Rate = 1e-3  #: Adam's learning rate of the fine-tuning: of trpo's critic, of all of ppo
    n_steps: Count = eqx.field(static=True, default=2048)  #: fine-tuning: steps per environment between two updates
    batch_size: Count = eqx.field(static=True, default=256)  #: steps per minibatch, of whatever is learned
    gamma: Fraction = 0.99  #: fine-tuning: discount factor
    gae_lambda: Fraction = 0.95  #: fine-tuning: lambda of GAE
    target_kl: Positive = 0.01  #: trpo: how far a step may move the policy, in nats
    normalize_observation: bool = eqx.field(static=True, default=False)  #: the policy sees standardised observations
    normalize_reward: bool = eqx.field(static=True, default=False)  #: fine-tuning: divide rewards by the std of returns
    net_arch: tuple[int, ...] = eqx.field(static=True, default=(64, 64))  #: hidden layers of policy and critic each
    activation: str = eqx.field(static=True, default="tanh")  #: policy, critic: tanh, relu, elu, gelu, silu or mish
    log_std_init: float = -0.5  #: log standard deviation of continuous actions when fine-tuning begins

    stage: str = eqx.field(static=True, kw_only=True, default=FINE_TUNING, metadata={"derived": True})
    random_actions: Any = derived(False)  #: whether the dynamics have not begun to learn
    expert_acts: Any = derived(False)  #: whether MPC acts while the policy imitates it

    @property
    def mpc(self) -> MPC:
        """The controller: random shooting with a network that learns the environment."""
        return MPC(
            name=self.title,
            model="learned",
            planner="random",
            horizon=self.horizon,
            n_candidates=self.n_candidates,
            n_particles=1,
            ensemble_size=1,
            probabilistic=False,
            net_arch=self.model_arch,
            activation="relu",
            learning_rate=self.model_learning_rate,
            buffer_size=self.buffer_size,
            learning_starts=self.learning_starts,
            batch_size=self.batch_size,
            train_freq=self.train_freq,
            gradient_steps=self.gradient_steps,
            random_actions=self.random_actions,
        )

    @property
    def policy(self) -> TRPO | PPO:
        """What learns the policy in the end, and makes it in the beginning."""
        given: dict[str, Any] = {
            "name": self.title,
            "learning_rate": self.learning_rate,
            "n_steps": self.n_steps,
            "batch_size": self.batch_size,
            "gamma": self.gamma,
            "gae_lambda": self.gae_lambda,
            "normalize_observation": self.normalize_observation,
            "normalize_reward": self.normalize_reward,
            "net_arch": self.net_arch,
            "activation": self.activation,
            "log_std_init": self.log_std_init,
        }
        return PPO(**given) if self.fine_tune == "ppo" else TRPO(target_kl=self.target_kl, **given)

    @property
    def experience(self) -> Replay | Rollout:
        if self.stage == FINE_TUNING:
            return self.policy.experience
        if self.stage == MODEL:
            return self.mpc.experience
        return Replay(self.buffer_size, self.batch_size, 0, self.train_freq, self.imitation_gradient_steps)

    def at(self, clock: Clock) -> Self:
        waits, expert_acts = clock.steps < self.learning_starts, clock.progress < self.expert_fraction
        return replace(super().at(clock), random_actions=waits, expert_acts=expert_acts)

    def validate(self, spec: EnvironmentSpec) -> None:
        if self.fine_tune not in FINE_TUNERS:
            raise TeguError(f"{self.title}: fine_tune must be one of {', '.join(FINE_TUNERS)}, got {self.fine_tune!r}")
        if (before := self.model_fraction + self.imitation_fraction) > 1:
            raise TeguError(f"{self.title}: model_fraction and imitation_fraction come to {before:g}, more than 1")
        if (self.model_fraction > 0) != (self.imitation_fraction > 0):
            raise TeguError(
                f"{self.title}: model_fraction and imitation_fraction must both be above 0, or both 0, since one stage "
                f"teaches the other, got {self.model_fraction:g} and {self.imitation_fraction:g}"
            )
        check_network("relu", self.model_arch, "model_arch")
        self.mpc.validate(spec)
        self.policy.validate(spec)

    def stages(self, spec: EnvironmentSpec, steps: int) -> Sequence[Stage]:
        """Learn the dynamics, imitate MPC, fine-tune: those that get steps. All learners are kept as they are."""
        model = round(steps * self.model_fraction)
        imitation = round(steps * (self.model_fraction + self.imitation_fraction)) - model
        if imitation and model <= self.learning_starts:
            raise TeguError(
                f"{self.title}: the model stage must have more than learning_starts = {self.learning_starts:,} steps, "
                f"got {model:,} (model_fraction = {self.model_fraction:g} of {steps:,})"
            )
        shares = ((MODEL, model), (IMITATION, imitation), (FINE_TUNING, steps - model - imitation))
        return [Stage(replace(self, stage=stage), share) for stage, share in shares if share]

    def init(self, key: jax.Array, spec: EnvironmentSpec) -> MBMFLearner:
        model_key, policy_key = jax.random.split(key)
        policy = self.policy.init(policy_key, spec)
        return MBMFLearner(
            self.mpc.init(model_key, spec), policy, adam().init(policy.network), jnp.zeros((), jnp.int32)
        )

    def networks(self, learner: MBMFLearner) -> Sequence[tuple[str, Any]]:
        return self.policy.networks(learner.policy)

    def begin(self, learner: MBMFLearner, key: jax.Array, n: int) -> PyTree:
        return () if self.stage == FINE_TUNING else self.mpc.begin(learner.mpc, key, n)

    def act(
        self, learner: MBMFLearner, observation: PyTree, memory: PyTree, key: jax.Array, *, explore: bool
    ) -> Decision:
        """As the stage does. In the imitation the policy does not explore, and ``extras`` are what MPC would do."""
        if self.stage == FINE_TUNING:
            return self.policy.act(learner.policy, observation, memory, key, explore=explore)
        if self.stage == MODEL:
            return self.mpc.act(learner.mpc, observation, memory, key, explore=explore)
        expert = self.mpc.act(learner.mpc, observation, memory, key, explore=False)
        student = self.policy.act(learner.policy, observation, (), key, explore=False)
        action = jnp.where(self.expert_acts & explore, expert.action, student.action)
        return Decision(action, expert.memory, extras=expert.action)

    def take(self, learner: MBMFLearner, steps: Step) -> tuple[MBMFLearner, PyTree]:
        """Of the imitation what MPC would have done is kept, whoever acted."""
        learner = learner._replace(policy=with_observations(self.policy, learner.policy, steps))
        if self.stage == IMITATION:
            return learner, Demonstration(steps.observation, steps.extras)
        mpc, rows = self.mpc.take(learner.mpc, steps)
        return learner._replace(mpc=mpc), rows

    def update(self, learner: MBMFLearner, batch: Batch | Step, key: jax.Array) -> Update:
        """As the stage does: a gradient step of the dynamics or of the imitation, or the policy's own update."""
        if isinstance(batch, Step):
            policy, metrics, _ = self.policy.update(learner.policy, batch, key)
            return Update(learner._replace(policy=policy), metrics)
        if self.stage == IMITATION:
            return self.imitate(learner, batch.rows)
        mpc, metrics, _ = self.mpc.update(learner.mpc, batch, key)
        return Update(learner._replace(mpc=mpc), metrics)

    def imitate(self, learner: MBMFLearner, shown: Demonstration) -> Update:
        """A gradient step of the policy towards what was ``shown`` ``[N, ...]``."""

        def loss(network: Any) -> tuple[jax.Array, Metrics]:
            policy = policy_for(self.policy, learner.policy._replace(network=network), shown.observation)
            return imitation_loss(policy, shown.action)

        rate, network = self.imitation_learning_rate, learner.policy.network
        gradient, metrics = jax.grad(loss, has_aux=True)(network)
        network, state = descend(adam(), rate, network, gradient, learner.imitation)
        policy, imitated = learner.policy._replace(network=network), learner.imitated + 1
        learner = learner._replace(policy=policy, imitation=state, imitated=imitated)
        return Update(learner, dict(metrics) | learning_metrics(rate, imitated))

    def diagnose(self, learner: MBMFLearner, steps: Any) -> Metrics:
        """How good the dynamics are, while they are learned."""
        return self.mpc.diagnose(learner.mpc, steps) if self.stage == MODEL else {}

    def imagine(self, learner: MBMFLearner, observation: PyTree, actions: PyTree, key: jax.Array) -> Imagined | None:
        return self.mpc.imagine(learner.mpc, observation, actions, key)


def imitation_loss(policy: Distribution, action: jax.Array) -> tuple[jax.Array, Metrics]:
    """How far a ``policy`` is from the expert's actions ``[N, ...]``, and metrics.

    Of continuous actions half the squared distance of the mean (section V-A of the paper), which leaves the standard
    deviation alone; of discrete ones the cross-entropy.
    """
    if isinstance(policy, Categorical):
        loss = -policy.log_prob(action).mean()
        return loss, {"imitation_loss": loss, "accuracy": (policy.mode() == action).mean()}
    loss = 0.5 * ((policy.mode() - action) ** 2).reshape((len(action), -1)).sum(axis=-1).mean()
    return loss, {"imitation_loss": loss}
