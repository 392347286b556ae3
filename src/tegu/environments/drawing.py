"""What the environments' drawings share: a canvas with smooth edges, small figures, and grids as text."""

from collections.abc import Sequence
from typing import Any

import numpy as np

Colour = tuple[int, int, int]
Point = Sequence[float] | np.ndarray  #: x to the right and y downwards, in pixels

PAPER: Colour = (250, 250, 247)
INK: Colour = (45, 52, 64)
WOOD: Colour = (190, 128, 70)
STEEL: Colour = (74, 111, 146)
RED: Colour = (208, 74, 66)
GREEN: Colour = (74, 150, 92)
GRASS: Colour = (142, 182, 116)
SKY: Colour = (222, 236, 246)
SKIN: Colour = (242, 200, 164)

_FINE = 2  # drawn this many times as large, then averaged down for smooth edges


class Canvas:
    """A picture of ``width`` x ``height`` pixels under construction."""

    def __init__(self, width: int, height: int, background: Colour):
        from PIL import Image, ImageDraw  # optional dependency, and slow to import

        self._picture = Image.new("RGB", (_FINE * width, _FINE * height), background)
        self._draw = ImageDraw.Draw(self._picture)

    def polygon(self, points: Sequence[Point], colour: Colour) -> None:
        self._draw.polygon([_scaled(point) for point in points], fill=colour)

    def line(self, points: Sequence[Point], colour: Colour, width: float) -> None:
        """A line through the points, with round ends and corners."""
        self._draw.line([_scaled(point) for point in points], fill=colour, width=round(_FINE * width))
        if width > 2:
            for point in points:
                self.disc(point, width / 2, colour)

    def disc(self, centre: Point, radius: float, colour: Colour) -> None:
        self.ellipse(centre, radius, radius, colour)

    def ellipse(self, centre: Point, half_width: float, half_height: float, colour: Colour) -> None:
        x, y = centre
        box = (x - half_width, y - half_height, x + half_width, y + half_height)
        self._draw.ellipse(_scaled(box), fill=colour)

    def rectangle(self, box: Point, colour: Colour, radius: float = 0) -> None:
        """``box`` is left, top, right, bottom; the corners are rounded with ``radius``."""
        self._draw.rounded_rectangle(_scaled(box), radius=_FINE * radius, fill=colour)

    def text(self, centre: Point, words: str, colour: Colour, size: float) -> None:
        from PIL import ImageFont

        x, y = centre
        font = ImageFont.load_default(_FINE * size)
        self._draw.text((_FINE * x, _FINE * y), words, fill=colour, font=font, anchor="mm")

    def flag(self, foot: Point, height: float, colour: Colour = RED) -> None:
        x, y = foot
        self.line([(x, y), (x, y - height)], INK, 3)
        cloth = [(x + 1, y - height), (x + 0.6 * height, y - 0.78 * height), (x + 1, y - 0.56 * height)]
        self.polygon(cloth, colour)

    def person(self, centre: Point, height: float, colour: Colour = STEEL) -> None:
        x, y = centre
        unit = height / 10
        self.line([(x - 1.2 * unit, y + 1.5 * unit), (x - 1.4 * unit, y + 4.6 * unit)], INK, 1.5 * unit)
        self.line([(x + 1.2 * unit, y + 1.5 * unit), (x + 1.4 * unit, y + 4.6 * unit)], INK, 1.5 * unit)
        self.rectangle((x - 2.3 * unit, y - 1.8 * unit, x + 2.3 * unit, y + 2.4 * unit), colour, radius=1.4 * unit)
        self.disc((x, y - 3.2 * unit), 1.8 * unit, SKIN)

    def array(self) -> np.ndarray:
        """The finished picture, ``[height, width, 3]`` uint8."""
        return np.array(self._picture.reduce(_FINE))


def _scaled(values: Any) -> tuple[float, ...]:
    return tuple(float(_FINE * value) for value in values)


def letter_grid(rows: Sequence[str], position: tuple[int, int]) -> str:
    """Letters in rows as text, with brackets around the one at ``position`` (row, column)."""
    lines = []
    for row, letters in enumerate(rows):
        cells = [f"[{letter}]" if (row, column) == position else f" {letter} " for column, letter in enumerate(letters)]
        lines.append("".join(cells).rstrip())
    return "\n".join(lines)


def boxed_grid(cells: Sequence[Sequence[Sequence[str]]], width: int) -> str:
    """A grid of boxes ``width`` characters wide inside. ``cells[row][column]`` holds the lines of text in a box."""
    columns = len(cells[0])

    def rule(left: str, middle: str, right: str) -> str:
        return left + middle.join(["─" * width] * columns) + right

    lines = [rule("┌", "┬", "┐")]
    for index, row in enumerate(cells):
        if index:
            lines.append(rule("├", "┼", "┤"))
        lines += ["│" + "│".join(words.center(width) for words in line) + "│" for line in zip(*row, strict=True)]
    lines.append(rule("└", "┴", "┘"))
    return "\n".join(lines)
