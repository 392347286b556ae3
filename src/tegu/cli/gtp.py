"""``tegu gtp``: a player of Go for other programs, by the Go Text Protocol."""

import argparse
import secrets
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, BinaryIO, TextIO

from rich.console import Console

from tegu.cli.common import Outcome, Parser, UsageError, add_code, add_runs, count, environment

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
        engine = Engine(make, game, key, __version__)
        return Outcome({"player": spec.name, "answers": serve(engine, sys.stdin.buffer, answers)})


def serve(engine: "Engine", questions: BinaryIO, answers: TextIO) -> int:
    """Answer line by line until ``quit`` or the end. Returns the number of answers."""
    given = 0
    while engine.open and (line := questions.readline(_LONGEST)):
        rest = line
        while rest and not rest.endswith(b"\n"):
            rest = questions.readline(_LONGEST)
        answer = engine.answer(line.decode("latin-1"))
        if answer is not None:
            answers.write(answer)
            answers.flush()
            given += 1
    return given
