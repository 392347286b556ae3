"""``tegu arena``: matches between players of a board game."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table

from tegu.cli.common import Outcome, Parser, UsageError, add_code, add_runs, add_timeout, count, environment, working

if TYPE_CHECKING:  # slow to import: not for --help
    import numpy as np

    from tegu.arena.match import Match
    from tegu.environments.games.go import Go

_DESCRIPTION = """\
Matches between players of a board game. Each random opening is played twice, so that each player moves first once. In
small games, which can be solved, openings are fair by default: perfect play ends as from the empty board.
More than two players play a round robin and get Elo ratings. A PLAYER is a run's name, the beginning of one (the latest
is meant), a folder, or last, and RUN@64 searches with 64 simulations; or random; or mcts:1000, Monte Carlo tree search
with 1000 random rollouts; or minimax, perfect play, for small games such as tic-tac-toe; or, for Go, a program that
speaks the Go Text Protocol, such as "gtp:gnugo --mode gtp --level 1"."""


def arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = Parser("arena", "PLAYER PLAYER... [flags]", _DESCRIPTION)
    parser.add_argument("players", metavar="PLAYER", nargs="+", help="at least two players")
    parser.add_argument("--games", type=count, metavar="N", default=100, help="games of each pair of players (100)")
    parser.add_argument(
        "--openings",
        type=count,
        metavar="PLIES",
        help="random moves at the start of a game, whatever they lead to (4, in small games of those that are fair)",
    )
    parser.add_argument("--seed", type=count, metavar="N", default=0, help="random seed of openings and players (0)")
    parser.add_argument(
        "--seed-index", type=count, metavar="I", default=0, help="index of the seed to use, if a run has several (0)"
    )
    parser.add_argument(
        "--game", type=environment, metavar="GAME", help="the game, if no run names it or it is your own code"
    )
    parser.add_argument("--sgf", metavar="FOLDER", type=Path, help="write a record of each game of Go into this folder")
    add_timeout(parser)
    add_code(parser)
    add_runs(parser)
    args = parser.parse(words)
    if args.games < 2 or args.games % 2:
        raise UsageError(f"--games must be even, two for each opening, got {args.games}")
    return args


def run(args: argparse.Namespace, out: Console) -> Outcome:
    import jax

    from tegu.agents.selection import expanded
    from tegu.arena.elo import ratings
    from tegu.arena.gtp.player import GTPPlayer
    from tegu.arena.match import points, round_robin
    from tegu.cli.players import game_named, game_of, go_to_record, player_spec, seated

    given = game_named(args.game) if args.game else None
    words = expanded(args.players, args.runs)
    if len(words) < 2:
        raise UsageError(f"expected at least two players, got only {words[0]}")
    specs = [player_spec(word, given, args) for word in words]
    game = game_of(specs, given)
    go = go_to_record(game, args.sgf) if args.sgf else None
    with working(args, f"playing {game.id}"), seated(specs, game, args) as players:
        matches = round_robin(game, players, args.games, jax.random.key(args.seed), args.openings)
    names = [player.name for player in players]
    won = points(matches, len(names))
    standings = _standings(names, won, *ratings(won))
    each = "" if len(names) == 2 else " for each pair of players"
    opened = matches[0, 1].openings
    out.print(f"{game.id}, {args.games} games{each}, half of them with either player moving first", style="bold")
    out.print(f"begun with {opened}" + ", each opening played twice" * (opened.plies > 0) + "\n")
    out.print(_match_table(matches[0, 1]) if len(names) == 2 else _standings_table(standings, names, won))
    forfeits = [(player.name, player.forfeits) for player in players if isinstance(player, GTPPlayer)]
    for name, counts in forfeits:
        if counts:
            ways = ", ".join(f"{n} {how.replace('_', ' ')}" for how, n in sorted(counts.items()))
            out.print(f"games that {name} lost before their end: {ways}")
    if go is not None:
        for pair, match in matches.items():
            _write(go, match, args.sgf, "" if len(names) == 2 else f"{pair[0] + 1}-{pair[1] + 1}-")
        out.print(f"records of all games: {args.sgf}", soft_wrap=True)
    return Outcome(
        {
            "game": game.id,
            "games": args.games,
            "openings": opened.plies,
            "balanced": opened.balanced,
            "seed": args.seed,
            "matches": [match.to_json() for match in matches.values()],
            "ratings": standings,
            **({"sgf": str(args.sgf)} if args.sgf else {}),
            **({"forfeits": [{"player": name, **counts} for name, counts in forfeits]} if forfeits else {}),
        }
    )


def _write(game: "Go", match: "Match", folder: Path, beginning: str) -> None:
    """Records of a match; in each the player who moves first has Black."""
    from tegu.arena.sgf.record import write_all
    from tegu.arena.sgf.replay import recorded

    names = [match.names] * match.as_first.games + [match.names[::-1]] * match.as_second.games
    write_all(folder, recorded(game, match.played, names), beginning)


def _standings(
    names: Sequence[str], won: "np.ndarray", elo: "np.ndarray", half_width: "np.ndarray"
) -> list[dict[str, Any]]:
    """One entry for each player, the best first; ``index`` is its place in the command."""
    found = [
        {
            "player": name,
            "index": index,
            "elo": float(elo[index]),
            "interval": [float(elo[index] - half_width[index]), float(elo[index] + half_width[index])],
            "points": float(won[index].sum()),
            "games": int(won[index].sum() + won[:, index].sum()),
        }
        for index, name in enumerate(names)
    ]
    return sorted(found, key=lambda entry: -entry["elo"])


def _match_table(match: "Match") -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column(f"{match.names[0]} against {match.names[1]}")
    for name in ("wins", "draws", "losses", "score", "95% interval"):
        table.add_column(name, justify="right")
    for way, tally in (("moving first", match.as_first), ("moving second", match.as_second)):
        table.add_row(way, *map(str, tally), f"{tally.points / tally.games:.3f}")
    low, high, _ = match.interval
    table.add_row("all games", *map(str, match.total), f"{match.score:.3f}", f"{low:.3f} to {high:.3f}", style="bold")
    return table


def _standings_table(standings: Sequence[Mapping[str, Any]], names: Sequence[str], won: "np.ndarray") -> Table:
    """Ratings, and in the columns on the right the points against each other player, in the same order."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("")
    table.add_column("player", no_wrap=True)
    for name in ("Elo", "95% interval", "points", "games", *(f"against {i + 1}" for i in range(len(names)))):
        table.add_column(name, justify="right")
    for place, entry in enumerate(standings):
        low, high = entry["interval"]
        against = [
            "" if other["index"] == entry["index"] else f"{won[entry['index'], other['index']]:g}"
            for other in standings
        ]
        rating = f"{entry['elo']:+.0f}", f"{low:+.0f} to {high:+.0f}"
        table.add_row(f"{place + 1}", entry["player"], *rating, f"{entry['points']:g}", f"{entry['games']}", *against)
    return table
