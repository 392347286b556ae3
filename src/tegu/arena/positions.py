"""Batches of positions of one game, as dicts of NumPy arrays ``[B, ...]``."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from tegu.environments.base import Timestep
from tegu.environments.games.base import Game, Position


def begin(game: Game, n: int) -> Position:
    """The first position of a match ``n`` times."""
    position = jax.device_get(game.first())
    return {name: np.repeat(leaf[None], n, axis=0) for name, leaf in position.items()}


def take(positions: Position, rows: np.ndarray | slice | int) -> Position:
    """Some of a batch, or one of it without the batch axis."""
    return {name: leaf[rows] for name, leaf in positions.items()}


def join(*batches: Position) -> Position:
    """Batches one after the other."""
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


def step(game: Game, positions: Position, actions: jax.Array | np.ndarray) -> Timestep:
    """One action ``[B]`` in each position. A game leaves nothing to chance, so it gets the same key every time."""
    return jax.vmap(game.step, in_axes=(0, 0, None))(positions, actions, jax.random.key(0))


def play(game: Game, positions: Position, actions: np.ndarray) -> Timestep:
    """``step`` in NumPy. It is compiled for batches of 1, 2, 4, 8 and so on, which serve all sizes."""
    n = len(actions)
    padded = np.minimum(np.arange(1 << max(n - 1, 0).bit_length()), n - 1)
    timestep = jax.device_get(_compiled_step(game, take(positions, padded), np.asarray(actions, np.int32)[padded]))
    return jax.tree.map(lambda leaf: leaf[:n], timestep._replace(truncated=np.zeros(len(padded), bool)))


_compiled_step = eqx.filter_jit(step)


def random_legal(mask: jax.Array, key: jax.Array) -> jax.Array:
    """Legal actions ``[B]`` for a mask ``[B, A]``, all with the same probability; any action where none is legal.

    It takes one random number for each position and not one for each action: for 100 positions of Connect Four 1 us and
    not 15.
    """
    rank = jnp.cumsum(mask, axis=-1)
    chosen = jnp.floor(jax.random.uniform(key, (len(mask), 1)) * rank[:, -1:])
    return jnp.minimum((rank <= chosen).sum(axis=-1), mask.shape[-1] - 1)
