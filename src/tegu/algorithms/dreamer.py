"""DreamerV3 (Hafner et al. 2023): an actor and a critic that learn in what a world model imagines."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from gymnasium import spaces

from tegu.algorithms.base import (
    Algorithm,
    Dream,
    ExpectedReturn,
    Imagined,
    Metrics,
    Update,
    check_replay,
    learning_metrics,
    named,
    replay,
)
from tegu.algorithms.diagnostics import dead_units, effective_rank
from tegu.algorithms.dreamer_losses import (
    Losses,
    ReturnRange,
    actor_loss,
    critic_loss,
    replayed_returns,
    rollouts,
    symexp_mean,
    targets,
    weighted_mean,
    weighted_sum,
    world_losses,
)
from tegu.algorithms.dreamer_sequences import observations
from tegu.algorithms.learned_dynamics import is_vector
from tegu.algorithms.ranges import (
    Count,
    Few,
    Fraction,
    Natural,
    NonNegative,
    Positive,
    PositiveFraction,
    Rate,
    Several,
    Width,
)
from tegu.core.errors import TeguError
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Decision, PyTree, Step
from tegu.experience.base import Batch, Replay
from tegu.nn.encoder import check_extractor
from tegu.nn.mlp import MLP
from tegu.nn.optimizers import adaptively_clipped, descend, follow, laprop
from tegu.nn.rssm import Memory, State, divergence, likeliest
from tegu.nn.symlog import symexp
from tegu.nn.world_model import Networks, Sizes, drawn, first_image
from tegu.spaces.features import action_mask, features, require

DRAWS = 8  #: by ``imagine``, of what follows from each observation


class DreamerLearner(NamedTuple):
    networks: Networks
    slow_critic: MLP
    optimizer: optax.OptState
    return_range: ReturnRange
    updates: jax.Array  #: int32: gradient steps so far


class Dreamer(Algorithm):
    """A recurrent model of the world, and an actor and a critic that learn from what it imagines."""

    name: str = named("dreamer")

    learning_rate: Rate = 5e-4  #: LaProp's learning rate, a number or a schedule such as "lin_5e-4"
    buffer_size: Count = eqx.field(static=True, default=100_000)  #: steps the replay buffer keeps
    learning_starts: Natural = eqx.field(static=True, default=1000)  #: steps of the fresh policy before learning begins
    batch_size: Count = eqx.field(static=True, default=8)  #: sequences per update
    sequence_length: Several = eqx.field(static=True, default=32)  #: steps in each of them
    train_freq: Count = eqx.field(static=True, default=4)  #: environment steps between two rounds of updates
    gradient_steps: int = eqx.field(static=True, default=1)  #: updates per round; -1: as many as steps were taken
    gamma: Fraction = 0.997  #: discount factor
    gae_lambda: Fraction = 0.95  #: how much of what comes later counts in returns rather than the critic's values
    horizon: Count = eqx.field(static=True, default=15)  #: imagined steps from every state of a batch
    ent_coef: NonNegative = 3e-4  #: worth of the policy's entropy
    tau: PositiveFraction = 0.02  #: how far the slow critic follows at each update
    free_nats: NonNegative = 1.0  #: divergence of prior and posterior that costs nothing
    dynamics_scale: NonNegative = 1.0  #: weight of the loss by which the prior follows the posterior
    representation_scale: NonNegative = 0.1  #: weight of the loss by which the posterior stays near the prior
    replay_value_scale: NonNegative = 0.3  #: weight of the critic's loss on replayed rewards
    clip_ratio: Positive = 0.3  #: the gradient's norm is clipped to this share of the parameters', array by array
    deterministic_size: Width = eqx.field(static=True, default=128)  #: units of the recurrent network
    n_categoricals: Few = eqx.field(static=True, default=16)  #: categorical variables in a state
    n_classes: Several = eqx.field(static=True, default=8)  #: classes of each of them
    units: Width = eqx.field(static=True, default=64)  #: of each hidden layer
    n_layers: Few = eqx.field(static=True, default=2)  #: hidden layers of encoder, decoder, actor and critic each
    channels: Width = eqx.field(static=True, default=16)  #: that the last convolution that draws images sees
    n_bins: Several = eqx.field(static=True, default=63)  #: of the distributions of rewards and values
    features_extractor: str = eqx.field(static=True, default="auto")  #: flatten, nature, impala, minatar or attention

    @property
    def experience(self) -> Replay:
        return replay(self, n_steps=self.sequence_length)

    def validate(self, spec: EnvironmentSpec) -> None:
        require(self.title, "action", spec.action_space, spaces.Box, spaces.Discrete)
        require(self.title, "observation", spec.observation_space, spaces.Space)
        check_extractor(self.title, self.features_extractor, spec.observation_space)
        check_replay(self)
        if self.n_bins % 2 == 0:
            raise TeguError(f"{self.title}: n_bins must be odd, so that one of them is 0, got {self.n_bins}")

    def init(self, key: jax.Array, spec: EnvironmentSpec) -> DreamerLearner:
        sizes = Sizes(
            self.deterministic_size,
            self.n_categoricals,
            self.n_classes,
            self.units,
            self.n_layers,
            self.channels,
            self.n_bins,
        )
        networks = Networks(key, spec, sizes, self.features_extractor)
        zero = jnp.zeros((), jnp.int32)
        return DreamerLearner(networks, networks.critic, laprop().init(networks), ReturnRange.start(), zero)

    def networks(self, learner: DreamerLearner) -> Sequence[tuple[str, Any]]:
        return learner.networks.parts

    def begin(self, learner: DreamerLearner, key: jax.Array, n: int) -> Memory:
        world = learner.networks.world
        return world.rssm.start(n, world.n_actions)

    def act(
        self, learner: DreamerLearner, observation: PyTree, memory: Memory, key: jax.Array, *, explore: bool
    ) -> Decision:
        """The extras are the memory before the observation. Without exploration nothing is drawn: the state has the
        likeliest classes."""
        networks, (noise_key, action_key) = learner.networks, jax.random.split(key)
        noise = jax.random.uniform(noise_key, memory.classes.shape) if explore else None
        state = self.state(networks, observation, memory, noise)
        mask = action_mask(networks.world.spaces.observation, observation)
        policy = networks.actor(state.features, mask)
        action = policy.sample(action_key) if explore else policy.mode()
        after = networks.world.rssm.memory(state, networks.actor.as_features(action))
        return Decision(networks.actor.to_space(action), after, extras=memory)

    def state(self, networks: Networks, observation: PyTree, memory: Memory, noise: jax.Array | None) -> State:
        """The state ``[B, ...]`` after an observation; ``noise``: as for ``RSSM.observe``."""
        world = networks.world
        before, embedding = world.rssm.recalled(memory), world.embed(observation)
        return world.rssm.observe(before, memory.action, embedding, noise)[0]

    def update(self, learner: DreamerLearner, batch: Batch, key: jax.Array) -> Update:
        """One gradient step of all networks on ``batch_size`` sequences ``[sequence_length, batch_size, ...]``."""
        start = jax.tree.map(lambda leaf: leaf[0], batch.rows.extras)
        seen = observations(batch.rows)
        noise_key, imagine_key = jax.random.split(key)
        noise = jax.random.uniform(noise_key, (*seen.last.shape, self.n_categoricals))
        weights = {
            "dynamics_loss": self.dynamics_scale,
            "representation_loss": self.representation_scale,
            "replay_value_loss": self.replay_value_scale,
        }

        def loss(networks: Networks) -> tuple[jax.Array, tuple[Losses, ReturnRange, Metrics]]:
            losses, states = world_losses(networks.world, seen, start, noise, self.free_nats)
            # What is imagined teaches the actor and the critic only. The values of what was replayed teach the world
            # model, too: its states are to tell what comes
            fixed, held = jax.lax.stop_gradient((networks, states))
            apart = jax.tree.map(lambda leaf: leaf.reshape((-1, *leaf.shape[2:])), held)
            imagined = rollouts(fixed, apart, imagine_key, self.horizon)
            found = targets(fixed, imagined, seen.terminated.ravel(), self.gamma, self.gae_lambda)
            return_range = learner.return_range.merge(found.returns)
            losses["actor_loss"], entropy = actor_loss(networks, imagined, found, return_range.scale, self.ent_coef)
            errors = critic_loss(networks.critic, learner.slow_critic, imagined.features[:-1], found.returns)
            losses["critic_loss"] = (found.weight * errors).mean()
            first = found.returns[0].reshape(seen.last.shape)
            returns, known = replayed_returns(seen, first, self.gamma, self.gae_lambda)
            errors = critic_loss(networks.critic, learner.slow_critic, states.features[:-1], returns)
            losses["replay_value_loss"] = weighted_mean(errors, known)
            more = {"entropy": entropy, "return_mean": found.returns.mean(), "return_scale": return_range.scale}
            return weighted_sum(losses, weights), (losses, return_range, more)

        (error, (losses, return_range, more)), gradient = jax.value_and_grad(loss, has_aux=True)(learner.networks)
        norm = optax.tree.norm(gradient)
        gradient = adaptively_clipped(gradient, learner.networks, self.clip_ratio)
        networks, optimizer = descend(laprop(), self.learning_rate, learner.networks, gradient, learner.optimizer)
        updates = learner.updates + 1
        slow_critic = follow(learner.slow_critic, networks.critic, self.tau)
        metrics = {"loss": error, **losses, **more, "grad_norm": norm, **learning_metrics(self.learning_rate, updates)}
        return Update(DreamerLearner(networks, slow_critic, optimizer, return_range, updates), metrics)

    def diagnose(self, learner: DreamerLearner, steps: Step) -> Metrics:
        """How well what a step leads to is predicted from the state before it, and what the critic has learned."""
        networks, world = learner.networks, learner.networks.world
        state = self.state(networks, steps.observation, steps.extras, None)
        action = world.action_features(steps.action)
        deterministic = world.rssm.forward(state, action)
        prior = world.rssm.prior(deterministic)
        posterior = world.rssm.posterior(deterministic, world.embed(steps.next_observation))
        expected = State(deterministic, likeliest(prior)).features
        hidden = networks.critic.hidden(state.features)
        return {
            "surprise": divergence(posterior, prior).mean(),
            "predicted_reward_error": jnp.abs(symexp_mean(world.reward(expected)) - steps.reward).mean(),
            "predicted_end_error": jnp.abs(jax.nn.sigmoid(-world.goes_on(expected)[..., 0]) - steps.terminated).mean(),
            "dead_units": dead_units(hidden),
            "effective_rank": effective_rank(hidden),
        }

    def expected_return(self, learner: DreamerLearner, observation: PyTree, memory: Memory) -> ExpectedReturn:
        state = self.state(learner.networks, observation, memory, None)
        return ExpectedReturn(symexp_mean(learner.networks.critic(state.features)), self.gamma)

    def imagine(self, learner: DreamerLearner, observation: PyTree, actions: PyTree, key: jax.Array) -> Imagined | None:
        """Of ``DRAWS`` draws, where a vector is observed; nothing is remembered of what came before it."""
        world = learner.networks.world
        decoder: Any = world.decoder
        if not is_vector(world.spaces.observation):
            return None
        start = self.state(learner.networks, observation, self.begin(learner, key, len(observation)), None)
        noise = jax.random.uniform(key, (len(actions), DRAWS, len(observation), self.n_categoricals))

        def step(state: State, given: tuple[jax.Array, jax.Array]) -> tuple[State, Imagined]:
            action, noise = given
            features = jnp.broadcast_to(action, (DRAWS, *action.shape))
            state = world.rssm.imagine(state, features, noise)
            x = state.features
            seen, ends = symexp(decoder.vector(x)), world.goes_on(x)[..., 0] < 0
            return state, Imagined(seen, symexp_mean(world.reward(x)), ends)

        state = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (DRAWS, *leaf.shape)), start)
        found = jax.lax.scan(step, state, (world.action_features(actions), noise))[1]
        ended = jnp.cumsum(found.terminated, axis=0) > 0
        return jax.tree.map(lambda leaf: leaf.swapaxes(0, 1), found._replace(terminated=ended))

    def dream_of(
        self, learner: DreamerLearner, observation: PyTree, actions: PyTree, seen: int, key: jax.Array
    ) -> Dream | None:
        """The first of the images that are observed. What is seen has likeliest classes, what is dreamt is drawn."""
        world = learner.networks.world
        rssm, image, taken = world.rssm, first_image(world.spaces.observation), world.action_features(actions)
        if image is None:
            return None
        led = jnp.concatenate([jnp.zeros_like(taken[:1]), taken])

        def follow(state: State, given: tuple[jax.Array, jax.Array]) -> tuple[State, State]:
            state, _ = rssm.observe(state, *given, None)
            return state, state

        def imagine(state: State, given: tuple[jax.Array, jax.Array]) -> tuple[State, State]:
            state = rssm.imagine(state, *given)
            return state, state

        nothing = rssm.recalled(self.begin(learner, key, 1))
        known = jax.lax.scan(follow, nothing, (led[:, None], world.embed(observation)[:, None]))[1]
        noise = jax.random.uniform(key, (len(taken) + 1 - seen, 1, self.n_categoricals))
        last = jax.tree.map(lambda leaf: leaf[seen - 1], known)
        dreamt = jax.lax.scan(imagine, last, (taken[seen - 1 :, None], noise))[1]
        observed = image.of(features(world.spaces.observation, observation))
        return Dream(observed, *(drawn(world.decoder, image, each.features[:, 0]) for each in (known, dreamt)))
