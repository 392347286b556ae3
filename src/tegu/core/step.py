"""What every part of Tegu uses: a step, and a decision."""

from functools import reduce
from operator import and_, or_
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

PyTree = Any


class Step(NamedTuple):
    """One transition. Stacked in time and over environments every leaf is ``[T, B, ...]``."""

    observation: PyTree  #: what the policy saw
    action: PyTree  #: what the policy chose, before the mapping to the environment's bounds
    reward: PyTree  #: float32; by agent in multi-agent environments
    next_observation: PyTree  #: the true next observation, never the one after an automatic reset
    terminated: PyTree  #: bool: the task ended, no reward follows; by agent where they may leave on their own
    truncated: PyTree  #: bool: only the time limit ended it, bootstrap from ``next_observation``
    extras: PyTree = ()  #: what ``act`` wants ``update`` to see again


class Decision(NamedTuple):
    """What ``Algorithm.act`` returns for a batch of ``B`` observations."""

    action: PyTree  #: ``[B, ...]``
    memory: PyTree = ()  #: recurrent state for the next call, ``[B, ...]``
    extras: PyTree = ()  #: kept in ``Step.extras``, ``[B, ...]``


def episode_ended(terminated: PyTree, truncated: PyTree) -> Any:
    """Whether an episode has ended: for every agent, where they end on their own. Works on JAX and NumPy arrays."""
    return reduce(and_, jax.tree.leaves(jax.tree.map(or_, terminated, truncated)))


def of_agent(tree: PyTree, agent: str) -> Any:
    """An agent's part of what is given by agent, or what is the same for all."""
    return tree[agent] if isinstance(tree, dict) else tree


def flatten_time(tree: PyTree) -> PyTree:
    """``[T, B, ...]`` to ``[T * B, ...]``: steps of one environment come to lie ``B`` apart."""
    return jax.tree.map(lambda leaf: leaf.reshape((leaf.shape[0] * leaf.shape[1], *leaf.shape[2:])), tree)


def where(condition: jax.Array, yes: jax.Array, no: jax.Array) -> jax.Array:
    """``jnp.where`` with a condition ``[B]`` (or ``[T, B]``...) for leaves ``[B, ...]``."""
    return jnp.where(condition.reshape(condition.shape + (1,) * (yes.ndim - condition.ndim)), yes, no)
