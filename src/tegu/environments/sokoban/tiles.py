"""How Sokoban looks: tiles of 8 x 8 pixels for observations, and drawings of cells for people."""

import numpy as np

from tegu.environments.drawing import INK, PAPER, RED, WOOD, Canvas, Colour
from tegu.environments.sokoban.levels import BOX, PLAYER, TARGET, WALL

TILE = 8  #: pixels in a row and in a column of a tile
N_CELLS = 16  #: numbers that a cell could have, of which seven occur

_BRICK: Colour = (112, 122, 140)
_FLOOR: Colour = (236, 229, 208)
_DONE: Colour = (96, 160, 92)
_SHIRT: Colour = (58, 104, 190)

_PAINTS = {
    "b": _BRICK,
    "d": (78, 86, 102),
    "r": RED,
    "w": WOOD,
    "n": (122, 78, 40),
    "g": _DONE,
    "h": (52, 104, 56),
    "i": INK,
    "s": _SHIRT,
    "f": (242, 200, 164),
}
_WALL_TILE = "bbbdbbbb bbbdbbbb bbbdbbbb dddddddd bbbbbbbd bbbbbbbd bbbbbbbd dddddddd"
_TARGET_TILE = "........ .r....r. ..r..r.. ...rr... ...rr... ..r..r.. .r....r. ........"
_BOX_TILE = "nnnnnnnn nwwwwwwn nwnwwnwn nwwnnwwn nwwnnwwn nwnwwnwn nwwwwwwn nnnnnnnn"
_PLAYER_TILE = "...ii... ..iffi.. ..ffff.. ...ff... .ssssss. ..ssss.. ..i..i.. ..i..i.."
_LAYERS = ((WALL, _WALL_TILE), (TARGET, _TARGET_TILE), (BOX, _BOX_TILE), (PLAYER, _PLAYER_TILE))


def tiles() -> np.ndarray:
    """The tile for each number of a cell, uint8 ``[16, 8, 8, 3]``; the seven that occur all differ."""
    return np.stack([_tile(cell) for cell in range(N_CELLS)])


def _tile(cell: int) -> np.ndarray:
    """One tile: the floor and what is there on it, one over the other. A box on a target is green."""
    tile = np.full((TILE, TILE, 3), _FLOOR, np.uint8)
    done = {"w": "g", "n": "h"} if cell & TARGET else {}
    for thing, rows in _LAYERS:
        for place, paint in zip(np.ndindex(TILE, TILE), rows.replace(" ", ""), strict=True):
            if cell & thing and paint != ".":
                tile[place] = _PAINTS[done.get(paint, paint)]
    return tile


def picture(level: np.ndarray) -> np.ndarray:
    """A level ``[size, size]`` from above, RGB ``[H, W, 3]`` uint8."""
    size = len(level)
    cell = 2 * (240 // size)
    canvas = Canvas(size * cell, size * cell, _FLOOR)
    for (row, column), found in np.ndenumerate(level):
        x, y = column * cell, row * cell
        middle = (x + cell / 2, y + cell / 2)
        if found & WALL:
            canvas.rectangle((x, y, x + cell, y + cell), _BRICK)
            for course in (0, 1):
                joint, top = x + cell * (0.75 - course / 2), y + course * cell / 2
                canvas.line([(x, top), (x + cell, top)], _PAINTS["d"], 2)
                canvas.line([(joint, top), (joint, top + cell / 2)], _PAINTS["d"], 2)
        if found & TARGET:
            canvas.disc(middle, 0.3 * cell, RED)
            canvas.disc(middle, 0.2 * cell, PAPER)
            canvas.disc(middle, 0.1 * cell, RED)
        if found & BOX:
            _crate(canvas, x, y, cell, *((_DONE, _PAINTS["h"]) if found & TARGET else (WOOD, _PAINTS["n"])))
        if found & PLAYER:
            canvas.person(middle, 0.8 * cell, _SHIRT)
    return canvas.array()


def _crate(canvas: Canvas, x: float, y: float, cell: float, wood: Colour, edge: Colour) -> None:
    near, far = 0.1 * cell, 0.9 * cell
    canvas.rectangle((x + near, y + near, x + far, y + far), edge, radius=4)
    inside = 0.18 * cell
    canvas.rectangle((x + inside, y + inside, x + cell - inside, y + cell - inside), wood)
    low, high = 0.22 * cell, 0.78 * cell
    for start, end in ((low, high), (high, low)):
        canvas.line([(x + start, y + low), (x + end, y + high)], edge, 0.08 * cell)
