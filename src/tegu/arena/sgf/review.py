"""What a player thinks of each move of a game."""

from typing import NamedTuple

import jax
import numpy as np

from tegu.arena.base import Explains, Explanation, Player
from tegu.arena.go_board import score
from tegu.arena.positions import take
from tegu.arena.sgf.record import GameRecord
from tegu.arena.sgf.replay import is_over, replay
from tegu.core.errors import TeguError
from tegu.environments.games.base import Position
from tegu.environments.games.go import Go

_SHOWN = 3  # moves that are better than all others


class Candidate(NamedTuple):
    """A move that the player looked at."""

    action: int
    win_rate: float  #: in [0, 1], a draw counts a half
    share: float  #: of the search's visits, or the probability of the move


class Reviewed(NamedTuple):
    """A move of a game. Win rates are those of the side that made it."""

    colour: int  #: 0 black, 1 white
    action: int
    before: float  #: the win rate of the position
    after: float  #: of the position that the move led to
    best: tuple[Candidate, ...]  #: what the player would have played, the first one first

    @property
    def loss(self) -> float:
        """Win rate that the move gave away; negative where the player had thought less of the position before."""
        return self.before - self.after


def review(game: Go, record: GameRecord, player: Player, key: jax.Array) -> list[Reviewed]:
    """Each move of ``record``, with what ``player`` thinks of the positions before and after it.

    After two passes at the end the areas decide, not the player. Raises ``TeguError`` if a move is illegal, or if the
    player has no numbers to show.
    """
    moves, played = record.moves, replay(game, record)
    keys = jax.random.split(key, len(moves) + 1)
    found = [_explained(player, position, each) for position, each in zip(played.before, keys, strict=False)]
    if is_over(record):
        ahead = np.sign(score(game, played.last)) * (1 if played.last["to_play"][0] == 0 else -1)
        values = [*(each.value for each in found), float(ahead)]
    else:
        values = [each.value for each in [*found, _explained(player, played.last, keys[-1])]]
    sides = [int(position["to_play"][0]) for position in [*played.before, played.last]]
    reviewed = []
    for number, move in enumerate(moves):
        after = values[number + 1] * (1 if sides[number + 1] == move.colour else -1)
        best = _best(found[number])
        reviewed.append(Reviewed(move.colour, move.action, _rate(values[number]), _rate(after), best))
    return reviewed


def _explained(player: Player, position: Position, key: jax.Array) -> Explanation:
    found = player.explain(take(position, 0), key) if isinstance(player, Explains) else None
    if found is None:
        raise TeguError(f"{player.name} cannot review a game: it does not search")
    return found


def _best(found: Explanation) -> tuple[Candidate, ...]:
    weights = found.policy if found.visits is None else found.visits
    order = np.lexsort((-found.policy, -weights))[:_SHOWN]
    values = np.full(len(found.policy), found.value) if found.action_values is None else found.action_values
    shares = weights / weights.sum()
    return tuple(Candidate(int(each), _rate(values[each]), float(shares[each])) for each in order if shares[each] > 0)


def _rate(value: float) -> float:
    return min(max((float(value) + 1) / 2, 0.0), 1.0)
