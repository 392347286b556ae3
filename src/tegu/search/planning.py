"""Tree search in games whose rules are known, batched inside compiled code (through ``mctx``)."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from tegu.core.errors import TeguError
from tegu.core.step import PyTree
from tegu.environments.games.base import Game, Position, own_reward
from tegu.exploration import masked

_LINE = 10  # moves that are shown of what a search looked at

Evaluator = Callable[[PyTree, Position], tuple[jax.Array, jax.Array]]
"""Parameters and positions ``[B, ...]`` to logits ``[B, A]`` and, for the player to move, values ``[B]`` in [-1, 1]."""


class Search(NamedTuple):
    """What a search of ``B`` positions found."""

    action: jax.Array  #: int32 ``[B]``: what to play
    policy: jax.Array  #: float32 ``[B, A]``: an improvement of the prior, to learn from
    value: jax.Array  #: float32 ``[B]``: of the positions, for the player to move; of what: see each search
    visits: jax.Array  #: int32 ``[B, A]``: simulations that began with each action
    action_values: jax.Array  #: float32 ``[B, A]``: mean outcome of those, 0 where there were none
    prior: jax.Array | None = None  #: float32 ``[B, A]``: the network's policy, with the noise if there was any
    lines: jax.Array | None = None  #: int32 ``[B, A, D]``: each action and what was then visited most, -1 after its end


def gumbel(
    game: Game,
    evaluate: Evaluator,
    parameters: PyTree,
    positions: Position,
    key: jax.Array,
    *,
    simulations: int,
    max_considered: int = 16,
    noise: float = 1.0,
) -> Search:
    """Gumbel AlphaZero (Danihelka et al. 2022): sequential halving over actions drawn without replacement at the root.

    The policy to learn from is that of completed action values (equation 11), and a position's value is what that
    policy is worth (``improved_value``): sequential halving simulates bad actions, too, and the mean of all simulations
    would count them as often. ``max_considered`` actions are looked at in the root; ``noise`` 0 plays the best action
    found instead of a random good one.
    """
    # Values count as they are. Stretched to [0, 1] in each node, as mctx does by default, the smallest difference would
    # look like certainty, and actions once found a little worse would hardly be tried again.
    values = partial(_mctx().qtransform_completed_by_mix_value, rescale_values=False)
    found = _mctx().gumbel_muzero_policy(
        parameters,
        key,
        _root(evaluate, parameters, positions),
        _model(game, evaluate),
        num_simulations=simulations,
        invalid_actions=~positions["action_mask"],
        qtransform=values,
        max_num_considered_actions=max_considered,
        gumbel_scale=noise,
    )
    tree, summary = found.search_tree, found.search_tree.summary()
    prior_logits, value = tree.children_prior_logits[:, tree.ROOT_INDEX], tree.raw_values[:, tree.ROOT_INDEX]
    policy, visits = found.action_weights, summary.visit_counts
    return _read(found, improved_value(policy, prior_logits, value, visits, summary.qvalues))


def puct(
    game: Game,
    evaluate: Evaluator,
    parameters: PyTree,
    positions: Position,
    key: jax.Array,
    *,
    simulations: int,
    c_init: float | jax.Array = 1.25,
    dirichlet_alpha: float | jax.Array = 0.3,
    dirichlet_fraction: float | jax.Array = 0.25,
    temperature: float | jax.Array = 1.0,
) -> Search:
    """AlphaZero (Silver et al. 2018): PUCT, Dirichlet noise in the root, and visits as the policy to learn from.

    A position's value is the mean over the visits. The action is drawn from visits to the power of
    ``1 / temperature``; 0 plays the most visited.
    """
    noise_key, key = jax.random.split(key)
    root, legal = _root(evaluate, parameters, positions), positions["action_mask"]
    noisy = dirichlet_noise(noise_key, jax.nn.softmax(root.prior_logits), legal, dirichlet_fraction, dirichlet_alpha)
    found = _mctx().muzero_policy(
        parameters,
        key,
        root.replace(prior_logits=jnp.log(noisy)),
        _model(game, evaluate),
        num_simulations=simulations,
        invalid_actions=~legal,
        dirichlet_fraction=0.0,  # mctx's would be drawn over illegal actions, too, and most of it lost to them
        pb_c_init=c_init,
        temperature=temperature,
    )
    return _read(found, found.search_tree.summary().value)


def prior_alone(
    evaluate: Evaluator, parameters: PyTree, positions: Position, key: jax.Array, *, explore: bool
) -> Search:
    """No search: the prior's most likely action, or with ``explore`` one drawn from it; nothing was simulated."""
    logits, value = evaluate(parameters, positions)
    logits = masked(logits, positions["action_mask"])
    action = jax.random.categorical(key, logits) if explore else logits.argmax(axis=-1)
    nothing = jnp.zeros_like(logits)
    return Search(action.astype(jnp.int32), jax.nn.softmax(logits), value, nothing.astype(jnp.int32), nothing)


