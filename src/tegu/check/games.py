"""Checks of board games: is what they play what ``Game`` promises?"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from tegu.check.findings import Facts, Findings, Halt
from tegu.check.spaces import describe, form
from tegu.check.symmetries import check_symmetries
from tegu.core.errors import TeguError
from tegu.core.step import PyTree
from tegu.environments.base import Timestep
from tegu.environments.games.base import Game, Position, own_reward

_COPIES = 32


class _Moves(NamedTuple):
    """Games of random legal moves, ``[T, N, ...]``."""

    before: Position
    action: Any
    now: Timestep
    on: Any  #: bool: whether the game was still going on before the move
    tried: Any  #: bool: whether there was an illegal action to try instead
    illegal: Timestep  #: what came of that


def check_positions(game: Game, action: spaces.Space, findings: Findings) -> None:
    """Whether positions are made of what a search and a network expect. Halts where they are not."""
    if not isinstance(action, spaces.Discrete) or action.start != 0:
        findings.error("action_space", "is not that of a board game", "Discrete(n), from 0", describe(action))
        raise Halt
    state, seen = jax.eval_shape(game.reset, jax.random.key(0))
    expected = {
        "board": ("int8[height, width]", "0 empty, 1 the first player's, -1 the second's"),
        "to_play": ("int32[]", "0 or 1: whose turn it is"),
        "action_mask": (f"bool[{int(action.n)}]", "which actions are legal"),
    }
    found = {name: form(leaf) for name, leaf in state.items()} if isinstance(state, dict) else {}
    fits = {name: found.get(name) == kind for name, (kind, _) in expected.items()}
    fits["board"] = found.get("board", "").startswith("int8[") and len(state["board"].shape) == 2
    for name in (name for name in expected if not fits[name]):
        kind, meaning = expected[name]
        where = f'reset() -> state["{name}"]'
        findings.error(where, "is not what a position holds", kind, found.get(name, "nothing"), meaning)
    if jax.tree.map(form, seen) != jax.tree.map(form, state):
        findings.error("reset() -> observation", "is not the state", "return position, position", form((state, seen)))
        raise Halt
    if not all(fits.values()):
        raise Halt
    with findings.calling("features()"):
        planes = jax.eval_shape(game.features, state)
    if not form(planes).startswith("float32[") or len(planes.shape) != 3:
        findings.error("features()", "is not what networks see", "float32[height, width, planes]", form(planes))
        raise Halt


def check_game(game: Game, findings: Findings, plies: int, seed: int) -> Facts:
    """Play at random for up to ``plies`` and look at turns, results, illegal actions, names and symmetries."""
    with findings.calling("step()"):
        moves: _Moves = jax.device_get(jax.jit(lambda key: _play(game, plies, key))(jax.random.key(seed)))
    _check_moves(findings, moves)
    _check_names(game, findings, moves.before["action_mask"].shape[-1])
    return {
        "random_policy_return": _results(moves),
        "illegal_actions": "tried" if (moves.on & moves.tried).any() else "none was found to be tried",
        "symmetries": check_symmetries(game, findings, moves.before, moves.action, moves.now.state, moves.on),
    }


def _play(game: Game, plies: int, key: jax.Array) -> _Moves:
    step = jax.vmap(game.step)

    def move(carry: tuple[Position, jax.Array], key: jax.Array) -> tuple[tuple[Position, jax.Array], _Moves]:
        position, on = carry
        keys = jax.random.split(key, _COPIES)
        mask = position["action_mask"]
        legal, illegal = (jax.random.categorical(key, jnp.where(allowed, 0.0, -jnp.inf)) for allowed in (mask, ~mask))
        now = step(position, legal, keys)
        moves = _Moves(position, legal, now, on, ~mask.all(axis=-1), step(position, illegal, keys))
        on = on & ~now.terminated
        return (_where(on, now.state, position), on), moves

    position, _ = jax.vmap(game.reset)(jax.random.split(key, _COPIES))
    return jax.lax.scan(move, (position, jnp.ones(_COPIES, bool)), jax.random.split(key, plies))[1]


def _where(condition: jax.Array, yes: PyTree, no: PyTree) -> PyTree:
    """``where`` with a condition ``[N]`` for trees of ``[N, ...]``."""
    return jax.vmap(lambda condition, yes, no: jax.tree.map(lambda a, b: jnp.where(condition, a, b), yes, no))(
        condition, yes, no
    )


def _check_moves(findings: Findings, moves: _Moves) -> None:
    before, now = moves.before, moves.now
    reward, over = now.reward, np.asarray(now.terminated)
    first, second = reward["first"], reward["second"]
    pays = (first != 0) | (second != 0)
    unlike = [_differ(now.state[name], now.observation[name]) for name in now.state]
    tried, lost = moves.on & moves.tried, np.asarray(own_reward(moves.illegal.reward, before["to_play"])) == -1
    paid, fine = "first {first:g}, second {second:g}", "1 for the winner and -1 for the loser, or 0 for both"
    rules = (
        (
            'step() -> state["to_play"]',
            "the turn does not pass",
            moves.on & (now.state["to_play"] != 1 - before["to_play"]),
            "1 - to_play after every action, the last one included",
            "{turn} again",
        ),
        (
            "step() -> observation",
            "is not the state",
            moves.on & np.any(unlike, axis=0),
            "Timestep(position, position, ...)",
            "",
        ),
        ("step() -> reward", "one's gain is not the other's loss", moves.on & (first + second != 0), fine, paid),
        ("step() -> reward", "pays before the end", moves.on & ~over & pays, "0 while the game goes on", paid),
        ("step() -> reward", "is no result", moves.on & over & ~np.isin(first, (-1, 0, 1)), fine, paid),
        (
            'step() -> state["action_mask"]',
            "an action is legal after the end",
            moves.on & over & now.state["action_mask"].any(axis=-1),
            "only False once the game is over",
            "",
        ),
        (
            "step(illegal action)",
            "the game goes on",
            tried & ~np.asarray(moves.illegal.terminated),
            "terminated: an illegal action loses at once",
            "",
        ),
        (
            "step(illegal action)",
            "whoever plays it does not lose",
            tried & ~lost,
            "-1 for the player to move, 1 for the other",
            "",
        ),
    )
    for where, problem, wrong, expected, got in rules:
        if wrong.any():
            ply, copy = np.argwhere(wrong)[0]
            found = got.format(first=first[ply, copy], second=second[ply, copy], turn=before["to_play"][ply, copy])
            when = f"after {ply + 1} {'ply' if ply == 0 else 'plies'}"
            findings.error(where, problem, expected, f"{found} {when}".strip())


def _differ(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Where two arrays ``[T, N, ...]`` are not equal, ``[T, N]``."""
    return (some != others).reshape((*some.shape[:2], -1)).any(axis=-1)


