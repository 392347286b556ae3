"""UCT: Monte Carlo tree search with random rollouts and no network (Kocsis & Szepesvari 2006).

A batch of positions is searched in lock step, a tree for each. All arrays of the trees are ``[N, B, ...]``, node by
node in the order in which they were added; node 0 is the root.
"""

import math
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from tegu.arena.positions import random_legal, step
from tegu.environments.base import Timestep
from tegu.environments.games.base import Game, Position

_EXPLORATION = math.sqrt(2)  # UCB1 for results in [0, 1] (Auer, Cesa-Bianchi & Fischer 2002, figure 1)
_UNTRIED = 1e9  # score of an action that was never tried: all are before any is repeated

_Descent = tuple[jax.Array, jax.Array, jax.Array]  # node, action, and whether still inside the tree, all [B]
_Games = tuple[Position, jax.Array, jax.Array, jax.Array]  # position, first player's reward, whether it is over; a key
_Climb = tuple[jax.Array, jax.Array, jax.Array, jax.Array]  # visits, wins; node (-1 above the root) and action [B]


class Tree(NamedTuple):
    """Statistics belong to the edges: actions in nodes."""

    position: Position  #: ``[N, B, ...]``
    parent: jax.Array  #: int32 ``[N, B]``: the node above, -1 above the root
    action: jax.Array  #: int32 ``[N, B]``: the action that led here from there
    child: jax.Array  #: int32 ``[N, B, A]``: the node that an action leads to, 0 if there is none yet
    visits: jax.Array  #: float32 ``[N, B, A]``
    wins: jax.Array  #: float32 ``[N, B, A]``: for the player to move there; a draw is half a win


@eqx.filter_jit
def search(game: Game, positions: Position, rollouts: int, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Visits and wins ``[B, A]`` of the actions in ``positions``, in none of which the game may be over.

    Each rollout follows UCB1 down the tree, adds the first position that is new, plays on from it at random to the
    end, and counts the result in all nodes on its way.
    """
    tree = _plant(game, positions, rollouts)

    def rollout(number: jax.Array, carry: tuple[Tree, jax.Array]) -> tuple[Tree, jax.Array]:
        tree, key = carry
        key, select_key, play_key = jax.random.split(key, 3)
        node, action = _select(tree, select_key)
        here = jax.tree.map(lambda leaf: leaf[node, jnp.arange(len(node))], tree.position)
        timestep = step(game, here, action)
        tree = _expand(tree, number, node, action, timestep)
        result = (_playout(game, timestep, play_key) + 1) / 2
        return _back_up(tree, node, action, result), key

    tree, _ = jax.lax.fori_loop(1, rollouts + 1, rollout, (tree, key))
    return tree.visits[0], tree.wins[0]


def _plant(game: Game, positions: Position, rollouts: int) -> Tree:
    """Trees of a root each, with room for all rollouts."""
    n_nodes, (n_lanes, n_actions) = rollouts + 1, positions["action_mask"].shape
    nothing = jnp.zeros((n_nodes, n_lanes, n_actions))
    return Tree(
        jax.tree.map(lambda leaf: jnp.zeros((n_nodes, *leaf.shape), leaf.dtype).at[0].set(leaf), positions),
        parent=jnp.full((n_nodes, n_lanes), -1, jnp.int32),
        action=jnp.zeros((n_nodes, n_lanes), jnp.int32),
        child=nothing.astype(jnp.int32),
        visits=nothing,
        wins=nothing,
    )


def _select(tree: Tree, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The nodes and actions ``[B]`` at which the trees are left. Untried actions come in random order."""
    _, n_lanes, n_actions = tree.visits.shape
    lanes = jnp.arange(n_lanes)
    untried = _UNTRIED * (1 + jax.random.uniform(key, (n_lanes, n_actions)))

    def descend(carry: _Descent) -> _Descent:
        node, action, inside = carry
        visits, wins = tree.visits[node, lanes], tree.wins[node, lanes]
        bound = wins / visits + _EXPLORATION * jnp.sqrt(jnp.log(visits.sum(axis=-1, keepdims=True)) / visits)
        score = jnp.where(visits > 0, bound, untried)
        best = jnp.argmax(jnp.where(tree.position["action_mask"][node, lanes], score, -1), axis=-1)
        child = tree.child[node, lanes, best]
        action = jnp.where(inside, best, action)
        inside &= child > 0
        return jnp.where(inside, child, node), action, inside

    root = jnp.zeros(n_lanes, jnp.int32)
    node, action, _ = jax.lax.while_loop(lambda carry: carry[2].any(), descend, (root, root, jnp.ones(n_lanes, bool)))
    return node, action


def _expand(tree: Tree, number: jax.Array, node: jax.Array, action: jax.Array, timestep: Timestep) -> Tree:
    """Add what came of ``action`` as node ``number``. Where the game is over nothing leads there: it stays a leaf."""
    return tree._replace(
        position=jax.tree.map(lambda leaf, new: leaf.at[number].set(new), tree.position, timestep.state),
        parent=tree.parent.at[number].set(node),
        action=tree.action.at[number].set(action),
        child=tree.child.at[node, jnp.arange(len(node)), action].set(jnp.where(timestep.terminated, 0, number)),
    )


def _playout(game: Game, timestep: Timestep, key: jax.Array) -> jax.Array:
    """Play on at random to the end of every game. Returns the first player's rewards ``[B]``."""

    def go_on(carry: _Games) -> _Games:
        position, reward, over, key = carry
        key, action_key = jax.random.split(key)
        now = step(game, position, random_legal(position["action_mask"], action_key))
        return now.state, jnp.where(over, reward, now.reward["first"]), over | now.terminated, key

    start = timestep.state, timestep.reward["first"], timestep.terminated, key
    _, reward, _, _ = jax.lax.while_loop(lambda carry: ~carry[2].all(), go_on, start)
    return reward


def _back_up(tree: Tree, node: jax.Array, action: jax.Array, result: jax.Array) -> Tree:
    """Count ``result`` ``[B]``, 1 where the first player won, on all edges from ``action`` in ``node`` up."""
    lanes = jnp.arange(len(node))

    def climb(carry: _Climb) -> _Climb:
        visits, wins, node, action = carry
        live, at = (node >= 0).astype(jnp.float32), jnp.maximum(node, 0)
        mine = jnp.where(tree.position["to_play"][at, lanes] == 0, result, 1 - result)
        visits = visits.at[at, lanes, action].add(live)
        wins = wins.at[at, lanes, action].add(live * mine)
        return visits, wins, jnp.where(live > 0, tree.parent[at, lanes], -1), tree.action[at, lanes]

    start = tree.visits, tree.wins, node, action
    visits, wins, _, _ = jax.lax.while_loop(lambda carry: (carry[2] >= 0).any(), climb, start)
    return tree._replace(visits=visits, wins=wins)
