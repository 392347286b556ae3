"""World Models (Ha & Schmidhuber 2018): a small controller, evolved on what a learned model sees and remembers."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from gymnasium import spaces

from tegu.algorithms.base import (
    Algorithm,
    Dream,
    Imagined,
    Metrics,
    Stage,
    Update,
    check_replay,
    learning_metrics,
    named,
)
from tegu.algorithms.cma_es import CMAES, CMAESLearner
from tegu.algorithms.dreams import World, dream_of, dreamt_episodes, memory_loss, open_loop, vision_loss
from tegu.algorithms.learned_dynamics import is_vector
from tegu.algorithms.ranges import Count, Few, Fraction, Natural, NonNegative, Positive, Rate, Several, Width
from tegu.core.errors import TeguError
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Decision, PyTree, Step, where
from tegu.experience.base import Batch, Replay, Rollout
from tegu.nn.encoder import check_extractor
from tegu.nn.mixture_density import MixtureDensityRNN
from tegu.nn.optimizers import adam, descend
from tegu.nn.recurrent import LSTMState
from tegu.nn.vae import VAE
from tegu.nn.world_model import Sizes
from tegu.spaces.bounds import from_unit
from tegu.spaces.features import n_features, require

VISION, MEMORY, CONTROLLER = "vision", "memory", "controller"  #: the stages, the paper's V, M and C
INPUTS = ("z", "zh", "zhc")


class WorldModelsLearner(NamedTuple):
    world: World
    controller: CMAESLearner
    optimizers: dict[str, optax.OptState]  #: of the world's parts, by stage
    updates: dict[str, jax.Array]  #: int32: gradient steps of them so far


class Playing(NamedTuple):
    """What the controller's policies remember of the episode that each of them plays, ``[B, ...]``."""

    member: jax.Array  #: int32: of the population
    state: LSTMState  #: of M