def _results(moves: _Moves) -> str:
    over = moves.on & moves.now.terminated
    first = moves.now.reward["first"][over]
    if not len(first):
        return "no game ended"
    return f"of {len(first)} games first wins {(first > 0).sum()}, second {(first < 0).sum()}"


def _check_names(game: Game, findings: Findings, n_actions: int) -> None:
    """Moves as people type them."""
    if type(game).action_name is Game.action_name or type(game).action_of is Game.action_of:
        hint = "people type moves by name in tegu play"
        findings.warning("action_name(), action_of()", "are not defined", "names of actions, and back", hint=hint)
        return
    with findings.calling("action_name()"):
        names = [game.action_name(action) for action in range(n_actions)]
    if odd := [name for name in names if not isinstance(name, str)]:
        findings.error("action_name()", "is not text", 'a name such as "b2"', repr(odd[0]))
        return
    for action, name in enumerate(names):
        with findings.calling(f'action_of("{name}")'):
            back = game.action_of(name)
        if back != action:
            where, expected = f'action_of("{name}")', f"{action}, which action_name calls so"
            findings.error(where, "is not the action of that name", expected, str(back))
    try:
        found = game.action_of("no such move")
    except TeguError:
        return
    except Exception as error:
        got = type(error).__name__
    else:
        got = repr(found)
    expected = "a TeguError that says what was expected"
    findings.error('action_of("no such move")', "does not refuse what is no move", expected, got)
