"""What games of self-play teach besides the search's policy and the result: targets of auxiliary heads.

The heads are learned and take no part in the search (Wu 2019, arXiv:1902.10565, sections 3.4 and 4.1): what they ask
for shapes what the network knows of a position.
"""

from collections.abc import Callable, Collection, Mapping
from functools import partial, reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from tegu.core.errors import TeguError
from tegu.core.step import Step, where
from tegu.environments.games.base import Game
from tegu.nn.residual import ResidualConv, ResidualMLP

TURNS, DECIDED = 5, 0.1  #: searches that decide a game; how much a move of a decided game counts
OF_THE_END = ("ownership", "score")  #: heads whose targets are what a ``Game`` method of that name says of the end


class SearchResult(NamedTuple):
    """What a search says of the position it was asked about."""

    policy: jax.Array  #: ``[B, A]``
    value: jax.Array  #: ``[B]``
    random: jax.Array  #: bool ``[B]``: whether a random move was played instead
    full: jax.Array | None = None  #: bool ``[B]``: whether its policy is to be learned from; None: always


class Target(NamedTuple):
    """What a head should have said of some positions."""

    value: jax.Array  #: ``[..., *shape]``
    known: jax.Array  #: bool ``[...]``: whether it is known


def auxiliary_heads(
    names: Collection[str], key: jax.Array, network: ResidualMLP | ResidualConv, shape: tuple[int, ...], actions: int
) -> dict[str, Any]:
    """Heads by name for the trunk of ``network``, which sees planes ``shape`` ``[H, W, C]``."""
    width = network.first.bias.shape[-1]
    make: dict[str, Callable[[jax.Array], Any]] = {
        "ownership": lambda key: network.point_head(key, shape, width),
        "score": lambda key: network.board_head(key, width),
        "reply": lambda key: network.policy_head(key, shape, actions, width),
    }
    key = jax.random.fold_in(key, 2**30)  # apart from the network's layers: a split is the fold of its number
    return {name: make[name](jax.random.fold_in(key, number)) for number, name in enumerate(make) if name in names}


def check_auxiliary(title: str, names: Collection[str], network: Any, game: Game) -> None:
    """Raise ``TeguError`` unless a game says what the targets of the heads ``names`` are, and a network can have them.

    ``network`` is the name of one of ours, or a person's own.
    """
    if names and not isinstance(network, str):
        raise TeguError(f"{title}: {next(iter(names))}_weight needs one of its own networks, which have such a head")
    for name in (name for name in OF_THE_END if name in names):
        if getattr(type(game), name) is getattr(Game, name):
            raise TeguError(f"{title}: {name}_weight needs a game that defines {name}(), {game.id} does not")


def targets(game: Game, steps: Step, names: Collection[str]) -> dict[str, Target]:
    """The targets of the heads ``names`` for the positions of ``steps`` ``[T, B]``, for the player to move.

    The steps' extras are a ``SearchResult``.

    ``"ownership"``, int8 ``[T, B, H, W]``: whose each point is at the end of the game, 1 one's own, -1 the other's;
    ``"score"``, float32 ``[T, B]``: by how much one is ahead then, in points for each point of the board. Both are
    known where the game ends within the steps, without a random move until then. ``"reply"``, ``[T, B, A]``: the policy
    of the other player's search after the move, known where there is one to learn from within the steps.
    """
    policy, _, random, full = steps.extras
    to_play, board, cut = steps.observation["to_play"], steps.observation["board"], steps.truncated | random
    own: jax.Array = jnp.where(to_play == 0, 1, -1)
    found: dict[str, Target] = {}
    of_each = {name: getattr(game, name) for name in OF_THE_END if name in names}
    if of_each:
        last = {name: jax.vmap(jax.vmap(says))(steps.next_observation) for name, says in of_each.items()}
        ends, known = of_the_end(last, steps.terminated, cut)
        if "ownership" in ends:
            found["ownership"] = Target((ends["ownership"] * own[..., None, None]).astype(jnp.int8), known)
        if "score" in ends:
            points = board.shape[-2] * board.shape[-1]
            found["score"] = Target((ends["score"] * own / points).astype(jnp.float32), known)
    if "reply" in names:
        goes_on = (~steps.terminated & ~cut).at[-1].set(False)
        known = goes_on if full is None else goes_on & jnp.roll(full, -1, axis=0)
        found["reply"] = Target(jnp.roll(policy, -1, axis=0), known)
    return found


