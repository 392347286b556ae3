"""Records of games, played through by Tegu's rules of Go."""

from collections.abc import Sequence
from typing import NamedTuple

from tegu.arena.base import RESIGNATION
from tegu.arena.go_board import after, laid, score, score_text, with_to_play
from tegu.arena.match import Games
from tegu.arena.positions import begin, take
from tegu.arena.sgf.record import COLOURS, GameRecord, Move, Setup
from tegu.core.errors import TeguError
from tegu.environments.games.base import Position
from tegu.environments.games.go import Go


class Replay(NamedTuple):
    """A game move by move. Positions are batches of one, those before moves have the mover to play."""

    before: list[Position]  #: ``[M]``: before each move
    last: Position  #: after the last one


def replay(game: Go, record: GameRecord, most_moves: int | None = None) -> Replay:
    """All moves of ``record``, or the first ``most_moves`` of them and the stones that are set up before the next one.

    Raises ``TeguError`` that names the move if one is illegal in ``game``, which forbids what a simple ko forbids. A
    record of another size is refused; its komi is not looked at.
    """
    if record.size != game.size:
        raise TeguError(f"a game on {record.size}x{record.size}, expected {game.size}x{game.size}")
    position, before = begin(game, 1), list[Position]()
    for step in record.steps:
        where = f"move {len(before) + 1}"
        if isinstance(step, Setup):
            position = _set_up(game, position, step, where)
            continue
        if len(before) == most_moves:
            break
        position = with_to_play(game, position, step.colour)
        if not position["action_mask"][0, step.action]:
            raise TeguError(f"{where}, {COLOURS[step.colour]} {game.action_name(step.action)}, is illegal")
        before.append(position)
        position = after(game, position, step.action)
    return Replay(before, position)


def is_over(record: GameRecord) -> bool:
    """Whether the last two moves are passes."""
    return len(record.moves) > 1 and all(move.action == record.size**2 for move in record.moves[-2:])


def recorded(game: Go, played: Games, players: Sequence[tuple[str, str]]) -> list[GameRecord]:
    """The records of games, with the names of Black and White in each.

    The result is the difference of the areas; or R, resigned, or F, lost by forfeit, where a game was given up.
    """
    records = []
    for number, (moves, names) in enumerate(zip(played.moves, players, strict=True)):
        result = score_text(score(game, take(played.positions, slice(number, number + 1))))
        if moves[-1] < 0:
            result = f"{COLOURS[len(moves) % 2]}+{'R' if moves[-1] == RESIGNATION else 'F'}"
        steps = [Move(ply % 2, action) for ply, action in enumerate(moves) if action >= 0]
        records.append(GameRecord(game.size, tuple(steps), game.komi, 0, *names, result, rules_name(game)))
    return records


def rules_name(game: Go) -> str:
    """What the rules of ``game`` are called in a record: by the names of KataGo
    (https://lightvector.github.io/KataGo/rules.html), or where they have none, in its shorthand."""
    ko, suicide = "POSITIONAL" if game.superko else "SIMPLE", int(game.suicide)
    named = {("SIMPLE", 0): "Chinese", ("POSITIONAL", 1): "Tromp-Taylor"}
    return named.get((ko, suicide), f"ko{ko}scoreAREAtaxNONEsui{suicide}")


def _set_up(game: Go, position: Position, step: Setup, where: str) -> Position:
    """The board with the stones of ``step``: a game that begins there, so that no ko and no earlier board count."""
    stones = {int(point): int(stone < 0) for point, stone in enumerate(position["board"].ravel()) if stone}
    stones = {point: colour for point, colour in stones.items() if point not in step.empty}
    stones |= dict.fromkeys(step.black, 0) | dict.fromkeys(step.white, 1)
    only_black = bool(step.black) and not step.white and not position["board"].any()  # handicap: White moves first
    side = int(only_black) if step.to_play is None and not position["board"].any() else step.to_play
    try:
        return laid(game, stones, int(position["to_play"][0]) if side is None else side)
    except TeguError as error:
        raise TeguError(f"before {where}: {error}") from error