def improved_value(
    policy: jax.Array, prior_logits: jax.Array, value: jax.Array, visits: jax.Array, action_values: jax.Array
) -> jax.Array:
    """What ``policy`` is worth by completed action values (Danihelka et al. 2022, equation 10), ``[B]``.

    An action without ``visits`` counts as the mixed value of appendix D: the mean, weighted by the number of
    simulations, of the network's ``value`` ``[B]`` and of the prior's ``action_values`` over the visited actions. All
    but ``value`` are ``[B, A]``.
    """
    visited = visits > 0
    prior = jax.nn.softmax(masked(prior_logits, visited))
    simulations = visits.sum(axis=-1)
    expected = jnp.where(visited, prior * action_values, 0.0).sum(axis=-1)
    mixed = (value + simulations * expected) / (simulations + 1)
    return (policy * jnp.where(visited, action_values, mixed[:, None])).sum(axis=-1)


def dirichlet_noise(
    key: jax.Array, prior: jax.Array, legal: jax.Array, fraction: float | jax.Array, alpha: float | jax.Array
) -> jax.Array:
    """``prior`` ``[B, A]`` with a ``fraction`` of it replaced by a Dirichlet(``alpha``) draw over ``legal`` actions."""
    # A Dirichlet draw is one of independent Gamma variables, normalised; small ones underflow unless in logarithms.
    gamma = jax.random.loggamma(key, alpha, prior.shape, prior.dtype)
    return (1 - fraction) * prior + fraction * jax.nn.softmax(masked(gamma, legal))


def _root(evaluate: Evaluator, parameters: PyTree, positions: Position) -> Any:
    logits, value = evaluate(parameters, positions)
    return _mctx().RootFnOutput(prior_logits=masked(logits, positions["action_mask"]), value=value, embedding=positions)


def _model(game: Game, evaluate: Evaluator) -> Callable[..., Any]:
    """One step of the game in the form that mctx asks for."""

    def step(parameters: PyTree, key: jax.Array, action: jax.Array, positions: Position) -> tuple[Any, Position]:
        now = jax.vmap(game.step, in_axes=(0, 0, None))(positions, action, key)
        logits, value = evaluate(parameters, now.observation)
        outcome = _mctx().RecurrentFnOutput(
            reward=own_reward(now.reward, positions["to_play"]),
            discount=jnp.where(now.terminated, 0.0, -1.0),  # the next player's gain is this one's loss
            prior_logits=masked(logits, now.observation["action_mask"]),
            value=jnp.where(now.terminated, 0.0, value),
        )
        return outcome, now.observation

    return step


def _read(found: Any, value: jax.Array) -> Search:
    summary = found.search_tree.summary()
    return Search(
        found.action.astype(jnp.int32),
        found.action_weights,
        value,
        summary.visit_counts.astype(jnp.int32),
        jnp.where(summary.visit_counts > 0, summary.qvalues, 0.0),
        jax.nn.softmax(found.search_tree.children_prior_logits[:, found.search_tree.ROOT_INDEX]),
        _lines(found.search_tree),
    )


def _lines(tree: Any) -> jax.Array:
    """Down the tree along the most visited actions, ``[B, A, _LINE]``. Compiled code that does not use it drops it.

    They end where the game does, which the tree knows as a discount of 0: searches go on below.
    """
    below = jnp.where(tree.children_discounts != 0, tree.children_index, -1)  # [B, N, A]
    rows = jnp.arange(len(below))[:, None]
    node = below[:, tree.ROOT_INDEX]  # [B, A], -1 where there is none
    line = [jnp.where(tree.children_index[:, tree.ROOT_INDEX] >= 0, jnp.arange(tree.num_actions), -1)]
    while len(line) < _LINE:
        visits = tree.children_visits[rows, jnp.maximum(node, 0)]  # [B, A, A]
        best = jnp.where((node >= 0) & (visits.max(axis=-1) > 0), visits.argmax(axis=-1), -1)
        node = jnp.where(best >= 0, below[rows, jnp.maximum(node, 0), jnp.maximum(best, 0)], -1)
        line.append(best)
    return jnp.stack(line, axis=-1).astype(jnp.int32)


def _mctx() -> Any:
    try:
        import mctx
    except ImportError as error:
        raise TeguError("tree search needs tegu[search]: pip install 'tegu[search]'") from error
    return mctx
