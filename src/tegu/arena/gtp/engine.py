"""A player as a program that speaks the Go Text Protocol: from a line to its answer, without input or output."""

from collections.abc import Callable
from dataclasses import replace

import jax
import numpy as np

from tegu.arena.base import Player
from tegu.arena.gtp.handicap import fixed, most_fixed
from tegu.arena.gtp.text import COLOURS, Refused, answer, colour, parsed, real, vertex, whole, word
from tegu.arena.positions import begin, play, take
from tegu.core.errors import TeguError
from tegu.environments.games.base import Position
from tegu.environments.games.go import LARGEST, SMALLEST, Go
from tegu.environments.games.go_rules import areas

_areas = jax.jit(areas)
_MOST_KOMI = 1000.0
_PLAIN = str.maketrans("●○·", "XO.")  # the protocol is ASCII


class Engine:
    """A board, and the player who moves on it.

    ``make`` makes the player for a board size and komi; it raises ``TeguError`` if it cannot play there. The rules are
    ``game``'s with three differences, since a controller may want more than a game has: either colour may move twice in
    a row, moves may follow two passes, and no board may come again (positional superko).
    """

    def __init__(self, make: Callable[[Go], Player], game: Go, key: jax.Array, version: str):
        self.open = True  #: until it was told to quit
        self._make, self._key, self._version = make, key, version
        self._game, self._player = game, make(game)
        self._positions = [begin(game, 1)]  # batches of one: the first, and one for each move
        self._commands: dict[str, Callable[[list[str]], str]] = {
            "protocol_version": lambda words: "2",
            "name": lambda words: f"Tegu {self._player.name}",
            "version": lambda words: self._version,
            "known_command": lambda words: str(word(words, 0) in self._commands).lower(),
            "list_commands": lambda words: "\n".join(sorted(self._commands)),
            "quit": self._quit,
            "boardsize": self._boardsize,
            "clear_board": self._clear_board,
            "komi": self._komi,
            "play": self._play,
            "genmove": self._genmove,
            "reg_genmove": lambda words: self._game.action_name(self._chosen(colour(word(words, 0)))[0]),
            "undo": self._undo,
            "fixed_handicap": self._fixed_handicap,
            "place_free_handicap": self._place_free_handicap,
            "set_free_handicap": self._set_free_handicap,
            "time_settings": self._time_settings,
            "time_left": self._time_left,
            "final_score": self._final_score,
            "final_status_list": self._final_status_list,
            "showboard": self._showboard,
        }

    def answer(self, line: str) -> str | None:
        """What to say to a line: ASCII that ends with an empty line, or nothing at all where nothing was asked."""
        asked = parsed(line)
        if asked is None:
            return None
        try:
            if asked.name not in self._commands:
                raise Refused("unknown command")
            text, good = self._commands[asked.name](asked.words), True
        except TeguError as error:
            text, good = str(error), False
        return answer(asked.id, text.encode("ascii", "replace").decode(), good)

    def _quit(self, words: list[str]) -> str:
        self.open = False
        return ""

    def _boardsize(self, words: list[str]) -> str:
        size = whole(word(words, 0))
        if not SMALLEST <= size <= LARGEST:
            raise Refused("unacceptable size")
        if size != self._game.size:
            try:
                self._become(replace(self._game, size=size, id=f"go-{size}x{size}"))
            except TeguError as error:
                raise Refused("unacceptable size") from error
        return self._clear_board([])

    def _komi(self, words: list[str]) -> str:
        komi = real(word(words, 0))
        if abs(komi) > _MOST_KOMI:
            raise Refused("unacceptable komi")
        if komi != self._game.komi:
            self._become(replace(self._game, komi=komi))
        return ""

    def _become(self, game: Go) -> None:
        self._player = self._make(game)
        self._game = game

    def _clear_board(self, words: list[str]) -> str:
        self._positions = [begin(self._game, 1)]
        return ""

    def _play(self, words: list[str]) -> str:
        side, action = colour(word(words, 0)), vertex(self._game, word(words, 1))
        after = self._after(self._turned(side), action)
        if after is None:
            raise Refused("illegal move")
        self._positions.append(after)
        return ""

    def _genmove(self, words: list[str]) -> str:
        action, after = self._chosen(colour(word(words, 0)))
        self._positions.append(after)
        return self._game.action_name(action)

    def _undo(self, words: list[str]) -> str:
        if len(self._positions) == 1:
            raise Refused("cannot undo")
        self._positions.pop()
        return ""

    def _fixed_handicap(self, words: list[str]) -> str:
        stones = whole(word(words, 0))
        self._must_be_empty()
        if not 2 <= stones <= most_fixed(self._game):
            raise Refused("invalid number of stones")
        return self._handicap(fixed(self._game, stones))

    def _place_free_handicap(self, words: list[str]) -> str:
        """On the fixed places, if need be fewer stones than asked for, as the protocol allows."""
        stones = whole(word(words, 0))
        self._must_be_empty()
        if not 2 <= stones < self._game.points or not most_fixed(self._game):
            raise Refused("invalid number of stones")
        return self._handicap(fixed(self._game, min(stones, most_fixed(self._game))))

    def _set_free_handicap(self, words: list[str]) -> str:
        self._must_be_empty()
        try:
            actions = [vertex(self._game, each) for each in words]
            if len(actions) < 2 or len(set(actions)) < len(actions) or self._game.points in actions:
                raise Refused("two points or more, each once")
            return self._handicap(actions)
        except Refused as error:
            raise Refused("bad vertex list") from error

    def _must_be_empty(self) -> None:
        if self._positions[-1]["board"].any():
            raise Refused("board not empty")

    def _handicap(self, actions: list[int]) -> str:
        """Black stones with which the game begins; White moves next."""
        position = begin(self._game, 1)
        for number, action in enumerate(actions):
            here = self._passed(position) if number else position
            if not here["action_mask"][0, action]:
                raise Refused("illegal move")
            position = self._step(here, action)
        self._positions = [position]
        return " ".join(self._game.action_name(action) for action in actions)

    def _time_settings(self, words: list[str]) -> str:
        """Nothing comes of it: how long a player thinks is a matter of its simulations."""
        for index in range(3):
            whole(word(words, index))
        return ""

    def _time_left(self, words: list[str]) -> str:
        colour(word(words, 0))
        for index in (1, 2):
            whole(word(words, index))
        return ""

    def _final_score(self, words: list[str]) -> str:
        black, white = _areas(self._positions[-1]["board"][0])
        ahead = int(black) - int(white) - self._game.komi
        return f"{'B' if ahead > 0 else 'W'}+{abs(ahead):.10g}" if ahead else "0"

    def _final_status_list(self, words: list[str]) -> str:
        """Every chain on a line if those alive are asked for, else none: nothing is taken off the board."""
        status = word(words, 0)
        if status not in ("alive", "seki", "dead"):
            raise Refused("syntax error")
        chains: dict[int, list[str]] = {}
        for action, chain in enumerate(self._positions[-1]["chain"][0].ravel()):
            if chain >= 0 and status == "alive":
                chains.setdefault(int(chain), []).append(self._game.action_name(action))
        return "\n".join(" ".join(points) for points in chains.values())

    def _showboard(self, words: list[str]) -> str:
        position = take(self._positions[-1], 0)
        turn = COLOURS[int(position["to_play"])]
        return f"\n{self._game.text(position).translate(_PLAIN)}\n{turn} to play, komi {self._game.komi:g}"

    def _chosen(self, side: int) -> tuple[int, Position]:
        """What the player does for ``side``, and the position after it. What would repeat a board is not offered."""
        here = self._turned(side)
        while True:
            self._key, key = jax.random.split(self._key)
            action = int(self._player.act(here, key)[0])
            if not here["action_mask"][0, action]:
                raise TeguError(f"{self._player.name} wants {self._game.action_name(action)}, which is illegal")
            after = self._after(here, action)
            if after is not None:
                return action, after
            mask = here["action_mask"].copy()
            mask[0, action] = False
            here = here | {"action_mask": mask}

    def _turned(self, side: int) -> Position:
        """The position with ``side`` to move."""
        position = self._positions[-1]
        return position if position["to_play"][0] == side else self._passed(position)

    def _after(self, position: Position, action: int) -> Position | None:
        """The position after a move, None if it is illegal or repeats a board."""
        if not position["action_mask"][0, action]:
            return None
        after = self._step(position, action)
        repeats = any(np.array_equal(after["board"], before["board"]) for before in self._positions)
        return None if repeats and action != self._game.points else after

    def _passed(self, position: Position) -> Position:
        """The other side to move, as if nothing had happened."""
        return self._step(position, self._game.points) | {"passed": np.zeros(1, np.int32)}

    def _step(self, position: Position, action: int) -> Position:
        """After a move that is legal. The game goes on, also after two passes and at its last move."""
        rules = replace(self._game, komi=0.0)  # it does not matter here, and every other one would be compiled
        moves = np.minimum(position["moves"], self._game.most_moves - 2)
        before = position | {"passed": np.zeros(1, np.int32), "moves": moves.astype(np.int32)}
        return play(rules, before, np.array([action])).state
