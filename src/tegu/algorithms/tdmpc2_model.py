"""TD-MPC2's networks (Hansen et al. 2024, equation 2): a model of latent states, without a decoder, and a policy."""

from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from tegu.algorithms.critics import subset
from tegu.core.spec import EnvironmentSpec, Spaces
from tegu.core.step import PyTree
from tegu.nn.distributions import SquashedGaussian
from tegu.nn.encoder import Encoder
from tegu.nn.mlp import MLP, normalized, with_dropout
from tegu.nn.simnorm import simnorm
from tegu.nn.symlog import mean_of_bins, symexp, symlog, two_hot
from tegu.spaces.bounds import from_unit
from tegu.spaces.features import features, n_features
from tegu.spaces.relaxed import action_features

ACTIVATION = "mish"
LOG_STD = -10.0, 2.0  #: the range of the policy's log standard deviation
DRAWN = 2  #: critics of which the mean or the lowest value counts


class Sizes(NamedTuple):
    """How large the networks are."""

    latent: int  #: numbers of a latent state
    simnorm: int  #: of which so many are a distribution
    encoder_arch: Sequence[int]  #: the encoder's hidden layers
    net_arch: Sequence[int]  #: those of every other network
    n_critics: int
    n_bins: int  #: of rewards and values, on the scale of symlog
    bin_limit: int  #: the last of them


class LatentDynamics(eqx.Module):
    """Encoder h, latent dynamics d, reward R, critics Q, and, if it is learned, the end of episodes.

    Latent states are ``[..., n]``, actions vectors ``[..., k]`` scaled to [-1, 1].
    """

    encoder: Encoder
    representation: MLP
    dynamics: MLP
    reward: MLP  #: logits of bins
    critics: MLP  #: ``n_critics`` networks as one, each array with one more axis in front; logits of bins
    termination: MLP | None  #: the logit, of a state that has been reached
    spaces: Spaces = eqx.field(static=True)
    bin_limit: int = eqx.field(static=True)  #: bins are from minus this to this, on the scale of symlog
    simnorm_size: int = eqx.field(static=True)

    def __init__(
        self,
        key: jax.Array,
        spec: EnvironmentSpec,
        sizes: Sizes,
        features_extractor: str,
        learn_termination: bool,
    ):
        """Rewards and values are 0 at first: the last layers of their networks are."""
        keys, latent = jax.random.split(key, 6), sizes.latent
        pair = latent + n_features(spec.action_space)
        self.encoder = Encoder(keys[0], spec.observation_space, features_extractor)
        self.representation = layers(keys[1], (self.encoder.outputs, *sizes.encoder_arch, latent))
        self.dynamics = layers(keys[2], (pair, *sizes.net_arch, latent))
        self.reward = without_output(layers(keys[3], (pair, *sizes.net_arch, sizes.n_bins)))
        critic_keys = jax.random.split(keys[4], sizes.n_critics)
        self.critics = jax.vmap(lambda key: without_output(layers(key, (pair, *sizes.net_arch, sizes.n_bins))))(
            critic_keys
        )
        self.termination = layers(keys[5], (latent, *sizes.net_arch, 1)) if learn_termination else None
        self.spaces, self.bin_limit, self.simnorm_size = spec.spaces, sizes.bin_limit, sizes.simnorm

    def encode(self, observation: PyTree) -> jax.Array:
        """The latent states ``[..., n]`` of observations ``[..., *shape]``."""
        seen = self.encoder(features(self.spaces.observation, observation))
        return self._on_simplices(self.representation(seen))

    def next(self, state: jax.Array, action: jax.Array) -> jax.Array:
        """The latent states ``[..., n]`` that actions lead to."""
        return self._on_simplices(self.dynamics(joined(state, action)))

    def reward_of(self, state: jax.Array, action: jax.Array) -> jax.Array:
        """What actions pay ``[...]``."""
        return self.scalar(self.reward(joined(state, action)))

    def ends(self, state: jax.Array) -> jax.Array:
        """Whether the episode has ended with states ``[...]``: bool."""
        if self.termination is None:
            return jnp.zeros(state.shape[:-1], bool)
        return self.termination(state)[..., 0] > 0

    def action_features(self, action: PyTree) -> jax.Array:
        """The environment's actions ``[..., *shape]`` as vectors."""
        return action_features(self.spaces.action, action)

    def to_space(self, action: jax.Array) -> jax.Array:
        """What the environment gets ``[..., *shape]`` for vectors."""
        space = self.spaces.action
        return from_unit(space, action.reshape((*action.shape[:-1], *space.shape)))

    def scalar(self, logits: jax.Array) -> jax.Array:
        """The rewards or values ``[...]`` that logits ``[..., bins]`` stand for."""
        return symexp(mean_of_bins(self._bins(logits.shape[-1]), logits))

    def cross_entropy(self, logits: jax.Array, value: jax.Array) -> jax.Array:
        """That of logits ``[..., bins]`` with the two-hot distribution of ``value`` ``[...]`` (section 3.1)."""
        target = two_hot(self._bins(logits.shape[-1]), symlog(value))
        return -(target * jax.nn.log_softmax(logits)).sum(axis=-1)

    def _bins(self, n: int) -> jax.Array:
        return jnp.linspace(-self.bin_limit, self.bin_limit, n)

    def _on_simplices(self, x: jax.Array) -> jax.Array:
        return simnorm(normalized(x), self.simnorm_size)


def layers(key: jax.Array, sizes: Sequence[int]) -> MLP:
    """Linear layers, each but the last normalised before its activation."""
    return MLP(key, sizes, ACTIVATION, layer_norm=True)


def without_output(mlp: MLP) -> MLP:
    """The network with a last layer of zeros."""
    last = jnp.zeros_like(mlp.weights[-1]), jnp.zeros_like(mlp.biases[-1])
    ends = (*mlp.weights[:-1], last[0]), (*mlp.biases[:-1], last[1])
    return eqx.tree_at(lambda found: (found.weights, found.biases), mlp, ends)


def joined(state: jax.Array, action: jax.Array) -> jax.Array:
    return jnp.concatenate([state, action], axis=-1)


def logits_of(
    critics: MLP,
    state: jax.Array,
    action: jax.Array,
    dropout: float | jax.Array | None = None,
    key: jax.Array | None = None,
) -> jax.Array:
    """What each of the critics says ``[critics, ..., bins]``; with ``dropout`` each leaves out units of its own."""
    pair = joined(state, action)
    if dropout is None or key is None:
        return jax.vmap(lambda critic: critic(pair))(critics)
    keys = jax.random.split(key, critics.weights[0].shape[0])
    return jax.vmap(lambda critic, key: with_dropout(critic, dropout, key)(pair))(critics, keys)


def drawn_critics(critics: MLP, key: jax.Array) -> MLP:
    """``DRAWN`` different ones of them at random; all where there are no more."""
    n = critics.weights[0].shape[0]
    if n <= DRAWN:
        return critics
    return jax.tree.map(lambda leaf: subset(leaf, DRAWN, key), critics)  # the same ones of every leaf


def policy_of(policy: MLP, state: jax.Array) -> SquashedGaussian:
    """The policy prior in latent states ``[..., n]``: of actions ``[..., k]``."""
    mean, spread = jnp.split(policy(state), 2, axis=-1)
    low, high = LOG_STD
    return SquashedGaussian(mean, low + (high - low) * (jnp.tanh(spread) + 1) / 2)
