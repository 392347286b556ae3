"""The lizard: a 3 x 3 grid with crickets and a bird, small enough to print its whole Q-table."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from tegu.environments.drawing import INK, RED, Canvas, boxed_grid
from tegu.environments.grids.finite import FiniteEnvironment, Transition, neighbour, one_hot, tabulate

_SIZE = 3
_TILES = ("1 cricket", "empty 1", "empty 2", "empty 3", "bird", "empty 4", "empty 5", "empty 6", "5 crickets")
_START = _TILES.index("empty 5")
_ENTERING = {"1 cricket": 1.0, "bird": -10.0, "5 crickets": 10.0}  # an empty tile pays -1
_LAST = {"bird", "5 crickets"}  # entering one ends the episode
_MOVES = ("left", "right", "up", "down")
_ARROWS = "←→↑↓"


class Lizard(FiniteEnvironment):
    """A lizard looks for crickets on a 3 x 3 grid, from the bottom left corner, and had better avoid the bird.

    Entering a tile pays +1 for one cricket, -10 for the bird, +10 for five crickets and -1 otherwise; the bird and the
    five crickets end the episode. Running into a wall costs 1, on whatever tile. No cricket is ever used up. States 0
    to 8 are the tiles row by row, actions 0 to 3 are left, right, up, down.
    """

    def __init__(self) -> None:
        super().__init__(
            *tabulate(_outcomes, len(_TILES), len(_MOVES)),
            initial=one_hot(_START, len(_TILES)),
            id="lizard",
            state_names=_TILES,
            action_names=_MOVES,
            max_episode_steps=100,
        )

    def image(self, state: np.ndarray) -> np.ndarray:
        cell, edge = 160, 4
        canvas = Canvas(_SIZE * cell, _SIZE * cell, (120, 150, 100))
        for tile, name in enumerate(_TILES):
            row, column = divmod(tile, _SIZE)
            left, top = column * cell, row * cell
            ground = (244, 205, 196) if name == "bird" else (214, 230, 190) if "cricket" in name else (236, 229, 208)
            canvas.rectangle((left + edge, top + edge, left + cell - edge, top + cell - edge), ground, radius=14)
            centre = np.array([left + cell / 2, top + cell / 2])
            # What lives on the lizard's own tile moves up a little to stay in sight.
            aside = np.array([0, -46 if tile == int(state) else 0])
            if name == "bird":
                _draw_bird(canvas, centre + aside)
            elif name == "1 cricket":
                _draw_cricket(canvas, centre + aside)
            elif name == "5 crickets":
                for spot in ((-42, -30), (38, -34), (-2, 4), (-40, 40), (42, 38)):
                    _draw_cricket(canvas, centre + np.array(spot))
            if tile == int(state):
                _draw_lizard(canvas, centre + np.array([0, 22 if "cricket" in name or name == "bird" else 0]))
        return canvas.array()

    def text(self, state: np.ndarray) -> str:
        return _boxes(lambda tile, name: ("" if "empty" in name else name, "LIZARD" if tile == int(state) else ""))


def policy_text(environment: FiniteEnvironment, action_values: np.ndarray) -> str:
    """A Q-table ``[S, A]`` of the lizard as text, the best action of each state starred, and that policy as arrows."""
    greedy = np.argmax(action_values, axis=1)
    lines = [f"{'':12}" + "".join(f"{name:>9} " for name in environment.action_names)]
    for name, values, best in zip(environment.state_names, action_values, greedy, strict=True):
        row = "".join(f"{value:9.2f}" + ("*" if action == best else " ") for action, value in enumerate(values))
        lines.append(f"{name:12}" + (row if name not in _LAST else f"{'the end':>9}"))
    arrows = _boxes(
        lambda tile, name: ("" if "empty" in name else name, "" if name in _LAST else _ARROWS[greedy[tile]])
    )
    return "\n".join([*(line.rstrip() for line in lines), "", arrows])


def _outcomes(state: int, action: int) -> list[Transition]:
    if _TILES[state] in _LAST:
        return [(1.0, state, 0.0, True)]
    tile = neighbour(state, _MOVES[action], _SIZE, _SIZE)
    reward = -1.0 if tile == state else _ENTERING.get(_TILES[tile], -1.0)
    return [(1.0, tile, reward, _TILES[tile] in _LAST)]


def _boxes(words: Callable[[int, str], tuple[str, str]]) -> str:
    """The grid as text, two lines of words to a tile."""
    cells = [words(tile, name) for tile, name in enumerate(_TILES)]
    return boxed_grid([cells[row * _SIZE : (row + 1) * _SIZE] for row in range(_SIZE)], width=14)


def _draw_cricket(canvas: Canvas, centre: np.ndarray) -> None:
    brown, dark = (122, 88, 48), (84, 60, 34)

    def at(x: float, y: float) -> np.ndarray:
        return centre + np.array([x, y])

    canvas.line([at(-2, 2), at(-13, -13), at(-22, 13)], dark, 3.2)  # the jumping leg
    canvas.line([at(4, 4), at(2, 13)], dark, 2.4)
    canvas.line([at(11, 3), at(13, 13)], dark, 2.4)
    for reach in (0, 9):
        canvas.line([at(18, -5), at(23, -14), at(28 + reach / 3, -14 - reach)], dark, 2.2)  # feelers
    canvas.ellipse(at(-3, 1), 17, 7, brown)
    canvas.disc(at(16, -1), 7, brown)
    canvas.disc(at(19, -3), 1.8, INK)


def _draw_bird(canvas: Canvas, centre: np.ndarray) -> None:
    blue, wing = (72, 104, 150), (50, 76, 116)

    def at(x: float, y: float) -> np.ndarray:
        return centre + np.array([x, y])

    canvas.polygon([at(-26, 4), at(-56, -8), at(-54, 10), at(-28, 18)], wing)
    for foot in (-4, 10):
        canvas.line([at(foot, 26), at(foot, 42), at(foot + 7, 42)], (214, 150, 50), 3)
    canvas.ellipse(at(0, 6), 34, 25, blue)
    canvas.disc(at(25, -18), 18, blue)
    canvas.polygon([at(40, -24), at(60, -15), at(40, -9)], (230, 160, 50))
    canvas.ellipse(at(-7, 5), 21, 12, wing)
    canvas.disc(at(30, -22), 5, (255, 255, 255))
    canvas.disc(at(31, -22), 2.6, INK)


def _draw_lizard(canvas: Canvas, centre: np.ndarray) -> None:
    green, dark = (60, 140, 76), (40, 106, 58)

    def at(x: float, y: float) -> np.ndarray:
        return centre + np.array([x, y])

    for side in (-1, 1):
        canvas.line([at(18, 4 * side), at(26, 22 * side), at(36, 24 * side)], dark, 6)
        canvas.line([at(-16, 4 * side), at(-22, 22 * side), at(-12, 25 * side)], dark, 6)
    tail = [(-20, 0), (-34, -6), (-46, -4), (-56, 5), (-64, 7)]
    for index, (start, end) in enumerate(pairwise(tail)):
        canvas.line([at(*start), at(*end)], green, 14 - 3 * index)
    canvas.ellipse(at(0, 0), 30, 14, green)
    canvas.ellipse(at(42, 0), 19, 13, green)
    for spot in (-16, -2, 12):
        canvas.ellipse(at(spot, 0), 5, 3, (112, 184, 110))
    canvas.line([at(60, 0), at(70, 0)], RED, 2)
    for side in (-1, 1):
        canvas.disc(at(46, 8 * side), 4, (250, 236, 150))
        canvas.disc(at(47, 8 * side), 2, INK)
