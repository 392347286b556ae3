"""Other programs as players: one process for each game, so that games go on side by side."""

import os
import weakref
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, Self

import jax
import numpy as np

from tegu.arena.base import FORFEIT, RESIGNATION
from tegu.core.errors import TeguError
from tegu.environments.games.base import Game, Position
from tegu.environments.games.go import Go
from tegu.gtp.program import COLOURS, Program, Refused, words_of

TIMEOUT = 300.0  #: seconds


class _Table(NamedTuple):
    """A process and what lies on its board."""

    program: Program
    moves: list[int]


class GTPPlayer:
    """The program that ``command`` starts, which must speak the Go Text Protocol.

    A game in which it resigns or makes an illegal move is lost, and counted in ``forfeits``. Raises ``TeguError`` where
    it crashes, does not answer within ``timeout`` seconds, or refuses a move that is legal: then a match says nothing.
    ``close`` ends the processes, and so does the end of a ``with`` block. Rules are the program's own: see that they
    are the same.
    """

    def __init__(self, game: Game, command: str, timeout: float = TIMEOUT):
        self.name = f"gtp:{command}"
        if not isinstance(game, Go):
            raise TeguError(f"{self.name} plays Go, not {game.id}")
        words_of(command)
        self.forfeits = Counter[str]()  #: games lost so: ``"resigned"``, ``"illegal_moves"``
        self._game, self._command, self._timeout = game, command, timeout
        self._tables = dict[int, _Table]()
        self._end = weakref.finalize(self, _close, self._tables)  # also when Python ends

    def act(self, positions: Position, key: jax.Array) -> np.ndarray:
        raise TeguError(f"{self.name} cannot play here: it must know the moves that led to a position")

    def act_after(self, moves: np.ndarray, positions: Position, games: np.ndarray, key: jax.Array) -> np.ndarray:
        """Bring the board of each game up to date, and ask for a move. As many at a time as there are cores."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            try:
                tables = [self._table(int(number)) for number in games]
                actions = list(pool.map(self._choice, tables, moves.tolist(), positions["action_mask"]))
            except BaseException:  # Ctrl-C, too
                pool.shutdown(wait=False, cancel_futures=True)
                self.close()  # so that no thread waits for an answer
                raise
        return np.array(actions, np.int32)

    def close(self) -> None:
        """End all processes. They are started again when they are asked again."""
        _close(self._tables)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _table(self, number: int) -> _Table:
        if number not in self._tables:
            self._tables[number] = _Table(Program(self._command, self._timeout), [FORFEIT])  # no game begins so
        return self._tables[number]

    def _choice(self, table: _Table, moves: list[int], mask: np.ndarray) -> int:
        """What the program does after ``moves``."""
        program, known = table
        if moves[: len(known)] != known:
            known.clear()
            for question in (f"boardsize {self._game.size}", "clear_board", f"komi {self._game.komi:g}"):
                self._must(program, question)
        for ply in range(len(known), len(moves)):
            self._must(program, f"play {COLOURS[ply % 2]} {self._game.action_name(moves[ply])}")
        known[:] = moves
        said = self._must(program, f"genmove {COLOURS[len(moves) % 2]}")
        action = self._action(said, mask)
        known.append(action)  # after a FORFEIT nothing goes on
        return action

    def _action(self, said: str, mask: np.ndarray) -> int:
        """The action that the program names, ``FORFEIT`` for none that is legal, or ``RESIGNATION``."""
        if said.lower() == "resign":
            self.forfeits["resigned"] += 1
            return RESIGNATION
        try:
            action = self._game.action_of(said)
        except TeguError:
            action = FORFEIT
        if action == FORFEIT or not mask[action]:
            self.forfeits["illegal_moves"] += 1
            return FORFEIT
        return action

    def _must(self, program: Program, question: str) -> str:
        try:
            return program.ask(question)
        except Refused as error:
            raise TeguError(f"{self.name} refuses {question!r}: {error}") from error


def _close(tables: dict[int, _Table]) -> None:
    while tables:
        tables.popitem()[1].program.close()
