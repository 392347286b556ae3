"""``tegu play``: a person against an agent, in the terminal."""

import argparse
import difflib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console

from tegu.cli.common import Outcome, Parser, add_code, add_runs, console, count, environment, working

if TYPE_CHECKING:  # slow to import: not for --help
    from tegu.cli.players import Entrant
    from tegu.environments.games.base import Game

_DESCRIPTION = """\
Play a board game in the terminal against a trained agent, or against whom --opponent names. RUN is a run's name, the
beginning of one, a folder, or last, and RUN@64 searches with 64 simulations; the name of a game will do, too.
While you play, type a move such as b2 or 4, or hint, undo or quit."""
_DEFAULT = "mcts:1000"  # the opponent where there is no run


def arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = Parser("play", "[RUN|GAME] [flags]", _DESCRIPTION)
    parser.add_argument(
        "selector", type=environment, metavar="RUN", nargs="?", default="last", help="a run (last), or a game"
    )
    parser.add_argument(
        "--opponent", metavar="PLAYER", help=f"random, minimax, mcts:1000 or a run (the RUN; without one {_DEFAULT})"
    )
    parser.add_argument("--side", choices=("first", "second"), default="first", help="which you play (first)")
    parser.add_argument("--seed", type=count, metavar="N", help="decides the opponent's chance (a new one every time)")
    parser.add_argument("--seed-index", type=count, metavar="I", default=0, help="which of the run's seeds (0)")
    parser.add_argument("--game", type=environment, metavar="GAME", help="the game, where the run names code to import")
    add_code(parser)
    add_runs(parser)
    return parser.parse(words)


def run(args: argparse.Namespace, out: Console) -> Outcome:
    from tegu.cli.human_game import Sitting
    from tegu.cli.players import seated

    with working(args, "setting up the board"):
        game, entrant = _resolve(args)
        opponent = seated(entrant, game, args)
    screen = console(sys.stdout, quiet=args.quiet)  # not ``out``: with --json the game is played on stderr
    screen.print(f"{game.id} against {opponent.name}. Type a move, hint, undo or quit.\n", style="bold")
    sitting = Sitting(game, opponent, screen, args)
    try:
        reward = sitting.play()
    except (EOFError, KeyboardInterrupt):  # Ctrl-D and Ctrl-C are as good as quit
        screen.print()
        reward = None
    result = None if reward is None else {1: "won", 0: "draw", -1: "lost"}[int(reward)]
    ending = {"won": "you win", "draw": "a draw", "lost": f"{opponent.name} wins", None: "left"}[result]
    screen.print(f"{ending} after {len(sitting.moves)} moves")
    return Outcome(
        {"game": game.id, "opponent": opponent.name, "side": args.side, "moves": sitting.moves, "result": result}
    )


def _resolve(args: argparse.Namespace) -> "tuple[Game, Entrant]":
    """The game and the opponent. A game's name may also be the beginning of a run's: then the run is meant."""
    from tegu.cli.players import GAMES, NoPlayer, entrant, game_named, game_of
    from tegu.core.code import is_code

    given = game_named(args.game) if args.game else None
    try:
        named = entrant(args.selector, given, args)
    except NoPlayer as error:
        near = difflib.get_close_matches(args.selector, GAMES, n=1)
        if args.selector not in GAMES and not is_code(args.selector):
            hint = f"did you mean {near[0]}?" if near else f"{error}; a game will do: {' or '.join(GAMES)}"
            raise NoPlayer(f"there is no run or game {args.selector!r}: {hint}") from error
        given, named = game_named(args.selector), entrant(_DEFAULT, None, args)
    opponent = entrant(args.opponent, given, args) if args.opponent else named
    return game_of([named, opponent], given), opponent
