"""Recorded games: as arrays, in files, and as an environment that plays them again."""

import os
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from tegu.core.errors import TeguError
from tegu.environments.base import Environment, Timestep
from tegu.environments.games.base import PLAYERS, Game, Position

EXPERT_MOVE = "expert_move"  #: what was played next in the recorded game


class GameRecords(NamedTuple):
    """Games from their first position on, such as an expert's."""

    moves: np.ndarray  #: int16 ``[games, moves]``: actions, -1 after a record's last
    opening: np.ndarray  #: int16 ``[games]``: how many of a game's first moves are not the expert's


def game_records(game: Game, moves: Any, opening: Any = 0) -> GameRecords:
    """Records from ``moves`` ``[games, moves]``, -1 after a game's last, and how many moves ``[games]`` of each are its
    ``opening``, from which nobody should learn.

    Raises ``TeguError`` naming the first move that is illegal, or what else does not fit.
    """
    actions = np.asarray(moves)
    if actions.ndim != 2 or actions.dtype.kind not in "iu" or not actions.size:
        got = f"{actions.dtype}{list(actions.shape)}"
        raise TeguError(f"recorded moves must be whole numbers [games, moves], got {got}")
    begins = np.asarray(opening)
    if begins.dtype.kind not in "iu" or begins.ndim > 1 or (begins.ndim and len(begins) != len(actions)):
        raise TeguError(f"opening must be a whole number for each game, got {begins.dtype}{list(begins.shape)}")
    n_actions = int(game.action_space.n)  # type: ignore[attr-defined]
    recorded = np.logical_and.accumulate(actions >= 0, axis=1)
    records = GameRecords(
        np.where(recorded, np.clip(actions, -1, n_actions), -1).astype(np.int16),
        np.clip(np.broadcast_to(begins, len(actions)), 0, actions.shape[1]).astype(np.int16),
    )
    lengths, legal = recorded.sum(axis=1), legal_moves(game, records.moves)
    if wrong := np.flatnonzero(legal < lengths).tolist():
        number, move = wrong[0], int(legal[wrong[0]])
        raise TeguError(
            f"game {number} of the recorded games: action {int(actions[number, move])} at move {move} is illegal in "
            f"{game.id}, or the game was over"
        )
    if not (lengths > records.opening).any():
        raise TeguError("the recorded games hold no move of the expert's")
    return records


def legal_moves(game: Game, moves: np.ndarray) -> np.ndarray:
    """How many ``moves`` ``[games, moves]`` of each game are legal, up to the first that is not: int ``[games]``."""
    return np.asarray(_replayed(game, moves, np.full(len(moves), moves.shape[1]))[1])


def save_records(path: str | Path, records: GameRecords) -> None:
    """Write records to a file, whole or not at all; ``load_records`` reads it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    with unfinished.open("wb") as file:
        np.savez_compressed(file, **records._asdict())
    unfinished.replace(path)


def load_records(path: str | Path, game: Game) -> GameRecords:
    """Records from a file with the arrays ``moves`` and, if games have an opening, ``opening``, as NumPy's ``savez``
    writes them (see ``game_records``). Raises ``TeguError``; nothing but numbers is read."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files if name in GameRecords._fields}
    except OSError as error:
        raise TeguError(f"cannot read the recorded games {path}: {error.strerror or error}") from error
    except (ValueError, BadZipFile, KeyError, EOFError, AttributeError) as error:
        raise TeguError(f"{path} does not hold recorded games: expected a .npz file with an array moves") from error
    if "moves" not in arrays:
        raise TeguError(f"{path} does not hold recorded games: it has no array moves")
    try:
        return game_records(game, **arrays)
    except TeguError as error:
        raise TeguError(f"{path}: {error}") from error


class RecordedGames(Environment):
    """Recorded games played again, each from where its opening ends, in random order.

    What is observed is the position, and beside it ``EXPERT_MOVE``, int32: what was played there. Whatever is done, the
    recorded move is played. An episode ends with the game, or is truncated where the record ends.
    """

    game: Game
    positions: Position  #: ``[games, ...]``: after the openings
    moves: jax.Array  #: int32 ``[games, moves]`` from there on, and any number after the last
    lengths: jax.Array  #: int32 ``[games]``: how many there are
    id: str = eqx.field(static=True, kw_only=True, default="recorded-games")

    @classmethod
    def of(cls, game: Game, records: GameRecords) -> "RecordedGames":
        """Play ``records``; games without a move of the expert's are left out."""
        lengths = (records.moves >= 0).sum(axis=1) - records.opening
        moves, opening = records.moves[lengths > 0], records.opening[lengths > 0]
        positions, _ = _replayed(game, moves, opening)
        columns = np.minimum(opening[:, None] + np.arange(moves.shape[1]), moves.shape[1] - 1)
        later = np.take_along_axis(moves, columns.astype(np.int64), axis=1).astype(np.int32)
        return cls(game, positions, jnp.asarray(later), jnp.asarray(lengths[lengths > 0], jnp.int32), id=game.id)

    @property
    def agents(self) -> tuple[str, ...]:
        return PLAYERS

    @property
    def observation_space(self) -> gymnasium.Space:
        position: Any = self.game.observation_space
        return gymnasium.spaces.Dict({**position.spaces, EXPERT_MOVE: self.action_space})

    @property
    def action_space(self) -> gymnasium.Space:
        return self.game.action_space

    def reset(self, key: jax.Array) -> tuple[Any, Any]:
        number = jax.random.randint(key, (), 0, len(self.lengths))
        state = {name: leaf[number] for name, leaf in self.positions.items()}, number, jnp.int32(0)
        return state, self._observed(*state)

    def step(self, state: Any, action: jax.Array, key: jax.Array) -> Timestep:
        position, number, played = state
        now = self.game.step(position, self.moves[number, played], key)
        after = now.state, number, played + 1
        truncated = ~now.terminated & (played + 1 >= self.lengths[number])
        return Timestep(after, self._observed(*after), now.reward, now.terminated, truncated)

    def _observed(self, position: Position, number: jax.Array, played: jax.Array) -> Position:
        last = self.moves.shape[1] - 1
        return position | {EXPERT_MOVE: jnp.maximum(self.moves[number, jnp.minimum(played, last)], 0)}


@eqx.filter_jit
def _replayed(game: Game, moves: np.ndarray, plies: np.ndarray) -> tuple[Position, jax.Array]:
    """The positions ``[games, ...]`` after so many ``plies`` ``[games]``, or before the first move that is illegal, and
    how many moves that took."""
    positions, _ = jax.vmap(game.reset)(jax.random.split(jax.random.key(0), len(moves)))

    def forwards(carry: Any, move: jax.Array) -> tuple[Any, None]:
        positions, done = carry
        known = jnp.clip(move, 0, positions["action_mask"].shape[1] - 1) == move
        legal = known & positions["action_mask"][jnp.arange(len(move)), move].astype(bool)
        goes_on = legal & (done[1] == done[0]) & (done[0] < plies)
        now = jax.vmap(game.step, in_axes=(0, 0, None))(positions, move, jax.random.key(0)).state
        kept = jax.vmap(lambda on, *both: jax.tree.map(partial(jnp.where, on), *both))(goes_on, now, positions)
        return (kept, (done[0] + goes_on, done[1] + 1)), None

    nothing = jnp.zeros(len(moves), jnp.int32)
    (positions, (done, _)), _ = jax.lax.scan(forwards, (positions, (nothing, nothing)), jnp.asarray(moves, jnp.int32).T)
    return positions, done
