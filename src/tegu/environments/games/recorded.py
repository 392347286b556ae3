"""Recorded games: as arrays, in files, and as an environment that plays them again."""

import os
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from tegu.core.errors import TeguError
from tegu.environments.base import Environment, Timestep
from tegu.environments.games.base import PLAYERS, Game, Position

EXPERT_MOVE = "expert_move"  #: what was played next in the recorded game
EXPERT = "expert"  #: whether that is to be learned from


class GameRecords(NamedTuple):
    """Games from their first position on, such as an expert's."""

    moves: np.ndarray  #: int16 ``[games, moves]``: actions, -1 after a record's last
    expert: np.ndarray  #: bool ``[games, moves]``: which of them are to be learned from


def game_records(game: Game, moves: Any, expert: Any = None) -> GameRecords:
    """Records from ``moves`` ``[games, moves]``, -1 after a game's last.

    ``expert``, bool ``[games, moves]``, says which of them are to be learned from; None: all.
    Raises ``TeguError`` naming the first move that is illegal, or what else does not fit.
    """
    actions = np.asarray(moves)
    if actions.ndim != 2 or actions.dtype.kind not in "iu" or not actions.size:
        got = f"{actions.dtype}{list(actions.shape)}"
        raise TeguError(f"recorded moves must be whole numbers [games, moves], got {got}")
    learned = np.ones(actions.shape, bool) if expert is None else np.asarray(expert)
    if learned.dtype != bool or learned.shape != actions.shape:
        expected = f"bool{list(actions.shape)}, as moves"
        raise TeguError(f"expert must be {expected}, got {learned.dtype}{list(learned.shape)}")
    n_actions = int(game.action_space.n)  # type: ignore[attr-defined]
    recorded = np.logical_and.accumulate(actions >= 0, axis=1)
    known = np.where(recorded, np.clip(actions, -1, n_actions), -1).astype(np.int16)
    lengths, legal = recorded.sum(axis=1), legal_moves(game, known)
    if wrong := np.flatnonzero(legal < lengths).tolist():
        number, move = wrong[0], int(legal[wrong[0]])
        raise TeguError(
            f"game {number} of the recorded games: action {int(actions[number, move])} at move {move} is illegal in "
            f"{game.id}, or the game was over"
        )
    if not (learned & recorded).any():
        raise TeguError("the recorded games hold no move of the expert's")
    return GameRecords(known, learned & recorded)


def legal_moves(game: Game, moves: np.ndarray) -> np.ndarray:
    """How many ``moves`` ``[games, moves]`` of each game are legal, up to the first that is not: int ``[games]``."""
    return np.asarray(_legal_moves(game, jnp.asarray(moves, jnp.int32)))


def save_records(path: str | Path, records: GameRecords) -> None:
    """Write records to a file, whole or not at all; ``load_records`` reads it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    unfinished.unlink(missing_ok=True)
    try:
        with unfinished.open("xb") as file:
            np.savez_compressed(file, **records._asdict())
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def load_records(path: str | Path, game: Game) -> GameRecords:
    """Records from a file with the arrays ``moves`` and, if not all are the expert's, ``expert``, as NumPy's ``savez``
    writes them (see ``game_records``). Raises ``TeguError``; nothing but numbers is read."""
    try:
        file = np.load(path, allow_pickle=False)
        if not isinstance(file, np.lib.npyio.NpzFile):
            raise ValueError("a single array")
        with file:
            arrays = {name: file[name] for name in file.files if name in GameRecords._fields}
    except OSError as error:
        raise TeguError(f"cannot read the recorded games {path}: {error.strerror or error}") from error
    except Exception as error:  # whatever a damaged archive brings about
        raise TeguError(f"{path} does not hold recorded games: expected a .npz file with an array moves") from error
    if "moves" not in arrays:
        raise TeguError(f"{path} does not hold recorded games: it has no array moves")
    try:
        return game_records(game, **arrays)
    except TeguError as error:
        raise TeguError(f"{path}: {error}") from error


class RecordedGames(Environment):
    """Recorded games played again, in random order.

    What is observed is the position, and beside it ``EXPERT_MOVE``, int32: what was played there, and ``EXPERT``, bool:
    whether that is to be learned from. Whatever is done, the recorded move is played. An episode ends with the game, or
    is truncated where the record ends.
    """

    game: Game
    moves: jax.Array  #: int32 ``[games, moves]``, 0 after a record's last
    expert: jax.Array  #: bool ``[games, moves]``
    lengths: jax.Array  #: int32 ``[games]``
    id: str = eqx.field(static=True, kw_only=True, default="recorded-games")

    @classmethod
    def of(cls, game: Game, records: GameRecords) -> "RecordedGames":
        """Play ``records``; games without a move of the expert's are left out."""
        moves, expert = (array[records.expert.any(axis=1)] for array in records)
        lengths = (moves >= 0).sum(axis=1)
        played = jnp.asarray(np.maximum(moves, 0), jnp.int32)
        return cls(game, played, jnp.asarray(expert), jnp.asarray(lengths, jnp.int32), id=game.id)

    @property
    def agents(self) -> tuple[str, ...]:
        return PLAYERS

    @property
    def observation_space(self) -> gymnasium.Space:
        position: Any = self.game.observation_space
        own = {EXPERT_MOVE: self.action_space, EXPERT: gymnasium.spaces.Discrete(2)}
        return gymnasium.spaces.Dict({**position.spaces, **own})

    @property
    def action_space(self) -> gymnasium.Space:
        return self.game.action_space

    def reset(self, key: jax.Array) -> tuple[Any, Any]:
        position = self.game.first()
        state = position, jax.random.randint(key, (), 0, len(self.lengths)), jnp.int32(0)
        return state, self._observed(*state)

    def step(self, state: Any, action: jax.Array, key: jax.Array) -> Timestep:
        position, number, played = state
        now = self.game.step(position, self.moves[number, played], key)
        after = now.state, number, played + 1
        truncated = ~now.terminated & (played + 1 >= self.lengths[number])
        return Timestep(after, self._observed(*after), now.reward, now.terminated, truncated)

    def _observed(self, position: Position, number: jax.Array, played: jax.Array) -> Position:
        here = number, jnp.minimum(played, self.moves.shape[1] - 1)
        return position | {EXPERT_MOVE: self.moves[here], EXPERT: self.expert[here]}


@eqx.filter_jit
def _legal_moves(game: Game, moves: jax.Array) -> jax.Array:
    """``legal_moves``, compiled."""

    def forwards(carry: Any, move: jax.Array) -> tuple[Any, None]:
        position, legal, goes_on = carry
        mask = position["action_mask"].astype(bool)
        goes_on &= (move >= 0) & (move < len(mask)) & mask[jnp.clip(move, 0, len(mask) - 1)]
        return (game.step(position, move, jax.random.key(0)).state, legal + goes_on, goes_on), None

    def of_game(moves: jax.Array) -> jax.Array:
        position = game.first()
        return jax.lax.scan(forwards, (position, jnp.int32(0), jnp.bool_(True)), moves)[0][1]

    return jax.vmap(of_game)(moves)
