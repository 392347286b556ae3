"""Model-predictive control: plan ahead at every step, with the environment itself as the model, or a learned one (PETS:
Chua et al. 2018; random shooting: Nagabandi et al. 2018)."""

import dataclasses
from functools import partial
from typing import Any, NamedTuple, Self

import equinox as eqx
import jax
import jax.numpy as jnp
from gymnasium import spaces

from tegu.algorithms.base import (
    Algorithm,
    Imagined,
    Metrics,
    Update,
    check_replay,
    derived,
    learning_metrics,
    named,
    replay,
)
from tegu.algorithms.learned_dynamics import (
    LearnedDynamics,
    Settings,
    check_dynamics,
    check_reward,
    imagined,
    is_vector,
    learned,
    model_metrics,
    new_dynamics,
    open_loop,
    with_moments,
)
from tegu.algorithms.ranges import Count, Few, Fraction, Natural, NonNegative, Positive, Rate, Several
from tegu.core.errors import TeguError
from tegu.core.schedule import Clock
from tegu.core.spec import EnvironmentSpec, Spaces
from tegu.core.step import Decision, PyTree, Step
from tegu.environments.base import Environment
from tegu.experience.base import Batch, Replay, Rollout
from tegu.nn.mlp import check_network
from tegu.search.shooting import (
    Model,
    Optimizer,
    Outcome,
    Plan,
    discounted_return,
    draw_uniform,
    new_plan,
    next_plan,
    plan_ahead,
    to_environment,
)
from tegu.spaces.features import one_line, require, zeros

CHOICES = {"model": ("given", "learned"), "planner": ("random", "cem", "mppi"), "trajectory_sampling": ("ts1", "tsinf")}


class MPCLearner(NamedTuple):
    dynamics: LearnedDynamics | tuple[()]  #: (): the environment itself is the model
    updates: jax.Array  #: int32: gradient steps so far
    about: "About"


class About(eqx.Module):
    """What is known of the environment, and never changes."""

    spaces: Spaces = eqx.field(static=True)
    given: "Given" = eqx.field(static=True)


@dataclasses.dataclass(frozen=True)
class Given:
    """The environment itself, where it is the model. It is compiled in, with the arrays that it may hold."""

    model: Environment | None


