"""Tree search in a model, of known rules or a learned one, batched inside compiled code (through ``mctx``)."""

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


class Root(NamedTuple):
    """What is known of ``B`` states from which a search begins."""

    logits: jax.Array  #: ``[B, A]``: of the prior
    value: jax.Array  #: ``[B]``: for the player to move
    state: PyTree  #: ``[B, ...]``: as the model goes on from it
    legal: jax.Array | None = None  #: bool ``[B, A]``: the actions to choose from; None: all


class Outcome(NamedTuple):
    """What comes of an action in each of ``B`` states."""

    reward: jax.Array  #: ``[B]``: to the player who moved
    discount: jax.Array  #: ``[B]``: of all that follows, negative where that is another player's; 0 after the end
    logits: jax.Array  #: ``[B, A]``: of the prior in the next state
    value: jax.Array  #: ``[B]``: of the next state, for the player to move there


class Model(NamedTuple):
    """What a search looks ahead in: known rules (``known_rules``), or what a network has learned of an environment."""

    root: Callable[[PyTree, PyTree], Root]  #: of parameters and observations ``[B, ...]``
    step: Callable[[PyTree, jax.Array, jax.Array, PyTree], tuple[Outcome, PyTree]]
    """Of parameters, a key, actions ``[B]`` and states ``[B, ...]``: what comes of them, and the next states."""


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
    model: Model,
    parameters: PyTree,
    observations: PyTree,
    key: jax.Array,
    *,
    simulations: int,
    max_considered: int = 16,
    noise: float = 1.0,
    c_scale: float | jax.Array = 0.1,
    normalize: bool = False,
) -> Search:
    """Gumbel AlphaZero and MuZero (Danihelka et al. 2022): sequential halving over actions that are drawn without
    replacement at the root.

    The policy to learn from is that of completed action values (equation 11), and a position's value is what that
    policy is worth (``improved_value``): sequential halving simulates bad actions, too, and the mean of all simulations
    would count them as often. ``max_considered`` actions are looked at in the root; ``noise`` 0 plays the best action
    found instead of a random good one. ``c_scale``: how much action values count beside the prior (c_visit of the paper
    is 50). ``normalize``: stretch action values to [0, 1] by the least and the largest of
    the tree, for returns of unknown size; otherwise they count as they are, as those of games do.
    """
    # Stretched in each node, as mctx does by default, the smallest difference would look like certainty, and actions
    # once found a little worse would hardly be tried again.
    values = partial(_mctx().qtransform_completed_by_mix_value, value_scale=c_scale, rescale_values=False)
    root = _root(model, parameters, observations)
    found = _mctx().gumbel_muzero_policy(
        parameters,
        key,
        _as_root(root),
        _recurrent(model),
        num_simulations=simulations,
        invalid_actions=None if root.legal is None else ~root.legal,
        qtransform=partial(_normalized, values) if normalize else values,
        max_num_considered_actions=max_considered,
        gumbel_scale=noise,
    )
    tree, summary = found.search_tree, found.search_tree.summary()
    prior_logits, value = tree.children_prior_logits[:, tree.ROOT_INDEX], tree.raw_values[:, tree.ROOT_INDEX]
    policy, visits = found.action_weights, summary.visit_counts
    return _read(found, improved_value(policy, prior_logits, value, visits, summary.qvalues))


