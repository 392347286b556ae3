"""Model predictive path integral control of continuous actions that a policy guides (Hansen et al. 2022, algorithm 1).

Besides the sequences that are drawn from a plan, those that a policy would take are candidates, and the plan is fitted
to the elites. ``N`` is the number of candidates, ``H`` their length, ``k`` the length of an action within [-1, 1].
Everything is for one state; ``vmap`` batches it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from tegu.search.shooting import GaussianPlan, Plan, draw, finite, fit

Returns = Callable[[jax.Array, jax.Array], jax.Array]  #: of a key and sequences ``[H, N, k]``: ``[N]``


class Guided(NamedTuple):
    """How a plan is improved."""

    n_candidates: int  #: sequences at once, those of the policy among them
    n_iterations: int  #: times that this is repeated, from the improved plan
    n_elite: int  #: the best sequences, to which the plan is fitted
    temperature: Any  #: elites count exp(return / temperature)
    min_std: Any  #: of the actions drawn
    max_std: Any  #: of the actions drawn, and the standard deviation with which a plan begins


class Improved(NamedTuple):
    """A plan, and what it was last fitted to."""

    plan: Plan
    candidates: jax.Array  #: ``[H, N, k]``
    weight: jax.Array  #: ``[N]``: 0 but for the elites, whose weights sum to 1


def elite_weights(returns: jax.Array, n_elite: int, temperature: float | jax.Array) -> jax.Array:
    """What each candidate counts ``[N]``, for finite returns ``[N]``: exactly ``n_elite`` count anything."""
    best, index = jax.lax.top_k(returns, n_elite)
    return jnp.zeros_like(returns).at[index].set(jax.nn.softmax(best / temperature))


def improved(returns: Returns, mean: jax.Array, proposals: jax.Array, key: jax.Array, settings: Guided) -> Improved:
    """A plan around ``mean`` ``[H, k]`` improved by returns; ``proposals`` ``[H, P, k]`` are the policy's sequences."""
    n_drawn = settings.n_candidates - proposals.shape[1]
    std_range = settings.min_std, settings.max_std

    def improve(last: Improved, key: jax.Array) -> tuple[Improved, None]:
        draw_key, return_key = jax.random.split(key)
        candidates = jnp.concatenate([proposals, draw(last.plan, draw_key, n_drawn)], axis=1)
        weight = elite_weights(finite(returns(return_key, candidates)), settings.n_elite, settings.temperature)
        plan = fit(last.plan, candidates, weight, keep_std=False, std_range=std_range)
        return Improved(plan, candidates, weight), None

    nothing = jnp.zeros((len(mean), settings.n_candidates, mean.shape[-1]), mean.dtype)
    start = Improved(GaussianPlan(mean, jnp.full_like(mean, settings.max_std)), nothing, nothing[0, :, 0])
    return jax.lax.scan(improve, start, jax.random.split(key, settings.n_iterations))[0]


def explored_action(found: Improved, key: jax.Array) -> jax.Array:
    """The first action ``[k]`` of an elite, drawn by its weight, with the noise of the plan (appendix there)."""
    elite_key, noise_key = jax.random.split(key)
    elite = jax.random.categorical(elite_key, jnp.log(found.weight))
    first: Any = jax.tree.map(lambda leaf: leaf[0], found.plan)
    noise = first.std * jax.random.normal(noise_key, first.std.shape)
    return jnp.clip(found.candidates[0, elite] + noise, -1, 1)
