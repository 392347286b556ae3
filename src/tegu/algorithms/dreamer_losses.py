"""The losses of DreamerV3 (Hafner et al. 2023): of the world model, of the actor and of the critic."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from tegu.algorithms.dreamer_sequences import Observations
from tegu.nn.mlp import MLP
from tegu.nn.rssm import Memory, State, divergence
from tegu.nn.symlog import mean_of_bins, symexp_bins, two_hot
from tegu.nn.world_model import Networks, WorldModel
from tegu.returns import lambda_returns

RATE = 0.01  #: of the moving average by which returns are scaled

Losses = dict[str, jax.Array]  #: by name, each a mean


class ReturnRange(NamedTuple):
    """How far apart the 5th and the 95th percentile of returns are, as a moving average (equation 7)."""

    total: jax.Array  #: a weighted sum, whose
    weight: jax.Array  #: weights sum to this: 1 in the end

    @classmethod
    def start(cls) -> "ReturnRange":
        return cls(jnp.zeros(()), jnp.zeros(()))

    def merge(self, returns: jax.Array) -> "ReturnRange":
        low, high = jnp.percentile(returns, jnp.asarray((5.0, 95.0), returns.dtype))
        return ReturnRange((1 - RATE) * self.total + RATE * (high - low), (1 - RATE) * self.weight + RATE)

    @property
    def scale(self) -> jax.Array:
        """By which advantages are divided: at least 1, so that no noise around 0 is made large."""
        return jnp.maximum(1.0, self.total / jnp.maximum(self.weight, RATE))


class Rollouts(NamedTuple):
    """``H`` steps of the actor in the world model from each of ``N`` states."""

    features: jax.Array  #: of the states ``[H + 1, N, n]``
    action: jax.Array  #: as the actor's distribution draws them, ``[H, N, ...]``


def symexp_loss(logits: jax.Array, value: jax.Array) -> jax.Array:
    """The cross-entropy ``[...]`` of logits ``[..., n]`` of bins where the ``value`` ``[...]`` came (equation 11)."""
    target = two_hot(symexp_bins(logits.shape[-1]), value)
    return -(target * jax.nn.log_softmax(logits)).sum(axis=-1)


def symexp_mean(logits: jax.Array) -> jax.Array:
    """The value ``[...]`` that logits ``[..., n]`` of bins predict."""
    return mean_of_bins(symexp_bins(logits.shape[-1]), logits)


def weighted_mean(values: jax.Array, weight: jax.Array) -> jax.Array:
    """The mean of those that count."""
    return (values * weight).sum() / jnp.maximum(weight.sum(), 1)


def divergences(posterior: jax.Array, prior: jax.Array, free: float | jax.Array) -> tuple[jax.Array, jax.Array]:
    """The dynamics loss, which moves the prior, and the representation loss, which moves the posterior (equation 3).

    Log-probabilities ``[..., S, C]``; both losses ``[...]`` are clipped below ``free`` nats, where they move nothing.
    """
    fixed = jax.lax.stop_gradient
    dynamics, representation = divergence(fixed(posterior), prior), divergence(posterior, fixed(prior))
    return jnp.maximum(dynamics, free), jnp.maximum(representation, free)


def world_losses(
    world: WorldModel, seen: Observations, memory: Memory, noise: jax.Array, free: float | jax.Array
) -> tuple[Losses, State]:
    """The world model's losses (equations 2 and 3), and its states ``[L, B, ...]``.

    ``memory`` ``[B, ...]`` is that before the first observation; with ``noise`` ``[L, B, S]`` the states are drawn.
    """
    embedding, action = world.embed(seen.observation), world.action_features(seen.action)
    states, posterior = world.rssm.unroll(memory, action, embedding, seen.first, noise)
    dynamics, representation = divergences(posterior, world.rssm.prior(states.deterministic), free)
    x = states.features
    goes_on = optax.sigmoid_binary_cross_entropy(world.goes_on(x)[..., 0], 1.0 - seen.terminated)
    losses = {
        "reconstruction_loss": world.decoder.error(x, world.seen(seen.observation)).mean(),
        "reward_loss": weighted_mean(symexp_loss(world.reward(x), seen.reward), seen.arrived),
        "continue_loss": goes_on.mean(),
        "dynamics_loss": dynamics.mean(),
        "representation_loss": representation.mean(),
    }
    return losses, states


def rollouts(networks: Networks, start: State, key: jax.Array, horizon: int) -> Rollouts:
    """``horizon`` steps from states ``[N, ...]``, with actions and states drawn."""
    noise_key, action_key = jax.random.split(key)
    rssm, actor = networks.world.rssm, networks.actor
    noise = jax.random.uniform(noise_key, (horizon, *start.stochastic.shape[:-1]))

    def forwards(state: State, given: tuple[jax.Array, jax.Array]) -> tuple[State, tuple[jax.Array, jax.Array]]:
        noise, key = given
        action = actor(state.features).sample(key)
        after = rssm.imagine(state, actor.as_features(action), noise)
        return after, (after.features, action)

    _, (features, action) = jax.lax.scan(forwards, start, (noise, jax.random.split(action_key, horizon)))
    return Rollouts(jnp.concatenate([start.features[None], features]), action)


class Targets(NamedTuple):
    """What imagined steps tell the actor and the critic; no gradient goes through it."""

    returns: jax.Array  #: ``[H, N]``: of each state but the last
    value: jax.Array  #: ``[H, N]``: what the critic says of it
    weight: jax.Array  #: ``[H, N]``: probability that the episode gets there


def targets(
    networks: Networks, imagined: Rollouts, ended: jax.Array, gamma: float | jax.Array, lambda_: float | jax.Array
) -> Targets:
    """Returns of imagined steps (equation 5); ``ended`` (bool ``[N]``): where the first state was an episode's end."""
    later = imagined.features[1:]
    reward, value = symexp_mean(networks.world.reward(later)), symexp_mean(networks.critic(imagined.features))
    discount = gamma * jax.nn.sigmoid(networks.world.goes_on(later)[..., 0])
    returns = lambda_returns(reward, discount, value[1:], lambda_, value[-1])
    weight = jnp.cumprod(jnp.concatenate([1.0 - ended[None], discount[:-1]]), axis=0)
    return Targets(returns, value[:-1], weight)