def puct(
    model: Model,
    parameters: PyTree,
    observations: PyTree,
    key: jax.Array,
    *,
    simulations: int,
    c_init: float | jax.Array = 1.25,
    dirichlet_alpha: float | jax.Array = 0.3,
    dirichlet_fraction: float | jax.Array = 0.25,
    temperature: float | jax.Array = 1.0,
) -> Search:
    """AlphaZero and MuZero (Silver et al. 2018, Schrittwieser et al. 2020): PUCT, Dirichlet noise in the root, and
    visits as the policy to learn from.

    Action values are stretched to [0, 1] in each node. A position's value is the mean over the visits. The action is
    drawn from visits to the power of ``1 / temperature``; 0 plays the most visited.
    """
    noise_key, key = jax.random.split(key)
    root = _root(model, parameters, observations)
    noisy = dirichlet_noise(noise_key, jax.nn.softmax(root.logits), root.legal, dirichlet_fraction, dirichlet_alpha)
    found = _mctx().muzero_policy(
        parameters,
        key,
        _as_root(root._replace(logits=jnp.log(noisy))),
        _recurrent(model),
        num_simulations=simulations,
        invalid_actions=None if root.legal is None else ~root.legal,
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
    key: jax.Array, prior: jax.Array, legal: jax.Array | None, fraction: float | jax.Array, alpha: float | jax.Array
) -> jax.Array:
    """``prior`` ``[B, A]`` with a ``fraction`` of it replaced by a Dirichlet(``alpha``) draw over ``legal`` actions."""
    # A Dirichlet draw is one of independent Gamma variables, normalised; small ones underflow unless in logarithms.
    gamma = jax.random.loggamma(key, alpha, prior.shape, prior.dtype)
    return (1 - fraction) * prior + fraction * jax.nn.softmax(masked(gamma, legal))


def known_rules(game: Game, evaluate: Evaluator) -> Model:
    """A game as a model: its states are positions."""

    def root(parameters: PyTree, positions: Position) -> Root:
        return Root(*evaluate(parameters, positions), positions, positions["action_mask"])

    def step(parameters: PyTree, key: jax.Array, action: jax.Array, positions: Position) -> tuple[Outcome, Position]:
        now = jax.vmap(game.step, in_axes=(0, 0, None))(positions, action, key)
        logits, value = evaluate(parameters, now.observation)
        outcome = Outcome(
            reward=own_reward(now.reward, positions["to_play"]),
            discount=jnp.where(now.terminated, 0.0, -1.0),  # the next player's gain is this one's loss
            logits=masked(logits, now.observation["action_mask"]),
            value=jnp.where(now.terminated, 0.0, value),
        )
        return outcome, now.observation

    return Model(root, step)


def _root(model: Model, parameters: PyTree, observations: PyTree) -> Root:
    """Of which illegal actions are never chosen."""
    root = model.root(parameters, observations)
    return root._replace(logits=masked(root.logits, root.legal))


def _as_root(root: Root) -> Any:
    """In the form that mctx asks for."""
    return _mctx().RootFnOutput(prior_logits=root.logits, value=root.value, embedding=root.state)


def _recurrent(model: Model) -> Callable[..., Any]:
    """One step of the model in the form that mctx asks for."""

    def step(parameters: PyTree, key: jax.Array, action: jax.Array, state: PyTree) -> tuple[Any, PyTree]:
        (reward, discount, logits, value), state = model.step(parameters, key, action, state)
        given = {"reward": reward, "discount": discount, "prior_logits": logits, "value": value}
        return _mctx().RecurrentFnOutput(**given), state

    return step


def _normalized(transform: Callable[..., jax.Array], tree: Any, node: jax.Array) -> jax.Array:
    """What ``transform`` makes of the ``node``'s action values once those of its tree lie in [0, 1].

    All values are stretched by the least and the largest action value that the search has found, and the root's value
    (Schrittwieser et al. 2020, equation 5). ``tree`` is that of one search.
    """
    visited = tree.children_visits > 0  # [N, A]
    found = tree.children_rewards + tree.children_discounts * tree.children_values
    least = jnp.minimum(jnp.where(visited, found, jnp.inf).min(), tree.raw_values[tree.ROOT_INDEX])
    most = jnp.maximum(jnp.where(visited, found, -jnp.inf).max(), tree.raw_values[tree.ROOT_INDEX])
    size = jnp.where(most > least, most - least, 1.0)
    stretched = tree.replace(
        children_rewards=(tree.children_rewards + tree.children_discounts * least - least) / size,
        children_values=(tree.children_values - least) / size,
        raw_values=(tree.raw_values - least) / size,
    )
    return transform(stretched, node)


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
