"""Does a board game look the same turned and mirrored, where it says so?"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tegu.check.findings import Findings, Halt
from tegu.check.spaces import form
from tegu.environments.games.base import Game, Position

_MOST = 16  # symmetries that are tried


def check_symmetries(
    game: Game, findings: Findings, before: Position, action: np.ndarray, after: Position, on: np.ndarray
) -> str:
    """Whether games played by turned actions show turned boards; ``before`` and ``after`` are moves ``[T, N, ...]``.

    Returns a fact. Moves count where a game is still ``on`` ``[T, N]``.
    """
    start = jax.tree.map(lambda leaf: leaf[0, 0], before)
    planes, mask = jax.device_get(jax.jit(game.features)(start)), start["action_mask"]
    fact, indices = str(game.n_symmetries), np.arange(min(game.n_symmetries, _MOST))
    _check_forms(game, findings, planes, mask)
    images = jax.jit(jax.vmap(game.symmetric, in_axes=(0, None, None)))
    numbers = np.arange(planes.size, dtype=planes.dtype).reshape(planes.shape), np.arange(len(mask))
    if not _are_permutations(findings, *numbers, *jax.device_get(images(indices, *numbers))):
        return fact
    turned_start = jax.device_get(images(indices, planes, mask))
    if any((image != plain).any() for image, plain in zip(turned_start, (planes, mask), strict=True)):
        return f"{fact}, not tried: the first position itself is not symmetric"
    unlike = jax.jit(lambda indices: jax.lax.map(lambda i: _unlike(game, i, before, action, after, on), indices))
    wrong = on & np.asarray(unlike(indices))
    if wrong.any():
        index, ply, _ = np.argwhere(wrong)[0]
        expected = "turned actions lead to the turned board, with the turned actions legal"
        got = f"another position after {ply + 1} {'ply' if ply == 0 else 'plies'}"
        findings.error(f"symmetric({index})", "does not turn board and actions alike", expected, got)
    return fact


def _check_forms(game: Game, findings: Findings, planes: np.ndarray, mask: np.ndarray) -> None:
    """Halts where an image has another form than what it is of."""
    with findings.calling("symmetric()"):
        found = jax.eval_shape(game.symmetric, jnp.int32(0), planes, mask)
    if form(found) != form((planes, mask)):
        findings.error("symmetric()", "changes shapes or dtypes", form((planes, mask)), form(found))
        raise Halt


def _are_permutations(
    findings: Findings, planes: np.ndarray, places: np.ndarray, image: np.ndarray, moved: np.ndarray
) -> bool:
    """Whether every image of the numbered actions holds each once, and one image is the original."""
    for index, numbers in enumerate(moved):
        if not np.array_equal(np.sort(numbers), places):
            expected = f"each of the actions 0 to {len(places) - 1} once"
            where, problem = f"symmetric({index})", "does not only change the places of actions"
            findings.error(where, problem, expected, " ".join(map(str, numbers)))
            return False
    if not any((a == planes).all() and (b == places).all() for a, b in zip(image, moved, strict=True)):
        findings.error("symmetric()", "no index leaves everything as it is", "the identity is one of n_symmetries")
        return False
    return True


def _unlike(
    game: Game, index: jax.Array, before: Position, action: np.ndarray, after: Position, on: np.ndarray
) -> jax.Array:
    """Where the game of turned actions leads to something other than the turned board, ``[T, N]``."""
    n_actions = after["action_mask"].shape[-1]

    def turn(position: Position, action: Any) -> jax.Array:
        policy = jax.nn.one_hot(action, n_actions)
        return game.symmetric(index, game.features(position), policy)[1].argmax()

    def move(position: Position, inputs: tuple[jax.Array, jax.Array]) -> tuple[Position, Position]:
        action, on = inputs
        now = jax.vmap(game.step, in_axes=(0, 0, None))(position, action, jax.random.key(0)).state
        go_on = jax.vmap(lambda on, new, old: jax.tree.map(lambda new, old: jnp.where(on, new, old), new, old))
        return go_on(on, now, position), now

    def image(position: Position) -> tuple[jax.Array, jax.Array]:
        return game.symmetric(index, game.features(position), position["action_mask"])

    turned = jax.vmap(jax.vmap(turn))(before, action)
    start = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), before)
    _, reached = jax.lax.scan(move, start, (turned, jnp.asarray(on)))
    planes, mask = jax.vmap(jax.vmap(image))(after)
    found = jax.vmap(jax.vmap(game.features))(reached), reached["action_mask"]
    pairs = zip(found, (planes, mask), strict=True)
    return jnp.any(jnp.stack([(a != b).any(axis=tuple(range(2, a.ndim))) for a, b in pairs]), axis=0)