class MPC(Algorithm):
    """At every step, sequences of actions are tried out in a model, and the first action of the best is taken.

    With the environment itself as the model nothing is learned. PETS is this with an ensemble of probabilistic networks
    that learn the environment.
    """

    plans = True

    name: str = named("mpc")

    model: str = eqx.field(static=True, default="given")  #: given: the environment itself; or learned
    planner: str = eqx.field(static=True, default="cem")  #: random, cem or mppi
    horizon: Count = eqx.field(static=True, default=25)  #: steps that are planned ahead
    n_candidates: Several = eqx.field(static=True, default=400)  #: sequences that are tried out at once
    n_iterations: Few = eqx.field(static=True, default=5)  #: cem and mppi: times that a plan is improved
    n_elite: Count = eqx.field(static=True, default=40)  #: cem: the best sequences, to which the plan is fitted
    temperature: Positive = 1.0  #: mppi: sequences count exp(return / temperature)
    smoothing: Fraction = 0.1  #: cem and mppi: how much of a plan is kept when it is improved
    gamma: Fraction = 1.0  #: discount factor of what is planned
    warm_start: bool = eqx.field(static=True, default=True)  #: whether a plan begins with that of the step before
    n_particles: Few = eqx.field(static=True, default=20)  #: learned: times that each sequence is tried out
    trajectory_sampling: str = eqx.field(static=True, default="ts1")  #: a network anew at each step, or tsinf: one each
    ensemble_size: Few = eqx.field(static=True, default=5)  #: learned: networks
    probabilistic: bool = eqx.field(static=True, default=True)  #: learned: whether networks predict variances
    nll_beta: Fraction = 1.0  #: learned: the power of the variance by which the likelihood is weighted; 0: PETS's loss
    learn_termination: bool = eqx.field(static=True, default=True)  #: learned: whether the end of episodes is predicted
    reward: str = eqx.field(static=True, default="learned")  #: learned: whether rewards and ends are learned, or given
    net_arch: tuple[int, ...] = eqx.field(static=True, default=(200, 200, 200))  #: learned: hidden layers of a network
    activation: str = eqx.field(static=True, default="silu")  #: tanh, relu, elu, gelu, silu or mish
    learning_rate: Rate = 1e-3  #: learned: Adam's learning rate, a number or a schedule such as "lin_1e-3"
    weight_decay: NonNegative = 1e-4  #: learned: of all parameters, per learning rate and gradient step
    buffer_size: Count = eqx.field(static=True, default=1_000_000)  #: learned: steps the replay buffer keeps
    learning_starts: Natural = eqx.field(static=True, default=200)  #: learned: random steps before learning begins
    batch_size: Count = eqx.field(static=True, default=256)  #: learned: steps per update, for each network
    train_freq: Count = eqx.field(static=True, default=50)  #: learned: environment steps between two rounds of updates
    gradient_steps: int = eqx.field(static=True, default=50)  #: learned: updates per round; -1: as many as steps

    random_actions: Any = derived(False)  #: whether learning has not begun

    @property
    def experience(self) -> Replay | Rollout:
        return Rollout(1) if self.model == "given" else replay(self)

    @property
    def optimizer(self) -> Optimizer:
        return Optimizer(
            self.planner, self.n_candidates, self.n_iterations, self.n_elite, self.temperature, self.smoothing
        )

    @property
    def reads_reward(self) -> bool:
        return self.model == "learned" and self.reward == "given"

    @property
    def settings(self) -> Settings:
        return Settings(
            self.ensemble_size,
            self.net_arch,
            self.activation,
            self.learning_rate,
            self.weight_decay,
            self.probabilistic,
            self.nll_beta,
            self.learn_termination,
            self.reward,
        )

    def at(self, clock: Clock) -> Self:
        waits = self.model == "learned" and clock.steps < self.learning_starts
        return dataclasses.replace(super().at(clock), random_actions=waits)

    def validate(self, spec: EnvironmentSpec) -> None:
        title, action_space = self.title, spec.action_space
        for field, choices in CHOICES.items():
            if getattr(self, field) not in choices:
                raise TeguError(f"{title}: {field} must be one of {', '.join(choices)}, got {getattr(self, field)!r}")
        check_reward(self, spec)
        require(title, "action", action_space, spaces.Box, spaces.Discrete)
        if isinstance(action_space, spaces.Box) and action_space.dtype.kind != "f":
            raise TeguError(
                f"{title}: needs actions of floats or a Discrete space, the environment has {one_line(action_space)}"
            )
        if self.planner == "cem" and self.n_elite > self.n_candidates:
            raise TeguError(f"{title}: n_elite must be at most n_candidates, got {self.n_elite} of {self.n_candidates}")
        if self.model == "given":
            check_given(title, spec)
            return
        check_replay(self)
        check_network(self.activation, self.net_arch)
        check_dynamics(title, spec)
        if self.n_particles % self.ensemble_size:
            raise TeguError(
                f"{title}: n_particles must be a multiple of ensemble_size, got {self.n_particles} particles and "
                f"{self.ensemble_size} networks"
            )

    def init(self, key: jax.Array, spec: EnvironmentSpec) -> MPCLearner:
        given = self.model == "given"
        if given and spec.model is None:
            raise TeguError(f"{self.title}: it plans in {spec.id} itself: pass an environment in JAX")
        dynamics = () if given else new_dynamics(key, spec, self.settings)
        return MPCLearner(dynamics, jnp.int32(0), About(spec.spaces, Given(spec.model if given else None)))

    def begin(self, learner: MPCLearner, key: jax.Array, n: int) -> PyTree:
        """Plans ``[n, ...]`` that know nothing."""
        plan = new_plan(learner.about.spaces.action, self.horizon)
        return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (n, *leaf.shape)), plan)

    def act(self, learner: MPCLearner, observation: PyTree, memory: Plan, key: jax.Array, *, explore: bool) -> Decision:
        """The first actions of plans made for the observations ``[B, ...]``; without exploring, too, they are drawn by
        ``key``."""
        space: Any = learner.about.spaces.action
        n = jax.tree.leaves(memory)[0].shape[0]
        plan_key, random_key = jax.random.split(key)

        def decide(observation: PyTree, plan: Plan, key: jax.Array) -> tuple[jax.Array, Plan, jax.Array]:
            draw_key, play_key = jax.random.split(key)
            returns = partial(self.returns, learner, observation, play_key)
            plan = plan if self.warm_start else new_plan(space, self.horizon)
            found = plan_ahead(space, returns, plan, draw_key, self.optimizer)
            return found.action, next_plan(found.plan), found.value

        def planned() -> tuple[jax.Array, Plan, jax.Array]:
            return jax.vmap(decide)(observation, memory, jax.random.split(plan_key, n))

        def random() -> tuple[jax.Array, Plan, jax.Array]:
            first = draw_uniform(new_plan(space, 1), random_key, n)[0]
            return to_environment(space, first), memory, jnp.zeros(n)

        waits = explore and self.model == "learned"
        action, plan, value = jax.lax.cond(self.random_actions, random, planned) if waits else planned()
        return Decision(action, plan, extras=value)

    def returns(self, learner: MPCLearner, observation: PyTree, key: jax.Array, actions: jax.Array) -> jax.Array:
        """What sequences of actions ``[H, N, ...]`` earn from one observation, in the model: ``[N]``."""
        environment, n = learner.about.given.model, actions.shape[1]
        if environment is not None:
            state = environment.state_of(observation)
            states = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (n, *jnp.shape(leaf))), state)
            return discounted_return(given_model(environment), (), key, states, actions, self.gamma)
        particles = jnp.broadcast_to(observation, (self.n_particles, n, *observation.shape))
        model = learned_model(learner.about.spaces.action, self.settings, self.trajectory_sampling)
        return discounted_return(model, learner.dynamics, key, particles, actions, self.gamma)

    def take(self, learner: MPCLearner, steps: Step) -> tuple[MPCLearner, PyTree]:
        space: Any = learner.about.spaces.action
        dynamics: Any = learner.dynamics
        return learner._replace(dynamics=with_moments(dynamics, space, steps)), steps._replace(extras=())

    def update(self, learner: MPCLearner, batch: Batch | Step, key: jax.Array) -> Update:
        """One gradient step of the networks. Where the model is given, only what the plans promise is reported."""
        if not isinstance(batch, Batch):
            return Update(learner, {"planned_return": batch.extras.mean()})
        space: Any = learner.about.spaces.action
        given: Any = learner.dynamics
        dynamics, metrics = learned(given, space, batch.rows, key, self.settings)
        updates = learner.updates + 1
        learner = learner._replace(dynamics=dynamics, updates=updates)
        return Update(learner, metrics | learning_metrics(self.learning_rate, updates))

    def diagnose(self, learner: MPCLearner, steps: Step) -> Metrics:
        """How far the networks' mean is from what came, as a fraction of how far that varies: 1 is no better than
        predicting the mean change. ``calibration`` is the share of what came within one standard deviation."""
        dynamics: Any = learner.dynamics
        return model_metrics(dynamics, learner.about.spaces.action, steps, self.settings) if dynamics else {}

    def imagine(
        self, learner: MPCLearner, observation: jax.Array, actions: jax.Array, key: jax.Array
    ) -> Imagined | None:
        dynamics, space = learner.dynamics, learner.about.spaces.action
        return open_loop(dynamics, space, observation, actions, self.settings) if dynamics else None


