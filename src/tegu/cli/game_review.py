"""A game record, and what a player thinks of each of its moves."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
from rich import box
from rich.console import Console
from rich.table import Table

from tegu.analysis import animation, frame_strip, video
from tegu.arena.positions import take
from tegu.arena.sgf.record import GameRecord, naming, read
from tegu.arena.sgf.replay import replay
from tegu.arena.sgf.review import Reviewed, review
from tegu.cli.common import Outcome, UsageError, working
from tegu.cli.players import game_of, make_player, player_spec
from tegu.core.errors import TeguError
from tegu.environments.games.go import Go

_SIDES = ("Black", "White")


def run(args: argparse.Namespace, moving: Path | None, out: Console) -> Outcome:
    """``tegu watch game.sgf``; ``moving`` is where the animation goes, if it is wanted."""
    record = read(args.selector)
    spec = player_spec(args.run, None, args)
    if spec.command is not None:
        raise UsageError(f"{spec.name} cannot review a game: expected a run, or mcts:1000")
    board = Go(size=record.size, id=f"go-{record.size}x{record.size}")
    trained = game_of([spec], board if spec.agent is None else None)
    if not isinstance(trained, Go):
        raise TeguError(f"{spec.name} plays {trained.id}, not Go")
    game = trained if record.komi is None else replace(trained, komi=record.komi)
    with naming(args.selector):
        played = replay(game, record)
    with working(args, f"looking at {len(record.moves)} moves"):
        player = make_player(player_spec(args.run, game, args), game, args)
        moves = review(game, record, player, jax.random.key(args.seed))
    mistakes = [sum(_is_mistake(move, args) for move in moves if move.colour == side) for side in (0, 1)]
    out.print(_title(record, game), style="bold")
    out.print(_table(game, moves, args))
    counts = ", ".join(f"{name} {n}" for name, n in zip(_SIDES, mistakes, strict=True))
    out.print(f"\nmoves that gave away {args.mistake:.0%} or more, as {spec.name} sees it: {counts}")
    strip = moving.with_suffix(".png") if moving is not None else None
    if moving is not None and strip is not None:
        frames = [game.image(take(position, 0)) for position in [*played.before, played.last]]
        (video if moving.suffix == ".mp4" else animation)(frames, moving, args.fps or 1.0)
        frame_strip(frames, strip)
        out.print(f"{moving}\n{strip}", soft_wrap=True)
    return Outcome(
        {
            "record": str(args.selector),
            "player": spec.name,
            "game": game.id,
            "komi": game.komi,
            "names": [record.black, record.white],
            "result": record.result,
            "moves": [_plain(game, number, move, args) for number, move in enumerate(moves, start=1)],
            "mistakes": mistakes,
            "animation": None if moving is None else str(moving),
            "frame_strip": None if strip is None else str(strip),
        }
    )


def _is_mistake(move: Reviewed, args: argparse.Namespace, times: int = 1) -> bool:
    """Whether so many times what a mistake gives away was lost. Win rates are float32: they come near it, not to it."""
    return move.loss >= times * args.mistake - 1e-6


def _title(record: GameRecord, game: Go) -> str:
    names = " against ".join(name or side for name, side in zip((record.black, record.white), _SIDES, strict=True))
    result = f", {record.result}" if record.result else ""
    return f"{names}{result}: {len(record.moves)} moves on {game.size}x{game.size}, komi {game.komi:g}\n"


def _table(game: Go, moves: Sequence[Reviewed], args: argparse.Namespace) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in ("", "player", "move"):
        table.add_column(name, justify="right")
    for name in ("win rate before", "after", "loss", ""):
        table.add_column(name, justify="right")
    table.add_column("best moves, their win rates and shares of the search")
    for number, move in enumerate(moves, start=1):
        mark = "" if not _is_mistake(move, args) else "??" if _is_mistake(move, args, 2) else "?"
        best = ", ".join(
            f"{game.action_name(each.action)} {each.win_rate:.0%} ({each.share:.0%})" for each in move.best
        )
        rates = f"{move.before:.0%}", f"{move.after:.0%}", f"{move.loss:+.0%}"
        name = game.action_name(move.action)
        table.add_row(f"{number}", _SIDES[move.colour], name, *rates, mark, best, style="bold" if mark else None)
    return table


def _plain(game: Go, number: int, move: Reviewed, args: argparse.Namespace) -> dict[str, Any]:
    best = [each._asdict() | {"move": game.action_name(each.action)} for each in move.best]
    return {
        "number": number,
        "player": _SIDES[move.colour].lower(),
        "move": game.action_name(move.action),
        "before": move.before,
        "after": move.after,
        "loss": move.loss,
        "mistake": _is_mistake(move, args),
        "best": [{name: each[name] for name in ("move", "win_rate", "share")} for each in best],
    }
