"""Model-predictive control by sampling: sequences of actions are drawn, played in a model, and the best ones kept.

``N`` is the number of sequences, ``H`` their length, ``k`` the length of a continuous action, ``A`` the number of
discrete ones. Continuous actions are scaled to [-1, 1]. Everything is for one state; ``vmap`` batches it.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from gymnasium import spaces

from tegu.core.step import PyTree
from tegu.spaces.bounds import from_unit

INITIAL_STD = 0.5  #: of the actions that are drawn first: a quarter of their range (Chua et al. 2018, appendix)
LEAST_STD = 0.02  #: to which elites that agree may shrink it
KEPT = 0.5  #: how much of a plan over discrete actions is kept for the next step; the rest is uniform


class Outcome(NamedTuple):
    """What a model says came of an action."""

    reward: jax.Array
    terminated: jax.Array


Model = Callable[[PyTree, jax.Array, jax.Array, PyTree], tuple[Outcome, PyTree]]
"""Parameters, a key, the environment's actions ``[N, ...]`` and states to what came of them ``[..., N]`` and the next
states."""

Returns = Callable[[jax.Array], jax.Array]  #: of sequences of the environment's actions ``[H, N, ...]``: ``[N]``


class GaussianPlan(NamedTuple):
    """Independent normal distributions of the continuous actions to come."""

    mean: jax.Array  #: ``[H, k]``
    std: jax.Array  #: ``[H, k]``


class CategoricalPlan(NamedTuple):
    """Independent distributions of the discrete actions to come."""

    probability: jax.Array  #: ``[H, A]``


Plan = GaussianPlan | CategoricalPlan


class Optimizer(NamedTuple):
    """How a plan is improved by sequences that were drawn from it."""

    name: str  #: random, cem or mppi
    n_candidates: int  #: sequences that are drawn at once
    n_iterations: int  #: times that this is repeated, from the improved plan
    n_elite: int  #: cem: the best sequences, to which the plan is fitted
    temperature: Any  #: mppi: of the weights exp(return / temperature)
    smoothing: Any  #: how much of the plan before is kept in each fit


class Found(NamedTuple):
    """What was planned for a state."""

    action: jax.Array  #: the environment's action, the first of the plan
    plan: Plan
    value: jax.Array  #: float32: the mean return of the sequences that the plan was last fitted to


def new_plan(space: spaces.Box | spaces.Discrete, horizon: int) -> Plan:
    """A plan that knows nothing."""
    if isinstance(space, spaces.Discrete):
        return CategoricalPlan(jnp.full((horizon, int(space.n)), 1 / int(space.n), float))
    shape = horizon, math.prod(space.shape)
    return GaussianPlan(jnp.zeros(shape), jnp.full(shape, INITIAL_STD, float))


def next_plan(plan: Plan) -> Plan:
    """The plan for the next step: all actions move up by one, and are again uncertain (the warm start)."""
    if isinstance(plan, CategoricalPlan):
        n_actions = plan.probability.shape[-1]
        moved = KEPT * plan.probability[1:] + (1 - KEPT) / n_actions
        return CategoricalPlan(jnp.concatenate([moved, jnp.full((1, n_actions), 1 / n_actions)]))
    mean = jnp.concatenate([plan.mean[1:], jnp.zeros_like(plan.mean[:1])])
    return GaussianPlan(mean, jnp.full_like(plan.std, INITIAL_STD))


def plan_ahead(
    space: spaces.Box | spaces.Discrete, returns: Returns, plan: Plan, key: jax.Array, optimizer: Optimizer
) -> Found:
    """Improve a plan by the returns of sequences drawn from it, and choose its first action.

    - ``random``: random shooting (Nagabandi et al. 2018, section IV-C). Sequences are uniform whatever the plan is; the
      first action of the best one is chosen.
    - ``cem``: the cross-entropy method (Chua et al. 2018, section 5.3). The plan is fitted to the best sequences.
    - ``mppi``: information-theoretic MPC (Williams et al. 2017, algorithm 2) with returns in place of costs. Actions
      are averaged with weights ``exp(return / temperature)``; the spread of a continuous plan stays as it is.
    """

    def improve(plan: Plan, key: jax.Array) -> tuple[Plan, jax.Array]:
        candidates = draw(plan, key, optimizer.n_candidates)
        found = finite(returns(to_environment(space, candidates)))
        weight = weights(optimizer, found)
        fitted = fit(plan, candidates, weight, keep_std=optimizer.name == "mppi")
        mixed = jax.tree.map(lambda old, new: optimizer.smoothing * old + (1 - optimizer.smoothing) * new, plan, fitted)
        return mixed, weight @ found

    if optimizer.name == "random":
        candidates = draw_uniform(plan, key, optimizer.n_candidates)
        actions = to_environment(space, candidates)
        found = finite(returns(actions))
        best = found.argmax()
        return Found(actions[0, best], plan, found[best])
    plan, values = jax.lax.scan(improve, plan, jax.random.split(key, optimizer.n_iterations))
    return Found(to_environment(space, best_action(plan)), plan, values[-1])


def best_action(plan: Plan) -> jax.Array:
    """The first action of a plan: the mean ``[k]``, or the most probable one."""
    return plan.probability[0].argmax().astype(jnp.int32) if isinstance(plan, CategoricalPlan) else plan.mean[0]


def finite(returns: jax.Array) -> jax.Array:
    """Returns ``[N]``, the worst of them in place of those that are no finite numbers: a model may diverge."""
    fine = jnp.isfinite(returns)
    worst = jnp.where(fine, returns, jnp.inf).min()
    return jnp.where(fine, returns, jnp.where(jnp.isfinite(worst), worst, 0.0))


def weights(optimizer: Optimizer, returns: jax.Array) -> jax.Array:
    """What each sequence counts in the fit ``[N]``, for their returns ``[N]``; they sum to 1."""
    if optimizer.name == "mppi":
        return jax.nn.softmax(returns / optimizer.temperature)
    # The elites by rank, so that there are exactly as many even where returns are equal
    order = jnp.argsort(returns, descending=True)
    return jnp.zeros_like(returns).at[order[: optimizer.n_elite]].set(1 / optimizer.n_elite)


def draw(plan: Plan, key: jax.Array, n: int) -> jax.Array:
    """Sequences from a plan: ``[H, N, k]`` in [-1, 1], or int32 ``[H, N]``."""
    if isinstance(plan, CategoricalPlan):
        logits = jnp.log(plan.probability)[:, None]
        return jax.random.categorical(key, logits, shape=(len(plan.probability), n)).astype(jnp.int32)
    horizon, length = plan.mean.shape
    noise = jax.random.normal(key, (horizon, n, length))
    return jnp.clip(plan.mean[:, None] + plan.std[:, None] * noise, -1, 1)


def draw_uniform(plan: Plan, key: jax.Array, n: int) -> jax.Array:
    """Sequences like those of ``draw`` in which every action is equally likely."""
    if isinstance(plan, CategoricalPlan):
        horizon, n_actions = plan.probability.shape
        return jax.random.randint(key, (horizon, n), 0, n_actions)
    horizon, length = plan.mean.shape
    return jax.random.uniform(key, (horizon, n, length), minval=-1, maxval=1)


def fit(
    plan: Plan,
    candidates: jax.Array,
    weight: jax.Array,
    *,
    keep_std: bool,
    std_range: tuple[Any, Any] = (LEAST_STD, math.inf),
) -> Plan:
    """The distribution that makes sequences of a plan most likely, each counted by its ``weight`` ``[N]``.

    Standard deviations that are not kept are clipped to ``std_range``.
    """
    if isinstance(plan, CategoricalPlan):
        chosen = jax.nn.one_hot(candidates, plan.probability.shape[-1])
        return CategoricalPlan(jnp.einsum("hna,n->ha", chosen, weight))
    mean = jnp.einsum("hnk,n->hk", candidates, weight)
    if keep_std:
        return GaussianPlan(mean, plan.std)
    variance = jnp.einsum("hnk,n->hk", (candidates - mean[:, None]) ** 2, weight)
    return GaussianPlan(mean, jnp.clip(jnp.sqrt(variance), *std_range))


def to_environment(space: spaces.Box | spaces.Discrete, action: jax.Array) -> jax.Array:
    """The environment's actions for planned ones ``[..., k]`` or int ``[...]``."""
    if isinstance(space, spaces.Discrete):
        return action + int(space.start)
    return from_unit(space, action.reshape((*action.shape[:-1], *space.shape)))


def discounted_return(
    model: Model, parameters: PyTree, key: jax.Array, state: PyTree, actions: jax.Array, gamma: float | jax.Array
) -> jax.Array:
    """What sequences of actions ``[H, N, ...]`` earn in a model from states as it takes them: ``[N]``.

    After a termination nothing follows. What a model says of several particles at once ``[..., N]`` is averaged.
    """

    def play(carry: Any, given: Any) -> Any:
        state, alive, discount, total = carry
        action, key = given
        outcome, state = model(parameters, key, action, state)
        # What is imagined after an end may be infinite
        total = total + jnp.where(alive, discount * outcome.reward, 0.0)
        return (state, alive & ~outcome.terminated, discount * gamma, total), None

    keys = jax.random.split(key, len(actions))
    outcome, _ = jax.eval_shape(model, parameters, keys[0], actions[0], state)
    alive, nothing = jnp.ones(outcome.reward.shape, bool), jnp.zeros(outcome.reward.shape)
    (_, _, _, total), _ = jax.lax.scan(play, (state, alive, jnp.float32(1), nothing), (actions, keys))
    return total.reshape((-1, actions.shape[1])).mean(axis=0)
