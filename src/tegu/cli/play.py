"""``tegu play``: a person against an agent, in the terminal."""

import argparse
import difflib
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from rich.console import Console

from tegu.cli.common import Outcome, Parser, add_code, add_runs, add_timeout, console, count, environment, working

if TYPE_CHECKING:  # slow to import: not for --help
    from tegu.arena.base import Player
    from tegu.cli.players import PlayerSpec
    from tegu.environments.games.base import Game

_DESCRIPTION = """\
Play a board game in the terminal against a trained agent, or against the player that --opponent names. RUN is a run's
name, the beginning of one (the latest is meant), a folder, or last, and RUN@64 searches with 64 simulations; the name
of a game works, too. While you play, type a move such as b2 or 4, or hint, score, undo, resign or quit."""
_DEFAULT = "mcts:1000"  # the opponent where there is no run


def arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = Parser("play", "[RUN|GAME] [flags]", _DESCRIPTION)
    parser.add_argument(
        "selector", type=environment, metavar="RUN", nargs="?", default="last", help="a run (last), or a game"
    )
    parser.add_argument(
        "--opponent",
        metavar="PLAYER",
        help=f"random, minimax, mcts:1000, gtp:COMMAND or a run (default: RUN; without a run {_DEFAULT})",
    )
    parser.add_argument(
        "--side", choices=("first", "second"), default="first", help="whether you move first or second (first)"
    )
    parser.add_argument("--seed", type=count, metavar="N", help="random seed of the opponent (random)")
    parser.add_argument(
        "--seed-index", type=count, metavar="I", default=0, help="index of the seed to use, if the run has several (0)"
    )
    parser.add_argument("--game", type=environment, metavar="GAME", help="the game, if it is your own code")
    add_timeout(parser)
    add_code(parser)
    add_runs(parser)
    return parser.parse(words)


def run(args: argparse.Namespace, out: Console) -> Outcome:
    from tegu.cli.players import seated

    with ExitStack() as stack:
        with working(args, "setting up the board"):
            game, spec = _resolve(args)
            (opponent,) = stack.enter_context(seated([spec], game, args))
        return _played(game, opponent, args)


def _played(game: "Game", opponent: "Player", args: argparse.Namespace) -> Outcome:
    from tegu.cli.human_game import HumanGame

    screen = console(sys.stdout, quiet=args.quiet)  # not ``out``: with --json the game is played on stderr
    screen.print(f"{game.id} against {opponent.name}. Type a move, hint, score, undo, resign or quit.\n", style="bold")
    human = HumanGame(game, opponent, screen, args)
    try:
        reward = human.play()
    except (EOFError, KeyboardInterrupt):  # Ctrl-D and Ctrl-C are as good as quit
        screen.print()
        reward = None
    result = None if reward is None else {1: "won", 0: "draw", -1: "lost"}[int(reward)]
    ending = {"won": "you win", "draw": "a draw", "lost": f"{opponent.name} wins", None: "left"}[result]
    screen.print(f"{ending} after {len(human.moves)} moves")
    return Outcome(
        {"game": game.id, "opponent": opponent.name, "side": args.side, "moves": human.moves, "result": result}
    )


def _resolve(args: argparse.Namespace) -> "tuple[Game, PlayerSpec]":
    """The game and the opponent. A game's name may also be the beginning of a run's: then the run is meant."""
    from tegu.cli.players import GAMES, UnknownPlayer, game_named, game_of, player_spec
    from tegu.core.code import is_code

    given = game_named(args.game) if args.game else None
    try:
        named = player_spec(args.selector, given, args)
    except UnknownPlayer as error:
        near = difflib.get_close_matches(args.selector, GAMES, n=1)
        if args.selector not in GAMES and not is_code(args.selector):
            hint = f"did you mean {near[0]}?" if near else f"{error}; or name a game: {' or '.join(GAMES)}"
            raise UnknownPlayer(f"there is no run or game {args.selector!r}: {hint}") from error
        given, named = game_named(args.selector), player_spec(_DEFAULT, None, args)
    opponent = player_spec(args.opponent, given, args) if args.opponent else named
    return game_of([named, opponent], given), opponent
