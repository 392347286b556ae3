"""``tegu export``: a run's metrics as CSV or for TensorBoard, or games of it."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from tegu.cli.common import Outcome, Parser, UsageError, add_code, add_run, count, environment, working

_DESCRIPTION = """\
Write a run's metrics as a CSV file (step, seed, name, value) or as TensorBoard event files; or, of an agent that plays
Go, games against itself as records (SGF), each from an opening of its own. RUN is a run's name, the beginning of one
(the latest is meant), a folder, or last; with --sgf, RUN@64 searches with 64 simulations."""

_STDOUT = Path("-")


def arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = Parser("export", "[RUN] --csv FILE | --tensorboard FOLDER | --sgf FOLDER [flags]", _DESCRIPTION)
    add_run(parser)
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--csv", metavar="FILE", type=Path, help="CSV file to write; - for standard output")
    target.add_argument(
        "--tensorboard", metavar="FOLDER", type=Path, help="folder for the event files, a new one for each seed in it"
    )
    target.add_argument("--sgf", metavar="FOLDER", type=Path, help="folder for records of games of Go, one file each")
    games = parser.add_argument_group("games, with --sgf")
    games.add_argument("--games", type=count, metavar="N", default=10, help="how many (10)")
    games.add_argument("--openings", type=count, metavar="PLIES", help="random moves at the start of a game (4)")
    games.add_argument("--seed", type=count, metavar="N", default=0, help="random seed of openings and player (0)")
    games.add_argument(
        "--seed-index", type=count, metavar="I", default=0, help="index of the seed to use, if the run has several (0)"
    )
    games.add_argument("--game", type=environment, metavar="GAME", help="the game, if it is your own code")
    add_code(parser)
    args = parser.parse(words)
    if args.csv == _STDOUT and args.json:
        raise UsageError("--csv - and --json both write to standard output")
    if args.games < 1:
        raise UsageError("--games must be at least 1")
    return args


def run(args: argparse.Namespace, out: Console) -> Outcome:
    from tegu.runs import Run, to_csv, to_tensorboard
    from tegu.runs.export import CsvWriter

    if args.sgf:
        return _games(args, out)
    run = Run.open(args.selector, args.runs)
    if args.csv == _STDOUT:
        with run.metrics(read_only=True) as metrics:
            CsvWriter(sys.stdout).write(metrics.rows())
        return Outcome({})
    if args.csv:
        to_csv(run, args.csv)
    else:
        to_tensorboard(run, args.tensorboard)
    target: Path = args.csv or args.tensorboard
    out.print(f"{run.name} -> {target}", soft_wrap=True)
    return Outcome({"run": str(run.path), "format": "csv" if args.csv else "tensorboard", "path": str(target)})


def _games(args: argparse.Namespace, out: Console) -> Outcome:
    """Games of an agent against itself."""
    import jax

    from tegu.arena.match import self_play
    from tegu.arena.sgf.record import write_all
    from tegu.arena.sgf.replay import recorded
    from tegu.cli.players import game_named, game_of, go_to_record, make_player, player_spec

    given = game_named(args.game) if args.game else None
    spec = player_spec(args.selector, given, args)
    if spec.agent is None:
        raise UsageError(f"{spec.name} is no run: its games are those of tegu arena --sgf")
    game = go_to_record(game_of([spec], given), args.sgf)
    player = make_player(spec, game, args)
    with working(args, f"playing {game.id}"):
        played = self_play(game, player, args.games, jax.random.key(args.seed), args.openings)
    write_all(args.sgf, recorded(game, played, [(player.name, player.name)] * args.games))
    out.print(f"{args.games} games of {player.name} -> {args.sgf}", soft_wrap=True)
    return Outcome({"run": spec.name, "format": "sgf", "path": str(args.sgf), "games": args.games})
