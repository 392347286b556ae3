"""``python -m benchmarks.record_connect_four SOLVER``: positions of Connect Four with the exact value of every move.

SOLVER is the program ``c4solver`` of https://github.com/PascalPons/connect4 (commit d6ba50d), compiled. Takes long.
"""

import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

FILE = Path(__file__).with_name("connect_four.csv")
WIDTH, HEIGHT = 7, 6
ILLEGAL = -1000  #: the solver's score of a move into a full column


class Phase(NamedTuple):
    """A third of the game."""

    fewest: int  #: moves that led to a position; with fewer than 7 the solver takes too long without an opening book
    most: int
    positions: int


PHASES = {"opening": Phase(7, 13, 1000), "middle": Phase(14, 27, 500), "end": Phase(28, 41, 500)}


def wins(columns: Sequence[Sequence[int]], column: int) -> bool:
    """Whether the topmost stone of a column stands in four of its player's; ``columns`` hold players from below."""
    row, player = len(columns[column]) - 1, columns[column][-1]

    def same(step: int, right: int, up: int) -> bool:
        c, r = column + step * right, row + step * up
        return 0 <= c < WIDTH and 0 <= r < len(columns[c]) and columns[c][r] == player

    for right, up in ((1, 0), (0, 1), (1, 1), (1, -1)):
        length = 1
        for sign in (1, -1):
            step = 1
            while same(sign * step, right, up):
                length, step = length + 1, step + 1
        if length >= 4:
            return True
    return False


def random_game(moves: int, rng: random.Random) -> tuple[str, str] | None:
    """The columns of so many random moves, from 1, and the board after them; None where the game was over before."""
    columns: list[list[int]] = [[] for _ in range(WIDTH)]
    played = ""
    for number in range(moves):
        column = rng.choice([each for each in range(WIDTH) if len(columns[each]) < HEIGHT])
        columns[column].append(number % 2)
        if wins(columns, column):
            return None
        played += str(column + 1)
    return played, str(columns)


def drawn(phase: Phase, rng: random.Random) -> list[str]:
    """Different positions of a phase, as the moves that led there: numbers of moves with equal probability, and again
    where a random game was over by then."""
    found: dict[str, str] = {}
    while len(found) < phase.positions:
        if game := random_game(rng.randint(phase.fewest, phase.most), rng):
            found.setdefault(game[1], game[0])
    return list(found.values())


def mark(score: int) -> str:
    """A move that wins, draws or loses, if both play perfectly from then on; ``.`` where none is possible."""
    return "." if score == ILLEGAL else "+" if score > 0 else "-" if score < 0 else "="


def main() -> None:
    rng = random.Random(0)
    games = {name: drawn(phase, rng) for name, phase in PHASES.items()}
    asked = "".join(f"{game}\n" for of_phase in games.values() for game in of_phase)
    solved = subprocess.run([sys.argv[1], "-a", "-w"], input=asked, capture_output=True, text=True, check=True).stdout
    values = {moves: "".join(map(mark, map(int, scores))) for moves, *scores in map(str.split, solved.splitlines())}
    rows = [f"{name},{game},{values[game]}\n" for name, of_phase in games.items() for game in of_phase]
    FILE.write_text("phase,moves,values\n" + "".join(rows))


if __name__ == "__main__":
    main()