def check_given(title: str, spec: EnvironmentSpec) -> None:
    """Raise ``TeguError`` unless the environment can be a model itself."""
    hint = "; set model='learned'" if is_vector(spec.observation_space) else ""
    if spec.model is None:
        raise TeguError(f"{title}: model='given' needs an environment in JAX, {spec.id} is none{hint}")
    try:
        jax.eval_shape(spec.model.state_of, zeros(spec.observation_space))
    except AttributeError as error:
        raise TeguError(f"{title}: model='given' cannot be: {error}{hint}") from error


def given_model(environment: Environment) -> Model:
    """The environment itself as a model of ``N`` states."""

    def step(_: PyTree, key: jax.Array, action: jax.Array, state: PyTree) -> tuple[Outcome, PyTree]:
        keys = jax.random.split(key, jax.tree.leaves(action)[0].shape[0])
        found = jax.vmap(environment.step)(state, action, keys)
        return Outcome(found.reward, found.terminated), found.state

    return step


def learned_model(space: Any, settings: Settings, sampling: str) -> Model:
    """Networks as a model of ``P`` particles for each of ``N`` sequences (Chua et al. 2018, section 5.1).

    Each of the ``E`` networks plays ``P / E`` particles. With ``ts1`` particles change networks at every step.
    """

    def step(
        dynamics: LearnedDynamics, key: jax.Array, action: jax.Array, observation: jax.Array
    ) -> tuple[Outcome, jax.Array]:
        particles, n = observation.shape[:2]
        shuffle_key, key = jax.random.split(key)
        shuffled = sampling == "ts1" and settings.members > 1
        order = jax.random.permutation(shuffle_key, particles) if shuffled else jnp.arange(particles)
        observation = observation[order]
        rows = settings.members, particles // settings.members * n
        actions = jnp.broadcast_to(action, (particles, *action.shape)).reshape((*rows, *action.shape[1:]))
        seen = observation.reshape((*rows, -1))
        outcome, following = imagined(dynamics, space, key, actions, seen, settings)
        back = jnp.argsort(order)  # a particle stays in its row, where its return is summed and its end is noted
        outcome = Outcome(*(part.reshape((particles, n))[back] for part in outcome))
        return outcome, following.reshape(observation.shape)[back]

    return step
