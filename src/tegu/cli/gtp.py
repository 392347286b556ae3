"""``tegu gtp``: a player of Go for other programs, by the Go Text Protocol."""

import argparse
import os
import secrets
import sys
import threading
from collections.abc import Sequence
from contextlib import redirect_stdout, suppress
from typing import TYPE_CHECKING, BinaryIO, TextIO

from rich.console import Console

from tegu.cli.common import Outcome, Parser, UsageError, add_code, add_runs, count, environment
from tegu.cli.terminal import tell

if TYPE_CHECKING:  # slow to import: not for --help
    from tegu.arena.base import Player
    from tegu.arena.gtp.engine import Engine
    from tegu.environments.games.go import Go

_DESCRIPTION = """\
Play Go for another program, such as Sabaki, GoGui or gogui-twogtp, which starts this command and speaks the Go Text
Protocol (version 2) with it on standard input and output. A PLAYER is a run's name, the beginning of one (the latest is
meant), a folder, or last, and RUN@64 searches with 64 simulations; or random; or mcts:1000, Monte Carlo tree search
with 1000 random rollouts, which both play on boards of any size from 2 to 19."""
_LONGEST = 1 << 16  # characters of a line; what is beyond them is left out


def arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = Parser("gtp", "[PLAYER] [flags]", _DESCRIPTION)
    parser.add_argument("player", metavar="PLAYER", nargs="?", default="last", help="who plays (last)")
    parser.add_argument("--seed", type=count, metavar="N", help="random seed of the player (random)")
    parser.add_argument(
        "--seed-index", type=count, metavar="I", default=0, help="index of the seed to use, if the run has several (0)"
    )
    parser.add_argument(
        "--game", type=environment, metavar="GAME", help="the board to begin with (the run's, else go-9x9)"
    )
    add_code(parser)
    add_runs(parser)
    return parser.parse(words)


def run(args: argparse.Namespace, out: Console) -> Outcome:
    import jax

    from tegu import __version__
    from tegu.arena.gtp.engine import Engine
    from tegu.cli.players import game_named, game_of, make_player, player_spec
    from tegu.core.errors import TeguError
    from tegu.environments.games.go import Go

    answers = sys.stdout
    with redirect_stdout(sys.stderr):  # nothing but answers may come out
        given = game_named(args.game) if args.game else None
        spec = player_spec(args.player, given, args)
        if spec.command is not None:
            raise UsageError(f"{spec.name} speaks the Go Text Protocol already")
        game = game_of([spec], given or (Go() if spec.agent is None else None))
        if not isinstance(game, Go):
            raise TeguError(f"{game.id} is not Go, which is what the Go Text Protocol is for")

        def make(board: "Go") -> "Player":
            """A run is loaded again: its search plays by the rules of the board."""
            return make_player(player_spec(args.player, board, args), board, args)

        key = jax.random.key(secrets.randbelow(2**31) if args.seed is None else args.seed)
        engine = Engine(make, game, key, __version__, tell)
        return Outcome({"player": spec.name, "answers": serve(engine, _own(sys.stdin.buffer), answers)})


def serve(engine: "Engine", questions: BinaryIO, answers: TextIO) -> int:
    """Answer line by line until ``quit`` or the end. Returns the number of answers."""
    commands, given = Commands(questions), 0
    while engine.open and (line := commands.next()):
        said = False
        for piece in engine.answers(line.decode("latin-1"), commands):
            answers.write(piece)
            answers.flush()
            said = True
        given += said
    return given


def _own(stream: BinaryIO) -> BinaryIO:
    """The same input once more: Python's end would wait in vain for standard input while a thread reads from it."""
    try:
        return os.fdopen(os.dup(stream.fileno()), "rb")
    except OSError:  # not a file of the system
        return stream


class Commands:
    """Lines of a stream, with a look at whether the next one has come while something else is done.

    Nothing is read that was not asked for: what follows ``quit`` is left in the stream.
    """

    def __init__(self, stream: BinaryIO):
        self.ended = False  #: whether nothing is left, as far as is known
        self._stream, self._line = stream, b""
        self._reader: threading.Thread | None = None  # of one line

    def next(self) -> bytes:
        """The next line, nothing at the end."""
        if self._reader is None:
            self._read()
        else:
            self._reader.join()
            self._reader = None
        return self._line

    def came(self, seconds: float) -> bool:
        """Whether the next line has come, or the end. Waits for it so long."""
        if self._reader is None:
            self._reader = threading.Thread(target=self._read, daemon=True)
            self._reader.start()
        self._reader.join(seconds)
        return not self._reader.is_alive()

    def _read(self) -> None:
        self._line = b""
        with suppress(OSError):  # what cannot be read is the end, too
            self._line = rest = self._stream.readline(_LONGEST)
            while rest and not rest.endswith(b"\n"):
                rest = self._stream.readline(_LONGEST)
        self.ended = not self._line