def actor_loss(
    networks: Networks, imagined: Rollouts, targets: Targets, scale: jax.Array, ent_coef: float | jax.Array
) -> tuple[jax.Array, jax.Array]:
    """REINFORCE with a baseline and the entropy (equation 6), and the mean entropy."""
    policy = networks.actor(imagined.features[:-1])
    advantage, entropy = (targets.returns - targets.value) / scale, policy.entropy()
    loss = -(policy.log_prob(imagined.action) * advantage + ent_coef * entropy)
    return (targets.weight * loss).mean(), entropy.mean()


def critic_loss(critic: MLP, slow_critic: MLP, x: jax.Array, returns: jax.Array) -> jax.Array:
    """The cross-entropy ``[...]`` of returns ``[...]``, and that of what a slowly following critic says.

    The latter keeps the critic near it. ``x`` ``[..., n]`` are the features of the states."""
    logits, slow = critic(x), symexp_mean(slow_critic(x))
    return symexp_loss(logits, returns) + symexp_loss(logits, jax.lax.stop_gradient(slow))


def replayed_returns(
    seen: Observations, returns: jax.Array, gamma: float | jax.Array, lambda_: float | jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Returns ``[L - 1, B]`` of what was observed, by the rewards that came, and whether there are any.

    ``returns`` ``[L, B]`` imagined from each state stand for what comes later.
    """
    discount = gamma * (1.0 - seen.terminated[1:])
    shares = jnp.where(seen.last[1:], 0.0, lambda_)
    found = lambda_returns(seen.reward[1:], discount, returns[1:], shares, returns[-1])
    return found, ~seen.last[:-1]


def weighted_sum(losses: Losses, weights: dict[str, Any]) -> jax.Array:
    """Their weighted sum; those without a weight count once."""
    return sum((weights.get(name, 1.0) * loss for name, loss in losses.items()), jnp.zeros(()))