def of_the_end(last: Any, terminated: jax.Array, cut: jax.Array) -> tuple[Any, jax.Array]:
    """What is said of the last position of each step's game, and whether its end is known.

    ``last`` ``[T, B, ...]`` is what would be said if the game had ended with the step, as it did where ``terminated``
    ``[T, B]``. The end of a game that is ``cut`` ``[T, B]`` with a step, or goes on after the last, is not known.
    """

    def backwards(later: tuple[Any, jax.Array], step: tuple[Any, jax.Array, jax.Array]) -> tuple[Any, Any]:
        (said, known), (now, terminated, cut) = later, step
        found = jax.tree.map(partial(where, terminated), now, said), (terminated | known) & ~cut
        return found, found

    nothing = jax.tree.map(lambda leaf: jnp.zeros_like(leaf[0]), last), jnp.zeros_like(terminated[0])
    _, found = jax.lax.scan(backwards, nothing, (last, terminated, cut), reverse=True)
    return found


def symmetric_targets(
    game: Game, index: jax.Array, planes: jax.Array, policy: jax.Array, known: Mapping[str, Target]
) -> dict[str, Target]:
    """Targets of positions ``[B]`` in the ``index``-th symmetric image ``[B]`` of each.

    ``planes`` ``[B, H, W, C]`` and the ``policy`` ``[B, A]`` give shapes alone.
    """

    def image(name: str, value: jax.Array) -> jax.Array:
        if name == "ownership":
            return jax.vmap(game.symmetric)(index, value[..., None], policy)[0][..., 0]
        return jax.vmap(game.symmetric)(index, planes, value)[1] if name == "reply" else value

    return {name: Target(image(name, value), sure) for name, (value, sure) in known.items()}


def auxiliary_losses(outputs: Mapping[str, jax.Array], known: Mapping[str, Target]) -> dict[str, jax.Array]:
    """The loss of each head, a mean over the positions ``[B]`` whose target is known; 0 if there is none.

    Ownership: cross-entropy of each point's two owners, mean over the points, with tanh(output) the expected owner;
    a point that is nobody's counts half for either. Score: squared error. Reply: cross-entropy.
    """
    losses = {}
    for name, (value, sure) in known.items():
        output = outputs[name]
        if name == "ownership":
            owner = (1 + value) / 2
            error = optax.sigmoid_binary_cross_entropy(2 * output.reshape(owner.shape), owner).mean(axis=(-2, -1))
        elif name == "score":
            error = (output[..., 0] - value) ** 2
        else:
            error = -(value * jax.nn.log_softmax(output)).sum(axis=-1)
        losses[name] = mean_of(error, sure)
    return losses


def expected_end(outputs: Mapping[str, jax.Array], shape: tuple[int, int]) -> dict[str, jax.Array]:
    """What the heads' ``outputs`` for positions ``[B]`` on a board of ``shape`` H, W say of the end of the game.

    For the player to move: ``"ownership"`` ``[B, H, W]`` in [-1, 1], the expected owner of each point, and ``"score"``
    ``[B]``, the points by which it will be ahead; as far as there are such heads.
    """
    expected = {}
    if "ownership" in outputs:
        expected["ownership"] = jnp.tanh(outputs["ownership"]).reshape(-1, *shape)
    if "score" in outputs:
        expected["score"] = outputs["score"][..., 0] * shape[0] * shape[1]
    return expected


def mean_of(errors: jax.Array, *weights: jax.Array | None) -> jax.Array:
    """The mean of ``errors`` ``[B]`` by the product of the ``weights`` ``[B]`` that are not None; 0 if none counts."""
    given = [weight for weight in weights if weight is not None]
    if not given:
        return errors.mean()
    product = reduce(jnp.multiply, given, jnp.ones_like(errors))
    total = product.sum()
    return (product * errors).sum() / jnp.where(total > 0, total, 1.0)


def weight_of(value: jax.Array, ended: jax.Array, threshold: float | jax.Array) -> jax.Array:
    """How much moves ``[T, B]`` count in learning: ``DECIDED`` once a game is decided, else 1 (Wu 2019, appendix D).

    A game is decided when ``TURNS`` searches in a row, within these steps, found a ``value`` ``[T, B]`` beyond
    ``threshold``, and stays so until it has ``ended`` ``[T, B]``.
    """

    def forwards(turns: jax.Array, step: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        clear, ended = step
        turns = jnp.where(clear | (turns >= TURNS), turns + 1, 0)
        return jnp.where(ended, 0, turns), turns >= TURNS

    _, decided = jax.lax.scan(forwards, jnp.zeros(ended.shape[1], jnp.int32), (jnp.abs(value) > threshold, ended))
    return jnp.where(decided, DECIDED, 1.0)
