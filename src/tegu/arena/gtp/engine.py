"""A player as a program that speaks the Go Text Protocol: from a line to its answer, without input or output."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace

import jax
import numpy as np

from tegu.arena.base import Explains, Explanation, Player
from tegu.arena.go_board import after, laid, score, score_text, with_to_play
from tegu.arena.gtp import analysis
from tegu.arena.gtp.analysis import Input
from tegu.arena.gtp.handicap import fixed, most_fixed
from tegu.arena.gtp.text import Command, answer, colour, parsed, real, vertex, whole, word
from tegu.arena.players import MinimaxPlayer
from tegu.arena.positions import begin, take
from tegu.arena.sgf.record import MOST_KOMI, naming, read
from tegu.arena.sgf.replay import replay
from tegu.core.errors import TeguError
from tegu.environments.games.base import Position
from tegu.environments.games.go import LARGEST, SMALLEST, Go
from tegu.gtp.program import COLOURS, Refused

_PLAIN = str.maketrans("●○·", "XO.")  # the protocol is ASCII


class Engine:
    """A board, and the player who moves on it.

    ``make`` makes the player for a board size; it raises ``TeguError`` if it cannot play there. The rules are
    ``game``'s with three differences, since a controller may want more than a game has: either colour may move twice in
    a row, moves may follow two passes, and no board may come again (positional superko). ``tell`` hears what the
    protocol has no words for: why a file cannot be loaded.
    """

    def __init__(
        self,
        make: Callable[[Go], Player],
        game: Go,
        key: jax.Array,
        version: str,
        tell: Callable[[str], object] = lambda text: None,
    ):
        self.open = True  #: until it was told to quit
        self._make, self._key, self._version, self._tell = make, key, version, tell
        self._game, self._player = game, make(game)
        self._positions = [begin(game, 1)]  # batches of one: the first, and one for each move
        self._commands: dict[str, Callable[[list[str]], str]] = {
            "protocol_version": lambda words: "2",
            "name": lambda words: f"Tegu {self._player.name}",
            "version": lambda words: self._version,
            "known_command": lambda words: str(word(words, 0) in self._names()).lower(),
            "list_commands": lambda words: "\n".join(sorted(self._names())),
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
            "loadsgf": self._loadsgf,
        }
        self._analyses = {
            f"{words}{kind}": (kind == "genmove_analyze", words == "lz-")  # whether it moves, and in Leela Zero's words
            for words in ("lz-", "kata-")
            for kind in ("analyze", "genmove_analyze")
        }

    def answers(self, line: str, commands: Input) -> Iterator[str]:
        """What to say to a line, piece by piece: ASCII that ends with an empty line; nothing where nothing was asked.

        An analysis goes on until another of the ``commands`` comes.
        """
        asked = parsed(line)
        if asked is None:
            return
        begun = False
        try:
            if asked.name in self._analyses:
                for piece in self._analysed(asked, commands, *self._analyses[asked.name]):
                    yield piece if begun else f"={asked.id}\n{piece}"
                    begun = True
                yield "\n"
                return
            if asked.name not in self._commands:
                raise Refused("unknown command")
            text, good = self._commands[asked.name](asked.words), True
        except TeguError as error:
            text, good = str(error), False
        yield answer(asked.id, text.encode("ascii", "replace").decode(), good)

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
        if abs(komi) > MOST_KOMI:
            raise Refused("unacceptable komi")
        self._become(replace(self._game, komi=komi))
        self._positions = [position | {"komi": np.array([komi], np.float32)} for position in self._positions]
        return ""

    def _become(self, game: Go) -> None:
        """Play ``game`` from now on. Of another komi a player knows by the positions, unless it has solved the game."""
        solved = isinstance(self._player, MinimaxPlayer) and game != self._game
        if solved or game != replace(self._game, komi=game.komi):
            self._player = self._make(game)
        self._game = game

    def _clear_board(self, words: list[str]) -> str:
        self._positions = [begin(self._game, 1)]
        return ""

    def _play(self, words: list[str]) -> str:
        side, action = colour(word(words, 0)), vertex(self._game, word(words, 1))
        position = self._after(self._with_to_play(side), action)
        if position is None:
            raise Refused("illegal move")
        self._positions.append(position)
        return ""

    def _genmove(self, words: list[str]) -> str:
        action, position = self._chosen(colour(word(words, 0)))
        self._positions.append(position)
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
        except TeguError as error:
            raise Refused("bad vertex list") from error

    def _must_be_empty(self) -> None:
        if self._positions[-1]["board"].any():
            raise Refused("board not empty")

    def _handicap(self, actions: list[int]) -> str:
        """Black stones with which the game begins; White moves next."""
        self._positions = [laid(self._game, dict.fromkeys(actions, 0), 1)]
        return " ".join(self._game.action_name(action) for action in actions)

    def _loadsgf(self, words: list[str]) -> str:
        """The position before a move, or at the end of the record."""
        path = os.fsdecode(word(words, 0).encode("latin-1", "replace"))  # as the bytes of the line have it
        moves = max(whole(words[1]) - 1, 0) if len(words) > 1 else None
        try:
            record = read(path)
            komi = self._game.komi if record.komi is None else record.komi
            game = replace(self._game, size=record.size, komi=komi, id=f"go-{record.size}x{record.size}")
            with naming(path):
                found = replay(game, record, moves)
            if game != self._game:
                self._become(game)
        except TeguError as error:
            self._tell(str(error))
            raise Refused("cannot load file") from error
        self._positions = [*found.before, found.last]
        return ""

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
        return score_text(score(self._game, self._positions[-1]))

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

    def _names(self) -> set[str]:
        return {*self._commands, *self._analyses}

    def _analysed(self, asked: Command, commands: Input, moves: bool, leela: bool) -> Iterator[str]:
        """The lines of an analysis; with ``moves`` of one search, of which the best move is played."""
        wanted = analysis.wanted(asked.words)
        here = self._with_to_play(int(self._positions[-1]["to_play"][0]) if wanted.side is None else wanted.side)
        allowed = dict[int, Position | None]()  # positions after moves: None where a board would come again

        def explain() -> Explanation | None:
            player, position = self._player, take(here, 0)
            return player.explain(position, self._fresh_key()) if isinstance(player, Explains) else None

        def best(found: Explanation) -> list[int]:
            actions = analysis.ranked(found)
            allowed.update({each: self._after(here, each) for each in actions if each not in allowed})
            return [each for each in actions if allowed[each] is not None]

        def written(found: Explanation) -> str:
            return analysis.line(self._game, found, best(found), wanted, leela)

        if not moves:
            yield from analysis.stream(explain, written, wanted.interval, commands, self._player.name)
            return
        found = explain()
        if found is not None and (actions := best(found)):
            action, position = actions[0], allowed[actions[0]]
            yield written(found)
        else:
            action, position = self._chosen(int(here["to_play"][0]))
        assert position is not None  # ``best`` has only those
        self._positions.append(position)
        yield f"play {self._game.action_name(action)}\n"

    def _chosen(self, side: int) -> tuple[int, Position]:
        """What the player does for ``side``, and the position after it. What would repeat a board is not offered."""
        here = self._with_to_play(side)
        while True:
            action = int(self._player.act(here, self._fresh_key())[0])
            if not here["action_mask"][0, action]:
                raise TeguError(f"{self._player.name} wants {self._game.action_name(action)}, which is illegal")
            position = self._after(here, action)
            if position is not None:
                return action, position
            mask = here["action_mask"].copy()
            mask[0, action] = False
            here = here | {"action_mask": mask}

    def _fresh_key(self) -> jax.Array:
        self._key, key = jax.random.split(self._key)
        return key

    def _with_to_play(self, side: int) -> Position:
        """The position with ``side`` to move."""
        return with_to_play(self._game, self._positions[-1], side)

    def _after(self, position: Position, action: int) -> Position | None:
        """The position after a move, None if it is illegal or repeats a board."""
        if not position["action_mask"][0, action]:
            return None
        found = after(self._game, position, action)
        repeats = any(np.array_equal(found["board"], before["board"]) for before in self._positions)
        return None if repeats and action != self._game.points else found
