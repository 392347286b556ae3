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

Evaluator = Callable[[PyTree, Position], tuple[jax.Array, jax.Array]]
"""Parameters and positions ``[B, ...]`` to logits ``[B, A]`` and, for the player to move, values ``[B]`` in [-1, 1]."""


class Search(NamedTuple):
    """What a search of ``B`` positions found."""

    action: jax.Array  #: int32 ``[B]``: what to play
    policy: jax.Array  #: float32 ``[B, A]``: an improvement of the prior, to learn from
    value: jax.Array  #: float32 ``[B]``: of the positions, for the player to move
    visits: jax.Array  #: int32 ``[B, A]``: simulations that began with each action
    action_values: jax.Array  #: float32 ``[B, A]``: mean outcome of those, 0 where there were none


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

    The policy to learn from is that of completed action values (equation 11). ``max_considered`` actions are looked at
    in the root; ``noise`` 0 plays the best action found instead of a random good one.
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
    return _read(found)


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

    The action is drawn from visits to the power of ``1 / temperature``; 0 plays the most visited.
    """
    found = _mctx().muzero_policy(
        parameters,
        key,
        _root(evaluate, parameters, positions),
        _model(game, evaluate),
        num_simulations=simulations,
        invalid_actions=~positions["action_mask"],
        dirichlet_alpha=dirichlet_alpha,
        dirichlet_fraction=dirichlet_fraction,
        pb_c_init=c_init,
        temperature=temperature,
    )
    return _read(found)


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


def _read(found: Any) -> Search:
    summary = found.search_tree.summary()
    return Search(
        found.action.astype(jnp.int32),
        found.action_weights,
        summary.value,
        summary.visit_counts.astype(jnp.int32),
        jnp.where(summary.visit_counts > 0, summary.qvalues, 0.0),
    )


def _mctx() -> Any:
    try:
        import mctx
    except ImportError as error:
        raise TeguError("tree search needs tegu[search]: pip install 'tegu[search]'") from error
    return mctx
