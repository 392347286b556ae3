"""What AlphaGo's networks learn: the losses of its three stages, and which moves of a rollout count in them."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from tegu.algorithms.base import Metrics
from tegu.algorithms.self_play_targets import mean_of
from tegu.core.step import Step
from tegu.environments.games.base import Game, Position, own_reward
from tegu.exploration import masked
from tegu.nn.local_policy import LocalPolicy
from tegu.returns import outcomes


def imitation_loss(
    networks: tuple[Any, LocalPolicy],
    planes: jax.Array,
    played: jax.Array,
    legal: jax.Array,
    counts: jax.Array,
    l2: float | jax.Array,
) -> tuple[jax.Array, Metrics]:
    """Cross-entropy of the moves ``played`` (one-hot ``[B, A]``) that count in both policies (equation 1).

    The first network also gives a value, which nobody asks for.
    """
    policy, fast = networks
    loss, of_policy = _cross_entropy(policy(planes)[0], played, legal, counts)
    fast_loss, of_fast = _cross_entropy(fast(planes), played, legal, counts)
    metrics = {
        "policy_loss": loss,
        "accuracy": of_policy,
        "rollout_policy_loss": fast_loss,
        "rollout_accuracy": of_fast,
    }
    total = loss + fast_loss + l2 * optax.tree.norm(networks, squared=True)
    return total, {"loss": total, **metrics}


def policy_gradient_loss(
    network: Any, planes: jax.Array, action: jax.Array, legal: jax.Array, outcome: jax.Array, counts: jax.Array
) -> jax.Array:
    """The loss whose gradient is minus that of equation 2: the mean over games ``[T, B]`` of the sum of -log p(a | s) z
    over the moves that count."""
    logits = network(planes.reshape((-1, *planes.shape[2:])))[0].reshape(legal.shape)
    log_prior = jax.nn.log_softmax(masked(logits, legal))
    log_prob = jnp.take_along_axis(log_prior, action[..., None], axis=-1)[..., 0]
    return -jnp.where(counts, log_prob * outcome, 0.0).sum() / action.shape[1]


def value_loss(
    network: Any, planes: jax.Array, outcome: jax.Array, counts: jax.Array, l2: float | jax.Array
) -> tuple[jax.Array, Metrics]:
    """Squared error of the value of the positions ``[N, H, W, C]`` that count against the outcomes (equation 3)."""
    value = network(planes)[1]
    error = mean_of((value - outcome) ** 2, counts)
    total = error + l2 * optax.tree.norm(network, squared=True)
    return total, {"loss": total, "value_loss": error}


def game_outcomes(batch: Step) -> tuple[jax.Array, jax.Array]:
    """The outcome ``[T, B]`` of each position's game for the player to move, and which positions are those of each
    environment's first game, if it has ended. Of later games only the short ones would have ended."""
    reward = own_reward(batch.reward, batch.observation["to_play"])
    outcome = outcomes(reward, batch.terminated, batch.truncated, jnp.zeros_like(reward))
    ends = batch.terminated.astype(jnp.int32)
    first = (ends.cumsum(axis=0) - ends == 0) & batch.terminated.any(axis=0)
    return outcome, first


def planes_of(game: Game, positions: Position, depth: int) -> jax.Array:
    """The planes of positions with so many batch axes."""
    features = game.features
    for _ in range(depth):
        features = jax.vmap(features)
    return features(positions)


def in_random_symmetry(game: Game, key: jax.Array, planes: jax.Array, *policies: jax.Array) -> tuple[jax.Array, ...]:
    """Planes ``[B, H, W, C]`` and policies ``[B, A]``, each position turned or mirrored at random."""
    index = jax.random.randint(key, (len(planes),), 0, game.n_symmetries)
    images = [jax.vmap(game.symmetric)(index, planes, policy) for policy in policies]
    return images[0][0], *(policy for _, policy in images)


def in_batches(leaf: jax.Array, batches: int) -> jax.Array:
    """What is known of moves ``[T, B, ...]``, in batches of whole games: ``[batches, T * B / batches, ...]``."""
    games = jnp.moveaxis(leaf, 1, 0)
    return games.reshape((batches, -1, *leaf.shape[2:]))


def _cross_entropy(
    logits: jax.Array, played: jax.Array, legal: jax.Array, counts: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The mean cross-entropy, and how often the most likely move was played."""
    logits = masked(logits, legal)
    found = (logits.argmax(axis=-1) == played.argmax(axis=-1)).astype(jnp.float32)
    return mean_of(-(played * jax.nn.log_softmax(logits)).sum(axis=-1), counts), mean_of(found, counts)
