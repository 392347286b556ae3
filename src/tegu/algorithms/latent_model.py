"""MuZero's networks: they turn what is observed into a state of their own, and foretell what comes of actions there."""

from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from tegu.algorithms.policy_value import planes_spec
from tegu.core.spec import EnvironmentSpec, Spaces
from tegu.core.step import PyTree
from tegu.environments.games.base import Game
from tegu.nn.encoder import Encoder
from tegu.nn.mlp import MLP
from tegu.nn.symlog import mean_of_bins, two_hot
from tegu.nn.world_model import head
from tegu.returns import rescaled, unscaled
from tegu.search.planning import Model, Outcome, Root
from tegu.spaces.features import action_mask, features, n_features

_ACTIVATION = "relu"


class Prediction(NamedTuple):
    """What is said of states ``[...]``."""

    logits: jax.Array  #: ``[..., A]``: of the policy
    value: jax.Array  #: ``[..., bins]``: logits of the value, for the player to move


class LatentModel(eqx.Module):
    """Representation h, dynamics g and prediction f (Schrittwieser et al. 2020). States ``[..., n]`` lie in [0, 1]."""

    encoder: Encoder
    representation: MLP
    dynamics: MLP
    reward: MLP
    policy: MLP
    value: MLP
    spaces: Spaces = eqx.field(static=True)  #: of a game: its planes, and its moves
    game: Game | None = eqx.field(static=True)
    support_size: int = eqx.field(static=True)  #: values and rewards, scaled by h, are distributions over -size to size

    def __init__(
        self,
        key: jax.Array,
        spec: EnvironmentSpec,
        latent_size: int,
        net_arch: Sequence[int],
        features_extractor: str,
        support_size: int,
    ):
        """Rewards, values and policies say nothing at first: the last layers of their networks are 0."""
        self.game = spec.model if isinstance(spec.model, Game) else None
        self.spaces = spec.spaces if self.game is None else planes_spec(spec).spaces
        self.support_size = support_size
        keys, actions, bins = jax.random.split(key, 6), n_features(self.spaces.action), 2 * support_size + 1
        # boards are small, and what is far apart on them belongs together
        extractor = features_extractor if self.game is None else "flatten"
        self.encoder = Encoder(keys[0], self.spaces.observation, extractor)

        def layers(key: jax.Array, inputs: int, outputs: int) -> MLP:
            return MLP(key, (inputs, *net_arch, outputs), _ACTIVATION, layer_norm=True)

        self.representation = layers(keys[1], self.encoder.outputs, latent_size)
        self.dynamics = layers(keys[2], latent_size + actions, latent_size)
        self.reward = head(keys[3], (self.dynamics.weights[-1].shape[0], bins), 0.0)
        self.policy = head(keys[4], (latent_size, *net_arch, actions), 0.0)
        self.value = head(keys[5], (latent_size, *net_arch, bins), 0.0)

    def represent(self, observation: PyTree) -> jax.Array:
        """The states ``[B, n]`` in which observations ``[B, ...]`` are."""
        seen = observation if self.game is None else jax.vmap(self.game.features)(observation)
        return unit_range(self.representation(self.encoder(features(self.spaces.observation, seen))))

    def step(self, state: jax.Array, action: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The next states ``[B, n]`` after actions ``[B]``, and the logits ``[B, bins]`` of what those pay."""
        hidden = self.dynamics.hidden(jnp.concatenate([state, features(self.spaces.action, action)], axis=-1))
        return unit_range(state + self.dynamics.of_hidden(hidden)), self.reward(hidden)

    def predict(self, state: jax.Array) -> Prediction:
        """What is said of states ``[..., n]``."""
        return Prediction(self.policy(state), self.value(state))

    @property
    def bins(self) -> jax.Array:
        """``[bins]``, rising, on the scale of h."""
        return jnp.arange(-self.support_size, self.support_size + 1, dtype=jnp.float32)

    def scalar(self, logits: jax.Array) -> jax.Array:
        """The values or rewards ``[...]`` that logits ``[..., bins]`` stand for (appendix F)."""
        return unscaled(mean_of_bins(self.bins, logits))

    def distribution(self, scalar: jax.Array) -> jax.Array:
        """Values or rewards ``[...]`` as distributions ``[..., bins]``: of the two bins around h(x), the nearer has
        more. What lies beyond all bins is the last one."""
        return two_hot(self.bins, rescaled(scalar))

    def legal(self, observation: PyTree) -> jax.Array | None:
        """Legal actions ``[B, A]``; None: all."""
        if self.game is not None:
            return observation["action_mask"].astype(bool)
        return action_mask(self.spaces.observation, observation)

    def expected(self, observation: PyTree) -> jax.Array:
        """The values ``[B]`` of observations ``[B, ...]``, without a search."""
        return self.scalar(self.value(self.represent(observation)))


def latent_search(gamma: float | jax.Array) -> Model:
    """A ``LatentModel``, which is the search's parameters, as the model of a search.

    ``gamma``: by which what follows is discounted; negative where the next move is another player's. No action is
    illegal but at the root: further on the network must have learned which ones are not chosen.
    """

    def root(network: LatentModel, observation: PyTree) -> Root:
        state = network.represent(observation)
        logits, value = network.predict(state)
        return Root(logits, network.scalar(value), state, network.legal(observation))

    def step(network: LatentModel, key: jax.Array, action: jax.Array, state: jax.Array) -> tuple[Outcome, jax.Array]:
        state, reward = network.step(state, action + int(network.spaces.action.start))
        logits, value = network.predict(state)
        discount = jnp.full_like(value[..., 0], gamma)
        return Outcome(network.scalar(reward), discount, logits, network.scalar(value)), state

    return Model(root, step)


def unit_range(state: jax.Array) -> jax.Array:
    """States ``[..., n]`` stretched so that the least of their numbers is 0 and the largest 1 (appendix G)."""
    least, most = state.min(axis=-1, keepdims=True), state.max(axis=-1, keepdims=True)
    return (state - least) / (most - least + 1e-5)
