"""Frozen lake: cross the slippery ice from the start to the goal without falling into a hole."""

import numpy as np

from tegu.environments.drawing import Canvas, letter_grid
from tegu.environments.grids.finite import FiniteEnvironment, Transition, neighbour, one_hot, sideways, tabulate

_MOVES = ("left", "down", "right", "up")
_LAKES = {  # S start, F frozen, H hole, G goal; the id and the time limit are those that Gymnasium registers
    "4x4": ("FrozenLake-v1", 100, ("SFFF", "FHFH", "FFFH", "HFFG")),
    "8x8": (
        "FrozenLake8x8-v1",
        200,
        ("SFFFFFFF", "FFFFFFFF", "FFFHFFFF", "FFFFFHFF", "FFFHFFFF", "FHHFFFHF", "FHFFHFHF", "FFFHFFFG"),
    ),
}
_TILE_NAMES = {"S": "start", "F": "frozen", "H": "hole", "G": "goal"}


class FrozenLake(FiniteEnvironment):
    """The frozen lake with the maps and rules of Gymnasium's ``FrozenLake-v1`` and ``FrozenLake8x8-v1``.

    States are the tiles row by row, actions 0 to 3 are left, down, right, up. On slippery ice a move goes where it is
    meant to with probability 1/3, and to either side of that direction with probability 1/3 each. Reaching the goal
    pays 1, everything else 0; holes and the goal end the episode.
    """

    rows: tuple[str, ...]  #: the map's letters

    def __init__(self, map_name: str = "4x4", is_slippery: bool = True):
        id, max_episode_steps, self.rows = _LAKES[map_name]
        tiles, size = "".join(self.rows), len(self.rows)

        def outcomes(state: int, action: int) -> list[Transition]:
            if tiles[state] in "HG":
                return [(1.0, state, 0.0, True)]
            actions = sideways(action) if is_slippery else (action,)
            arrivals = [neighbour(state, _MOVES[a], size, size) for a in actions]
            return [(1 / len(actions), tile, float(tiles[tile] == "G"), tiles[tile] in "HG") for tile in arrivals]

        super().__init__(
            *tabulate(outcomes, len(tiles), len(_MOVES)),
            initial=one_hot(tiles.index("S"), len(tiles)),
            id=id,
            state_names=[f"{tile // size},{tile % size} {_TILE_NAMES[letter]}" for tile, letter in enumerate(tiles)],
            action_names=_MOVES,
            max_episode_steps=max_episode_steps,
        )

    def image(self, state: np.ndarray) -> np.ndarray:
        size = len(self.rows)
        cell = 480 // size
        canvas = Canvas(480, 480, (176, 205, 224))
        for tile, letter in enumerate("".join(self.rows)):
            left, top = tile % size * cell, tile // size * cell
            centre = (left + cell / 2, top + cell / 2)
            canvas.rectangle((left + 1, top + 1, left + cell - 1, top + cell - 1), (226, 240, 248), radius=cell / 16)
            for shift in (0.0, 0.16):  # two glints
                glint = [
                    (left + cell * (0.12 + shift), top + cell * 0.3),
                    (left + cell * (0.3 + shift), top + cell * 0.12),
                ]
                canvas.line(glint, (246, 251, 254), cell / 30)
            if letter == "H":
                canvas.ellipse(centre, 0.38 * cell, 0.33 * cell, (150, 182, 205))
                canvas.ellipse((centre[0], centre[1] + 0.03 * cell), 0.34 * cell, 0.28 * cell, (34, 74, 110))
            elif letter == "G":
                canvas.flag((centre[0] - 0.15 * cell, centre[1] + 0.35 * cell), 0.7 * cell)
            elif letter == "S":
                canvas.text((centre[0], top + 0.88 * cell), "start", (110, 140, 160), 0.15 * cell)
            if tile == int(state):
                canvas.person((centre[0], centre[1] + 0.02 * cell), 0.6 * cell)
        return canvas.array()

    def text(self, state: np.ndarray) -> str:
        """S start, F frozen, H hole, G goal, with brackets around the walker's tile."""
        return letter_grid(self.rows, divmod(int(state), len(self.rows)))
