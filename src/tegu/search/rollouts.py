"""Rollouts: games played to their end by a fast policy, inside compiled code."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tegu.environments.games.base import Game, Position, own_reward
from tegu.exploration import masked

Logits = Callable[[Position], jax.Array]  #: positions ``[B, ...]`` to the logits ``[B, A]`` of a policy


def rollout(game: Game, logits: Logits, positions: Position, key: jax.Array) -> jax.Array:
    """The outcome z ``[B]``, for the player to move, of a game played from each of the positions to its end, both
    players' moves being drawn from the policy; 0 where the game is over already.

    The same position (board and player to move) is played in the same way by the same ``key``, others independently.
    """
    keys = jax.vmap(lambda number: jax.random.fold_in(key, number))(_numbers(positions))

    def goes_on(carry: Any) -> jax.Array:
        return ~carry[2].all()

    def move(carry: Any) -> Any:
        now, reward, over, ply = carry
        legal = now["action_mask"].astype(bool)
        chance = jax.nn.softmax(masked(logits(now), legal)).cumsum(axis=-1)
        draw = jax.vmap(lambda key: jax.random.uniform(jax.random.fold_in(key, ply)))(keys)
        # the first action whose cumulative probability is above a number below their sum: that one is legal
        action = (chance > (draw * chance[:, -1])[:, None]).argmax(axis=-1)
        after = jax.vmap(game.step, in_axes=(0, 0, None))(now, action, key)
        reward = jnp.where(over, reward, after.reward["first"])
        return after.observation, reward, over | after.terminated, ply + 1

    over = ~positions["action_mask"].astype(bool).any(axis=-1)
    start = positions, jnp.zeros(len(over)), over, jnp.int32(0)
    first = jax.lax.while_loop(goes_on, move, start)[1]
    return own_reward({"first": first, "second": -first}, positions["to_play"])


def _numbers(positions: Position) -> jax.Array:
    """A number for each position, uint32 ``[B]``: the same for the same board and player to move."""
    board = positions["board"].reshape((len(positions["to_play"]), -1)).astype(jnp.uint32)
    weights = np.random.default_rng(0).integers(2**32, size=board.shape[1], dtype=np.uint32)
    return (board * weights).sum(axis=-1, dtype=jnp.uint32) + positions["to_play"].astype(jnp.uint32)
