"""Cliff walking: the shortest way to the goal runs along a cliff."""

import numpy as np

from tegu.environments.drawing import Canvas, letter_grid
from tegu.environments.grids.finite import FiniteEnvironment, Transition, neighbour, one_hot, sideways, tabulate

_MOVES = ("up", "right", "down", "left")
_ROWS = ("............", "............", "............", "SCCCCCCCCCCG")  # S start, C cliff, G goal
_TILES = "".join(_ROWS)
_HEIGHT, _WIDTH = len(_ROWS), len(_ROWS[0])
_START = _TILES.index("S")
_TILE_NAMES = {".": "path", "S": "start", "C": "cliff", "G": "goal"}


class CliffWalking(FiniteEnvironment):
    """Cliff walking (Sutton & Barto 2018, example 6.6), as Gymnasium's ``CliffWalking-v1``.

    States are the 48 tiles row by row, actions 0 to 3 are up, right, down, left. A step costs 1. Stepping off the cliff
    costs 100 instead and puts the walker back at the start; only the goal ends the episode. There is no time limit.
    ``is_slippery`` (``CliffWalkingSlippery-v1``) sends two moves in three to either side of where they should go.
    """

    def __init__(self, is_slippery: bool = False):
        def outcomes(state: int, action: int) -> list[Transition]:
            actions = sideways(action) if is_slippery else (action,)
            arrivals = [neighbour(state, _MOVES[a], _HEIGHT, _WIDTH) for a in actions]
            return [
                (1 / len(actions), _START, -100.0, False)
                if _TILES[tile] == "C"
                else (1 / len(actions), tile, -1.0, _TILES[tile] == "G")
                for tile in arrivals
            ]

        super().__init__(
            *tabulate(outcomes, len(_TILES), len(_MOVES)),
            initial=one_hot(_START, len(_TILES)),
            id="CliffWalkingSlippery-v1" if is_slippery else "CliffWalking-v1",
            state_names=[f"{i // _WIDTH},{i % _WIDTH} {_TILE_NAMES[letter]}" for i, letter in enumerate(_TILES)],
            action_names=_MOVES,
        )

    def image(self, state: np.ndarray) -> np.ndarray:
        cell = 50
        canvas = Canvas(_WIDTH * cell, _HEIGHT * cell, (150, 178, 120))
        for tile, letter in enumerate(_TILES):
            row, column = divmod(tile, _WIDTH)
            left, top = column * cell, row * cell
            if letter == "C":
                canvas.rectangle((left, top, left + cell, top + cell), (58, 47, 52))
                crag = [(0, 0), (1, 0), (1, 0.3), (0.8, 0.62), (0.62, 0.36), (0.4, 0.78), (0.2, 0.42), (0, 0.3)]
                canvas.polygon([(left + x * cell, top + y * cell) for x, y in crag], (136, 104, 84))
            else:
                green = (178, 206, 146) if (row + column) % 2 else (186, 213, 155)
                canvas.rectangle((left, top, left + cell, top + cell), green)
            if letter == "G":
                canvas.flag((left + 0.32 * cell, top + 0.88 * cell), 0.74 * cell)
            if tile == _START:
                canvas.text((left + cell / 2, top + 0.86 * cell), "start", (96, 124, 72), 12)
            if tile == int(state):
                canvas.person((left + cell / 2, top + 0.48 * cell), 0.66 * cell)
        return canvas.array()

    def text(self, state: np.ndarray) -> str:
        """S start, C cliff, G goal, with brackets around the walker's tile."""
        return letter_grid(_ROWS, divmod(int(state), _WIDTH))
