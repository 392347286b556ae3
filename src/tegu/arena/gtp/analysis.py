"""What a player thinks of a position, in the words of programs that draw it on a board.

``lz-analyze`` is Leela Zero's, ``kata-analyze`` KataGo's (docs/GTP_Extensions.md there). There is no plain ``analyze``:
Sabaki would prefer it, and its versions disagree about the numbers in it.
"""

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

import numpy as np

from tegu.arena.base import Explanation
from tegu.arena.gtp.text import Refused, colour, real, whole
from tegu.environments.games.go import Go

_INTERVAL = 100.0  # hundredths of a second
_UNKNOWN_HERE = frozenset(  # what else KataGo tells if asked
    (
        "ownershipStdev",
        "movesOwnership",
        "movesOwnershipStdev",
        "pvVisits",
        "pvEdgeVisits",
        "noResultValue",
    )
)


class Input(Protocol):
    """Where commands come from."""

    ended: bool  #: whether no other line will come

    def came(self, seconds: float) -> bool:
        """Whether another line, or the end, has come. Waits for it so long."""
        ...


class Wanted(NamedTuple):
    """The arguments of an analysis."""

    side: int | None  #: whose move it is; None: whoever is to move
    interval: float  #: seconds between two lines
    most_moves: int | None = None
    root: bool = False  #: whether the position itself is reported, too
    ownership: bool = False  #: whether the expected owner of each point is, where the player knows


def wanted(words: list[str]) -> Wanted:
    """``[colour] [interval] [name value]...``, as KataGo takes them. Raises ``Refused``."""
    words, side, interval = words.copy(), None, _INTERVAL
    if words and words[0].lower() in ("b", "w", "black", "white"):
        side = colour(words.pop(0))
    if words and not words[0][0].isalpha():
        interval = real(words.pop(0))
    if len(words) % 2:
        raise Refused("syntax error")
    given = dict(zip(words[::2], words[1::2], strict=True))
    interval = real(given.pop("interval")) if "interval" in given else interval
    most = whole(given.pop("maxmoves")) if "maxmoves" in given else None
    root, ownership = (given.pop(name, "false").lower() == "true" for name in ("rootInfo", "ownership"))
    given.pop("minmoves", None)  # moves without a visit are not reported
    if interval < 0 or not given.keys() <= _UNKNOWN_HERE:
        raise Refused("syntax error")
    return Wanted(side, interval / 100, most, root, ownership)


def ranked(found: Explanation) -> list[int]:
    """The actions that were visited, the one to play first."""
    visits = _visits(found)
    return sorted(np.flatnonzero(visits).tolist(), key=lambda action: (-visits[action], -found.policy[action]))


def merged(a: Explanation, b: Explanation) -> Explanation:
    """Two searches of the same position as one, weighted by visits: root parallelisation (Chaslot et al. 2008)."""
    if a.action_values is None or b.action_values is None:
        return b
    n_a, n_b = _visits(a), _visits(b)
    sums = n_a * np.nan_to_num(a.action_values) + n_b * np.nan_to_num(b.action_values)
    total = n_a + n_b
    share = n_a.sum() / total.sum()
    lines = b.lines if a.lines is None or b.lines is None else np.where((n_a > 0)[:, None], a.lines, b.lines)
    return a._replace(
        lines=lines,
        policy=share * a.policy + (1 - share) * b.policy,
        value=float(share * a.value + (1 - share) * b.value),
        action_values=np.where(total > 0, sums / np.maximum(total, 1), np.nan),
        visits=total,
    )


def same(a: Explanation, b: Explanation) -> bool:
    """Whether two searches found the same to the digit: then another one will, too."""
    values = [np.zeros(0) if found.action_values is None else found.action_values for found in (a, b)]
    same_values = np.array_equal(values[0], values[1], equal_nan=True)
    return a.value == b.value and np.array_equal(a.policy, b.policy) and same_values


def line(game: Go, found: Explanation, actions: list[int], asked: Wanted, leela: bool) -> str:
    """``info move D4 visits 8 ...`` for each of ``actions`` all on one line; nothing where there are none.

    Win rates are those of the player to move, from 0 to 1; in the words of ``leela`` zero as whole numbers up to 10000.
    A draw is half a win. Ownership is the player's to move, row by row from the top left.
    """
    visits = _visits(found)
    reports = []
    for order, action in enumerate(actions[: asked.most_moves]):
        value = found.value if found.action_values is None else found.action_values[action]
        words = [f"info move {game.action_name(action)} visits {visits[action]} winrate {_rate(value, leela)}"]
        if found.prior is not None:
            words.append(f"prior {_number(found.prior[action], leela)}")
        follow = [action] if found.lines is None else found.lines[action][found.lines[action] >= 0]
        words.append(f"order {order} pv {' '.join(game.action_name(each) for each in follow)}")
        reports.append(" ".join(words))
    if asked.root and not leela:
        lead = "" if found.end.score is None else f" scoreLead {found.end.score:.6f}"
        reports.append(f"rootInfo visits {visits.sum()} winrate {_rate(found.value, leela)}{lead}")
    if asked.ownership and found.end.ownership is not None and not leela:
        reports.append(f"ownership {' '.join(f'{owner:.6f}' for owner in found.end.ownership.ravel())}")
    return f"{' '.join(reports)}\n" if reports else ""


def stream(
    explain: Callable[[], Explanation | None],
    written: Callable[[Explanation], str],
    interval: float,
    commands: Input,
    name: str,
) -> Iterator[str]:
    """Search until another of the ``commands`` comes, with what was found every ``interval`` seconds.

    All searches count together. One that finds the same as the one before will always do so, and is the last: then
    there is nothing more to say. Raises ``Refused`` before the first piece if the player has nothing to ``explain``.
    """
    if commands.came(0) and not commands.ended:
        yield ""
        return
    found = last = explain()
    if found is None or last is None:
        raise Refused(f"{name} cannot analyze: it does not search")
    yield written(found)
    due = time.monotonic() + interval
    while not commands.came(0):
        new = explain()
        if new is None or same(last, new):
            while not commands.came(60):
                pass
            return
        found, last = merged(found, new), new
        if time.monotonic() >= due:
            yield written(found)
            due = time.monotonic() + interval


def _visits(found: Explanation) -> np.ndarray:
    """Of a player that does not count them: one for each action that it might play."""
    return (found.policy > 0).astype(int) if found.visits is None else found.visits


def _rate(value: float, leela: bool) -> str:
    return _number((float(value) + 1) / 2, leela)


def _number(share: float, leela: bool) -> str:
    """With a decimal point always, by which older versions of Sabaki tell the two apart."""
    share = min(max(float(share), 0.0), 1.0)
    return f"{round(10_000 * share)}" if leela else f"{share:.6f}"