class WorldModels(Algorithm):
    """A controller evolved on the latent vectors of a variational autoencoder and the state of a recurrent network that
    predicts them, in the environment or in what that network dreams.

    The autoencoder (V), the recurrent network (M) and the controller (C) are learned one after the other, each in a
    stage of its own, and a phase of one run. V and M learn from what random actions lead to.
    """

    name: str = named("world-models")

    vision_fraction: Fraction = 0.1  #: fraction of the steps in which V is learned
    memory_fraction: Fraction = 0.1  #: fraction in which M is; C gets the rest. 0: M stays a random network
    controller_input: str = eqx.field(static=True, default="zh")  #: what C sees: z of V alone, M's hidden state h too
    #: (zh), or its cell state c as well (zhc)
    dream: bool = eqx.field(static=True, default=False)  #: C is evolved in what M dreams, not in the environment
    dream_generations: Count = eqx.field(static=True, default=10)  #: generations dreamt between two rollouts
    temperature: Positive = 1.0  #: of dreams, tau; above 1 they are less certain, and harder to exploit
    repeat_action_probability: Fraction = 0.5  #: that a random action is the one before, while V and M are learned
    buffer_size: Count = eqx.field(static=True, default=50_000)  #: steps that each of the first two stages keeps
    learning_starts: Natural = eqx.field(static=True, default=1000)  #: steps of each before learning begins
    train_freq: Count = eqx.field(static=True, default=32)  #: environment steps between two rounds of updates
    gradient_steps: int = eqx.field(static=True, default=4)  #: updates per round; -1: as many as steps were taken
    learning_rate: Rate = 1e-3  #: V's learning rate, Adam's, a number or a schedule such as "lin_1e-3"
    batch_size: Count = eqx.field(static=True, default=64)  #: observations per update of V
    latent_size: Width = eqx.field(static=True, default=32)  #: numbers of a latent vector z
    kl_tolerance: NonNegative = 0.5  #: nats for each number of z that cost V nothing
    units: Width = eqx.field(static=True, default=256)  #: of each hidden layer of V
    n_layers: Few = eqx.field(static=True, default=1)  #: hidden layers of V after convolutions, and before vectors
    channels: Width = eqx.field(static=True, default=16)  #: that the last convolution that draws images sees
    features_extractor: str = eqx.field(static=True, default="auto")  #: auto, flatten, nature, impala or minatar
    memory_learning_rate: Rate = 1e-3  #: the same of M
    memory_batch_size: Count = eqx.field(static=True, default=16)  #: sequences per update of M
    sequence_length: Several = eqx.field(static=True, default=32)  #: steps in each of them
    lstm_hidden_size: Width = eqx.field(static=True, default=256)  #: width of M's LSTM
    n_mixtures: Few = eqx.field(static=True, default=5)  #: normal distributions for each number of the next z
    max_grad_norm: Positive = 1.0  #: the norm of M's gradient is clipped to this
    population_size: Several = eqx.field(static=True, default=64)  #: controllers of a generation
    initial_std: Positive = 0.1  #: step size of the first generation, sigma
    n_eval_episodes: Count = eqx.field(static=True, default=4)  #: episodes, or dreams, that each controller plays
    n_steps: Count = eqx.field(static=True, default=1000)  #: most steps of an episode, or dream, that count

    stage: str = eqx.field(static=True, kw_only=True, default=CONTROLLER, metadata={"derived": True})

    @property
    def experience(self) -> Replay | Rollout:
        if self.stage == CONTROLLER:
            return Rollout(self.n_steps, whole=True)
        batch, length = (self.batch_size, 1) if self.stage == VISION else (self.memory_batch_size, self.sequence_length)
        given = self.buffer_size, batch, self.learning_starts, self.train_freq, self.gradient_steps
        return Replay(*given, n_steps=length)

    @property
    def search(self) -> CMAES:
        """How the controller is evolved: as a linear policy that observes what ``controller_input`` says."""
        return CMAES(
            name=self.title,
            population_size=self.population_size,
            initial_std=self.initial_std,
            n_eval_episodes=self.n_eval_episodes,
            n_steps=self.n_steps,
        )

    def validate(self, spec: EnvironmentSpec) -> None:
        require(self.title, "observation", spec.observation_space, spaces.Box)
        require(self.title, "action", spec.action_space, spaces.Box, spaces.Discrete)
        check_extractor(self.title, self.features_extractor, spec.observation_space)
        check_replay(self)
        if self.controller_input not in INPUTS:
            raise TeguError(
                f"{self.title}: controller_input must be one of {', '.join(INPUTS)}, got {self.controller_input!r}"
            )
        if (before := self.vision_fraction + self.memory_fraction) > 1:
            raise TeguError(f"{self.title}: vision_fraction and memory_fraction come to {before:g}, more than 1")
        if self.dream and not self.memory_fraction:
            raise TeguError(f"{self.title}: dream needs an M that was learned, so a memory_fraction above 0, got 0")
        self.search.validate(self.controller_spec(spec))

    def stages(self, spec: EnvironmentSpec, steps: int) -> Sequence[Stage]:
        """V, M and C: those that get steps. All learners are kept as they are."""
        vision = round(steps * self.vision_fraction)
        memory = round(steps * (self.vision_fraction + self.memory_fraction)) - vision
        shares = {VISION: vision, MEMORY: memory, CONTROLLER: steps - vision - memory}
        for stage in (VISION, MEMORY):
            if 0 < shares[stage] <= self.learning_starts:
                raise TeguError(
                    f"{self.title}: the {stage} stage must have more than learning_starts = {self.learning_starts:,} "
                    f"steps, got {shares[stage]:,} ({stage}_fraction = {getattr(self, f'{stage}_fraction'):g} of "
                    f"{steps:,})"
                )
        return [Stage(replace(self, stage=stage), share) for stage, share in shares.items() if share]

    def init(self, key: jax.Array, spec: EnvironmentSpec) -> WorldModelsLearner:
        vision_key, memory_key, controller_key = jax.random.split(key, 3)
        sizes = Sizes(0, 0, 0, self.units, self.n_layers, self.channels, 0)
        vision = VAE(vision_key, spec, self.latent_size, sizes, self.features_extractor)
        actions = n_features(spec.action_space)
        memory = MixtureDensityRNN(memory_key, self.latent_size, actions, self.lstm_hidden_size, self.n_mixtures)
        parts: dict[str, Any] = {VISION: vision, MEMORY: memory}
        return WorldModelsLearner(
            World(vision, memory),
            self.search.init(controller_key, self.controller_spec(spec)),
            {stage: self.optimizer(stage).init(part) for stage, part in parts.items()},
            {stage: jnp.zeros((), jnp.int32) for stage in parts},
        )

    def controller_spec(self, spec: EnvironmentSpec) -> EnvironmentSpec:
        """What C knows of its environment: it observes a vector."""
        length = self.latent_size + self.lstm_hidden_size * (len(self.controller_input) - 1)
        return replace(spec, observation_space=spaces.Box(-np.inf, np.inf, (length,)))

    def optimizer(self, stage: str) -> optax.GradientTransformation:
        return adam(self.max_grad_norm if stage == MEMORY else None)

    def networks(self, learner: WorldModelsLearner) -> Sequence[tuple[str, Any]]:
        vision, memory = learner.world
        rest: Any = eqx.tree_at(lambda vae: vae.encoder, vision, None)
        shown = [("", vision.encoder)] if vision.encoder.title else []
        return (*shown, ("vision", rest), ("memory", memory), *self.search.networks(learner.controller))

    def begin(self, learner: WorldModelsLearner, key: jax.Array, n: int) -> PyTree:
        """What is remembered is the last action while actions are random, else what ``Playing`` holds."""
        if self.stage == CONTROLLER:
            return Playing(self.search.begin(learner.controller, key, n), learner.world.memory.lstm.start(n))
        return random_actions(learner.world.vision.spaces.action, key, n)

    def act(
        self, learner: WorldModelsLearner, observation: PyTree, memory: PyTree, key: jax.Array, *, explore: bool
    ) -> Decision:
        """Random actions, or the controller's. Where it is evolved in dreams its mean plays in the environment."""
        if self.stage != CONTROLLER:
            keep_key, draw_key = jax.random.split(key)
            n = len(observation)
            kept = jax.random.bernoulli(keep_key, self.repeat_action_probability, (n,))
            action = where(kept, memory, random_actions(learner.world.vision.spaces.action, draw_key, n))
            return Decision(action, action)
        latent = learner.world.vision(observation).mean
        seen = self.seen(latent, memory.state)
        explore = explore and not self.dream
        action = self.search.act(learner.controller, seen, memory.member, key, explore=explore).action
        state = learner.world.memory(latent, learner.world.action(action), memory.state)
        return Decision(action, Playing(memory.member, state), extras=memory.member)

    def seen(self, latent: jax.Array, state: LSTMState) -> jax.Array:
        """What C sees ``[..., n]`` of a latent vector and M's state before it."""
        parts = {"z": latent, "h": state.hidden, "c": state.cell}
        return jnp.concatenate([parts[letter] for letter in self.controller_input], axis=-1)

    def update(self, learner: WorldModelsLearner, batch: Batch | Step, key: jax.Array) -> Update:
        """As the stage does: a gradient step of V or of M, or what episodes or dreams tell of the population."""
        if not isinstance(batch, Step):
            return self.learn(learner, batch.rows, key)
        if not self.dream:
            controller, metrics, _ = self.search.update(learner.controller, batch, key)
            return Update(learner._replace(controller=controller), metrics)
        starts = learner.world.vision(batch.observation[0]).mean

        def generation(controller: CMAESLearner, key: jax.Array) -> tuple[CMAESLearner, Metrics]:
            play_key, update_key = jax.random.split(key)
            dreams = self.dreams(learner.world, controller, starts, play_key)
            controller, metrics, _ = self.search.update(controller, dreams, update_key)
            return controller, metrics

        keys = jax.random.split(key, self.dream_generations)
        controller, metrics = jax.lax.scan(generation, learner.controller, keys)
        metrics = {name: values.mean() for name, values in metrics.items()}
        metrics["n_updates"] = controller.updates.astype(jnp.float32)
        return Update(learner._replace(controller=controller), metrics)

    def learn(self, learner: WorldModelsLearner, steps: Step, key: jax.Array) -> Update:
        """A gradient step of the stage's part of the world; the other one stays as it is."""
        vision, memory = learner.world

        def loss(part: Any) -> tuple[jax.Array, Metrics]:
            if self.stage == VISION:
                return vision_loss(part, steps.observation, key, self.kl_tolerance)
            return memory_loss(part, vision, steps, key)

        of_vision = self.stage == VISION
        part: Any = vision if of_vision else memory
        gradient, metrics = jax.grad(loss, has_aux=True)(part)
        rate, state = self.learning_rate if of_vision else self.memory_learning_rate, learner.optimizers[self.stage]
        part, state = descend(self.optimizer(self.stage), rate, part, gradient, state)
        updates = learner.updates | {self.stage: learner.updates[self.stage] + 1}
        learner = learner._replace(
            world=World(part, memory) if of_vision else World(vision, part),
            optimizers=learner.optimizers | {self.stage: state},
            updates=updates,
        )
        return Update(learner, dict(metrics) | learning_metrics(rate, updates[self.stage]))

    def dreams(self, world: World, controller: CMAESLearner, starts: jax.Array, key: jax.Array) -> Step:
        """``n_eval_episodes`` dreams of each member of the population; all members begin with the same ones of the
        latent vectors ``starts`` ``[B, Z]``."""
        start_key, play_key = jax.random.split(key)
        index = jax.random.randint(start_key, (self.n_eval_episodes,), 0, len(starts))
        latent = starts[index].repeat(self.population_size, axis=0)
        member = controller.generation.members(len(latent))

        def policy(latent: jax.Array, state: LSTMState) -> PyTree:
            given = controller, self.seen(latent, state), member
            return self.search.act(*given, key, explore=True).action  # which draws nothing

        steps = dreamt_episodes(world, policy, latent, self.n_steps, play_key, self.temperature)
        return steps._replace(extras=jnp.broadcast_to(member, steps.reward.shape))

    def imagine(
        self, learner: WorldModelsLearner, observation: PyTree, actions: PyTree, key: jax.Array
    ) -> Imagined | None:
        """``DRAWS`` dreams, where a vector is observed; nothing is remembered of what came before it."""
        if not is_vector(learner.world.vision.spaces.observation):
            return None
        return open_loop(learner.world, observation, actions, key)

    def dream_of(
        self, learner: WorldModelsLearner, observation: PyTree, actions: PyTree, seen: int, key: jax.Array
    ) -> Dream | None:
        """At the ``temperature`` of dreams, where images are observed."""
        return dream_of(learner.world, observation, actions, seen, key, self.temperature)


def random_actions(space: Any, key: jax.Array, n: int) -> jax.Array:
    """``n`` actions of a Discrete space or a Box, all equally likely."""
    if isinstance(space, spaces.Discrete):
        start = int(space.start)
        return jax.random.randint(key, (n,), start, start + int(space.n), jnp.int32)
    return from_unit(space, jax.random.uniform(key, (n, *space.shape), minval=-1.0))
