"""Several critics of actions, of which the lowest value counts: clipped double Q-learning (Fujimoto et al. 2018)."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from tegu.algorithms.return_distributions.base import aligned
from tegu.core.errors import TeguError
from tegu.core.step import PyTree
from tegu.nn.batch_norm import fitted
from tegu.nn.body import check_architecture
from tegu.nn.custom import CustomNetwork
from tegu.nn.heads import ActionValue
from tegu.returns import td_target

Critic = ActionValue | CustomNetwork
Critics = tuple[Critic, ...]


def values(critics: Sequence[Any], *seen: PyTree) -> jax.Array:
    """What each of the critics says ``[critics, B]`` of observations and, beside them, actions scaled to [-1, 1]; or of
    all discrete actions ``[critics, B, A]``.

    They are networks of their own: on a CPU, matrices stacked for one batched product were not faster.
    """
    return jnp.stack([critic(*seen) for critic in critics])


def fitted_values(critics: Critics, corrected: jax.Array, *seen: PyTree) -> tuple[jax.Array, Critics]:
    """``values`` of a batch, by its own statistics where critics have batch normalisation, and the critics that have
    taken these in. ``corrected``: as of ``BatchRenorm.fitted``."""
    found, after = zip(*(fitted(critic, corrected, *seen) for critic in critics), strict=True)
    return jnp.stack(found), after


def check_layers(algorithm: Any, other: Mapping[str, bool], of_networks: Sequence[str] = ()) -> None:
    """Raise ``TeguError`` where options of an algorithm's layers do not fit each other, or its own ``network``.

    Besides ``architecture`` and ``batch_norm`` there are ``other`` ones, by name whether they are used, which may go
    together; ``of_networks`` are those used that are not of layers, but need Tegu's networks, too.
    """
    title = algorithm.title
    archs = [arch for arch in (algorithm.net_arch, algorithm.critic_arch) if arch is not None]
    check_architecture(title, algorithm.architecture, *archs)
    if algorithm.batch_norm and algorithm.batch_size == 1:
        raise TeguError(f"{title}: batch_norm leaves nothing to learn with batch_size 1")
    on = {"architecture": algorithm.architecture != "mlp", "batch_norm": algorithm.batch_norm, **other}
    chosen = [name for name, used in on.items() if used]
    if [*chosen, *of_networks] and algorithm.network is not None:
        first = [*chosen, *of_networks][0]
        raise TeguError(f"{title}: {first} needs Tegu's network, it cannot be used with your own")
    if len(chosen) > 1 and chosen[0] in ("architecture", "batch_norm"):
        raise TeguError(f"{title}: {chosen[0]} cannot be used with {chosen[1]}")


def bootstrapped(reward: jax.Array, later: jax.Array, terminated: jax.Array, gamma: float | jax.Array) -> jax.Array:
    """``td_target`` of steps ``[B]`` by what critics say follows them: values ``[B]``, or quantiles ``[B, n]``."""
    return td_target(aligned(reward, later), later, aligned(terminated, later), gamma)


def lowest(found: jax.Array) -> jax.Array:
    """The lowest ``[...]`` of what several critics say ``[critics, ...]``."""
    return found.min(axis=0)


def subset(found: jax.Array, size: int, key: jax.Array) -> jax.Array:
    """What ``size`` of several critics say ``[size, ...]``, drawn at random without replacement (Chen et al. 2021,
    algorithm 1); 0: all of them."""
    return found[jax.random.choice(key, len(found), (size,), replace=False)] if size else found


def truncated(quantiles: jax.Array, drop: int) -> jax.Array:
    """All quantiles ``[critics, B, n]`` but the largest, ``drop`` for each critic, in order (Kuznetsov et al. 2020,
    section 3): ``[B, critics (n - drop)]``."""
    n_critics, batch_size, n = quantiles.shape
    pooled = jnp.moveaxis(quantiles, 0, 1).reshape((batch_size, n_critics * n))
    return jnp.sort(pooled, axis=-1)[:, : n_critics * (n - drop)]
